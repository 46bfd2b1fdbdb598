// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import "slices"

// Sweep ends a generation, which is a window, and drops what was not seen for a few of
// them. Keys that a window still holds stay valid.
func (t *Table) Sweep() {
	t.generation++
	if t.generation < keepGenerations {
		return
	}
	oldest := t.generation - keepGenerations
	for h, first := range t.flows {
		kept := first
		for link := &kept; *link != nil; {
			if f := *link; f.used <= oldest {
				t.release(f)
				*link = f.sameHash
			} else {
				link = &f.sameHash
			}
		}
		switch {
		case kept == nil:
			delete(t.flows, h)
		case kept != first:
			t.flows[h] = kept
		}
	}
	for h, sets := range t.sets {
		t.sets[h] = slices.DeleteFunc(sets, func(s *MonitorSet) bool {
			if s.refs > 0 || s.used > oldest {
				return false
			}
			for _, n := range s.given {
				t.bytes -= len(n)
			}
			for _, n := range s.Names {
				unref(t.monitors, n)
			}
			return true
		})
		if len(t.sets[h]) == 0 {
			delete(t.sets, h)
		}
	}
}

func (t *Table) release(f *flow) {
	t.n--
	t.bytes -= f.bytes
	k := f.key
	if k.refs--; k.refs == 0 {
		delete(t.keys, f.keyIdentity)
		k.window, k.counts = nil, nil
	}
	f.key.Monitors.refs--
	if f.address != nil && f.address.claim == f {
		f.address.owner.Store(nil)
		f.address.claim = nil
	}
	t.releaseHost(f.keyIdentity.local)
	t.releaseHost(f.keyIdentity.remote)
	if f.address != nil {
		t.releaseHost(f.address)
	}
	t.releasePath(f.keyIdentity.path)
}

func (t *Table) releaseHost(h *Host) {
	if h.refs--; h.refs == 0 {
		delete(t.hosts, h.key)
	}
}

func (t *Table) releasePath(p *Path) {
	if p.refs--; p.refs > 0 {
		return
	}
	t.paths[p.hash] = slices.DeleteFunc(t.paths[p.hash], func(o *Path) bool { return o == p })
	if len(t.paths[p.hash]) == 0 {
		delete(t.paths, p.hash)
	}
	t.bytes -= len(p.service) + p.Places.bytes()
	for _, c := range p.Components {
		t.bytes -= len(c)
		release(t.components, t.components[c])
	}
	for _, at := range [...][2]*Name{p.Local, p.Remote} {
		release(t.zones, at[0])
		release(t.vpcs, at[1])
	}
	if c := p.Class; c.refs > 1 {
		c.refs--
	} else {
		t.bytes -= len(c.key)
		delete(t.classes, c.key)
	}
}

func unref(m map[string]int, name string) {
	if m[name]--; m[name] <= 0 {
		delete(m, name)
	}
}
