// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// resolver reads the topology of a golden case of the processor; "" is none.
func resolver(t testing.TB, name string) *path.Resolver {
	t.Helper()
	if name == "" {
		return path.New(topology.Build(&topology.Topology{}, nil), ipranges.Shipped())
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", name, "topology.yaml"))
	require.NoError(t, err)
	m, err := file.Topology(data)
	require.NoError(t, err)
	return path.New(topology.Build(m, ipranges.Shipped().Blocks), ipranges.Shipped())
}

// flow is a line of a table: what is seen, and what must be said of it. Ends are
// written "vpc subnet eni host", with "-" for unknown, or "service region".
type flow struct {
	name          string
	origin        path.Origin
	local, remote string
	category      string
	path          string
	localEnd      string
	remoteEnd     string
	unresolved    string
}

func run(t *testing.T, topologyName string, flows []flow) {
	check(t, resolver(t, topologyName), flows)
}

// runYAML is run for a topology that needs no folder of its own.
func runYAML(t *testing.T, text string, flows []flow) {
	m, err := file.Topology([]byte(text))
	require.NoError(t, err)
	check(t, path.New(topology.Build(m, ipranges.Shipped().Blocks), ipranges.Shipped()), flows)
}

func check(t *testing.T, r *path.Resolver, flows []flow) {
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			got := r.Resolve(&f.origin, netip.MustParseAddr(f.local), netip.MustParseAddr(f.remote))
			assert.Equal(t, f.category, got.Category, "category")
			assert.Equal(t, f.path, strings.Join(got.Path, " "), "path")
			assert.Equal(t, f.unresolved, got.Unresolved, "unresolved")
			if f.localEnd != "" {
				assert.Equal(t, f.localEnd, end(got.Local), "local end")
			}
			if f.remoteEnd != "" {
				assert.Equal(t, f.remoteEnd, end(got.Remote), "remote end")
			}
		})
	}
}

func end(e path.End) string {
	if e.Service != "" && e.VPC == "" {
		return e.Service + " " + e.Region
	}
	s := []string{e.VPC, e.Subnet, e.Interface, e.Host}
	for i := range s {
		if s[i] == "" {
			s[i] = "-"
		}
	}
	if e.Service != "" {
		s = append(s, e.Service)
	}
	return strings.Join(s, " ")
}

func host(id string) path.Origin { return path.Origin{Host: id} }

func TestTheExampleOfThePathIsTrueToTheLetter(t *testing.T) {
	r := resolver(t, "transit_gateway_example")
	got := r.Resolve(&path.Origin{}, netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr("10.2.1.10"))
	assert.Equal(t, []string{"eni/eni-1", "subnet/subnet-1", "transit_gateway/tgw-1", "subnet/subnet-2", "eni/eni-2"}, got.Path)
	assert.Equal(t, "INTER_VPC", got.Category)
}

func TestWithinAVPC(t *testing.T) {
	run(t, "one_vpc", []flow{
		{"two hosts of one subnet are within an AZ", host("i-web"), "10.0.1.20", "10.0.1.10", "INTRA_AZ",
			"eni/eni-web subnet/subnet-a eni/eni-node1", "vpc-1 subnet-a eni-web i-web", "vpc-1 subnet-a eni-node1 i-node1", ""},
		{"two subnets of one zone are within an AZ", host("i-web"), "10.0.1.20", "10.0.3.20", "INTRA_AZ",
			"eni/eni-web subnet/subnet-a subnet/subnet-a2 eni/eni-web2", "", "vpc-1 subnet-a2 eni-web2 i-web2", ""},
		{"two zones are between AZs", host("i-web"), "10.0.1.20", "10.0.2.40", "INTER_AZ",
			"eni/eni-web subnet/subnet-a az_pair/euw1-az1:euw1-az2 subnet/subnet-b eni/eni-pod", "", "vpc-1 subnet-b eni-pod -", ""},
		{"the pair of zones has one name in both directions", path.Origin{}, "10.0.2.40", "10.0.1.20", "INTER_AZ",
			"eni/eni-pod subnet/subnet-b az_pair/euw1-az1:euw1-az2 subnet/subnet-a eni/eni-web", "", "", ""},
		{"a pod's address in a delegated prefix is its interface's", host("i-node1"), "10.0.1.37", "10.0.1.20", "INTRA_AZ",
			"eni/eni-node1 subnet/subnet-a eni/eni-web", "vpc-1 subnet-a eni-node1 i-node1", "", ""},
		{"a remote pod's address in a delegated prefix", host("i-web"), "10.0.1.20", "100.64.1.70", "INTRA_AZ",
			"eni/eni-web subnet/subnet-a subnet/subnet-pods eni/eni-node1b", "", "vpc-1 subnet-pods eni-node1b i-node1", ""},
		{"an address that no interface has is still in its subnet", host("i-web"), "10.0.1.20", "10.0.2.99", "INTER_AZ",
			"eni/eni-web subnet/subnet-a az_pair/euw1-az1:euw1-az2 subnet/subnet-b address/10.0.2.99", "", "vpc-1 subnet-b - -", ""},
		{"an address of the VPC that is in no subnet is unknown", host("i-web"), "10.0.1.20", "10.0.9.1", "UNCLASSIFIED",
			"eni/eni-web subnet/subnet-a vpc/vpc-1 address/10.0.9.1", "", "vpc-1 - - -", "unknown"},
		{"the VPC's own DNS server", host("i-web"), "10.0.1.20", "10.0.0.2", "AWS_SERVICE",
			"eni/eni-web subnet/subnet-a service/ROUTE53_RESOLVER", "", "ROUTE53_RESOLVER eu-west-1", ""},
		{"a host that talks to its own address", host("i-web"), "10.0.1.20", "10.0.1.20", "INTRA_AZ",
			"eni/eni-web", "vpc-1 subnet-a eni-web i-web", "vpc-1 subnet-a eni-web i-web", ""},
		{"two pods of one interface", host("i-node1"), "10.0.1.37", "10.0.1.38", "INTRA_AZ",
			"eni/eni-node1", "", "vpc-1 subnet-a eni-node1 i-node1", ""},
		{"two interfaces of one host", host("i-node1"), "10.0.1.37", "100.64.1.70", "INTRA_AZ",
			"eni/eni-node1 eni/eni-node1b", "", "vpc-1 subnet-pods eni-node1b i-node1", ""},
		{"RDS by its description", host("i-web"), "10.0.1.20", "10.0.2.50", "INTER_AZ",
			"eni/eni-web subnet/subnet-a az_pair/euw1-az1:euw1-az2 subnet/subnet-b eni/eni-rds", "", "vpc-1 subnet-b eni-rds - RDS", ""},
		{"ElastiCache by its description", host("i-web"), "10.0.1.20", "10.0.1.51", "INTRA_AZ", "eni/eni-web subnet/subnet-a eni/eni-cache", "", "vpc-1 subnet-a eni-cache - ELASTICACHE", ""},
		{"EFS by its description", path.Origin{}, "10.0.2.40", "10.0.2.52", "INTRA_AZ", "eni/eni-pod subnet/subnet-b eni/eni-efs", "", "vpc-1 subnet-b eni-efs - EFS", ""},
		{"an application load balancer by its description", host("i-web"), "10.0.1.20", "10.0.3.53", "INTRA_AZ", "eni/eni-web subnet/subnet-a subnet/subnet-a2 eni/eni-alb", "", "vpc-1 subnet-a2 eni-alb - ELB", ""},
		{"a network load balancer by its type", host("i-web"), "10.0.1.20", "10.0.1.54", "INTRA_AZ", "eni/eni-web subnet/subnet-a eni/eni-nlb", "", "vpc-1 subnet-a eni-nlb - ELB", ""},
		{"Lambda by its type", path.Origin{}, "10.0.2.40", "10.0.2.55", "INTRA_AZ", "eni/eni-pod subnet/subnet-b eni/eni-lambda", "", "vpc-1 subnet-b eni-lambda - LAMBDA", ""},
		{"the control plane of EKS by its description", path.Origin{}, "10.0.2.40", "10.0.2.56", "INTRA_AZ", "eni/eni-pod subnet/subnet-b eni/eni-eks", "", "vpc-1 subnet-b eni-eks - EKS", ""},
		{"a description that a customer wrote says nothing", host("i-web"), "10.0.1.20", "10.0.1.57", "INTRA_AZ", "eni/eni-web subnet/subnet-a eni/eni-fake", "", "vpc-1 subnet-a eni-fake -", ""},
		{"an EC2 host that is not described does not have another's address", host("i-99"), "10.0.1.20", "10.0.1.10", "UNCLASSIFIED",
			"address/10.0.1.20 address/10.0.1.10", "- - - i-99", "- - - -", "unknown"},
		{"an EC2 host that is not described may have an address that nobody has", host("i-99"), "10.0.1.99", "10.0.1.10", "INTRA_AZ",
			"address/10.0.1.99 subnet/subnet-a eni/eni-node1", "vpc-1 subnet-a - i-99", "", ""},
		{"loopback is not resolved", host("i-web"), "127.0.0.1", "127.0.0.1", "UNCLASSIFIED", "", "- - - -", "- - - -", ""},
		{"loopback of IPv6 is not resolved", host("i-web"), "::1", "::1", "UNCLASSIFIED", "", "- - - -", "- - - -", ""},
		{"the metadata service is on the link", host("i-web"), "10.0.1.20", "169.254.169.254", "UNCLASSIFIED", "eni/eni-web address/169.254.169.254", "vpc-1 subnet-a eni-web i-web", "- - - -", ""},
		{"the metadata service over IPv6", host("i-web"), "10.0.1.20", "fd00:ec2::254", "UNCLASSIFIED", "eni/eni-web address/fd00:ec2::254", "", "", ""},
		{"link-local neighbours", host("i-web"), "fe80::1", "fe80::2", "UNCLASSIFIED", "", "- - - -", "- - - -", ""},
		{"a container behind its host's translation is on the host", host("i-web"), "172.17.0.2", "10.0.2.50", "INTER_AZ",
			"instance/i-web subnet/subnet-a az_pair/euw1-az1:euw1-az2 subnet/subnet-b eni/eni-rds", "vpc-1 subnet-a - i-web", "", ""},
		{"of a host with two subnets only what they have in common", host("i-node1"), "172.17.0.2", "10.0.2.50", "INTER_AZ",
			"instance/i-node1 az_pair/euw1-az1:euw1-az2 subnet/subnet-b eni/eni-rds", "vpc-1 - - i-node1", "", ""},
		{"two containers of one host", host("i-web"), "172.17.0.2", "172.17.0.3", "UNCLASSIFIED", "instance/i-web address/172.17.0.3", "", "- - - -", "unknown"},
		{"a local address that nothing has", path.Origin{}, "10.200.0.1", "10.0.1.20", "UNCLASSIFIED", "address/10.200.0.1 address/10.0.1.20", "- - - -", "- - - -", "unknown"},
	})
}

func TestOverlappingCIDRs(t *testing.T) {
	run(t, "overlapping_cidrs", []flow{
		{"the host tells its VPC", host("i-1"), "10.0.1.10", "10.0.2.20", "INTER_AZ",
			"eni/eni-1 subnet/subnet-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-1b eni/eni-1b", "vpc-1 subnet-1 eni-1 i-1", "vpc-1 subnet-1b eni-1b i-1b", ""},
		{"another host with the same address is in another VPC", host("i-2"), "10.0.1.10", "10.0.2.20", "INTRA_AZ",
			"eni/eni-2 subnet/subnet-2 subnet/subnet-2b eni/eni-2b", "vpc-2 subnet-2 eni-2 i-2", "vpc-2 subnet-2b eni-2b i-2b", ""},
		{"in the host's VPC the remote address is only in a subnet", host("i-3"), "10.0.1.10", "10.0.2.20", "INTRA_AZ",
			"eni/eni-3 subnet/subnet-3 address/10.0.2.20", "vpc-3 subnet-3 eni-3 i-3", "vpc-3 subnet-3 - -", ""},
		{"without the host it is ambiguous", path.Origin{}, "10.0.1.10", "10.0.2.20", "UNCLASSIFIED",
			"address/10.0.1.10 address/10.0.2.20", "- - - -", "- - - -", "ambiguous"},
		{"a machine id names no host", path.Origin{Host: "8f2b1c"}, "10.0.1.10", "10.0.2.20", "UNCLASSIFIED",
			"address/10.0.1.10 address/10.0.2.20", "- - - -", "- - - -", "ambiguous"},
		{"account and Region are enough when one VPC is left", path.Origin{Account: "222222222222", Region: "us-east-1"}, "10.0.1.10", "10.0.1.40", "INTRA_AZ",
			"eni/eni-5", "vpc-5 subnet-5 eni-5 i-5", "vpc-5 subnet-5 eni-5 i-5", ""},
		{"the account alone is not enough", path.Origin{Account: "222222222222"}, "10.0.1.10", "10.0.1.40", "UNCLASSIFIED",
			"address/10.0.1.10 address/10.0.1.40", "", "- - - -", "ambiguous"},
		{"account and Region with two VPCs left", path.Origin{Account: "111111111111", Region: "eu-west-1"}, "10.0.1.10", "10.0.2.20", "UNCLASSIFIED",
			"address/10.0.1.10 address/10.0.2.20", "- - - -", "- - - -", "ambiguous"},
		{"an address that only one interface has", path.Origin{}, "10.0.1.54", "10.0.1.10", "INTRA_AZ",
			"eni/eni-4", "vpc-4 subnet-4 eni-4 i-4", "vpc-4 subnet-4 eni-4 i-4", ""},
		{"an address in a prefix that only one interface has", path.Origin{}, "10.0.1.33", "10.0.1.10", "INTRA_AZ",
			"eni/eni-2c subnet/subnet-2 eni/eni-2", "vpc-2 subnet-2 eni-2c i-2c", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"an address that is in several VPCs' subnets only", path.Origin{}, "10.0.1.99", "10.0.1.10", "UNCLASSIFIED",
			"address/10.0.1.99 address/10.0.1.10", "", "", "ambiguous"},
		{"the same, with one account and Region", path.Origin{Account: "111111111111", Region: "us-east-1"}, "10.0.1.99", "10.0.1.10", "INTRA_AZ",
			"address/10.0.1.99 subnet/subnet-4 eni/eni-4", "vpc-4 subnet-4 - -", "vpc-4 subnet-4 eni-4 i-4", ""},
		{"another host's address is not taken for the own", host("i-1"), "10.0.1.54", "10.0.1.10", "INTRA_AZ",
			"instance/i-1 subnet/subnet-1 eni/eni-1", "vpc-1 subnet-1 - i-1", "vpc-1 subnet-1 eni-1 i-1", ""},
		{"an EC2 host that is not described has none of the described interfaces", host("i-99"), "10.0.1.54", "10.0.1.10", "UNCLASSIFIED",
			"address/10.0.1.54 address/10.0.1.10", "- - - i-99", "", "ambiguous"},
		{"an account that is not described", path.Origin{Account: "999999999999"}, "10.0.1.54", "10.0.1.10", "UNCLASSIFIED",
			"address/10.0.1.54 address/10.0.1.10", "- - - -", "", "unknown"},
		{"an ambiguous local end does not keep a public remote end from being known", path.Origin{Region: "eu-west-1"}, "10.0.1.10", "203.0.113.7", "INTERNET",
			"address/10.0.1.10 address/203.0.113.7", "- - - -", "", "ambiguous"},
	})
}

func TestPeering(t *testing.T) {
	run(t, "peering", []flow{
		{"to a VPC of the same Region", host("i-1"), "10.1.1.10", "10.2.1.10", "INTER_VPC",
			"eni/eni-1 subnet/subnet-1 vpc_peering/pcx-12 az_pair/euw1-az1:euw1-az2 subnet/subnet-2 eni/eni-2", "", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"back, to the one of two VPCs with this CIDR that is peered", host("i-2"), "10.2.1.10", "10.1.1.10", "INTER_VPC",
			"eni/eni-2 subnet/subnet-2 vpc_peering/pcx-12 az_pair/euw1-az1:euw1-az2 subnet/subnet-1 eni/eni-1", "", "vpc-1 subnet-1 eni-1 i-1", ""},
		{"to a VPC of another Region", host("i-1"), "10.1.1.10", "10.3.1.10", "INTER_REGION",
			"eni/eni-1 subnet/subnet-1 vpc_peering/pcx-13 region_edge/us-east-1 subnet/subnet-3 eni/eni-3", "", "vpc-3 subnet-3 eni-3 i-3", ""},
		{"to a VPC of somebody else", host("i-1"), "10.1.1.10", "10.9.1.1", "INTER_VPC",
			"eni/eni-1 subnet/subnet-1 vpc_peering/pcx-19 vpc/vpc-9 address/10.9.1.1", "", "vpc-9 - - -", ""},
		{"to a VPC of somebody else in another Region", host("i-1"), "10.1.1.10", "10.8.1.1", "INTER_REGION",
			"eni/eni-1 subnet/subnet-1 vpc_peering/pcx-18 region_edge/ap-south-1 vpc/vpc-8 address/10.8.1.1", "", "vpc-8 - - -", ""},
		{"by a peering that is gone", host("i-1"), "10.1.1.10", "10.7.1.1", "UNCLASSIFIED",
			"eni/eni-1 subnet/subnet-1 address/10.7.1.1", "", "- - - -", "unknown"},
		{"to a peer's address without a subnet", host("i-1"), "10.1.1.10", "10.2.9.9", "INTER_VPC",
			"eni/eni-1 subnet/subnet-1 vpc_peering/pcx-12 vpc/vpc-2 address/10.2.9.9", "", "vpc-2 - - -", ""},
		{"no route leads through the peer to its peer", host("i-2"), "10.2.1.10", "10.3.1.10", "UNCLASSIFIED",
			"eni/eni-2 subnet/subnet-2 address/10.3.1.10", "", "- - - -", "unknown"},
	})
}

func TestTransitGatewayRouteTables(t *testing.T) {
	run(t, "transit_gateway_routes", []flow{
		{"by a propagated route", host("i-prod"), "10.1.1.10", "10.3.1.10", "INTER_VPC",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-shared eni/eni-shared", "", "vpc-shared subnet-shared eni-shared i-shared", ""},
		{"to a secondary CIDR", host("i-prod"), "10.1.1.10", "10.30.1.10", "INTER_VPC",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 subnet/subnet-shared2 eni/eni-shared2", "", "vpc-shared subnet-shared2 eni-shared2 i-shared2", ""},
		{"the same address means another VPC by another route table", host("i-dev"), "10.2.1.10", "10.1.1.10", "INTER_VPC",
			"eni/eni-dev subnet/subnet-dev transit_gateway/tgw-1 subnet/subnet-dev2 eni/eni-dev2", "", "vpc-dev2 subnet-dev2 eni-dev2 i-dev2", ""},
		{"and for the shared VPC it is production", host("i-shared"), "10.3.1.10", "10.1.1.10", "INTER_VPC",
			"eni/eni-shared subnet/subnet-shared transit_gateway/tgw-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-prod eni/eni-prod", "", "vpc-prod subnet-prod eni-prod i-prod", ""},
		{"into a black hole of the transit gateway", host("i-prod"), "10.1.1.10", "10.2.1.10", "TRANSIT_GATEWAY",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 address/10.2.1.10", "", "- - - -", "unknown"},
		{"where the transit gateway has no route", host("i-dev"), "10.2.1.10", "10.77.1.1", "TRANSIT_GATEWAY",
			"eni/eni-dev subnet/subnet-dev transit_gateway/tgw-1 address/10.77.1.1", "", "- - - -", "unknown"},
		{"to a VPC of somebody else", host("i-prod"), "10.1.1.10", "10.77.1.1", "TRANSIT_GATEWAY",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 vpc/vpc-other address/10.77.1.1", "", "- - - -", "unknown"},
		{"by Direct Connect, which is preferred to a VPN", host("i-prod"), "10.1.1.10", "172.16.1.1", "TRANSIT_GATEWAY",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 transit_gateway_attachment/tgw-attach-dx address/172.16.1.1", "", "- - - -", "unknown"},
		{"into a black hole of the subnet's route table", host("i-prod"), "10.1.1.10", "10.66.1.1", "UNCLASSIFIED",
			"eni/eni-prod subnet/subnet-prod address/10.66.1.1", "", "- - - -", "unknown"},
		{"by a transit gateway that is not described", host("i-prod"), "10.1.1.10", "10.55.1.1", "TRANSIT_GATEWAY",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-elsewhere address/10.55.1.1", "", "- - - -", "unknown"},
		{"to an address of an attached VPC that is in no subnet", host("i-prod"), "10.1.1.10", "10.3.9.9", "TRANSIT_GATEWAY",
			"eni/eni-prod subnet/subnet-prod transit_gateway/tgw-1 vpc/vpc-shared address/10.3.9.9", "", "vpc-shared - - -", "unknown"},
	})
}

func TestTransitGatewayPeering(t *testing.T) {
	run(t, "transit_gateway_peering", []flow{
		{"to a VPC of another Region", host("i-eu"), "10.1.1.10", "10.2.1.10", "INTER_REGION",
			"eni/eni-eu subnet/subnet-eu transit_gateway/tgw-eu transit_gateway_peering/tgw-attach-peer region_edge/us-east-1 transit_gateway/tgw-us subnet/subnet-us eni/eni-us", "", "vpc-us subnet-us eni-us i-us", ""},
		{"and back", host("i-us"), "10.2.1.10", "10.1.1.10", "INTER_REGION",
			"eni/eni-us subnet/subnet-us transit_gateway/tgw-us transit_gateway_peering/tgw-attach-peer region_edge/eu-west-1 transit_gateway/tgw-eu subnet/subnet-eu eni/eni-eu", "", "vpc-eu subnet-eu eni-eu i-eu", ""},
		{"to the edge of a Region that is not described", host("i-eu"), "10.1.1.10", "10.3.1.1", "INTER_REGION",
			"eni/eni-eu subnet/subnet-eu transit_gateway/tgw-eu transit_gateway_peering/tgw-attach-ap region_edge/ap-south-1 transit_gateway/tgw-ap address/10.3.1.1", "", "", ""},
		{"where the peer has no route", host("i-eu"), "10.1.1.10", "10.4.1.1", "INTER_REGION",
			"eni/eni-eu subnet/subnet-eu transit_gateway/tgw-eu transit_gateway_peering/tgw-attach-peer region_edge/us-east-1 transit_gateway/tgw-us address/10.4.1.1", "", "", ""},
	})
}

func TestInternetAndServices(t *testing.T) {
	run(t, "internet", []flow{
		{"to the Internet through a NAT gateway of the same zone", host("i-a"), "10.1.1.10", "203.0.113.7", "INTERNET",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 address/203.0.113.7", "", "- - - -", ""},
		{"through a NAT gateway of another zone", host("i-b"), "10.1.2.10", "203.0.113.7", "INTERNET",
			"eni/eni-b subnet/subnet-private-b az_pair/euw1-az1:euw1-az2 nat_gateway/nat-1 internet_gateway/igw-1 address/203.0.113.7", "", "", ""},
		{"to the Internet without a NAT gateway", host("i-web"), "10.1.11.10", "8.8.8.8", "INTERNET",
			"eni/eni-web subnet/subnet-public-a internet_gateway/igw-1 address/8.8.8.8", "", "", ""},
		{"to S3 by the prefix list of a gateway endpoint", host("i-a"), "10.1.1.10", "52.218.1.1", "AMAZON_S3",
			"eni/eni-a subnet/subnet-private-a vpc_endpoint/vpce-s3 service/S3", "", "S3 eu-west-1", ""},
		{"to DynamoDB by a gateway endpoint without its prefix list", host("i-a"), "10.1.1.10", "52.94.24.1", "AMAZON_DYNAMODB",
			"eni/eni-a subnet/subnet-private-a vpc_endpoint/vpce-ddb service/DYNAMODB", "", "DYNAMODB eu-west-1", ""},
		{"to S3 over the Internet gateway", host("i-web"), "10.1.11.10", "52.218.1.1", "AMAZON_S3",
			"eni/eni-web subnet/subnet-public-a internet_gateway/igw-1 service/S3", "", "S3 eu-west-1", ""},
		{"to S3 of the Region outside the prefix list", host("i-a"), "10.1.1.10", "52.92.0.1", "AMAZON_S3",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 service/S3", "", "S3 eu-west-1", ""},
		{"to S3 of another Region", host("i-a"), "10.1.1.10", "54.231.0.1", "INTER_REGION",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 region_edge/us-east-1 service/S3", "", "S3 us-east-1", ""},
		{"to CloudFront, which is in no Region", host("i-a"), "10.1.1.10", "13.32.1.1", "AWS_SERVICE",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 service/CLOUDFRONT", "", "CLOUDFRONT ", ""},
		{"to API Gateway", host("i-a"), "10.1.1.10", "108.128.160.1", "AWS_SERVICE",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 service/API_GATEWAY", "", "API_GATEWAY eu-west-1", ""},
		{"to a public address of another Region", host("i-a"), "10.1.1.10", "54.90.200.1", "INTER_REGION",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 region_edge/us-east-1 service/EC2", "", "EC2 us-east-1", ""},
		{"to the own Elastic address in another VPC", host("i-a"), "10.1.1.10", "54.73.2.10", "INTER_VPC",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 internet_gateway/igw-2 subnet/subnet-2 eni/eni-2", "", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"to the own Elastic address in the same VPC", host("i-a"), "10.1.1.10", "54.73.1.10", "INTRA_AZ",
			"eni/eni-a subnet/subnet-private-a nat_gateway/nat-1 internet_gateway/igw-1 subnet/subnet-public-a eni/eni-web", "", "vpc-1 subnet-public-a eni-web i-web", ""},
		{"to the own Elastic address in another Region", host("i-web"), "10.1.11.10", "54.90.3.10", "INTER_REGION",
			"eni/eni-web subnet/subnet-public-a internet_gateway/igw-1 region_edge/us-east-1 internet_gateway/igw-us subnet/subnet-us eni/eni-us", "", "vpc-us subnet-us eni-us i-us", ""},
		{"a client behind a NAT gateway whose interface is not listed", host("i-web"), "10.1.11.10", "54.73.2.5", "INTER_VPC",
			"eni/eni-web subnet/subnet-public-a internet_gateway/igw-1 internet_gateway/igw-2 subnet/subnet-2 nat_gateway/nat-2", "", "vpc-2 subnet-2 - -", ""},
		{"a client behind the NAT gateway of the same VPC", host("i-web"), "10.1.11.10", "10.1.11.5", "INTRA_AZ",
			"eni/eni-web subnet/subnet-public-a eni/eni-nat", "", "vpc-1 subnet-public-a eni-nat -", ""},
		{"to the office by a VPN gateway and a prefix list", host("i-a"), "10.1.1.10", "192.168.1.1", "UNCLASSIFIED",
			"eni/eni-a subnet/subnet-private-a vpn_gateway/vgw-1 address/192.168.1.1", "", "- - - -", "unknown"},
		{"to the site of an Outpost", host("i-office"), "10.1.13.10", "192.168.1.1", "UNCLASSIFIED",
			"eni/eni-office subnet/subnet-office local_gateway/lgw-1 address/192.168.1.1", "", "- - - -", "unknown"},
		{"a private address does not cross the gateways to the Internet", host("i-a"), "10.1.1.10", "10.99.0.1", "UNCLASSIFIED",
			"eni/eni-a subnet/subnet-private-a address/10.99.0.1", "", "- - - -", "unknown"},
		{"a black hole swallows public addresses", host("i-office"), "10.1.13.10", "203.0.113.7", "UNCLASSIFIED",
			"eni/eni-office subnet/subnet-office address/203.0.113.7", "", "- - - -", "unknown"},
		{"a public client of a subnet without routes out", host("i-closed"), "10.1.12.10", "203.0.113.7", "UNCLASSIFIED",
			"eni/eni-closed subnet/subnet-closed address/203.0.113.7", "", "- - - -", "unknown"},
		{"a VPC that is not connected", host("i-a"), "10.1.1.10", "10.2.1.10", "UNCLASSIFIED",
			"eni/eni-a subnet/subnet-private-a address/10.2.1.10", "", "- - - -", "unknown"},
	})
}

func TestEndpointsAndAppliances(t *testing.T) {
	run(t, "endpoints", []flow{
		{"an interface endpoint known by its description", host("i-app"), "10.1.1.10", "10.1.2.10", "AWS_SERVICE",
			"eni/eni-app subnet/subnet-app az_pair/euw1-az1:euw1-az2 subnet/subnet-end eni/eni-sqs vpc_endpoint/vpce-sqs service/SQS", "", "vpc-1 subnet-end eni-sqs - SQS", ""},
		{"an interface endpoint of S3 is toward S3", host("i-app"), "10.1.1.10", "10.1.2.11", "AMAZON_S3",
			"eni/eni-app subnet/subnet-app az_pair/euw1-az1:euw1-az2 subnet/subnet-end eni/eni-s3 vpc_endpoint/vpce-s3 service/S3", "", "vpc-1 subnet-end eni-s3 - S3", ""},
		{"an endpoint in a shared VPC", host("i-app"), "10.1.1.10", "10.2.1.10", "AWS_SERVICE",
			"eni/eni-app subnet/subnet-app vpc_peering/pcx-1 subnet/subnet-shared eni/eni-ecr vpc_endpoint/vpce-ecr service/ECR_API", "", "vpc-shared subnet-shared eni-ecr - ECR_API", ""},
		{"an endpoint of a partner's service", host("i-app"), "10.1.1.10", "10.1.2.12", "AWS_SERVICE",
			"eni/eni-app subnet/subnet-app az_pair/euw1-az1:euw1-az2 subnet/subnet-end eni/eni-partner vpc_endpoint/vpce-partner service/vpce-svc-0abc", "", "vpc-1 subnet-end eni-partner - vpce-svc-0abc", ""},
		{"through a firewall instance within the VPC", host("i-app"), "10.1.1.10", "10.1.3.10", "INTRA_AZ",
			"eni/eni-app subnet/subnet-app eni/eni-fw subnet/subnet-db eni/eni-db", "", "vpc-1 subnet-db eni-db i-db", ""},
		{"inspected by a gateway load balancer on the way out", host("i-app"), "10.1.1.10", "203.0.113.7", "INTERNET",
			"eni/eni-app subnet/subnet-app vpc_endpoint/vpce-gwlb internet_gateway/igw-1 address/203.0.113.7", "", "", ""},
		{"through a NAT instance", host("i-app"), "10.1.1.10", "198.51.100.7", "INTERNET",
			"eni/eni-app subnet/subnet-app eni/eni-fw internet_gateway/igw-1 address/198.51.100.7", "", "", ""},
	})
}

func TestLocalZonesComeFirst(t *testing.T) {
	run(t, "local_zone", []flow{
		{"from a zone to a local zone", host("i-az"), "10.1.1.10", "10.1.2.10", "LOCAL_ZONE",
			"eni/eni-az subnet/subnet-az az_pair/usw2-az1:usw2-lax1-az1 subnet/subnet-lax eni/eni-lax", "", "vpc-1 subnet-lax eni-lax i-lax", ""},
		{"from a local zone", host("i-lax"), "10.1.2.10", "10.1.1.10", "LOCAL_ZONE",
			"eni/eni-lax subnet/subnet-lax az_pair/usw2-az1:usw2-lax1-az1 subnet/subnet-az eni/eni-az", "", "", ""},
		{"within a local zone", host("i-lax"), "10.1.2.10", "10.1.2.11", "LOCAL_ZONE", "eni/eni-lax subnet/subnet-lax eni/eni-lax2", "", "", ""},
		{"from a local zone to the Internet", host("i-lax"), "10.1.2.10", "203.0.113.7", "LOCAL_ZONE",
			"eni/eni-lax subnet/subnet-lax internet_gateway/igw-1 address/203.0.113.7", "", "", ""},
		{"to a public address of a local zone", host("i-az"), "10.1.1.10", "70.224.192.1", "LOCAL_ZONE",
			"eni/eni-az subnet/subnet-az internet_gateway/igw-1 service/EC2", "", "EC2 us-west-2", ""},
		{"a wavelength zone is another zone", host("i-az"), "10.1.1.10", "10.1.3.10", "INTER_AZ",
			"eni/eni-az subnet/subnet-az az_pair/usw2-az1:usw2-wl1-sfo-wlz1 subnet/subnet-wl eni/eni-wl", "", "", ""},
	})
}

func TestIPv6(t *testing.T) {
	run(t, "ipv6", []flow{
		{"between two zones", host("i-1"), "2a05:d018:1:1::10", "2a05:d018:1:2::10", "INTER_AZ",
			"eni/eni-1 subnet/subnet-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-1b eni/eni-1b", "", "vpc-1 subnet-1b eni-1b i-1b", ""},
		{"from a delegated prefix", host("i-1"), "2a05:d018:1:1:aaaa::7", "2a05:d018:1:2::10", "INTER_AZ",
			"eni/eni-1 subnet/subnet-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-1b eni/eni-1b", "vpc-1 subnet-1 eni-1 i-1", "", ""},
		{"to the Internet by the egress-only gateway", host("i-1"), "2a05:d018:1:1::10", "2001:db8::1", "INTERNET",
			"eni/eni-1 subnet/subnet-1 egress_only_internet_gateway/eigw-1 address/2001:db8::1", "", "", ""},
		{"to a known global address in another VPC", host("i-1b"), "2a05:d018:1:2::10", "2a05:d018:2:1::10", "INTER_VPC",
			"eni/eni-1b subnet/subnet-1b internet_gateway/igw-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-2 eni/eni-2", "", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"to a known global address in another Region", host("i-1"), "2a05:d018:1:1::10", "2600:1f18:3:1::10", "INTER_REGION",
			"eni/eni-1 subnet/subnet-1 egress_only_internet_gateway/eigw-1 region_edge/us-east-1 internet_gateway/igw-us subnet/subnet-us eni/eni-us", "", "vpc-us subnet-us eni-us i-us", ""},
		{"to a private IPv6 address that no route leads to", host("i-1b"), "2a05:d018:1:2::10", "fd00:2:0:1::10", "UNCLASSIFIED",
			"eni/eni-1b subnet/subnet-1b address/fd00:2:0:1::10", "", "- - - -", "unknown"},
		{"to IPv4 through NAT64", host("i-1"), "2a05:d018:1:1::10", "64:ff9b::cb00:7107", "INTERNET",
			"eni/eni-1 subnet/subnet-1 az_pair/euw1-az1:euw1-az2 nat_gateway/nat-1 internet_gateway/igw-1 address/203.0.113.7", "", "", ""},
		{"to S3 over IPv6", host("i-1"), "2a05:d018:1:1::10", "2a05:d031:8000::1", "AMAZON_S3",
			"eni/eni-1 subnet/subnet-1 egress_only_internet_gateway/eigw-1 service/S3", "", "S3 eu-west-1", ""},
	})
}

func TestSharedSubnet(t *testing.T) {
	run(t, "shared_subnet", []flow{
		{"zones are compared by id", path.Origin{}, "10.1.1.20", "10.1.2.10", "INTER_AZ",
			"eni/eni-guest subnet/subnet-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-1b eni/eni-b", "vpc-1 subnet-1 eni-guest -", "", ""},
		{"an account with a subnet shared with it is told by the interface's owner", path.Origin{Account: "222222222222"}, "10.1.1.20", "10.1.1.10", "INTRA_AZ",
			"eni/eni-guest subnet/subnet-1 eni/eni-owner", "vpc-1 subnet-1 eni-guest -", "vpc-1 subnet-1 eni-owner -", ""},
		{"the other owner's interface is not the account's, which leaves its own VPC", path.Origin{Account: "222222222222"}, "10.1.1.10", "10.1.1.30", "INTRA_AZ",
			"address/10.1.1.10 subnet/subnet-2 eni/eni-2", "vpc-2 subnet-2 - -", "vpc-2 subnet-2 eni-2 -", ""},
	})
	r := resolver(t, "shared_subnet")
	got := r.Resolve(&path.Origin{}, netip.MustParseAddr("10.1.1.20"), netip.MustParseAddr("10.1.1.10"))
	assert.Equal(t, "222222222222", got.Local.Account, "the interface's owner, not the subnet's")
	assert.Equal(t, "111111111111", got.Remote.Account)
	assert.Equal(t, "euw1-az1", got.Local.ZoneID)
	assert.Equal(t, "eu-west-1b", got.Local.Zone, "as the guest's account calls it")
	assert.Equal(t, "eu-west-1a", got.Remote.Zone, "as the owner's account calls it")
}

func TestWithoutRouteTables(t *testing.T) {
	run(t, "no_route_tables", []flow{
		{"the own VPC first", path.Origin{}, "10.1.1.10", "10.1.2.10", "INTER_AZ",
			"address/10.1.1.10 subnet/subnet-1 az_pair/eu-west-1a:eu-west-1b subnet/subnet-1b address/10.1.2.10", "vpc-1 subnet-1 - -", "vpc-1 subnet-1b - -", ""},
		{"the only connected VPC that has it, by a peering", path.Origin{}, "10.1.1.10", "10.2.1.10", "INTER_VPC",
			"address/10.1.1.10 subnet/subnet-1 vpc_peering/pcx-12 subnet/subnet-2 address/10.2.1.10", "", "vpc-2 subnet-2 - -", ""},
		{"a peered VPC of somebody else, by its CIDR", path.Origin{}, "10.1.1.10", "10.9.1.1", "INTER_VPC",
			"address/10.1.1.10 subnet/subnet-1 vpc_peering/pcx-19 vpc/vpc-9 address/10.9.1.1", "", "vpc-9 - - -", ""},
		{"the only connected VPC that has it, by a transit gateway", path.Origin{}, "10.1.1.10", "10.3.2.1", "INTER_VPC",
			"address/10.1.1.10 subnet/subnet-1 transit_gateway/tgw-1 subnet/subnet-4 address/10.3.2.1", "", "vpc-4 subnet-4 - -", ""},
		{"two connected VPCs have it", path.Origin{}, "10.1.1.10", "10.3.1.1", "UNCLASSIFIED",
			"address/10.1.1.10 subnet/subnet-1 address/10.3.1.1", "", "- - - -", "ambiguous"},
		{"a VPC behind a peer of the transit gateway", path.Origin{}, "10.1.1.10", "10.6.1.1", "INTER_REGION",
			"address/10.1.1.10 subnet/subnet-1 transit_gateway/tgw-1 transit_gateway_peering/tgw-attach-p region_edge/us-east-1 transit_gateway/tgw-6 subnet/subnet-6 address/10.6.1.1", "", "vpc-6 subnet-6 - -", ""},
		{"a VPC that is not connected would be a guess", path.Origin{}, "10.1.1.10", "10.5.1.1", "UNCLASSIFIED",
			"address/10.1.1.10 subnet/subnet-1 address/10.5.1.1", "", "- - - -", "ambiguous"},
		{"an address that nothing has", path.Origin{}, "10.1.1.10", "10.99.1.1", "UNCLASSIFIED",
			"address/10.1.1.10 subnet/subnet-1 address/10.99.1.1", "", "- - - -", "unknown"},
		{"the Internet", path.Origin{}, "10.1.1.10", "203.0.113.7", "INTERNET",
			"address/10.1.1.10 subnet/subnet-1 address/203.0.113.7", "", "", ""},
	})
}

func TestEgressVPC(t *testing.T) {
	run(t, "egress_vpc", []flow{
		{"out by the NAT gateway of the own zone", host("i-1"), "10.1.1.10", "203.0.113.7", "INTERNET",
			"eni/eni-1 subnet/subnet-spoke-1 transit_gateway/tgw-1 vpc/vpc-egress nat_gateway/nat-1 internet_gateway/igw-egress address/203.0.113.7", "", "", ""},
		{"which NAT gateway serves a zone without one is not known, but where all of them lead is", host("i-3"), "10.1.3.10", "203.0.113.7", "INTERNET",
			"eni/eni-3 subnet/subnet-spoke-3 transit_gateway/tgw-1 vpc/vpc-egress internet_gateway/igw-egress address/203.0.113.7", "", "", ""},
		{"to an address that is nowhere", host("i-1"), "10.1.1.10", "10.55.0.1", "TRANSIT_GATEWAY",
			"eni/eni-1 subnet/subnet-spoke-1 transit_gateway/tgw-1 vpc/vpc-egress transit_gateway/tgw-1 address/10.55.0.1", "", "", "unknown"},
	})
}

func TestWithoutAnySource(t *testing.T) {
	ec2 := path.Origin{Host: "i-0abc", Account: "111111111111", Region: "eu-west-1", Zone: "eu-west-1a"}
	run(t, "", []flow{
		{"S3 of the own Region", ec2, "10.0.0.5", "52.218.1.1", "AMAZON_S3", "address/10.0.0.5 service/S3", "", "S3 eu-west-1", "unknown"},
		{"S3 is known by its address, whatever the own Region is", path.Origin{}, "192.168.1.5", "52.218.1.1", "AMAZON_S3", "address/192.168.1.5 service/S3", "- - - -", "S3 eu-west-1", "unknown"},
		{"DynamoDB of the own Region", ec2, "10.0.0.5", "52.94.24.1", "AMAZON_DYNAMODB", "address/10.0.0.5 service/DYNAMODB", "- - - i-0abc", "DYNAMODB eu-west-1", "unknown"},
		{"S3 of another Region", ec2, "10.0.0.5", "54.231.0.1", "INTER_REGION", "address/10.0.0.5 region_edge/us-east-1 service/S3", "", "S3 us-east-1", "unknown"},
		{"CloudFront", path.Origin{}, "192.168.1.5", "13.32.1.1", "AWS_SERVICE", "address/192.168.1.5 service/CLOUDFRONT", "", "CLOUDFRONT ", "unknown"},
		{"the Internet", path.Origin{}, "192.168.1.5", "203.0.113.7", "INTERNET", "address/192.168.1.5 address/203.0.113.7", "", "- - - -", "unknown"},
		{"a private address", path.Origin{}, "192.168.1.5", "192.168.1.6", "UNCLASSIFIED", "address/192.168.1.5 address/192.168.1.6", "", "- - - -", "unknown"},
		{"loopback", path.Origin{}, "127.0.0.1", "127.0.0.1", "UNCLASSIFIED", "", "", "", ""},
		{"the own address", path.Origin{}, "192.168.1.5", "192.168.1.5", "UNCLASSIFIED", "address/192.168.1.5", "", "", "unknown"},
	})
}

func TestAPublicNATGatewayLeadsOutWhateverItsSubnetsTableSays(t *testing.T) {
	// The only table is the main one, whose default route is the gateway itself.
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}]
subnets: [{subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1}]
network_interfaces: [{network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}]
internet_gateways: [{internet_gateway_id: igw-1, vpc_id: vpc-1}]
nat_gateways: [{nat_gateway_id: nat-1, subnet_id: subnet-1}, {nat_gateway_id: nat-2, vpc_id: vpc-1}, {nat_gateway_id: nat-3, subnet_id: subnet-1, connectivity_type: private}]
route_tables:
  - route_table_id: rtb-1
    vpc_id: vpc-1
    main: true
    routes:
      - {destination_cidr_block: 0.0.0.0/0, target: nat-1}
      - {destination_cidr_block: 198.51.100.0/24, target: nat-2}
      - {destination_cidr_block: 10.9.0.0/16, target: nat-3}
`, []flow{
		{"a zonal one", path.Origin{}, "10.1.1.10", "203.0.113.7", "INTERNET", "eni/eni-1 subnet/subnet-1 nat_gateway/nat-1 internet_gateway/igw-1 address/203.0.113.7", "", "", ""},
		{"a regional one", path.Origin{}, "10.1.1.10", "198.51.100.7", "INTERNET", "eni/eni-1 subnet/subnet-1 nat_gateway/nat-2 internet_gateway/igw-1 address/198.51.100.7", "", "", ""},
		{"but not a private one", path.Origin{}, "10.1.1.10", "10.9.0.1", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/10.9.0.1", "", "", "unknown"},
	})
}

func TestAPrivateNATGatewayLeadsOn(t *testing.T) {
	// Two VPCs with the same CIDR talk through private NAT gateways in other CIDRs.
	runYAML(t, `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16, 100.64.1.0/24]}
  - {vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [10.1.0.0/16, 100.64.2.0/24]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1, route_table_id: rtb-1}
  - {subnet_id: subnet-1n, vpc_id: vpc-1, cidr_blocks: [100.64.1.0/24], availability_zone_id: euw1-az1, route_table_id: rtb-1n}
  - {subnet_id: subnet-2n, vpc_id: vpc-2, cidr_blocks: [100.64.2.0/24], availability_zone_id: euw1-az2}
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}
  - {network_interface_id: eni-lb, subnet_id: subnet-2n, private_ip_addresses: [100.64.2.10], interface_type: network_load_balancer}
nat_gateways: [{nat_gateway_id: nat-1, subnet_id: subnet-1n, connectivity_type: private}]
transit_gateways:
  - transit_gateway_id: tgw-1
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}
      - {transit_gateway_attachment_id: tgw-attach-2, resource_type: vpc, resource_id: vpc-2}
    route_tables:
      - transit_gateway_route_table_id: tgw-rtb-1
        associations: [tgw-attach-1, tgw-attach-2]
        routes: [{destination_cidr_block: 100.64.2.0/24, transit_gateway_attachment_id: tgw-attach-2}]
route_tables:
  - {route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 100.64.2.0/24, target: nat-1}]}
  - {route_table_id: rtb-1n, vpc_id: vpc-1, routes: [{destination_cidr_block: 100.64.2.0/24, target: tgw-1}]}
`, []flow{
		{"to the other VPC's load balancer", path.Origin{}, "10.1.1.10", "100.64.2.10", "INTER_VPC",
			"eni/eni-1 subnet/subnet-1 nat_gateway/nat-1 transit_gateway/tgw-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-2n eni/eni-lb", "", "vpc-2 subnet-2n eni-lb - ELB", ""},
	})
}

func TestAPublicBlockUsedInAVPCIsNotTakenForTheInternet(t *testing.T) {
	text := `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [11.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [11.1.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [11.1.1.0/24], availability_zone: eu-west-1a}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [11.1.1.0/24], availability_zone: eu-west-1a}
`
	runYAML(t, text, []flow{
		{"while the local end is ambiguous", path.Origin{}, "11.1.1.10", "11.1.1.20", "UNCLASSIFIED", "address/11.1.1.10 address/11.1.1.20", "", "- - - -", "ambiguous"},
		{"nor while it is unknown", path.Origin{}, "192.168.0.1", "11.1.1.20", "UNCLASSIFIED", "address/192.168.0.1 address/11.1.1.20", "", "- - - -", "ambiguous"},
	})
}

func TestAZoneNameLeadsToItsIDWhereverBothAreSaid(t *testing.T) {
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}]
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone: eu-west-1a}
  - {subnet_id: subnet-2, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone: eu-west-1a, availability_zone_id: euw1-az2}
  - {subnet_id: subnet-3, vpc_id: vpc-1, cidr_blocks: [10.1.3.0/24], availability_zone_id: euw1-az3}
`, []flow{
		{"the same zone", path.Origin{}, "10.1.1.1", "10.1.2.1", "INTRA_AZ", "address/10.1.1.1 subnet/subnet-1 subnet/subnet-2 address/10.1.2.1", "", "", ""},
		{"another zone", path.Origin{}, "10.1.1.1", "10.1.3.1", "INTER_AZ", "address/10.1.1.1 subnet/subnet-1 az_pair/euw1-az2:euw1-az3 subnet/subnet-3 address/10.1.3.1", "", "", ""},
	})
}

func TestZonesThatCannotBeComparedLeaveTheCategoryOpen(t *testing.T) {
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}]
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone: eu-west-1a}
  - {subnet_id: subnet-2, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone_id: euw1-az1}
`, []flow{
		{"a name and an id", path.Origin{}, "10.1.1.1", "10.1.2.1", "UNCLASSIFIED", "address/10.1.1.1 subnet/subnet-1 subnet/subnet-2 address/10.1.2.1", "", "vpc-1 subnet-2 - -", ""},
	})
}

func TestALocalZoneIsKnownByTheFormOfItsName(t *testing.T) {
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: us-west-2, cidr_blocks: [10.1.0.0/16]}]
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone: us-west-2-lax-1a}
  - {subnet_id: subnet-2, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone: us-west-2a}
  - {subnet_id: subnet-3, vpc_id: vpc-1, cidr_blocks: [10.1.3.0/24], availability_zone_id: usw2-lax1-az1}
`, []flow{
		{"by name", path.Origin{}, "10.1.1.1", "10.1.2.1", "LOCAL_ZONE", "address/10.1.1.1 subnet/subnet-1 az_pair/us-west-2-lax-1a:us-west-2a subnet/subnet-2 address/10.1.2.1", "", "", ""},
		{"by id", path.Origin{}, "10.1.2.1", "10.1.3.1", "LOCAL_ZONE", "address/10.1.2.1 subnet/subnet-2 subnet/subnet-3 address/10.1.3.1", "", "", ""},
	})
}

func TestALoopOfRoutesEnds(t *testing.T) {
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}]
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1, route_table_id: rtb-1}
  - {subnet_id: subnet-2, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone_id: euw1-az1, route_table_id: rtb-2}
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}
  - {network_interface_id: eni-2, subnet_id: subnet-2, private_ip_addresses: [10.1.2.10]}
route_tables:
  - {route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 0.0.0.0/0, target: eni-2}]}
  - {route_table_id: rtb-2, vpc_id: vpc-1, routes: [{destination_cidr_block: 0.0.0.0/0, target: eni-1}]}
transit_gateways:
  - {transit_gateway_id: tgw-1, attachments: [{transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}]}
`, []flow{
		{"between two appliances", path.Origin{}, "10.1.1.10", "203.0.113.7", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/203.0.113.7", "", "", "unknown"},
	})
}

func TestAListenerHasALocalEndOnly(t *testing.T) {
	r := resolver(t, "one_vpc")
	got := r.ResolveLocal(&path.Origin{}, netip.MustParseAddr("10.0.1.20"))
	assert.Equal(t, "vpc-1 subnet-a eni-web i-web", end(got.Local))
	assert.Empty(t, got.Category)
	assert.Empty(t, got.Path)
	assert.Empty(t, got.Unresolved)
	assert.Equal(t, "unknown", r.ResolveLocal(&path.Origin{}, netip.MustParseAddr("10.77.0.1")).Unresolved)
	assert.Equal(t, "vpc-1 subnet-a - i-web", end(r.ResolveLocal(&path.Origin{Host: "i-web"}, netip.IPv4Unspecified()).Local), "on every address of its host")
	assert.Empty(t, r.ResolveLocal(&path.Origin{}, netip.IPv6Unspecified()).Unresolved)
	assert.Equal(t, path.Result{}, r.ResolveLocal(&path.Origin{Host: "i-web"}, netip.MustParseAddr("127.0.0.1")))
}

func TestWhatTheResourceSaysOfTheHostIsAFactOfTheLocalEnd(t *testing.T) {
	r := resolver(t, "")
	o := path.Origin{Host: "i-0abc", Account: "111111111111", Region: "eu-west-1", Zone: "eu-west-1a", Cluster: "shop", Node: "node-1"}
	got := r.Resolve(&o, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.1"))
	assert.Equal(t, path.End{Account: "111111111111", Region: "eu-west-1", Zone: "eu-west-1a", Host: "i-0abc",
		K8S: topology.K8S{ClusterName: "shop", NodeName: "node-1"}}, got.Local)
	assert.Equal(t, path.End{}, got.Remote)
	o.Host = "8f2b1c"
	assert.Empty(t, r.Resolve(&o, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.1")).Local.Host, "a machine id is no instance")
}

func TestTheK8SMetadataOfAnInterfaceAndItsInstance(t *testing.T) {
	r := resolver(t, "one_vpc")
	got := r.Resolve(&path.Origin{Host: "i-node1"}, netip.MustParseAddr("10.0.1.37"), netip.MustParseAddr("10.0.2.40"))
	assert.Equal(t, topology.K8S{ClusterName: "shop", NodeName: "ip-10-0-1-10.eu-west-1.compute.internal"}, got.Local.K8S)
	assert.Equal(t, topology.K8S{ClusterName: "shop", NamespaceName: "pay", PodName: "pay-7d9", DeploymentName: "pay", ServiceName: "pay"}, got.Remote.K8S)
	got = r.Resolve(&path.Origin{}, netip.MustParseAddr("10.0.2.40"), netip.MustParseAddr("10.0.2.56"))
	assert.Equal(t, "shop", got.Remote.K8S.ClusterName, "the cluster of a control plane")
}

// Every component is of a type in the closed set, and both ends are there.
func TestPathsAreOfTheClosedSetAndHaveBothEnds(t *testing.T) {
	types := map[string]bool{}
	for _, k := range []string{"instance", "eni", "subnet", "az", "az_pair", "vpc", "region", "nat_gateway", "internet_gateway", "egress_only_internet_gateway",
		"vpc_peering", "transit_gateway", "transit_gateway_attachment", "transit_gateway_peering", "vpn_gateway", "local_gateway", "vpc_endpoint",
		"service", "region_edge", "address"} {
		types[k] = true
	}
	ends := map[string]bool{"eni": true, "address": true, "service": true, "instance": true, "nat_gateway": true}
	dirs, err := filepath.Glob("../../testdata/*/topology.yaml")
	require.NoError(t, err)
	for _, d := range dirs {
		r := resolver(t, filepath.Base(filepath.Dir(d)))
		var addresses []netip.Addr
		for _, s := range []string{"10.%d.1.10", "10.%d.1.20", "10.0.%d.20", "10.%d.77.1", "54.%d.1.10", "52.%d.1.1"} {
			for i := range 12 {
				if a, err := netip.ParseAddr(strings.Replace(s, "%d", string(rune('0'+i%10)), 1)); err == nil {
					addresses = append(addresses, a)
				}
			}
		}
		for _, a := range addresses {
			for _, b := range addresses {
				got := r.Resolve(&path.Origin{}, a, b)
				require.NotEmpty(t, got.Path)
				for _, c := range got.Path {
					kind, id, ok := strings.Cut(c, "/")
					require.True(t, ok && types[kind] && id != "", "%q in %v", c, got.Path)
				}
				for _, c := range []string{got.Path[0], got.Path[len(got.Path)-1]} {
					kind, _, _ := strings.Cut(c, "/")
					require.True(t, ends[kind], "%q of %v is no end", c, got.Path)
				}
				if got.Unresolved == "" {
					require.NotEqual(t, "TRANSIT_GATEWAY", got.Category)
				}
			}
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, c := range []struct{ name, topology, host, local, remote string }{
		{"within a VPC", "one_vpc", "i-web", "10.0.1.20", "10.0.2.40"},
		{"transit gateway", "transit_gateway_routes", "i-prod", "10.1.1.10", "10.3.1.10"},
		{"internet", "internet", "i-a", "10.1.1.10", "203.0.113.7"},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := resolver(b, c.topology)
			o := path.Origin{Host: c.host}
			local, remote := netip.MustParseAddr(c.local), netip.MustParseAddr(c.remote)
			b.ReportAllocs()
			for b.Loop() {
				r.Resolve(&o, local, remote)
			}
		})
	}
}
