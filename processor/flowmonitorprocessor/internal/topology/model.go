// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import "net/netip"

// Topology is what one or more sources know, as flat lists tied together by ids. The
// names of the fields are those of the EC2 API in snake case.
type Topology struct {
	Accounts                   []Account                   `yaml:"accounts"`
	Regions                    []Region                    `yaml:"regions"`
	AvailabilityZones          []AvailabilityZone          `yaml:"availability_zones"`
	VPCs                       []VPC                       `yaml:"vpcs"`
	Subnets                    []Subnet                    `yaml:"subnets"`
	NetworkInterfaces          []NetworkInterface          `yaml:"network_interfaces"`
	Instances                  []Instance                  `yaml:"instances"`
	RouteTables                []RouteTable                `yaml:"route_tables"`
	TransitGateways            []TransitGateway            `yaml:"transit_gateways"`
	VPCPeeringConnections      []VPCPeeringConnection      `yaml:"vpc_peering_connections"`
	NATGateways                []NATGateway                `yaml:"nat_gateways"`
	InternetGateways           []InternetGateway           `yaml:"internet_gateways"`
	EgressOnlyInternetGateways []EgressOnlyInternetGateway `yaml:"egress_only_internet_gateways"`
	VPNGateways                []VPNGateway                `yaml:"vpn_gateways"`
	LocalGateways              []LocalGateway              `yaml:"local_gateways"`
	VPCEndpoints               []VPCEndpoint               `yaml:"vpc_endpoints"`
	PrefixLists                []PrefixList                `yaml:"prefix_lists"`
	EKSClusters                []EKSCluster                `yaml:"eks_clusters"`
}

// Account is an AWS account that owns something here.
type Account struct {
	AccountID string `yaml:"account_id,required"`
	Name      string `yaml:"name"`
}

// Region is an AWS Region.
type Region struct {
	RegionName string `yaml:"region_name,required"`
}

// AvailabilityZone ties the id of a zone, which is the same for everybody, to its
// name, which is an alias of each account.
type AvailabilityZone struct {
	ZoneID             string   `yaml:"zone_id,required"`
	ZoneName           string   `yaml:"zone_name"`
	AccountID          string   `yaml:"account_id"` // whose alias ZoneName is; empty: everybody's
	ZoneType           ZoneType `yaml:"zone_type"`
	RegionName         string   `yaml:"region_name,required"` // the parent Region
	ParentZoneID       string   `yaml:"parent_zone_id"`
	NetworkBorderGroup string   `yaml:"network_border_group"`
}

// VPC is a virtual private cloud.
type VPC struct {
	VPCID      string         `yaml:"vpc_id,required"`
	Region     string         `yaml:"region,required"`
	OwnerID    string         `yaml:"owner_id"`
	CIDRBlocks []netip.Prefix `yaml:"cidr_blocks,required"` // the primary IPv4 CIDR first
	Name       string         `yaml:"name"`
}

// Subnet is a part of a VPC in one zone.
type Subnet struct {
	SubnetID           string         `yaml:"subnet_id,required"`
	VPCID              string         `yaml:"vpc_id,required"`
	CIDRBlocks         []netip.Prefix `yaml:"cidr_blocks,required"`
	AvailabilityZone   string         `yaml:"availability_zone"`    // the owner's name of the zone
	AvailabilityZoneID string         `yaml:"availability_zone_id"` // at least one of the two
	OwnerID            string         `yaml:"owner_id"`             // empty: the VPC's owner
	SharedWith         []string       `yaml:"shared_with"`          // accounts that may have interfaces in it
	RouteTableID       string         `yaml:"route_table_id"`       // explicit association
	Name               string         `yaml:"name"`
}

// NetworkInterface is an elastic network interface: what holds addresses.
type NetworkInterface struct {
	NetworkInterfaceID string         `yaml:"network_interface_id,required"`
	SubnetID           string         `yaml:"subnet_id,required"`
	VPCID              string         `yaml:"vpc_id"` // follows from the subnet
	PrivateIPAddresses []netip.Addr   `yaml:"private_ip_addresses"`
	IPv6Addresses      []netip.Addr   `yaml:"ipv6_addresses"`
	IPv4Prefixes       []netip.Prefix `yaml:"ipv4_prefixes"` // delegated
	IPv6Prefixes       []netip.Prefix `yaml:"ipv6_prefixes"` // delegated
	Associations       []Association  `yaml:"associations"`
	InstanceID         string         `yaml:"instance_id"`
	InterfaceType      string         `yaml:"interface_type"`
	Description        string         `yaml:"description"`
	OwnerID            string         `yaml:"owner_id"` // may differ from the subnet's: shared subnets
	RequesterManaged   *bool          `yaml:"requester_managed"`
	K8S                *K8S           `yaml:"k8s"`
}

// Association is a public (Elastic or auto-assigned) address of an interface.
type Association struct {
	PublicIP         netip.Addr `yaml:"public_ip,required"`
	PrivateIPAddress netip.Addr `yaml:"private_ip_address"` // zero: the interface's first
}

// Instance is a host. An interface may name an instance that is not listed: the list
// adds what the interfaces do not say.
type Instance struct {
	InstanceID string `yaml:"instance_id,required"`
	OwnerID    string `yaml:"owner_id"`
	Name       string `yaml:"name"`
	K8S        *K8S   `yaml:"k8s"`
}

// K8S is what runs at an end. On an instance: its cluster and node. On an interface:
// the pod that has it for itself.
type K8S struct {
	ClusterName     string `yaml:"cluster_name"`
	NodeName        string `yaml:"node_name"`
	NamespaceName   string `yaml:"namespace_name"`
	PodName         string `yaml:"pod_name"`
	ServiceName     string `yaml:"service_name"`
	DeploymentName  string `yaml:"deployment_name"`
	StatefulSetName string `yaml:"statefulset_name"`
	DaemonSetName   string `yaml:"daemonset_name"`
	ReplicaSetName  string `yaml:"replicaset_name"`
	JobName         string `yaml:"job_name"`
	CronJobName     string `yaml:"cronjob_name"`
}

// RouteTable is a VPC's routing for the subnets associated with it.
type RouteTable struct {
	RouteTableID string   `yaml:"route_table_id,required"`
	VPCID        string   `yaml:"vpc_id,required"`
	Main         bool     `yaml:"main"` // for the subnets without an explicit association
	SubnetIDs    []string `yaml:"subnet_ids"`
	Routes       []Route  `yaml:"routes"`
}

// Route leads what goes to one destination to a target, named by its id. The routes
// to the VPC's own CIDRs exist in every table and need not be listed.
type Route struct {
	DestinationCIDRBlock     netip.Prefix `yaml:"destination_cidr_block"`
	DestinationIPv6CIDRBlock netip.Prefix `yaml:"destination_ipv6_cidr_block"`
	DestinationPrefixListID  string       `yaml:"destination_prefix_list_id"` // exactly one of the three
	Target                   string       `yaml:"target"`                     // local, or an id
	State                    RouteState   `yaml:"state"`
}

// TransitGateway joins VPCs, VPNs and other transit gateways of one Region.
type TransitGateway struct {
	TransitGatewayID string                     `yaml:"transit_gateway_id,required"`
	Region           string                     `yaml:"region"` // empty: that of its VPCs
	OwnerID          string                     `yaml:"owner_id"`
	Attachments      []TransitGatewayAttachment `yaml:"attachments"`
	RouteTables      []TransitGatewayRouteTable `yaml:"route_tables"`
}

// TransitGatewayAttachment is one of the things a transit gateway joins.
type TransitGatewayAttachment struct {
	TransitGatewayAttachmentID string         `yaml:"transit_gateway_attachment_id,required"`
	ResourceType               AttachmentType `yaml:"resource_type,required"`
	ResourceID                 string         `yaml:"resource_id"` // the VPC, the peer transit gateway, …
	ResourceOwnerID            string         `yaml:"resource_owner_id"`
	SubnetIDs                  []string       `yaml:"subnet_ids"`  // where a VPC attachment enters the VPC
	PeerRegion                 string         `yaml:"peer_region"` // of a peer transit gateway that is not described
}

// TransitGatewayRouteTable routes what comes in by the attachments associated with it.
type TransitGatewayRouteTable struct {
	TransitGatewayRouteTableID string                `yaml:"transit_gateway_route_table_id,required"`
	Associations               []string              `yaml:"associations"` // attachment ids
	Propagations               []string              `yaml:"propagations"` // attachment ids whose VPC's CIDRs are routes here
	Routes                     []TransitGatewayRoute `yaml:"routes"`
}

// TransitGatewayRoute leads a destination to an attachment.
type TransitGatewayRoute struct {
	DestinationCIDRBlock       netip.Prefix `yaml:"destination_cidr_block"`
	PrefixListID               string       `yaml:"prefix_list_id"` // one of the two
	TransitGatewayAttachmentID string       `yaml:"transit_gateway_attachment_id"`
	Type                       RouteType    `yaml:"type"`
	State                      RouteState   `yaml:"state"`
}

// VPCPeeringConnection joins two VPCs. Either may be outside what is described.
type VPCPeeringConnection struct {
	VPCPeeringConnectionID string         `yaml:"vpc_peering_connection_id,required"`
	RequesterVPCInfo       PeeringVPCInfo `yaml:"requester_vpc_info,required"`
	AccepterVPCInfo        PeeringVPCInfo `yaml:"accepter_vpc_info,required"`
	Status                 string         `yaml:"status"` // empty: active
}

// PeeringVPCInfo is one side of a peering. What a described VPC says itself wins.
type PeeringVPCInfo struct {
	VPCID      string         `yaml:"vpc_id,required"`
	Region     string         `yaml:"region"`
	OwnerID    string         `yaml:"owner_id"`
	CIDRBlocks []netip.Prefix `yaml:"cidr_blocks"`
}

// NATGateway translates addresses for the subnets that route to it.
type NATGateway struct {
	NATGatewayID        string              `yaml:"nat_gateway_id,required"`
	SubnetID            string              `yaml:"subnet_id"` // a zonal gateway
	VPCID               string              `yaml:"vpc_id"`    // required without a subnet: a regional gateway
	ConnectivityType    ConnectivityType    `yaml:"connectivity_type"`
	NATGatewayAddresses []NATGatewayAddress `yaml:"nat_gateway_addresses"`
}

// NATGatewayAddress is an address of a NAT gateway.
type NATGatewayAddress struct {
	NetworkInterfaceID string     `yaml:"network_interface_id"`
	PrivateIP          netip.Addr `yaml:"private_ip"`
	PublicIP           netip.Addr `yaml:"public_ip"`
}

// InternetGateway joins a VPC and the Internet.
type InternetGateway struct {
	InternetGatewayID string `yaml:"internet_gateway_id,required"`
	VPCID             string `yaml:"vpc_id"`
}

// EgressOnlyInternetGateway lets IPv6 out of a VPC.
type EgressOnlyInternetGateway struct {
	EgressOnlyInternetGatewayID string `yaml:"egress_only_internet_gateway_id,required"`
	VPCID                       string `yaml:"vpc_id"`
}

// VPNGateway is a virtual private gateway: VPN or Direct Connect to one VPC.
type VPNGateway struct {
	VPNGatewayID string `yaml:"vpn_gateway_id,required"`
	VPCID        string `yaml:"vpc_id"`
}

// LocalGateway joins an Outpost and the local network.
type LocalGateway struct {
	LocalGatewayID string `yaml:"local_gateway_id,required"`
}

// VPCEndpoint leads to a service without the Internet.
type VPCEndpoint struct {
	VPCEndpointID       string       `yaml:"vpc_endpoint_id,required"`
	VPCEndpointType     EndpointType `yaml:"vpc_endpoint_type,required"`
	VPCID               string       `yaml:"vpc_id,required"`
	ServiceName         string       `yaml:"service_name,required"` // com.amazonaws.eu-west-1.s3
	NetworkInterfaceIDs []string     `yaml:"network_interface_ids"`
	SubnetIDs           []string     `yaml:"subnet_ids"`
	RouteTableIDs       []string     `yaml:"route_table_ids"` // a gateway endpoint's: each gets the route to it
	OwnerID             string       `yaml:"owner_id"`
}

// PrefixList is a managed prefix list.
type PrefixList struct {
	PrefixListID   string         `yaml:"prefix_list_id,required"`
	PrefixListName string         `yaml:"prefix_list_name"` // com.amazonaws.eu-west-1.s3
	CIDRs          []netip.Prefix `yaml:"cidrs"`            // empty for a service's list: its AWS ranges
}

// EKSCluster is a Kubernetes cluster.
type EKSCluster struct {
	Name    string `yaml:"name,required"`
	ARN     string `yaml:"arn"`
	Region  string `yaml:"region"`
	OwnerID string `yaml:"owner_id"`
}
