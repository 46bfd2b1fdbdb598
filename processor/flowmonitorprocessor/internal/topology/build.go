// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
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
			vpcs: map[string]*VPCNode{}, subnets: map[string]*SubnetNode{},
			zones: map[string]map[string]string{}, zoneNames: map[string]bool{}, regions: map[string]bool{},
			clusters: map[string][]EKSCluster{},
			// Numbers begin at 1.
			interfaces: make([]interfaceData, 1), instances: make([]instanceData, 1), owners: make([]string, 1),
			extras: make([]InterfaceExtra, 1), k8s: make([]*K8S, 1), subnetList: make([]*SubnetNode, 1),
		},
		zones: map[string]*ZoneNode{}, tables: map[string]*RouteTableNode{}, owners: map[string]uint32{"": 0}, unnumbered: map[string]bool{},
		nats: map[string]*NATGatewayNode{}, endpoints: map[string]*EndpointNode{}, peerings: map[string]*PeeringNode{},
		transit: map[string]*TransitGatewayNode{}, lists: map[string][]netip.Prefix{}, gatewaysOf: map[string][]*VPCEndpoint{},
	}
	b.places()
	b.onlyZoneNames()
	b.hosts()
	b.clusters()
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
	owners     map[string]uint32 // account → number
	interfaces idTable           // by id
	hostIDs    text
	ids        text              // of interfaces
	from       []uint32          // by number of an interface: where in the list it was described
	unlisted   map[string]uint32 // NAT gateway → the interface that stands for its addresses
	nats       map[string]*NATGatewayNode
	endpoints  map[string]*EndpointNode
	peerings   map[string]*PeeringNode
	transit    map[string]*TransitGatewayNode
	lists      map[string][]netip.Prefix
	described  map[string]*AvailabilityZone
	aliases    map[alias]string          // → zone id
	unnumbered map[string]bool           // names of zones that somebody gives to a zone of unknown id
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
		v := &VPCNode{ID: m.VPCID, Region: m.Region, Account: m.OwnerID, CIDRs: m.CIDRBlocks, Described: true, number: uint32(len(x.vpcs) + 1)}
		for _, c := range m.CIDRBlocks {
			if c.Addr().Is4() { // the DNS server is at the primary CIDR only
				v.resolver = c.Masked().Addr().Next().Next()
				break
			}
		}
		for _, c := range m.CIDRBlocks {
			if c.Addr().Is6() {
				x.vpcsBy.Modify(c, func(old []*VPCNode, _ bool) ([]*VPCNode, bool) { return append(old, v), false })
			}
		}
		x.vpcs[v.ID] = v
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
			owner := zoneOwner(cmp.Or(m.OwnerID, v.Account), v)
			b.alias(owner, v.Region, m.AvailabilityZone, m.AvailabilityZoneID)
			if m.AvailabilityZoneID != "" {
				b.nameZone(m.AvailabilityZoneID, owner, m.AvailabilityZone)
			}
		}
	}
	within := map[*VPCNode]*bart.Table[*SubnetNode]{}
	for i := range t.Subnets {
		m := &t.Subnets[i]
		v := x.vpcs[m.VPCID]
		if v == nil || x.subnets[m.SubnetID] != nil {
			continue
		}
		s := &SubnetNode{ID: m.SubnetID, VPC: v, Account: cmp.Or(m.OwnerID, v.Account), Shared: m.SharedWith, ZoneName: m.AvailabilityZone,
			blocks: m.CIDRBlocks, number: uint32(len(x.subnetList))}
		x.subnetList = append(x.subnetList, s)
		b.zoneOf(s, m)
		x.subnets[s.ID] = s
		for _, c := range m.CIDRBlocks {
			of := within[v]
			if of == nil {
				of = new(bart.Table[*SubnetNode])
				within[v] = of
			}
			of.Insert(c, s)
			x.subnetsBy.Modify(c, func(old []*SubnetNode, _ bool) ([]*SubnetNode, bool) { return append(old, s), false })
		}
	}
	for v, table := range within {
		v.subnets = newSegments(table)
	}
}

// clusters notes the EKS clusters that are described, and those that are only named.
func (b *builder) clusters() {
	for i := range b.t.Instances {
		b.cluster(b.t.Instances[i].K8S)
	}
	for i := range b.t.NetworkInterfaces {
		b.cluster(b.t.NetworkInterfaces[i].K8S)
	}
	for _, k := range b.t.EKSClusters {
		if region, account, ok := clusterARN(k.ARN); ok {
			k.Region, k.OwnerID = cmp.Or(k.Region, region), cmp.Or(k.OwnerID, account)
		}
		b.x.clusters[k.Name] = append(b.x.clusters[k.Name], k)
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

func (b *builder) counts() {
	t := b.t
	b.x.counts = []Count{
		{"accounts", len(t.Accounts)}, {"regions", len(t.Regions)}, {"availability_zones", len(t.AvailabilityZones)},
		{"vpcs", len(t.VPCs)}, {"subnets", len(t.Subnets)}, {"network_interfaces", len(t.NetworkInterfaces)},
		{"addresses", b.x.held}, {"instances", len(b.x.instances) - 1}, {"route_tables", len(t.RouteTables)},
		{"transit_gateways", len(t.TransitGateways)}, {"vpc_peering_connections", len(t.VPCPeeringConnections)},
		{"nat_gateways", len(t.NATGateways)}, {"internet_gateways", len(t.InternetGateways)},
		{"egress_only_internet_gateways", len(t.EgressOnlyInternetGateways)}, {"vpn_gateways", len(t.VPNGateways)}, {"vpn_connections", len(t.VPNConnections)},
		{"local_gateways", len(t.LocalGateways)}, {"vpc_endpoints", len(t.VPCEndpoints)},
		{"prefix_lists", len(t.PrefixLists)}, {"eks_clusters", len(t.EKSClusters)},
	}
}
