// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package monitors says which monitors a flow belongs to. A monitor is a set of local
// resources and a set of remote ones; a flow belongs to it when its local end is in the
// one and its remote end in the other.
//
// A [Set] is an index of pairs: each end of a flow is in at most eight resources (its
// subnet, VPC, zone, …), so that a flow costs a fixed number of look-ups, however many
// monitors there are.
package monitors // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"

import (
	"cmp"
	"slices"
	"sort"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// Definition is a monitor as users write it.
type Definition struct {
	Name   string     `yaml:"name,required"`
	Local  []Resource `yaml:"local,required"`
	Remote []Resource `yaml:"remote"` // none: all that ends in the local Region, its services included
}

// Resource is one member of a monitor's local or remote set.
type Resource struct {
	Type string `yaml:"type,required"`
	ID   string `yaml:"id"`
}

// kind is what a reference refers to.
type kind uint8

const (
	subnet kind = iota
	vpc
	zone // by id or by name: no zone's name is another's id
	region
	cluster      // by name
	clusterARN   // by region/account/name
	service      //
	everywhere   //
	withinRegion // the remote end is in the local end's Region
)

// ref is a normalised resource.
type ref struct {
	kind kind
	id   string
}

// Set is an immutable set of monitors, safe for concurrent use. The zero Set has none.
type Set struct {
	names   []string
	refs    []monitorRefs
	locals  map[ref]uint32
	remotes map[ref]uint32
	pairs   map[uint64][]uint32 // local and remote number → indices of names
}

type monitorRefs struct{ local, remote []ref }

// New makes the set of valid definitions; see [Validate].
func New(definitions []Definition) *Set {
	s := &Set{locals: map[ref]uint32{}, remotes: map[ref]uint32{}, pairs: map[uint64][]uint32{}}
	for _, d := range definitions {
		i := uint32(len(s.names))
		s.names = append(s.names, d.Name)
		r := monitorRefs{local: normaliseAll(d.Local), remote: normaliseAll(d.Remote)}
		if len(r.remote) == 0 {
			r.remote = []ref{{kind: withinRegion}}
		}
		s.refs = append(s.refs, r)
		for _, l := range r.local {
			for _, o := range r.remote {
				key := pair(number(s.locals, l), number(s.remotes, o))
				if list := s.pairs[key]; len(list) == 0 || list[len(list)-1] != i {
					s.pairs[key] = append(list, i)
				}
			}
		}
	}
	return s
}

func number(m map[ref]uint32, r ref) uint32 {
	n, ok := m[r]
	if !ok {
		n = uint32(len(m))
		m[r] = n
	}
	return n
}

func pair(local, remote uint32) uint64 { return uint64(local)<<32 | uint64(remote) }

// Len is the number of monitors.
func (s *Set) Len() int { return len(s.names) }

// maxRefs is the most references that one end can answer to.
const maxRefs = 9

// Match gives the names of the monitors that a flow belongs to, sorted; nil for none.
// What never leaves its host belongs to none.
func (s *Set) Match(r *path.Result) []string {
	if len(s.names) == 0 || !r.OffHost {
		return nil
	}
	var locals, remotes [maxRefs]uint32
	nl := find(s.locals, locals[:0], localRefs(&r.Local))
	if len(nl) == 0 {
		return nil
	}
	nr := find(s.remotes, remotes[:0], remoteRefs(&r.Local, &r.Remote))
	var matched []uint32
	for _, l := range nl {
		for _, o := range nr {
			matched = append(matched, s.pairs[pair(l, o)]...)
		}
	}
	if len(matched) == 0 {
		return nil
	}
	slices.Sort(matched)
	matched = slices.Compact(matched)
	names := make([]string, len(matched))
	for i, m := range matched {
		names[i] = s.names[m]
	}
	sort.Strings(names)
	return names
}

func find(m map[ref]uint32, to []uint32, refs [maxRefs]ref) []uint32 {
	for _, r := range refs {
		if r.id == "" && r.kind != everywhere && r.kind != withinRegion {
			continue
		}
		if n, ok := m[r]; ok {
			to = append(to, n)
		}
	}
	return to
}

// localRefs are all references that a local end answers to. Those without an id are none.
func localRefs(e *path.End) (refs [maxRefs]ref) {
	refs[0] = ref{subnet, e.Subnet}
	refs[1] = ref{vpc, e.VPC}
	refs[2] = ref{zone, e.ZoneID}
	refs[3] = ref{zone, cmp.Or(e.Zone, e.ZoneAlias)}
	refs[4] = ref{region, e.Region}
	refs[5] = ref{cluster, e.K8S.ClusterName}
	if e.K8S.ClusterName != "" {
		refs[6] = ref{clusterARN, clusterKey(e.Region, e.Account, e.K8S.ClusterName)}
	}
	return refs
}

// remoteRefs are all references that a remote end answers to.
func remoteRefs(local, e *path.End) (refs [maxRefs]ref) {
	refs[0] = ref{subnet, e.Subnet}
	refs[1] = ref{vpc, e.VPC}
	refs[2] = ref{zone, e.ZoneID}
	refs[3] = ref{zone, cmp.Or(e.Zone, e.ZoneAlias)}
	refs[4] = ref{region, e.Region}
	refs[5] = ref{service, e.Service}
	refs[6] = ref{everywhere, ""}
	if e.Region != "" && e.Region == local.Region {
		refs[7] = ref{withinRegion, ""}
	}
	return refs
}

func clusterKey(region, account, name string) string { return region + "/" + account + "/" + name }
