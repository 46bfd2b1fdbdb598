// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// The nodes are the compiled topology: what the model ties together by ids is tied by
// pointers here, but for interfaces and instances, of which there may be millions. All of
// it is read-only after [Build] and safe for concurrent use.

// VPCNode is a VPC. One that is only referred to has Described false, and of the rest
// what the reference says.
type VPCNode struct {
	ID, Region, Account string
	CIDRs               []netip.Prefix
	Described           bool
	InternetGateway     string // id, "" when none is known
	Peerings            []*PeeringNode
	TransitGateways     []*AttachmentNode

	resolver        netip.Addr // the VPC's DNS server: base of the primary IPv4 CIDR plus two
	listsInterfaces bool
	subnets         segments
	number          uint32 // in the tables of addresses; 0 of a VPC that is not described
}

// SubnetNode is a subnet with the route table that is in force for it.
type SubnetNode struct {
	ID       string
	VPC      *VPCNode
	Account  string   // the owner's
	Shared   []string // other accounts that may have interfaces here
	Zone     *ZoneNode
	ZoneName string          // the owner's name of the zone
	Table    *RouteTableNode // nil: no route data

	blocks []netip.Prefix
	number uint32 // in Index.subnetList
}

// ZoneNode is a zone by its id. One that is known only by a name has no ID.
type ZoneNode struct {
	ID, Region string
	Type       ZoneType
}

// InterfaceExtra is what is known of the few interfaces that are not plain ones.
type InterfaceExtra struct {
	Service    string // the service that owns the interface
	Endpoint   *EndpointNode
	NATGateway string
	K8S        *K8S
}

// TargetKind is what a route leads to.
type TargetKind uint8

const (
	TargetNone TargetKind = iota // a black hole, or something this model does not follow
	TargetLocal
	TargetTransitGateway
	TargetPeering
	TargetNATGateway
	TargetInternetGateway
	TargetEgressOnlyInternetGateway
	TargetEndpoint
	TargetVPNGateway
	TargetLocalGateway
	TargetInterface
	TargetOutside // a carrier gateway or a core network
)

// RouteNode is a route in force.
type RouteNode struct {
	Kind      TargetKind
	ID        string // of the target
	Blackhole bool
	// Uncertain: a route to a prefix list that nobody describes may be a longer one.
	Uncertain bool

	// The one that Kind names is set; nil when it is not described.
	TransitGateway *TransitGatewayNode
	Peering        *PeeringNode
	NATGateway     *NATGatewayNode
	Endpoint       *EndpointNode
	Interface      InterfaceNode
}

// RouteTableNode routes for the subnets it is associated with.
type RouteTableNode struct {
	ID     string
	VPC    *VPCNode
	routes bart.Table[*RouteNode]
}

// Lookup gives the route with the longest prefix that contains a; nil when none does.
func (t *RouteTableNode) Lookup(a netip.Addr) *RouteNode {
	r, _ := t.routes.Lookup(a)
	return r
}

// PeeringNode joins two VPCs.
type PeeringNode struct {
	ID                  string
	Requester, Accepter *VPCNode
	Active              bool
}

// Other is the side that is not v.
func (p *PeeringNode) Other(v *VPCNode) *VPCNode {
	if p.Requester == v {
		return p.Accepter
	}
	return p.Requester
}

// TransitGatewayNode is a transit gateway.
type TransitGatewayNode struct {
	ID, Region  string
	Described   bool
	HasTables   bool // false: no route data, only who is attached
	Attachments []*AttachmentNode
}

// AttachmentNode is one of the things a transit gateway joins.
type AttachmentNode struct {
	ID             string
	Type           AttachmentType
	TransitGateway *TransitGatewayNode
	VPC            *VPCNode      // of a VPC attachment
	Subnets        []*SubnetNode // where it enters the VPC
	Peer           *TransitGatewayNode
	PeerRegion     string
	Table          *TransitGatewayTableNode // nil: not associated with any
}

// TransitGatewayTableNode routes what comes in by its attachments.
type TransitGatewayTableNode struct {
	ID     string
	routes bart.Table[*TransitGatewayRouteNode]
}

// Lookup gives the route with the longest prefix that contains a; nil when none does.
func (t *TransitGatewayTableNode) Lookup(a netip.Addr) *TransitGatewayRouteNode {
	r, _ := t.routes.Lookup(a)
	return r
}

// TransitGatewayRouteNode is a route of a transit gateway.
type TransitGatewayRouteNode struct {
	Attachment *AttachmentNode // nil for a black hole
	Blackhole  bool
	// Uncertain: another attachment has an equal route, or may have one, or a longer one,
	// that is not described.
	Uncertain bool
	rank      uint8
}

// NATGatewayNode is a NAT gateway. A regional one has no subnet.
type NATGatewayNode struct {
	ID      string
	VPC     *VPCNode
	Subnet  *SubnetNode
	Private bool
}

// EndpointNode is a VPC endpoint with the service it leads to.
type EndpointNode struct {
	ID, Service, Region string
	Type                EndpointType
	VPC                 *VPCNode
	Subnets             []*SubnetNode
}

// ServiceRef names a service in a Region, "" where it is global.
type ServiceRef struct{ Service, Region string }
