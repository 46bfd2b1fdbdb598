// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"iter"
	"net/netip"
	"sort"

	"github.com/gaissmai/bart"
)

// Index answers who holds an address, and what the nodes with an id are. It never
// changes after [Build]; all methods are safe for concurrent use and none of them
// allocates. The zero Index knows nothing.
type Index struct {
	// entries is sorted by address, then by VPC; first leads an address to the first of
	// its entries. 24 bytes without a pointer, so that a million of them cost the
	// garbage collector nothing.
	entries    []entry
	first      map[[16]byte]uint32
	interfaces []InterfaceNode

	public    map[[16]byte]uint32          // public address → interface
	delegated bart.Table[[]*InterfaceNode] // prefix → its holders in all VPCs
	subnetsBy bart.Table[[]*SubnetNode]    // CIDR → the subnets of all VPCs that have it
	managed   bart.Table[ServiceRef]       // CIDRs of the AWS-managed prefix lists

	vpcs      map[string]*VPCNode
	numbered  []*VPCNode // by VPCNode.number
	subnets   map[string]*SubnetNode
	instances map[string]*InstanceNode
	zones     map[string]map[string]string // zone id → account → its name of the zone; account "": everybody's
	zoneNames map[string]bool              // names and ids
	regions   map[string]bool
	clusters  map[string][]EKSCluster

	counts []Count
}

type entry struct {
	address [16]byte
	vpc     uint32
	iface   uint32
}

// Count is how many entities of a kind the index holds.
type Count struct {
	Kind string // as the section of the topology file is called
	N    int
}

// Counts gives the entities held, always of every kind, in a fixed order.
func (x *Index) Counts() []Count { return x.counts }

// Instance finds a host by its id; nil when it is not known.
func (x *Index) Instance(id string) *InstanceNode { return x.instances[id] }

// VPC finds a VPC by its id, described or only referred to; nil when it is not known.
func (x *Index) VPC(id string) *VPCNode { return x.vpcs[id] }

// In finds who holds an address in one VPC: an interface that has it, else one that has
// a delegated prefix around it, else the subnet. ok is false when not even a
// subnet of the VPC contains it.
func (x *Index) In(v *VPCNode, a netip.Addr) (Place, bool) {
	if n := x.exact(v, a); n != nil {
		return Place{n.Subnet, n}, true
	}
	return v.places.Lookup(a)
}

func (x *Index) exact(v *VPCNode, a netip.Addr) *InterfaceNode {
	if !v.Described {
		return nil
	}
	key := a.As16()
	lo, ok := x.first[key]
	if !ok {
		return nil
	}
	// The run of one address is short unless many VPCs share a CIDR: gallop over it.
	rest := x.entries[lo:]
	if rest[0].vpc == v.number {
		return &x.interfaces[rest[0].iface]
	}
	bound := 1
	for bound < len(rest) && rest[bound].address == key && rest[bound].vpc < v.number {
		bound *= 2
	}
	bound = min(bound+1, len(rest))
	i := sort.Search(bound, func(i int) bool { return rest[i].address != key || rest[i].vpc >= v.number })
	if i < len(rest) && rest[i].address == key && rest[i].vpc == v.number {
		return &x.interfaces[rest[i].iface]
	}
	return nil
}

// Interfaces gives all interfaces, in any VPC, that have the address, as one of their
// own or within a delegated prefix.
func (x *Index) Interfaces(a netip.Addr) iter.Seq[*InterfaceNode] {
	return func(yield func(*InterfaceNode) bool) {
		key := a.As16()
		if lo, ok := x.first[key]; ok {
			for i := int(lo); i < len(x.entries) && x.entries[i].address == key; i++ {
				if !yield(&x.interfaces[x.entries[i].iface]) {
					return
				}
			}
		}
		for _, holders := range x.delegated.Supernets(host(a)) {
			for _, n := range holders {
				if own := x.exact(n.Subnet.VPC, a); own != nil {
					continue // in that VPC the address itself says more
				}
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Subnets gives all subnets, in any VPC, that contain the address.
func (x *Index) Subnets(a netip.Addr) iter.Seq[*SubnetNode] {
	return func(yield func(*SubnetNode) bool) {
		for _, subnets := range x.subnetsBy.Supernets(host(a)) {
			for _, s := range subnets {
				if !yield(s) {
					return
				}
			}
		}
	}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Public finds who has an address that means the same everywhere: an Elastic or
// auto-assigned one, a NAT gateway's, or a global IPv6 address. More than one holder,
// which only a wrong description can have, is none: n counts them.
func (x *Index) Public(a netip.Addr) (p Place, n int) {
	if i, ok := x.public[a.As16()]; ok {
		iface := &x.interfaces[i]
		return Place{iface.Subnet, iface}, 1
	}
	if !a.Is6() || a.IsPrivate() {
		return Place{}, 0
	}
	for iface := range x.Interfaces(a) {
		p, n = Place{iface.Subnet, iface}, n+1
	}
	if n > 0 {
		return p, n
	}
	for s := range x.Subnets(a) {
		p, n = Place{Subnet: s}, n+1
	}
	return p, n
}

// Service gives the AWS service whose managed prefix list contains the address.
func (x *Index) Service(a netip.Addr) (ServiceRef, bool) { return x.managed.Lookup(a) }

// IsResolver tells the VPC's own DNS server.
func (v *VPCNode) IsResolver(a netip.Addr) bool { return v.resolver == a && a.IsValid() }

// Contains tells whether an address is within the VPC's CIDRs.
func (v *VPCNode) Contains(a netip.Addr) bool {
	for _, c := range v.CIDRs {
		if c.Contains(a) {
			return true
		}
	}
	return false
}

// ListsInterfaces tells whether the topology names any interface of the VPC. If it
// does, the list is taken for complete when VPCs compete for an address.
func (v *VPCNode) ListsInterfaces() bool { return v.listsInterfaces }

// ZoneName gives an account's name of a subnet's zone; "" when it is not known: names
// are aliases of each account.
func (x *Index) ZoneName(s *SubnetNode, account string) string {
	names := x.zones[s.Zone.ID]
	if name, ok := names[account]; ok && account != "" {
		return name
	}
	// Who has something in a shared subnet may not be its owner.
	if account == s.Account && (account != "" || len(s.Shared) == 0) && s.ZoneName != "" {
		return s.ZoneName
	}
	return names[""]
}

// SameZone compares the zones of two subnets: by id, because names differ between
// accounts; by name only where both are certainly the same account's. known is false when
// neither can be done.
func SameZone(a, b *SubnetNode) (same, known bool) {
	switch {
	case a == b:
		return true, true
	case a.Zone.ID != "" && b.Zone.ID != "":
		return a.Zone.ID == b.Zone.ID, true
	case a.ZoneName != "" && b.ZoneName != "" && a.Account == b.Account && (a.Account != "" || a.VPC == b.VPC):
		return a.ZoneName == b.ZoneName, true
	}
	return false, false
}

// HasVPC tells whether the VPC is described, not only referred to.
func (x *Index) HasVPC(id string) bool {
	v := x.vpcs[id]
	return v != nil && v.Described
}

// HasSubnet tells whether the subnet is known.
func (x *Index) HasSubnet(id string) bool { return x.subnets[id] != nil }

// HasZone tells whether a zone is known by this id or, in any account, by this name.
func (x *Index) HasZone(name string) bool { return x.zoneNames[name] }

// HasRegion tells whether anything described is in the Region.
func (x *Index) HasRegion(name string) bool { return x.regions[name] }

// HasCluster tells whether the EKS cluster is known; "" is any Region, any account.
func (x *Index) HasCluster(name, region, account string) bool {
	for _, k := range x.clusters[name] {
		if (region == "" || k.Region == "" || k.Region == region) && (account == "" || k.OwnerID == "" || k.OwnerID == account) {
			return true
		}
	}
	return false
}
