// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
)

func (b *builder) interfaceNodes() {
	x, t := b.x, b.t
	x.interfaces = make([]InterfaceNode, 0, len(t.NetworkInterfaces)+len(t.NATGateways))
	extras := b.knownExtras()
	seen := make(map[string]bool, len(t.NetworkInterfaces))
	for i := range t.NetworkInterfaces {
		m := &t.NetworkInterfaces[i]
		s := x.subnets[m.SubnetID]
		if s == nil || seen[m.NetworkInterfaceID] {
			continue
		}
		seen[m.NetworkInterfaceID] = true
		n := InterfaceNode{ID: m.NetworkInterfaceID, Owner: m.OwnerID, Subnet: s, Instance: x.instances[m.InstanceID]}
		n.extra = b.extraOf(m, extras[m.NetworkInterfaceID])
		s.VPC.listsInterfaces = true
		b.interfaces[n.ID] = uint32(len(x.interfaces))
		x.interfaces = append(x.interfaces, n)
	}
	// The pointers below hold because the slice does not grow any more but for NAT
	// gateways, for which there is room.
	for i := range t.NATGateways {
		b.unlistedNAT(&t.NATGateways[i])
	}
	for i := range x.interfaces {
		n := &x.interfaces[i]
		if h := n.Instance; h != nil {
			h.Interfaces = append(h.Interfaces, n)
			h.Account = cmp.Or(h.Account, n.Owner, n.Subnet.Account)
		}
	}
}

// knownExtras collects what endpoints and NAT gateways say of their interfaces.
func (b *builder) knownExtras() map[string]InterfaceExtra {
	extras := map[string]InterfaceExtra{}
	for i := range b.t.VPCEndpoints {
		m := &b.t.VPCEndpoints[i]
		for _, id := range m.NetworkInterfaceIDs {
			extras[id] = InterfaceExtra{Endpoint: b.endpoints[m.VPCEndpointID]}
		}
	}
	for i := range b.t.NATGateways {
		m := &b.t.NATGateways[i]
		for _, a := range m.NATGatewayAddresses {
			if a.NetworkInterfaceID != "" {
				extras[a.NetworkInterfaceID] = InterfaceExtra{NATGateway: m.NATGatewayID}
			}
		}
	}
	return extras
}

func (b *builder) extraOf(m *NetworkInterface, e InterfaceExtra) *InterfaceExtra {
	e.Service = serviceOf(m)
	e.K8S = m.K8S
	if k := clusterOf(m); k != "" && e.Service == "EKS" && e.K8S == nil {
		e.K8S = &K8S{ClusterName: k}
	}
	if e.Endpoint == nil {
		e.Endpoint = b.endpoints[endpointOf(m)]
	}
	if e.Endpoint == nil && isEndpoint(m) {
		// Which service it leads to is not known, but that it is one.
		e.Endpoint = &EndpointNode{ID: endpointOf(m), Type: EndpointInterface}
	}
	if e.NATGateway == "" {
		e.NATGateway = natGatewayOf(m)
	}
	if e == (InterfaceExtra{}) {
		return nil
	}
	return &e
}

// unlistedNAT stands in for the interface of a NAT gateway whose addresses are listed
// and whose interface is not. Room for it was made for one address each: of a gateway
// with several, the others go by the same node.
func (b *builder) unlistedNAT(m *NATGateway) {
	x := b.x
	g := b.nats[m.NATGatewayID]
	if g == nil || g.Subnet == nil {
		return
	}
	for _, a := range m.NATGatewayAddresses {
		if _, ok := b.interfaces[a.NetworkInterfaceID]; !ok {
			x.interfaces = append(x.interfaces, InterfaceNode{Subnet: g.Subnet, extra: &InterfaceExtra{NATGateway: g.ID}})
			b.interfaces[natKey(g.ID)] = uint32(len(x.interfaces) - 1)
			return
		}
	}
}

func natKey(id string) string { return "nat gateway " + id }

// addresses fills the tables that lead from an address to an interface.
func (b *builder) addresses() {
	x, t := b.x, b.t
	n := 0
	for i := range t.NetworkInterfaces {
		n += len(t.NetworkInterfaces[i].PrivateIPAddresses) + len(t.NetworkInterfaces[i].IPv6Addresses)
	}
	x.entries = make([]entry, 0, n)
	hold := func(i uint32, a netip.Addr) {
		if a.IsValid() {
			x.entries = append(x.entries, entry{address: a.As16(), vpc: x.interfaces[i].Subnet.VPC.number, iface: i})
		}
	}
	public := func(i uint32, a netip.Addr) {
		if key := a.As16(); a.IsValid() {
			if _, taken := x.public[key]; !taken {
				x.public[key] = i
			}
		}
	}
	for k := range t.NetworkInterfaces {
		m := &t.NetworkInterfaces[k]
		i, ok := b.interfaces[m.NetworkInterfaceID]
		if !ok {
			continue
		}
		for _, a := range m.PrivateIPAddresses {
			hold(i, a)
		}
		for _, a := range m.IPv6Addresses {
			hold(i, a)
		}
		for _, a := range m.Associations {
			public(i, a.PublicIP)
		}
		b.delegate(&x.interfaces[i], m.IPv4Prefixes)
		b.delegate(&x.interfaces[i], m.IPv6Prefixes)
	}
	for k := range t.NATGateways {
		m := &t.NATGateways[k]
		for _, a := range m.NATGatewayAddresses {
			i, ok := b.interfaces[a.NetworkInterfaceID]
			if !ok {
				i, ok = b.interfaces[natKey(m.NATGatewayID)]
			}
			if ok {
				hold(i, a.PrivateIP)
				public(i, a.PublicIP)
			}
		}
	}
	slices.SortStableFunc(x.entries, func(a, c entry) int {
		if d := bytes.Compare(a.address[:], c.address[:]); d != 0 {
			return d
		}
		return cmp.Compare(a.vpc, c.vpc)
	})
	x.entries = slices.CompactFunc(x.entries, func(a, c entry) bool { return a.address == c.address && a.vpc == c.vpc })
	x.first = make(map[[16]byte]uint32, len(x.entries))
	for i := len(x.entries) - 1; i >= 0; i-- {
		x.first[x.entries[i].address] = uint32(i)
	}
}

func (b *builder) delegate(n *InterfaceNode, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		n.Subnet.VPC.places.Insert(p, Place{n.Subnet, n})
		b.x.delegated.Modify(p, func(old []*InterfaceNode, _ bool) ([]*InterfaceNode, bool) { return append(old, n), false })
	}
}
