// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"iter"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Index answers who holds an address, and what the nodes with an id are. It never
// changes after [Build]; all methods are safe for concurrent use and none of them
// allocates. The zero Index knows nothing.
type Index struct {
	// The interfaces' addresses by VPC, and under everywhere the public ones.
	addresses4 addresses4
	addresses6 addresses6
	delegated  []delegated // the longest first

	// By number, from 1 on; 0 is none.
	interfaces   []interfaceData
	interfaceIDs string
	instances    []instanceData
	instanceIDs  string
	byInstanceID idTable
	owners       []string
	extras       []InterfaceExtra
	k8s          []*K8S
	subnetList   []*SubnetNode

	subnetsBy bart.Table[[]*SubnetNode] // CIDR → the subnets of all VPCs that have it
	vpcsBy    bart.Table[[]*VPCNode]    // IPv6 CIDR → the VPCs that have it
	managed   bart.Table[ServiceRef]    // CIDRs of the AWS-managed prefix lists
	strays    bart.Table[[]uint32]      // addresses and prefixes outside their interface's subnet

	vpcs      map[string]*VPCNode
	subnets   map[string]*SubnetNode
	zones     map[string]map[string]string // zone id → account → its name of the zone; account "": everybody's
	zoneNames map[string]bool              // names and ids
	onlyNames map[string]string            // zone id → the name that all who name it give to it, and to no other
	regions   map[string]bool
	clusters  map[string][]EKSCluster

	held   int // addresses of interfaces
	counts []Count
}

// everywhere is the number of no VPC: under it stand the addresses that mean the same
// everywhere.
const everywhere = 0

// Count is how many entities of a kind the index holds.
type Count struct {
	Kind string // as the section of the topology file is called
	N    int
}

// Counts gives the entities held, always of every kind, in a fixed order.
func (x *Index) Counts() []Count { return x.counts }

// Addresses is how many addresses of interfaces are held, which most of the memory is for.
func (x *Index) Addresses() int { return x.held }

// Instance finds a host by its id.
func (x *Index) Instance(id string) InstanceNode {
	return InstanceNode{x, x.byInstanceID.find(id, func(n uint32) bool { return x.instanceID(n) == id })}
}

func (x *Index) instanceID(n uint32) string {
	end := uint32(len(x.instanceIDs))
	if int(n)+1 < len(x.instances) {
		end = x.instances[n+1].id
	}
	return x.instanceIDs[x.instances[n].id:end]
}

// VPC finds a VPC by its id, described or only referred to; nil when it is not known.
func (x *Index) VPC(id string) *VPCNode { return x.vpcs[id] }

// In finds who holds an address in one VPC: an interface that has it, else one that has
// a delegated prefix around it, else the subnet. ok is false when not even a
// subnet of the VPC contains it.
func (x *Index) In(v *VPCNode, a netip.Addr) (Place, bool) {
	if p, ok := x.exact(v, a); ok {
		return p, true
	}
	s := v.subnets.find(a)
	return Place{Subnet: x.subnetList[s]}, s != 0
}

// exact finds the interface of a VPC that has an address or a prefix around it.
func (x *Index) exact(v *VPCNode, a netip.Addr) (Place, bool) {
	if v.number == everywhere {
		return Place{}, false
	}
	h := x.holder(v.number, a)
	return x.place(h), h.iface != 0
}

func (x *Index) place(h holder) Place {
	if h.subnet == several {
		return InterfaceNode{x, h.iface}.place()
	}
	return Place{x.subnetList[h.subnet], InterfaceNode{x, h.iface}}
}

// holder finds who has an address under a VPC's number. An address of an interface's own is
// sought before delegated prefixes, and longer ones of these before shorter ones.
func (x *Index) holder(vpc uint32, a netip.Addr) holder {
	var h holder
	if a.Is4() {
		if own := false; len(x.delegated) == 0 || vpc == everywhere {
			h, _ = x.addresses4.find(vpc, host4(a))
			return h
		} else if h, own = x.addresses4.find(vpc, host4(a)); own {
			return h
		}
	} else {
		high, low := words(a)
		if h = x.addresses6.find(vpc, high, low); h.iface != 0 {
			return h
		}
	}
	if vpc == everywhere {
		return holder{}
	}
	high, low := words(a)
	for k := range x.delegated {
		d := &x.delegated[k]
		if h.iface != 0 && d.length < mapped+32-groupBits {
			break // of shorter prefixes than the /28 that was found
		}
		if h := d.find(vpc, high&d.high, low&d.low); h.iface != 0 {
			return h
		}
	}
	return h
}

// mapped is how much longer the prefix of an IPv4 block is as that of an IPv6 one.
const mapped = 96

// Interfaces gives all interfaces, in any VPC, that have the address, as one of their
// own or within a delegated prefix. They are looked for in the VPCs that have a subnet
// around it, and among the few that a source describes outside their subnet.
func (x *Index) Interfaces(a netip.Addr) iter.Seq[InterfaceNode] {
	return func(yield func(InterfaceNode) bool) {
		for s := range x.Subnets(a) {
			if p, ok := x.exact(s.VPC, a); ok && p.Subnet == s && !yield(p.Interface) {
				return
			}
		}
		if x.strays.Size() == 0 {
			return
		}
		for _, holders := range x.strays.Supernets(host(a)) {
			for _, i := range holders {
				n := InterfaceNode{x, i}
				// In its VPC another one may have the address, or a longer prefix.
				if p, _ := x.exact(n.Subnet().VPC, a); p.Interface == n && !yield(n) {
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
	if h := x.holder(everywhere, a); h.iface != 0 {
		return x.place(h), 1
	}
	if !a.Is6() || a.IsPrivate() {
		return Place{}, 0
	}
	for iface := range x.Interfaces(a) {
		p, n = iface.place(), n+1
	}
	if n > 0 {
		return p, n
	}
	for s := range x.Subnets(a) {
		p, n = Place{Subnet: s}, n+1
	}
	return p, n
}

// PublicVPC finds the VPC that has a global IPv6 address in its CIDRs. More than one VPC
// with it, which only a wrong description can have, is none: n counts them.
func (x *Index) PublicVPC(a netip.Addr) (v *VPCNode, n int) {
	if !a.Is6() || a.IsPrivate() {
		return nil, 0
	}
	vpcs, _ := x.vpcsBy.Lookup(a)
	if len(vpcs) != 1 {
		return nil, len(vpcs)
	}
	return vpcs[0], 1
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

// OnlyZoneName gives the name of a subnet's zone where everybody whose names are known
// calls it so, and no other zone: what the name means to a reader who has no other
// account in mind. "" where there is none.
func (x *Index) OnlyZoneName(s *SubnetNode) string { return x.onlyNames[s.Zone.ID] }

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
