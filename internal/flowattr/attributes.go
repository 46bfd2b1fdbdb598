// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

// Attributes of a flow's identity. Names of OpenTelemetry semantic conventions
// v1.44 where they exist; everything else is in the namespace "flow.".
const (
	NetworkTransport    = "network.transport"
	NetworkType         = "network.type"
	NetworkLocalAddress = "network.local.address"
	NetworkLocalPort    = "network.local.port"
	NetworkPeerAddress  = "network.peer.address"
	NetworkPeerPort     = "network.peer.port"
	Role                = "flow.role"
	Netns               = "flow.netns"
	NATLocalAddress     = "flow.nat.local.address"
	NATLocalPort        = "flow.nat.local.port"
	NATPeerAddress      = "flow.nat.peer.address"
	NATPeerPort         = "flow.nat.peer.port"
	ContainerID         = "container.id"
	PodUID              = "k8s.pod.uid"
	Overflow            = "flow.overflow"
)

// Attributes that split one metric of a flow into several streams.
const (
	Phase          = "flow.phase"
	Limit          = "flow.limit"
	ErrorType      = "error.type"
	RetransmitType = "network.tcp.retransmit.type"
)

// Values of [NetworkTransport] and [NetworkType].
const (
	TransportTCP = "tcp"
	TypeIPv4     = "ipv4"
	TypeIPv6     = "ipv6"
)

// Values of [Phase]: the state of the socket when something happened.
const (
	PhaseConnect     = "connect"     // SYN_SENT, SYN_RECV
	PhaseEstablished = "established" // ESTABLISHED
	PhaseClose       = "close"       // every later state, data included
)

// Values of [ErrorType] on failed and closed connections. Absent on a closed
// connection: an orderly end.
const (
	ErrorRefused     = "refused"
	ErrorTimedOut    = "timed_out"
	ErrorUnreachable = "unreachable"
	ErrorAborted     = "aborted"
	ErrorReset       = "reset"
	ErrorOther       = "_OTHER"
)

// Values of [Limit].
const (
	LimitBusy           = "busy"
	LimitReceiverWindow = "receiver_window"
	LimitSendBuffer     = "send_buffer"
)

// Values of [RetransmitType].
const (
	RetransmitFast          = "fast"
	RetransmitTailLossProbe = "tail_loss_probe"
	RetransmitTimeout       = "timeout"
	RetransmitSpurious      = "spurious"
)

// Attributes that the flowmonitor processor adds for one end of a flow, behind
// [LocalPrefix] or [RemotePrefix]: the resource's own OpenTelemetry (or contrib) name.
const (
	LocalPrefix  = "flow.local."
	RemotePrefix = "flow.remote."

	CloudAccountID        = "cloud.account.id"
	CloudRegion           = "cloud.region"
	CloudAvailabilityZone = "cloud.availability_zone"
	AWSAZID               = "aws.az.id"
	AWSVPCID              = "aws.vpc.id"
	AWSSubnetID           = "aws.vpc.subnet.id"
	AWSENIID              = "aws.eni.id"
	HostID                = "host.id"
	K8SClusterName        = "k8s.cluster.name"
	K8SNodeName           = "k8s.node.name"
	K8SNamespaceName      = "k8s.namespace.name"
	K8SPodName            = "k8s.pod.name"
	K8SServiceName        = "k8s.service.name"
	K8SDeploymentName     = "k8s.deployment.name"

	// RemoteAWSService is the AWS service at the remote end, as the AWS ranges name it.
	RemoteAWSService = RemotePrefix + "aws.service"
)

// Attributes that the processors add to a flow as a whole.
const (
	Category   = "flow.category"
	Path       = "flow.path"     // slice of "type/id", in the order crossed
	Monitors   = "flow.monitors" // slice of monitor names, sorted
	Unresolved = "flow.unresolved"
	Aggregated = "flow.aggregated"
)

// Values of [Unresolved].
const (
	UnresolvedAmbiguous = "ambiguous"
	UnresolvedUnknown   = "unknown"
)

// Values of [Category], as the managed service's user guide defines them.
const (
	CategoryIntraAZ        = "INTRA_AZ"
	CategoryInterAZ        = "INTER_AZ"
	CategoryInterVPC       = "INTER_VPC"
	CategoryInterRegion    = "INTER_REGION"
	CategoryAmazonS3       = "AMAZON_S3"
	CategoryAmazonDynamoDB = "AMAZON_DYNAMODB"
	CategoryAWSService     = "AWS_SERVICE"
	CategoryTransitGateway = "TRANSIT_GATEWAY"
	CategoryLocalZone      = "LOCAL_ZONE"
	CategoryInternet       = "INTERNET"
	CategoryUnclassified   = "UNCLASSIFIED"
)

// Types of the components of [Path] and of the nhi processor: a closed set.
const (
	ComponentInstance                  = "instance"
	ComponentENI                       = "eni"
	ComponentSubnet                    = "subnet"
	ComponentAZ                        = "az"
	ComponentAZPair                    = "az_pair"
	ComponentVPC                       = "vpc"
	ComponentRegion                    = "region"
	ComponentNATGateway                = "nat_gateway"
	ComponentInternetGateway           = "internet_gateway"
	ComponentEgressOnlyInternetGateway = "egress_only_internet_gateway"
	ComponentVPCPeering                = "vpc_peering"
	ComponentTransitGateway            = "transit_gateway"
	ComponentTransitGatewayAttachment  = "transit_gateway_attachment"
	ComponentTransitGatewayPeering     = "transit_gateway_peering"
	ComponentVPNGateway                = "vpn_gateway"
	ComponentLocalGateway              = "local_gateway"
	ComponentVPCEndpoint               = "vpc_endpoint"
	ComponentService                   = "service"
	ComponentRegionEdge                = "region_edge"
	ComponentAddress                   = "address"
)

// Attributes of the nhi processor's own metrics.
const (
	MonitorName   = "flow.monitor.name"
	HealthState   = "flow.health.state"
	HealthCause   = "flow.health.cause"
	ComponentType = "flow.component.type"
	ComponentID   = "flow.component.id"
	ComponentSet  = "flow.component.set"
)

// Values of [HealthState].
const (
	StateHealthy          = "healthy"
	StateDegraded         = "degraded"
	StateInsufficientData = "insufficient_data"
)

// Values of [HealthCause].
const (
	CauseNone          = "none"
	CauseNetwork       = "network"
	CauseLocalHost     = "local_host"
	CauseRemoteHost    = "remote_host"
	CauseRemoteService = "remote_service"
	CauseApplication   = "application"
)
