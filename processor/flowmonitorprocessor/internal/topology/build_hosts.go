// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"
	"slices"
	"strings"
)

// owner gives an account its number.
func (b *builder) owner(account string) uint32 {
	n, known := b.owners[account]
	if !known {
		n = uint32(len(b.x.owners))
		b.x.owners = append(b.x.owners, account)
		b.owners[account] = n
	}
	return n
}

// hosts makes the instances, those that only an interface names included. Of two
// descriptions the first wins.
func (b *builder) hosts() {
	x, t := b.x, b.t
	n, length := len(t.Instances)+1, 0
	for i := range t.Instances {
		length += len(t.Instances[i].InstanceID)
	}
	for i := range t.NetworkInterfaces {
		if id := t.NetworkInterfaces[i].InstanceID; id != "" {
			n, length = n+1, length+len(id)
		}
	}
	x.byInstanceID = newIDTable(n)
	x.instances = make([]instanceData, 1, n)
	b.hostIDs.Grow(length)
	for i := range t.Instances {
		m := &t.Instances[i]
		if h, fresh := b.host(m.InstanceID); fresh {
			h.owner = b.owner(m.OwnerID)
			if m.K8S != nil {
				h.k8s = uint32(len(x.k8s))
				x.k8s = append(x.k8s, m.K8S)
			}
		}
	}
	for i := range t.NetworkInterfaces {
		if id := t.NetworkInterfaces[i].InstanceID; id != "" {
			b.host(id)
		}
	}
	// Of instances with several interfaces too much was reserved.
	x.instances, x.instanceIDs = slices.Clone(x.instances), strings.Clone(x.instanceIDs)
}

// host gives the instance with this id, and whether it was not there before.
func (b *builder) host(id string) (h *instanceData, fresh bool) {
	x := b.x
	slot := x.byInstanceID.slot(id, func(n uint32) bool { return x.instanceID(n) == id })
	n := x.byInstanceID.slots[slot]
	if n == 0 {
		n, fresh = uint32(len(x.instances)), true
		x.byInstanceID.slots[slot] = n
		x.instances = append(x.instances, instanceData{id: b.hostIDs.add(id)})
		x.instanceIDs = b.hostIDs.String()
	}
	return &x.instances[n], fresh
}

// interfaceNodes makes the interfaces.
func (b *builder) interfaceNodes() {
	x, t := b.x, b.t
	n := len(t.NetworkInterfaces) + len(t.NATGateways) + 1
	x.interfaces = make([]interfaceData, 1, n)
	b.interfaces = newIDTable(n)
	b.from = make([]uint32, 1, n)
	length := 0
	for i := range t.NetworkInterfaces {
		length += len(t.NetworkInterfaces[i].NetworkInterfaceID)
	}
	b.ids.Grow(length)
	b.unlisted = map[string]uint32{}
	extras := b.knownExtras()
	for i := range t.NetworkInterfaces {
		m := &t.NetworkInterfaces[i]
		s := x.subnets[m.SubnetID]
		if s == nil {
			continue
		}
		slot := b.interfaces.slot(m.NetworkInterfaceID, func(n uint32) bool { return b.interfaceID(n) == m.NetworkInterfaceID })
		if b.interfaces.slots[slot] != 0 {
			continue
		}
		s.VPC.listsInterfaces = true
		d := interfaceData{id: b.ids.add(m.NetworkInterfaceID), owner: b.owner(m.OwnerID), subnet: s.number}
		if m.InstanceID != "" {
			d.instance = x.Instance(m.InstanceID).n
		}
		if e := b.extraOf(m, extras[m.NetworkInterfaceID]); e != (InterfaceExtra{}) {
			d.extra = b.extra(e)
		}
		b.interfaces.slots[slot] = b.newInterface(d)
		b.from = append(b.from, uint32(i))
	}
	for i := range t.NATGateways {
		b.unlistedNAT(&t.NATGateways[i])
	}
	for i := len(x.interfaces) - 1; i > 0; i-- { // from behind, so that each list is in order
		if h := x.interfaces[i].instance; h != 0 {
			x.interfaces[i].next = x.instances[h].first
			x.instances[h].first = uint32(i)
		}
	}
}

func (b *builder) newInterface(d interfaceData) uint32 {
	x := b.x
	x.interfaces = append(x.interfaces, d)
	x.interfaceIDs = b.ids.String()
	return uint32(len(x.interfaces) - 1)
}

func (b *builder) interfaceID(n uint32) string { return InterfaceNode{b.x, n}.ID() }

// interfaceNumber finds an interface by its id; 0 when it is not known.
func (b *builder) interfaceNumber(id string) uint32 {
	if id == "" {
		return 0
	}
	return b.interfaces.find(id, func(n uint32) bool { return b.interfaceID(n) == id })
}

func (b *builder) extra(e InterfaceExtra) uint32 {
	b.x.extras = append(b.x.extras, e)
	return uint32(len(b.x.extras) - 1)
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

func (b *builder) extraOf(m *NetworkInterface, e InterfaceExtra) InterfaceExtra {
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
	return e
}

// unlistedNAT stands in for the interface of a NAT gateway whose addresses are listed
// and whose interface is not. All such addresses of a gateway go by one node.
func (b *builder) unlistedNAT(m *NATGateway) {
	g := b.nats[m.NATGatewayID]
	if g == nil || g.Subnet == nil || b.unlisted[g.ID] != 0 {
		return
	}
	for _, a := range m.NATGatewayAddresses {
		if b.interfaceNumber(a.NetworkInterfaceID) == 0 {
			b.unlisted[g.ID] = b.newInterface(interfaceData{
				id: b.ids.add(""), subnet: g.Subnet.number, extra: b.extra(InterfaceExtra{NATGateway: g.ID}),
			})
			return
		}
	}
}

// holderOf gives the interface that has an address of a NAT gateway.
func (b *builder) holderOf(m *NATGateway, a *NATGatewayAddress) uint32 {
	if n := b.interfaceNumber(a.NetworkInterfaceID); n != 0 {
		return n
	}
	return b.unlisted[m.NATGatewayID]
}

// isStray tells what lies outside the subnet of its interface.
func isStray(s *SubnetNode, p netip.Prefix) bool {
	for _, c := range s.blocks {
		if c.Bits() <= p.Bits() && c.Contains(p.Addr()) {
			return false
		}
	}
	return true
}
