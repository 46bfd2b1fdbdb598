// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// ServiceBlocks gives the CIDRs that AWS publishes for a service in a Region. It
// stands in where a topology names the prefix list of a service without its entries.
type ServiceBlocks func(service, region string) []netip.Prefix

// Build compiles a topology. It never fails: a reference that leads nowhere, which a
// live account has while it changes, is left out. Where two things claim one
// identity or address, the first wins. t may be dropped afterwards.
func Build(t *Topology, blocks ServiceBlocks) *Index {
	b := &builder{
		t: t, blocks: blocks,
		x: &Index{
			vpcs: map[string]*VPCNode{}, subnets: map[string]*SubnetNode{}, instances: map[string]*InstanceNode{},
			zones: map[string]map[string]string{}, zoneNames: map[string]bool{}, regions: map[string]bool{},
			clusters: map[string][]EKSCluster{}, public: map[[16]byte]uint32{},
		},
		zones: map[string]*ZoneNode{}, tables: map[string]*RouteTableNode{}, interfaces: map[string]uint32{},
		nats: map[string]*NATGatewayNode{}, endpoints: map[string]*EndpointNode{}, peerings: map[string]*PeeringNode{},
		transit: map[string]*TransitGatewayNode{}, lists: map[string][]netip.Prefix{}, gatewaysOf: map[string][]*VPCEndpoint{},
	}
	b.places()
	b.hosts()
	b.endpointNodes()
	b.interfaceNodes()
	b.addresses()
	b.prefixLists()
	b.peeringNodes()
	b.transitGateways()
	b.routeTables()
	b.counts()
	return b.x
}

type builder struct {
	t      *Topology
	blocks ServiceBlocks
	x      *Index

	zones      map[string]*ZoneNode
	tables     map[string]*RouteTableNode
	interfaces map[string]uint32 // id → index
	nats       map[string]*NATGatewayNode
	endpoints  map[string]*EndpointNode
	peerings   map[string]*PeeringNode
	transit    map[string]*TransitGatewayNode
	lists      map[string][]netip.Prefix
	described  map[string]*AvailabilityZone
	aliases    map[alias]string          // → zone id
	gatewaysOf map[string][]*VPCEndpoint // route table id → gateway endpoints that say it is theirs
}

// places makes VPCs, zones and subnets.
func (b *builder) places() {
	x, t := b.x, b.t
	for _, r := range t.Regions {
		x.regions[r.RegionName] = true
	}
	b.describedZones()
	for i := range t.VPCs {
		m := &t.VPCs[i]
		if x.vpcs[m.VPCID] != nil {
			continue
		}
		v := &VPCNode{ID: m.VPCID, Region: m.Region, Account: m.OwnerID, CIDRs: m.CIDRBlocks, Described: true, number: uint32(len(x.numbered))}
		for _, c := range m.CIDRBlocks {
			if c.Addr().Is4() { // the DNS server is at the primary CIDR only
				v.resolver = c.Masked().Addr().Next().Next()
				break
			}
		}
		x.vpcs[v.ID] = v
		x.numbered = append(x.numbered, v)
		x.regions[v.Region] = true
	}
	for _, g := range t.InternetGateways {
		if v := x.vpcs[g.VPCID]; v != nil && v.InternetGateway == "" {
			v.InternetGateway = g.InternetGatewayID
		}
	}
	for i := range t.Subnets {
		m := &t.Subnets[i]
		if v := x.vpcs[m.VPCID]; v != nil {
			b.alias(cmp.Or(m.OwnerID, v.Account), v.Region, m.AvailabilityZone, m.AvailabilityZoneID)
		}
	}
	for i := range t.Subnets {
		m := &t.Subnets[i]
		v := x.vpcs[m.VPCID]
		if v == nil || x.subnets[m.SubnetID] != nil {
			continue
		}
		s := &SubnetNode{ID: m.SubnetID, VPC: v, Account: cmp.Or(m.OwnerID, v.Account), Shared: m.SharedWith, ZoneName: m.AvailabilityZone}
		b.zoneOf(s, m)
		x.subnets[s.ID] = s
		for _, c := range m.CIDRBlocks {
			v.places.Insert(c, Place{Subnet: s})
			x.subnetsBy.Modify(c, func(old []*SubnetNode, _ bool) ([]*SubnetNode, bool) { return append(old, s), false })
		}
	}
}

// alias is a name of a zone.
type alias struct{ account, region, name string }

// describedZones learns the zones that are listed, and the names that subnets give
// together with an id.
func (b *builder) describedZones() {
	b.described = make(map[string]*AvailabilityZone, len(b.t.AvailabilityZones))
	b.aliases = map[alias]string{}
	for i := range b.t.AvailabilityZones {
		z := &b.t.AvailabilityZones[i]
		if b.described[z.ZoneID] == nil {
			b.described[z.ZoneID] = z
		}
		b.x.regions[z.RegionName] = true
		b.nameZone(z.ZoneID, z.AccountID, z.ZoneName)
		b.alias(z.AccountID, z.RegionName, z.ZoneName, z.ZoneID)
	}
}

func (b *builder) alias(account, region, name, id string) {
	key := alias{account, region, name}
	if _, known := b.aliases[key]; !known && name != "" && id != "" {
		b.aliases[key] = id
	}
}

func (b *builder) nameZone(id, account, name string) {
	x := b.x
	x.zoneNames[id] = true
	if name == "" {
		return
	}
	x.zoneNames[name] = true
	if x.zones[id] == nil {
		x.zones[id] = map[string]string{}
	}
	if _, ok := x.zones[id][account]; !ok {
		x.zones[id][account] = name
	}
}

func (b *builder) zoneOf(s *SubnetNode, m *Subnet) {
	id := m.AvailabilityZoneID
	if id == "" { // the owner's name may lead to the id
		id = cmp.Or(b.aliases[alias{s.Account, s.VPC.Region, m.AvailabilityZone}], b.aliases[alias{"", s.VPC.Region, m.AvailabilityZone}])
	}
	if id == "" {
		b.x.zoneNames[m.AvailabilityZone] = true
		s.Zone = &ZoneNode{Region: s.VPC.Region, Type: zoneTypeOf(m.AvailabilityZone)}
		return
	}
	if b.zones[id] == nil {
		z := &ZoneNode{ID: id, Region: s.VPC.Region, Type: zoneTypeOf(id)}
		if d := b.described[id]; d != nil {
			z.Region = d.RegionName
			if d.ZoneType != ZoneUnspecified {
				z.Type = d.ZoneType
			}
		}
		b.zones[id] = z
	}
	s.Zone = b.zones[id]
	b.x.zoneNames[id] = true
	if m.AvailabilityZone != "" {
		b.nameZone(id, s.Account, m.AvailabilityZone)
	} else {
		s.ZoneName = b.x.ZoneName(s, s.Account)
	}
}

// zoneTypeOf tells the type by the form of a zone's id or name: euw1-az1 and eu-west-1a,
// usw2-lax1-az1 and us-west-2-lax-1a, use1-wl1-bos-wlz1 and us-east-1-wl1-bos-wlz-1.
func zoneTypeOf(zone string) ZoneType {
	parts := strings.Split(zone, "-")
	last := parts[len(parts)-1]
	switch {
	case strings.Contains(zone, "-wl"):
		return ZoneWavelength
	case strings.HasPrefix(last, "az"):
		if len(parts) > 2 {
			return ZoneLocal
		}
	case len(last) == 2 && last[0] >= '0' && last[0] <= '9' && len(parts) >= 5 && len(parts[len(parts)-2]) == 3:
		return ZoneLocal
	}
	return ZoneAvailability
}

// hosts makes the instances, those that only an interface names included, and the clusters.
func (b *builder) hosts() {
	x := b.x
	for i := range b.t.Instances {
		m := &b.t.Instances[i]
		if x.instances[m.InstanceID] == nil {
			x.instances[m.InstanceID] = &InstanceNode{ID: m.InstanceID, Account: m.OwnerID, K8S: m.K8S}
		}
		b.cluster(m.K8S)
	}
	for i := range b.t.NetworkInterfaces {
		m := &b.t.NetworkInterfaces[i]
		if id := m.InstanceID; id != "" && x.instances[id] == nil {
			x.instances[id] = &InstanceNode{ID: id}
		}
		b.cluster(m.K8S)
	}
	for _, k := range b.t.EKSClusters {
		if region, account, ok := clusterARN(k.ARN); ok {
			k.Region, k.OwnerID = cmp.Or(k.Region, region), cmp.Or(k.OwnerID, account)
		}
		x.clusters[k.Name] = append(x.clusters[k.Name], k)
	}
}

func (b *builder) cluster(k *K8S) {
	if k != nil && k.ClusterName != "" && b.x.clusters[k.ClusterName] == nil {
		b.x.clusters[k.ClusterName] = []EKSCluster{{Name: k.ClusterName}}
	}
}

// clusterARN takes arn:aws:eks:<region>:<account>:cluster/<name> apart.
func clusterARN(arn string) (region, account string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "eks" {
		return "", "", false
	}
	return parts[3], parts[4], true
}

func (b *builder) endpointNodes() {
	for i := range b.t.VPCEndpoints {
		m := &b.t.VPCEndpoints[i]
		v := b.x.vpcs[m.VPCID]
		if v == nil || b.endpoints[m.VPCEndpointID] != nil {
			continue
		}
		e := &EndpointNode{ID: m.VPCEndpointID, Type: m.VPCEndpointType, VPC: v, Region: v.Region}
		service, region, ok := parseServiceName(m.ServiceName)
		if !ok {
			service = m.ServiceName
		}
		e.Service, e.Region = service, cmp.Or(region, v.Region)
		for _, id := range m.SubnetIDs {
			if s := b.x.subnets[id]; s != nil {
				e.Subnets = append(e.Subnets, s)
			}
		}
		b.endpoints[e.ID] = e
		if e.Type == EndpointGateway {
			for _, id := range m.RouteTableIDs {
				b.gatewaysOf[id] = append(b.gatewaysOf[id], m)
			}
		}
	}
	for i := range b.t.NATGateways {
		m := &b.t.NATGateways[i]
		g := &NATGatewayNode{ID: m.NATGatewayID, Subnet: b.x.subnets[m.SubnetID], Private: m.ConnectivityType == ConnectivityPrivate}
		if g.Subnet != nil {
			g.VPC = g.Subnet.VPC
		} else {
			g.VPC = b.x.vpcs[m.VPCID]
		}
		if g.VPC != nil && b.nats[g.ID] == nil {
			b.nats[g.ID] = g
		}
	}
}

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

func (b *builder) counts() {
	t := b.t
	b.x.counts = []Count{
		{"accounts", len(t.Accounts)}, {"regions", len(t.Regions)}, {"availability_zones", len(t.AvailabilityZones)},
		{"vpcs", len(t.VPCs)}, {"subnets", len(t.Subnets)}, {"network_interfaces", len(t.NetworkInterfaces)},
		{"addresses", len(b.x.entries)}, {"instances", len(b.x.instances)}, {"route_tables", len(t.RouteTables)},
		{"transit_gateways", len(t.TransitGateways)}, {"vpc_peering_connections", len(t.VPCPeeringConnections)},
		{"nat_gateways", len(t.NATGateways)}, {"internet_gateways", len(t.InternetGateways)},
		{"egress_only_internet_gateways", len(t.EgressOnlyInternetGateways)}, {"vpn_gateways", len(t.VPNGateways)},
		{"local_gateways", len(t.LocalGateways)}, {"vpc_endpoints", len(t.VPCEndpoints)},
		{"prefix_lists", len(t.PrefixLists)}, {"eks_clusters", len(t.EKSClusters)},
	}
}
