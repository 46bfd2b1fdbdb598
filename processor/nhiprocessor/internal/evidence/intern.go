// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"cmp"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

func (t *Table) host(id, vpc, address string) *Host {
	k := hostKey{name: id}
	name := flowattr.ComponentInstance + "/" + id
	if id == "" {
		k = hostKey{vpc: vpc, name: address, address: true}
		name = flowattr.ComponentAddress + "/" + address
	}
	h := t.hosts[k]
	if h == nil {
		h = &Host{Name: name, key: k}
		t.hosts[k] = h
	}
	h.refs++
	return h
}

func (t *Table) path(components []string, at Places, service string) *Path {
	var mixed mixer
	mixed.addAll(components)
	mixed.add(service)
	h := uint64(mixed)
	for _, p := range t.paths[h] {
		if p.service == service && p.Places == at && slices.Equal(p.Components, components) {
			p.refs++
			return p
		}
	}
	p := &Path{Components: make([]string, len(components)), service: strings.Clone(service), hash: h, refs: 1}
	p.Places = Places{strings.Clone(at.LocalZone), strings.Clone(at.LocalVPC), strings.Clone(at.RemoteZone), strings.Clone(at.RemoteVPC)}
	t.bytes += len(service) + p.Places.bytes()
	for i, c := range components {
		t.bytes += len(c)
		p.Last = ref(t.components, c)
		p.Components[i] = p.Last.Text
		if i == 0 {
			p.First = p.Last
		}
	}
	p.Local = [2]*Name{ref(t.zones, p.Places.LocalZone), ref(t.vpcs, p.Places.LocalVPC)}
	p.Remote = [2]*Name{ref(t.zones, p.Places.RemoteZone), ref(t.vpcs, p.Places.RemoteVPC)}
	// A path and its reverse are one class, also where a component between the ends stands
	// in another place on the way back. Which end is which is told by what is next to it.
	sorted := slices.Sorted(slices.Values(p.Components))
	ends := 0
	if n := len(components); n > 0 {
		ends = strings.Compare(components[0], components[n-1])
	}
	if ends == 0 {
		ends = cmp.Or(strings.Compare(at.LocalZone, at.RemoteZone), strings.Compare(at.LocalVPC, at.RemoteVPC))
	}
	p.Forward = ends <= 0 || service != "" // only the service's clients are observed
	key := p.service + "\x01" + strings.Join(sorted, "\x00")
	if ends == 0 {
		key += "\x02" // within one place
	}
	p.Class = t.classes[key]
	if p.Class == nil {
		p.Class = &Class{Components: sorted, Service: p.service, Palindrome: ends == 0 && service == "", key: key}
		for _, c := range sorted {
			p.Class.Names = append(p.Class.Names, t.components[c])
		}
		t.classes[key] = p.Class
		t.bytes += len(key)
	}
	p.Class.refs++
	t.paths[h] = append(t.paths[h], p)
	return p
}

// ref gives the name of a text and holds it; nil for none.
func ref(names map[string]*Name, text string) *Name {
	if text == "" {
		return nil
	}
	n := names[text]
	if n == nil {
		n = &Name{Text: strings.Clone(text)}
		names[n.Text] = n
	}
	n.refs++
	return n
}

func release(names map[string]*Name, n *Name) {
	if n == nil {
		return
	}
	if n.refs--; n.refs == 0 {
		delete(names, n.Text)
	}
}

func (p *Places) bytes() int {
	return len(p.LocalZone) + len(p.LocalVPC) + len(p.RemoteZone) + len(p.RemoteVPC)
}

// monitorSet gives the set of these names. It is held by the identities that use it; one
// that no identity uses is kept as long as one that is not seen. In a full table only monitors
// that are known already are told.
func (t *Table) monitorSet(names []string) *MonitorSet {
	h := hashAll(names)
	for _, s := range t.sets[h] {
		if slices.Equal(s.given, names) {
			s.used = t.generation
			return s
		}
	}
	if len(t.sets) >= t.limits.Flows || t.bytes >= t.limits.Flows*bytesPerFlow {
		s := &MonitorSet{}
		for _, n := range names {
			switch _, known := t.monitors[n]; {
			case !known:
				s.Refused = true
			case !contains(s.Names, n):
				s.Names = append(s.Names, strings.Clone(n))
			}
		}
		return s
	}
	s := &MonitorSet{hash: h, used: t.generation, given: make([]string, len(names))}
	for i, n := range names {
		s.given[i] = strings.Clone(n)
		t.bytes += len(n)
		if _, known := t.monitors[n]; !known && len(t.monitors) >= t.limits.Monitors {
			s.Refused = true
			continue
		}
		if contains(s.Names, n) {
			continue
		}
		t.monitors[s.given[i]]++
		s.Names = append(s.Names, s.given[i])
	}
	t.sets[h] = append(t.sets[h], s)
	return s
}
