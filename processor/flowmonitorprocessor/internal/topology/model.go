// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import "net/netip"

// Topology is what one or more sources know, as flat lists tied together by ids. The
// names of the fields are those of the EC2 API in snake case: in a topology file (yaml)
// and in a snapshot (json).
type Topology struct {
	Accounts                   []Account                   `yaml:"accounts" json:"accounts,omitzero"`
	Regions                    []Region                    `yaml:"regions" json:"regions,omitzero"`
	AvailabilityZones          []AvailabilityZone          `yaml:"availability_zones" json:"availability_zones,omitzero"`
	VPCs                       []VPC                       `yaml:"vpcs" json:"vpcs,omitzero"`
	Subnets                    []Subnet                    `yaml:"subnets" json:"subnets,omitzero"`
	NetworkInterfaces          []NetworkInterface          `yaml:"network_interfaces" json:"network_interfaces,omitzero"`
	Instances                  []Instance                  `yaml:"instances" json:"instances,omitzero"`
	RouteTables                []RouteTable                `yaml:"route_tables" json:"route_tables,omitzero"`
	TransitGateways            []TransitGateway            `yaml:"transit_gateways" json:"transit_gateways,omitzero"`
	VPCPeeringConnections      []VPCPeeringConnection      `yaml:"vpc_peering_connections" json:"vpc_peering_connections,omitzero"`
	NATGateways                []NATGateway                `yaml:"nat_gateways" json:"nat_gateways,omitzero"`
	InternetGateways           []InternetGateway           `yaml:"internet_gateways" json:"internet_gateways,omitzero"`
	EgressOnlyInternetGateways []EgressOnlyInternetGateway `yaml:"egress_only_internet_gateways" json:"egress_only_internet_gateways,omitzero"`
	VPNGateways                []VPNGateway                `yaml:"vpn_gateways" json:"vpn_gateways,omitzero"`
	VPNConnections             []VPNConnection             `yaml:"vpn_connections" json:"vpn_connections,omitzero"`
	LocalGateways              []LocalGateway              `yaml:"local_gateways" json:"local_gateways,omitzero"`
	VPCEndpoints               []VPCEndpoint               `yaml:"vpc_endpoints" json:"vpc_endpoints,omitzero"`
	PrefixLists                []PrefixList                `yaml:"prefix_lists" json:"prefix_lists,omitzero"`
	EKSClusters                []EKSCluster                `yaml:"eks_clusters" json:"eks_clusters,omitzero"`
}

// Account is an AWS account that owns something here.
type Account struct {
	AccountID string `yaml:"account_id,required" json:"account_id,omitzero"`
	Name      string `yaml:"name" json:"name,omitzero"`
}

// Region is an AWS Region.
type Region struct {
	RegionName string `yaml:"region_name,required" json:"region_name,omitzero"`
}

// AvailabilityZone ties the id of a zone, which is the same for everybody, to its
// name, which is an alias of each account.
type AvailabilityZone struct {
	ZoneID             string   `yaml:"zone_id,required" json:"zone_id,omitzero"`
	ZoneName           string   `yaml:"zone_name" json:"zone_name,omitzero"`
	AccountID          string   `yaml:"account_id" json:"account_id,omitzero"` // whose alias ZoneName is; empty: everybody's
	ZoneType           ZoneType `yaml:"zone_type" json:"zone_type,omitzero"`
	RegionName         string   `yaml:"region_name,required" json:"region_name,omitzero"` // the parent Region
	ParentZoneID       string   `yaml:"parent_zone_id" json:"parent_zone_id,omitzero"`
	NetworkBorderGroup string   `yaml:"network_border_group" json:"network_border_group,omitzero"`
}

// VPC is a virtual private cloud.
type VPC struct {
	VPCID      string         `yaml:"vpc_id,required" json:"vpc_id,omitzero"`
	Region     string         `yaml:"region,required" json:"region,omitzero"`
	OwnerID    string         `yaml:"owner_id" json:"owner_id,omitzero"`
	CIDRBlocks []netip.Prefix `yaml:"cidr_blocks,required" json:"cidr_blocks,omitzero"` // the primary IPv4 CIDR first
	Name       string         `yaml:"name" json:"name,omitzero"`
}

// Subnet is a part of a VPC in one zone.
type Subnet struct {
	SubnetID           string         `yaml:"subnet_id,required" json:"subnet_id,omitzero"`
	VPCID              string         `yaml:"vpc_id,required" json:"vpc_id,omitzero"`
	CIDRBlocks         []netip.Prefix `yaml:"cidr_blocks,required" json:"cidr_blocks,omitzero"`
	AvailabilityZone   string         `yaml:"availability_zone" json:"availability_zone,omitzero"`       // the owner's name of the zone
	AvailabilityZoneID string         `yaml:"availability_zone_id" json:"availability_zone_id,omitzero"` // at least one of the two
	OwnerID            string         `yaml:"owner_id" json:"owner_id,omitzero"`                         // empty: the VPC's owner
	SharedWith         []string       `yaml:"shared_with" json:"shared_with,omitzero"`                   // accounts that may have interfaces in it
	RouteTableID       string         `yaml:"route_table_id" json:"route_table_id,omitzero"`             // explicit association
	Name               string         `yaml:"name" json:"name,omitzero"`
}

// NetworkInterface is an elastic network interface: what holds addresses.
type NetworkInterface struct {
	NetworkInterfaceID string         `yaml:"network_interface_id,required" json:"network_interface_id,omitzero"`
	SubnetID           string         `yaml:"subnet_id,required" json:"subnet_id,omitzero"`
	VPCID              string         `yaml:"vpc_id" json:"vpc_id,omitzero"` // follows from the subnet
	PrivateIPAddresses []netip.Addr   `yaml:"private_ip_addresses" json:"private_ip_addresses,omitzero"`
	IPv6Addresses      []netip.Addr   `yaml:"ipv6_addresses" json:"ipv6_addresses,omitzero"`
	IPv4Prefixes       []netip.Prefix `yaml:"ipv4_prefixes" json:"ipv4_prefixes,omitzero"` // delegated
	IPv6Prefixes       []netip.Prefix `yaml:"ipv6_prefixes" json:"ipv6_prefixes,omitzero"` // delegated
	Associations       []Association  `yaml:"associations" json:"associations,omitzero"`
	InstanceID         string         `yaml:"instance_id" json:"instance_id,omitzero"`
	InterfaceType      string         `yaml:"interface_type" json:"interface_type,omitzero"`
	Description        string         `yaml:"description" json:"description,omitzero"`
	OwnerID            string         `yaml:"owner_id" json:"owner_id,omitzero"` // may differ from the subnet's: shared subnets
	RequesterManaged   *bool          `yaml:"requester_managed" json:"requester_managed,omitzero"`
	K8S                *K8S           `yaml:"k8s" json:"k8s,omitzero"`
}

// Association is a public (Elastic or auto-assigned) address of an interface.
type Association struct {
	PublicIP         netip.Addr `yaml:"public_ip,required" json:"public_ip,omitzero"`
	PrivateIPAddress netip.Addr `yaml:"private_ip_address" json:"private_ip_address,omitzero"` // zero: the interface's first
}

// Instance is a host. An interface may name an instance that is not listed: the list
// adds what the interfaces do not say.
type Instance struct {
	InstanceID string `yaml:"instance_id,required" json:"instance_id,omitzero"`
	OwnerID    string `yaml:"owner_id" json:"owner_id,omitzero"`
	Name       string `yaml:"name" json:"name,omitzero"`
	K8S        *K8S   `yaml:"k8s" json:"k8s,omitzero"`
}

// K8S is what runs at an end. On an instance: its cluster and node. On an interface:
// the pod that has it for itself.
type K8S struct {
	ClusterName     string `yaml:"cluster_name" json:"cluster_name,omitzero"`
	NodeName        string `yaml:"node_name" json:"node_name,omitzero"`
	NamespaceName   string `yaml:"namespace_name" json:"namespace_name,omitzero"`
	PodName         string `yaml:"pod_name" json:"pod_name,omitzero"`
	ServiceName     string `yaml:"service_name" json:"service_name,omitzero"`
	DeploymentName  string `yaml:"deployment_name" json:"deployment_name,omitzero"`
	StatefulSetName string `yaml:"statefulset_name" json:"statefulset_name,omitzero"`
	DaemonSetName   string `yaml:"daemonset_name" json:"daemonset_name,omitzero"`
	ReplicaSetName  string `yaml:"replicaset_name" json:"replicaset_name,omitzero"`
	JobName         string `yaml:"job_name" json:"job_name,omitzero"`
	CronJobName     string `yaml:"cronjob_name" json:"cronjob_name,omitzero"`
}

// RouteTable is a VPC's routing for the subnets associated with it.
type RouteTable struct {
	RouteTableID string   `yaml:"route_table_id,required" json:"route_table_id,omitzero"`
	VPCID        string   `yaml:"vpc_id,required" json:"vpc_id,omitzero"`
	Main         bool     `yaml:"main" json:"main,omitzero"` // for the subnets without an explicit association
	SubnetIDs    []string `yaml:"subnet_ids" json:"subnet_ids,omitzero"`
	Routes       []Route  `yaml:"routes" json:"routes,omitzero"`
}

// Route leads what goes to one destination to a target, named by its id. The routes
// to the VPC's own CIDRs exist in every table and need not be listed.
type Route struct {
	DestinationCIDRBlock     netip.Prefix `yaml:"destination_cidr_block" json:"destination_cidr_block,omitzero"`
	DestinationIPv6CIDRBlock netip.Prefix `yaml:"destination_ipv6_cidr_block" json:"destination_ipv6_cidr_block,omitzero"`
	DestinationPrefixListID  string       `yaml:"destination_prefix_list_id" json:"destination_prefix_list_id,omitzero"` // exactly one of the three
	Target                   string       `yaml:"target" json:"target,omitzero"`                                         // local, or an id
	State                    RouteState   `yaml:"state" json:"state,omitzero"`
}

// TransitGateway joins VPCs, VPNs and other transit gateways of one Region.
type TransitGateway struct {
	TransitGatewayID string                     `yaml:"transit_gateway_id,required" json:"transit_gateway_id,omitzero"`
	Region           string                     `yaml:"region" json:"region,omitzero"` // empty: that of its VPCs
	OwnerID          string                     `yaml:"owner_id" json:"owner_id,omitzero"`
	Attachments      []TransitGatewayAttachment `yaml:"attachments" json:"attachments,omitzero"`
	RouteTables      []TransitGatewayRouteTable `yaml:"route_tables" json:"route_tables,omitzero"`
}

// TransitGatewayAttachment is one of the things a transit gateway joins.
type TransitGatewayAttachment struct {
	TransitGatewayAttachmentID string         `yaml:"transit_gateway_attachment_id,required" json:"transit_gateway_attachment_id,omitzero"`
	ResourceType               AttachmentType `yaml:"resource_type,required" json:"resource_type,omitzero"`
	ResourceID                 string         `yaml:"resource_id" json:"resource_id,omitzero"` // the VPC, the peer transit gateway, …
	ResourceOwnerID            string         `yaml:"resource_owner_id" json:"resource_owner_id,omitzero"`
	SubnetIDs                  []string       `yaml:"subnet_ids" json:"subnet_ids,omitzero"`   // where a VPC attachment enters the VPC
	PeerRegion                 string         `yaml:"peer_region" json:"peer_region,omitzero"` // of a peer transit gateway that is not described
}

// TransitGatewayRouteTable routes what comes in by the attachments associated with it.
type TransitGatewayRouteTable struct {
	TransitGatewayRouteTableID string                `yaml:"transit_gateway_route_table_id,required" json:"transit_gateway_route_table_id,omitzero"`
	Associations               []string              `yaml:"associations" json:"associations,omitzero"` // attachment ids
	Propagations               []string              `yaml:"propagations" json:"propagations,omitzero"` // attachment ids whose VPC's CIDRs are routes here
	Routes                     []TransitGatewayRoute `yaml:"routes" json:"routes,omitzero"`
	RoutesIncomplete           bool                  `yaml:"routes_incomplete" json:"routes_incomplete,omitzero"` // there are more that are not listed
}

// TransitGatewayRoute leads a destination to an attachment.
type TransitGatewayRoute struct {
	DestinationCIDRBlock       netip.Prefix `yaml:"destination_cidr_block" json:"destination_cidr_block,omitzero"`
	PrefixListID               string       `yaml:"prefix_list_id" json:"prefix_list_id,omitzero"` // one of the two; with both, the block is the entry of the list
	TransitGatewayAttachmentID string       `yaml:"transit_gateway_attachment_id" json:"transit_gateway_attachment_id,omitzero"`
	Type                       RouteType    `yaml:"type" json:"type,omitzero"`
	State                      RouteState   `yaml:"state" json:"state,omitzero"`
}

// VPCPeeringConnection joins two VPCs. Either may be outside what is described.
type VPCPeeringConnection struct {
	VPCPeeringConnectionID string         `yaml:"vpc_peering_connection_id,required" json:"vpc_peering_connection_id,omitzero"`
	RequesterVPCInfo       PeeringVPCInfo `yaml:"requester_vpc_info,required" json:"requester_vpc_info,omitzero"`
	AccepterVPCInfo        PeeringVPCInfo `yaml:"accepter_vpc_info,required" json:"accepter_vpc_info,omitzero"`
	Status                 string         `yaml:"status" json:"status,omitzero"` // empty: active
}

// PeeringVPCInfo is one side of a peering. What a described VPC says itself wins.
type PeeringVPCInfo struct {
	VPCID      string         `yaml:"vpc_id,required" json:"vpc_id,omitzero"`
	Region     string         `yaml:"region" json:"region,omitzero"`
	OwnerID    string         `yaml:"owner_id" json:"owner_id,omitzero"`
	CIDRBlocks []netip.Prefix `yaml:"cidr_blocks" json:"cidr_blocks,omitzero"`
}

// NATGateway translates addresses for the subnets that route to it.
type NATGateway struct {
	NATGatewayID        string              `yaml:"nat_gateway_id,required" json:"nat_gateway_id,omitzero"`
	SubnetID            string              `yaml:"subnet_id" json:"subnet_id,omitzero"` // a zonal gateway
	VPCID               string              `yaml:"vpc_id" json:"vpc_id,omitzero"`       // required without a subnet: a regional gateway
	ConnectivityType    ConnectivityType    `yaml:"connectivity_type" json:"connectivity_type,omitzero"`
	NATGatewayAddresses []NATGatewayAddress `yaml:"nat_gateway_addresses" json:"nat_gateway_addresses,omitzero"`
}

// NATGatewayAddress is an address of a NAT gateway.
type NATGatewayAddress struct {
	NetworkInterfaceID string     `yaml:"network_interface_id" json:"network_interface_id,omitzero"`
	PrivateIP          netip.Addr `yaml:"private_ip" json:"private_ip,omitzero"`
	PublicIP           netip.Addr `yaml:"public_ip" json:"public_ip,omitzero"`
}

// InternetGateway joins a VPC and the Internet.
type InternetGateway struct {
	InternetGatewayID string `yaml:"internet_gateway_id,required" json:"internet_gateway_id,omitzero"`
	VPCID             string `yaml:"vpc_id" json:"vpc_id,omitzero"`
}

// EgressOnlyInternetGateway lets IPv6 out of a VPC.
type EgressOnlyInternetGateway struct {
	EgressOnlyInternetGatewayID string `yaml:"egress_only_internet_gateway_id,required" json:"egress_only_internet_gateway_id,omitzero"`
	VPCID                       string `yaml:"vpc_id" json:"vpc_id,omitzero"`
}

// VPNGateway is a virtual private gateway: VPN or Direct Connect to one VPC.
type VPNGateway struct {
	VPNGatewayID string `yaml:"vpn_gateway_id,required" json:"vpn_gateway_id,omitzero"`
	VPCID        string `yaml:"vpc_id" json:"vpc_id,omitzero"`
}

// VPNConnection is a site-to-site VPN: to a virtual private gateway or to a transit
// gateway, of which it is an attachment then.
type VPNConnection struct {
	VPNConnectionID   string `yaml:"vpn_connection_id,required" json:"vpn_connection_id,omitzero"`
	VPNGatewayID      string `yaml:"vpn_gateway_id" json:"vpn_gateway_id,omitzero"`
	TransitGatewayID  string `yaml:"transit_gateway_id" json:"transit_gateway_id,omitzero"`
	CustomerGatewayID string `yaml:"customer_gateway_id" json:"customer_gateway_id,omitzero"`
	State             string `yaml:"state" json:"state,omitzero"`
}

// LocalGateway joins an Outpost and the local network.
type LocalGateway struct {
	LocalGatewayID string `yaml:"local_gateway_id,required" json:"local_gateway_id,omitzero"`
}

// VPCEndpoint leads to a service without the Internet.
type VPCEndpoint struct {
	VPCEndpointID       string       `yaml:"vpc_endpoint_id,required" json:"vpc_endpoint_id,omitzero"`
	VPCEndpointType     EndpointType `yaml:"vpc_endpoint_type,required" json:"vpc_endpoint_type,omitzero"`
	VPCID               string       `yaml:"vpc_id,required" json:"vpc_id,omitzero"`
	ServiceName         string       `yaml:"service_name,required" json:"service_name,omitzero"` // com.amazonaws.eu-west-1.s3
	NetworkInterfaceIDs []string     `yaml:"network_interface_ids" json:"network_interface_ids,omitzero"`
	SubnetIDs           []string     `yaml:"subnet_ids" json:"subnet_ids,omitzero"`
	RouteTableIDs       []string     `yaml:"route_table_ids" json:"route_table_ids,omitzero"` // a gateway endpoint's: each gets the route to it
	OwnerID             string       `yaml:"owner_id" json:"owner_id,omitzero"`
}

// PrefixList is a managed prefix list.
type PrefixList struct {
	PrefixListID   string         `yaml:"prefix_list_id,required" json:"prefix_list_id,omitzero"`
	PrefixListName string         `yaml:"prefix_list_name" json:"prefix_list_name,omitzero"` // com.amazonaws.eu-west-1.s3
	CIDRs          []netip.Prefix `yaml:"cidrs" json:"cidrs,omitzero"`                       // empty for a service's list: its AWS ranges
}

// EKSCluster is a Kubernetes cluster.
type EKSCluster struct {
	Name    string `yaml:"name,required" json:"name,omitzero"`
	ARN     string `yaml:"arn" json:"arn,omitzero"`
	Region  string `yaml:"region" json:"region,omitzero"`
	OwnerID string `yaml:"owner_id" json:"owner_id,omitzero"`
}
