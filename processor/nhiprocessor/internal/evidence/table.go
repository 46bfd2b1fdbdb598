// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Host is one end of flows. A host that is known only by its address in one place and
// by its id in another is one: see [Host.Resolved].
type Host struct {
	Name string // "instance/<host.id>" or "address/<address>", as a component is named
	// of an address: the host that was seen to send from it. A decision reads it while points come in.
	owner atomic.Pointer[Host]
	// claim is the flow that the owner is known by. With it goes the owner, until another
	// flow from that address is seen: an address is handed on to other hosts.
	claim *flow
	key   hostKey
	refs  int
	Mark  Mark
}

// Mark is for the one reader of windows to number what it sees in one, without a map. The
// table does not look at it.
type Mark struct {
	Stamp uint64 // of the window
	Index int32
}

type hostKey struct {
	vpc, name string
	address   bool
}

// Resolved is the host behind an address when its own collector reported it, else h.
func (h *Host) Resolved() *Host {
	if owner := h.owner.Load(); owner != nil {
		return owner
	}
	return h
}

// Name is the name of something that many paths have in common: a component, a zone or a VPC.
type Name struct {
	Text string
	Mark Mark
	refs int
}

// Path is the shared components that flows cross, from the local end to the remote one.
type Path struct {
	Components []string
	// First and Last are the components at its ends, nil without any, and Local and Remote the zone and
	// the VPC that the ends are in, nil where not known.
	First, Last   *Name
	Local, Remote [2]*Name
	// Class is the same for both directions of a path; Forward says which one this is.
	Class   *Class
	Forward bool
	Places  Places
	Mark    Mark
	service string
	hash    uint64
	refs    int
}

// Class is a path without its direction, to one service or to none: what fails on the way to
// a service may be the service, and says nothing of what else crosses the same components.
type Class struct {
	Components []string // sorted
	Names      []*Name  // the same
	Service    string   // "" for none
	Palindrome bool     // both ends are the same place, for instance one subnet
	Mark       Mark
	// Memory is what the one reader of windows knows of the class; it goes with it.
	Memory any
	key    string
	refs   int
}

// Order compares classes so that the outcome depends on their names only.
func (c *Class) Order(o *Class) int { return strings.Compare(c.key, o.key) }

// MonitorSet is the monitors that a flow matches.
type MonitorSet struct {
	Names   []string // accepted ones
	Refused bool     // some monitor of the flow was past the limit
	given   []string
	hash    uint64
	refs    int
	used    uint64 // the generation in which it was asked for last
	// other is the key of flows that are no evidence: their sums alone are asked for, so that
	// however many addresses of the Internet they have take no place of an identity.
	other *Key
}

// Key is what evidence is kept by. Flows with the same evidence share it.
type Key struct {
	Path          *Path // nil unless Attributable
	Local, Remote *Host // nil unless Attributable
	Service       string
	Role          Role
	Monitors      *MonitorSet
	Attributable  bool
	refs          int
	// Memory is what the one reader of windows knows of the key; it goes with it.
	Memory any
	// addresses that the local host was seen to send from.
	addresses []*Host

	// The counts of the window in which the key was used last: most points of a batch
	// belong to one window, so that this saves a look-up for each.
	window *Window
	counts *Counts
}

// IsEvidence says whether the key is one of evidence; a nil one is not.
func (k *Key) IsEvidence() bool { return k != nil && k.Attributable }

// Addresses are those that the local host was seen to send from, as far as they still are its own.
func (k *Key) Addresses() (out []string) {
	for _, a := range k.addresses {
		if a.owner.Load() == k.Local {
			out = append(out, a.key.name)
		}
	}
	return out
}

// Describe says by what a host is known: by its id, else by an address in a VPC.
func (h *Host) Describe() (id, vpc, address string) {
	if h.key.address {
		return "", h.key.vpc, h.key.name
	}
	return h.key.name, "", ""
}

type keyID struct {
	path          *Path
	local, remote *Host
	service       string
	role          Role
	monitors      *MonitorSet
}

// flow is one identity that was seen and is evidence, and its key.
type flow struct {
	hash        uint64
	id          Identity // normalized, strings of its own
	key         *Key
	address     *Host // the local address, when the host is known by more: what others may know it by
	bytes       int
	used        uint64
	sameHash    *flow
	keyIdentity keyID
	stream      *Stream // the one that is expected next, of a ring
}

// Limits bound what a [Table] holds.
type Limits struct {
	Flows      int // identities
	Components int
	Monitors   int
}

const (
	// bytesPerFlow bounds the strings that a table keeps, for each identity that it may
	// hold. A flow's own strings are about 300 bytes (two hosts, two VPCs, a path of five
	// components); most of them are shared.
	bytesPerFlow = 512
	// addressesTold is how many addresses of one host a key tells of: an instance has up to
	// 15 interfaces.
	addressesTold = 16
	// pathLimit is the longest path that is taken apart. Two hosts in two Regions behind
	// two transit gateways cross about 15 components.
	pathLimit = 32
	// keepGenerations is for how many windows an identity that is not seen is kept, and with it
	// what is known of its round-trip time. Hosts that speak in every third window only
	// are silent for longer in one case of 600.
	keepGenerations = 16
)

// Refusal says why a point's evidence is not kept. Its counts still belong to the
// monitors that [Table.Lookup] returns.
type Refusal uint8

// Reasons of a refusal.
const (
	Accepted Refusal = iota
	FlowLimit
	ComponentLimit
	PathLimit
)

// Table interns identities. What is not seen for a few windows is dropped by [Table.Sweep].
type Table struct {
	limits      Limits
	flows       map[uint64]*flow
	n, bytes    int
	generation  uint64
	keys        map[keyID]*Key
	hosts       map[hostKey]*Host
	paths       map[uint64][]*Path
	classes     map[string]*Class
	components  map[string]*Name
	zones, vpcs map[string]*Name
	sets        map[uint64][]*MonitorSet
	monitors    map[string]int // references
}

// NewTable makes an empty table.
func NewTable(l Limits) *Table {
	return &Table{
		limits:     l,
		flows:      map[uint64]*flow{},
		keys:       map[keyID]*Key{},
		hosts:      map[hostKey]*Host{},
		paths:      map[uint64][]*Path{},
		classes:    map[string]*Class{},
		components: map[string]*Name{},
		zones:      map[string]*Name{},
		vpcs:       map[string]*Name{},
		sets:       map[uint64][]*MonitorSet{},
		monitors:   map[string]int{},
	}
}

// Sizes says how many identities and components the table holds.
func (t *Table) Sizes() (flows, components int) { return t.n, len(t.components) }

// Lookup gives the key of an identity, which it normalizes. When the table is full the
// key is nil, and the monitors alone say where the point's counts belong.
func (t *Table) Lookup(id *Identity) (*Key, *MonitorSet, Refusal) {
	id.flow = nil
	if len(id.Path) > pathLimit {
		id.Path = id.Path[:0]
		return nil, t.monitorSet(id.Monitors), PathLimit
	}
	id.normalize()
	if !id.attributable() {
		set := t.monitorSet(id.Monitors)
		if set.given == nil && len(id.Monitors) > 0 {
			return nil, set, FlowLimit // one more set than the table holds
		}
		if set.other == nil {
			set.other = &Key{Monitors: set}
		}
		return set.other, set, Accepted
	}
	h := id.hash()
	for f := t.flows[h]; f != nil; f = f.sameHash {
		if f.same(id) {
			f.used = t.generation
			t.claim(f)
			id.flow = f
			return f.key, f.key.Monitors, Accepted
		}
	}
	if t.n >= t.limits.Flows || t.bytes >= t.limits.Flows*bytesPerFlow {
		return nil, t.monitorSet(id.Monitors), FlowLimit
	}
	if len(t.components)+len(id.Path) > t.limits.Components && t.newComponents(id.Path) > t.limits.Components-len(t.components) {
		return nil, t.monitorSet(id.Monitors), ComponentLimit
	}
	f := t.insert(h, id)
	id.flow = f
	return f.key, f.key.Monitors, Accepted
}

func (f *flow) same(id *Identity) bool {
	o := &f.id
	return o.LocalHost == id.LocalHost && o.RemoteHost == id.RemoteHost && o.LocalAddress == id.LocalAddress &&
		o.RemoteAddress == id.RemoteAddress && o.LocalVPC == id.LocalVPC && o.RemoteVPC == id.RemoteVPC && o.Service == id.Service &&
		o.Role == id.Role && f.keyIdentity.path.Places == id.places && slices.Equal(o.Path, id.Path) && slices.Equal(o.Monitors, id.Monitors)
}

func (t *Table) newComponents(path []string) (n int) {
	for _, c := range path {
		if t.components[c] == nil {
			n++
		}
	}
	return n
}

func (t *Table) insert(h uint64, id *Identity) *flow {
	f := &flow{hash: h, used: t.generation, sameHash: t.flows[h]}
	set := t.monitorSet(id.Monitors)
	set.refs++
	f.id = Identity{
		LocalHost: f.own(id.LocalHost), RemoteHost: f.own(id.RemoteHost),
		LocalAddress: f.own(id.LocalAddress), RemoteAddress: f.own(id.RemoteAddress),
		LocalVPC: f.own(id.LocalVPC), RemoteVPC: f.own(id.RemoteVPC),
		Service: f.own(id.Service), Role: id.Role, Monitors: set.given,
	}
	kid := keyID{monitors: set, path: t.path(id.Path, id.places, f.id.Service), service: f.id.Service, role: id.Role}
	f.id.Path = kid.path.Components
	kid.local = t.host(f.id.LocalHost, f.id.LocalVPC, f.id.LocalAddress)
	kid.remote = t.host(f.id.RemoteHost, f.id.RemoteVPC, f.id.RemoteAddress)
	if f.id.LocalHost != "" && f.id.LocalAddress != "" {
		f.address = t.host("", f.id.LocalVPC, f.id.LocalAddress)
	}
	k := t.keys[kid]
	if k == nil {
		k = &Key{Path: kid.path, Local: kid.local, Remote: kid.remote, Service: kid.service, Role: kid.role, Monitors: set, Attributable: true}
		t.keys[kid] = k
	}
	k.refs++
	f.key, f.keyIdentity = k, kid
	if f.address != nil && len(k.addresses) < addressesTold && !slices.Contains(k.addresses, f.address) {
		k.addresses = append(k.addresses, f.address)
	}
	if f.address != nil { // whoever begins to send from it last has it
		f.address.owner.Store(kid.local)
		f.address.claim = f
	}
	t.flows[h] = f
	t.n++
	t.bytes += f.bytes
	return f
}

// claim makes the host of f the owner of the address that it sends from, unless another is.
func (t *Table) claim(f *flow) {
	if f.address != nil && f.address.owner.Load() == nil {
		f.address.owner.Store(f.keyIdentity.local)
		f.address.claim = f
	}
}

// own copies a string, so that a point's whole buffer is not held by it, and accounts for it.
func (f *flow) own(s string) string {
	f.bytes += len(s)
	return strings.Clone(s)
}

// Empty says that the table holds nothing at all.
func (t *Table) Empty() bool {
	return t.n == 0 && t.bytes == 0 && len(t.flows) == 0 && len(t.keys) == 0 && len(t.hosts) == 0 && len(t.paths) == 0 &&
		len(t.classes) == 0 && len(t.components) == 0 && len(t.zones) == 0 && len(t.vpcs) == 0 && len(t.sets) == 0 && len(t.monitors) == 0
}
