// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// twoVPCs is what the tables of routing rules have in common: two VPCs, a host in each
// of their subnets, and a third VPC to pass through.
const twoVPCs = `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, owner_id: "111111111111", cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, owner_id: "222222222222", cidr_blocks: [10.2.0.0/16]}
  - {vpc_id: vpc-i, region: eu-west-1, owner_id: "999999999999", cidr_blocks: [10.250.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-1b, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone_id: euw1-az2}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.1.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2t, vpc_id: vpc-2, cidr_blocks: [10.2.9.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2fw, vpc_id: vpc-2, cidr_blocks: [10.2.8.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-i, vpc_id: vpc-i, cidr_blocks: [10.250.1.0/24], availability_zone_id: euw1-az1}
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10], instance_id: i-1}
  - {network_interface_id: eni-1b, subnet_id: subnet-1b, private_ip_addresses: [10.1.2.10], instance_id: i-1b}
  - {network_interface_id: eni-2, subnet_id: subnet-2, private_ip_addresses: [10.2.1.10], instance_id: i-2}
  - {network_interface_id: eni-fw, subnet_id: subnet-2fw, private_ip_addresses: [10.2.8.5]}
`

func TestWhichRouteOfAVPCWins(t *testing.T) {
	const local = "eni/eni-1 subnet/subnet-1 az_pair/euw1-az1:euw1-az2 subnet/subnet-1b eni/eni-1b"
	within := func(name, routes string) {
		runYAML(t, twoVPCs+`
prefix_lists:
  - {prefix_list_id: pl-corp, cidrs: [10.1.0.0/16, 10.2.0.0/16]}
  - {prefix_list_id: pl-inside, cidrs: [10.1.2.0/24]}
vpn_gateways: [{vpn_gateway_id: vgw-1, vpc_id: vpc-1}]
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: `+routes+`}]
`, []flow{{name, host("i-1"), "10.1.1.10", "10.1.2.10", "INTER_AZ", local, "", "", ""}})
	}
	within("local, over a prefix list with the VPC's own CIDR", "[{destination_prefix_list_id: pl-corp, target: tgw-1}]")
	within("local, over a more specific prefix list to a gateway", "[{destination_prefix_list_id: pl-inside, target: tgw-1}]")
	within("local, over a more specific propagated route", "[{destination_cidr_block: 10.1.2.0/24, target: vgw-1}]")
	within("local, over a propagated route to the VPC's own CIDR", "[{destination_cidr_block: 10.1.0.0/16, target: vgw-1}]")

	to := func(name, routes, crossed string) {
		runYAML(t, twoVPCs+`
prefix_lists: [{prefix_list_id: pl-corp, cidrs: [10.7.0.0/16]}]
vpn_gateways: [{vpn_gateway_id: vgw-1, vpc_id: vpc-1}]
local_gateways: [{local_gateway_id: lgw-1}]
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: `+routes+`}]
`, []flow{{name, host("i-1"), "10.1.1.10", "10.7.0.1", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 " + crossed + " address/10.7.0.1", "", "", "unknown"}})
	}
	to("a static route over a propagated one", "[{destination_cidr_block: 10.7.0.0/16, target: vgw-1}, {destination_cidr_block: 10.7.0.0/16, target: lgw-1}]", "local_gateway/lgw-1")
	to("in either order", "[{destination_cidr_block: 10.7.0.0/16, target: lgw-1}, {destination_cidr_block: 10.7.0.0/16, target: vgw-1}]", "local_gateway/lgw-1")
	to("a prefix list over a propagated route", "[{destination_cidr_block: 10.7.0.0/16, target: vgw-1}, {destination_prefix_list_id: pl-corp, target: lgw-1}]", "local_gateway/lgw-1")
	to("a propagated route where it is the longest", "[{destination_cidr_block: 10.7.0.0/24, target: vgw-1}, {destination_cidr_block: 10.7.0.0/16, target: lgw-1}]", "vpn_gateway/vgw-1")
}

// behindTransit leads vpc-1 by tgw-1 to whatever the gateway's table says; entry is where
// the attachment of vpc-2 enters.
func behindTransit(entry, table string) string {
	return twoVPCs + `
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 0.0.0.0/0, target: tgw-1}]}]
` + onTransitGateway(entry, table)
}

func onTransitGateway(entry, table string) string {
	return `
transit_gateways:
  - transit_gateway_id: tgw-1
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}
      - {transit_gateway_attachment_id: tgw-attach-2, resource_type: vpc, resource_id: vpc-2, subnet_ids: [` + entry + `]}
      - {transit_gateway_attachment_id: tgw-attach-i, resource_type: vpc, resource_id: vpc-i}
      - {transit_gateway_attachment_id: tgw-attach-x, resource_type: vpc, resource_id: vpc-x, resource_owner_id: "777777777777"}
      - {transit_gateway_attachment_id: tgw-attach-vpn, resource_type: vpn}
      - {transit_gateway_attachment_id: tgw-attach-vpn2, resource_type: vpn}
      - {transit_gateway_attachment_id: tgw-attach-dx, resource_type: direct-connect-gateway}
      - {transit_gateway_attachment_id: tgw-attach-con, resource_type: connect}
    route_tables:
      - transit_gateway_route_table_id: tgw-rtb-1
        associations: [tgw-attach-1]
` + table + "\n"
}

const toTransit = "eni/eni-1 subnet/subnet-1 transit_gateway/tgw-1 "

func TestAVPCOnTheWayIsNotWhereTheFlowEnds(t *testing.T) {
	runYAML(t, behindTransit("subnet-2t", `
        routes:
          - {destination_cidr_block: 0.0.0.0/0, transit_gateway_attachment_id: tgw-attach-x}
          - {destination_cidr_block: 10.0.0.0/8, transit_gateway_attachment_id: tgw-attach-i}
          - {destination_cidr_block: 10.9.0.0/16, transit_gateway_attachment_id: tgw-attach-2}
          - {destination_cidr_block: 203.0.113.0/24, transit_gateway_attachment_id: tgw-attach-i}
`), []flow{
		{"an egress VPC that is not described", host("i-1"), "10.1.1.10", "8.8.8.8", "INTERNET", toTransit + "vpc/vpc-x address/8.8.8.8", "", "- - - -", ""},
		{"to a service by it", host("i-1"), "10.1.1.10", "52.218.1.1", "AMAZON_S3", toTransit + "vpc/vpc-x service/S3", "", "S3 eu-west-1", ""},
		{"to a private address by it", host("i-1"), "10.1.1.10", "172.16.0.1", "TRANSIT_GATEWAY", toTransit + "vpc/vpc-x address/172.16.0.1", "", "- - - -", "unknown"},
		{"an egress VPC without its routes", host("i-1"), "10.1.1.10", "203.0.113.7", "INTERNET", toTransit + "vpc/vpc-i address/203.0.113.7", "", "- - - -", ""},
		{"an inspection VPC without its routes", host("i-1"), "10.1.1.10", "10.2.1.10", "TRANSIT_GATEWAY", toTransit + "vpc/vpc-i address/10.2.1.10", "", "- - - -", "unknown"},
		{"a route that is wider than the VPC it leads to", host("i-1"), "10.1.1.10", "10.9.0.1", "TRANSIT_GATEWAY", toTransit + "vpc/vpc-2 address/10.9.0.1", "", "- - - -", "unknown"},
	})
}

func TestAnApplianceAtTheEntryOfTheDestinationVPC(t *testing.T) {
	const table = "        routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-2}]\n"
	entry := func(routes string) string {
		return `
  - {route_table_id: rtb-2t, vpc_id: vpc-2, subnet_ids: [subnet-2t], routes: [` + routes + `]}
  - {route_table_id: rtb-2fw, vpc_id: vpc-2, subnet_ids: [subnet-2fw]}
`
	}
	text := func(routes string) string {
		return twoVPCs + `
route_tables:
  - {route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 10.0.0.0/8, target: tgw-1}]}` + entry(routes) + onTransitGateway("subnet-2t", table)
	}
	runYAML(t, text("{destination_cidr_block: 10.2.1.0/24, target: eni-fw}"), []flow{
		{"is crossed", host("i-1"), "10.1.1.10", "10.2.1.10", "INTER_VPC", toTransit + "eni/eni-fw subnet/subnet-2 eni/eni-2", "", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"but not where the table does not lead to it", host("i-1"), "10.1.1.10", "10.2.8.5", "INTER_VPC", toTransit + "subnet/subnet-2fw eni/eni-fw", "", "vpc-2 subnet-2fw eni-fw -", ""},
	})
	runYAML(t, text("{destination_cidr_block: 10.2.1.0/24, target: eni-fw, state: blackhole}"), []flow{
		{"that is gone swallows the flow", host("i-1"), "10.1.1.10", "10.2.1.10", "TRANSIT_GATEWAY", toTransit + "address/10.2.1.10", "", "- - - -", "unknown"},
	})
}

func TestWhichRouteOfATransitGatewayWins(t *testing.T) {
	const vpc2 = toTransit + "subnet/subnet-2 eni/eni-2"
	const prefixList = `
prefix_lists: [{prefix_list_id: pl-a, cidrs: [10.2.0.0/16]}]
`
	for _, c := range []struct{ name, table, category, path, unresolved string }{
		{"what a VPC propagates, over a VPN", "propagations: [tgw-attach-2]\n        routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn, type: propagated}]",
			"INTER_VPC", vpc2, ""},
		{"static, over what a VPC propagates", "propagations: [tgw-attach-2]\n        routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn}]",
			"TRANSIT_GATEWAY", toTransit + "transit_gateway_attachment/tgw-attach-vpn address/10.2.1.10", "unknown"},
		{"static, over a prefix list", "routes: [{prefix_list_id: pl-a, transit_gateway_attachment_id: tgw-attach-vpn}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-2}]",
			"INTER_VPC", vpc2, ""},
		{"a prefix list, over what a VPC propagates", "propagations: [tgw-attach-2]\n        routes: [{prefix_list_id: pl-a, transit_gateway_attachment_id: tgw-attach-vpn}]",
			"TRANSIT_GATEWAY", toTransit + "transit_gateway_attachment/tgw-attach-vpn address/10.2.1.10", "unknown"},
		{"Direct Connect, over Connect and VPN", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-con, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-dx, type: propagated}]",
			"TRANSIT_GATEWAY", toTransit + "transit_gateway_attachment/tgw-attach-dx address/10.2.1.10", "unknown"},
		{"Connect, over VPN", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-con, type: propagated}]",
			"TRANSIT_GATEWAY", toTransit + "transit_gateway_attachment/tgw-attach-con address/10.2.1.10", "unknown"},
		{"neither of two VPNs", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn2, type: propagated}]",
			"TRANSIT_GATEWAY", toTransit + "address/10.2.1.10", "unknown"},
		{"the better one of three, though two are equal", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn2, type: propagated}, {destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-2}]",
			"INTER_VPC", vpc2, ""},
	} {
		runYAML(t, behindTransit("", "        "+c.table)+prefixList, []flow{{c.name, host("i-1"), "10.1.1.10", "10.2.1.10", c.category, c.path, "", "", c.unresolved}})
	}
}

func TestRoutesThatAnAttachmentPropagatesAndNobodyLists(t *testing.T) {
	const routes = `
        routes:
          - {destination_cidr_block: 10.0.0.0/8, transit_gateway_attachment_id: tgw-attach-2}
          - {destination_cidr_block: 10.2.1.10/32, transit_gateway_attachment_id: tgw-attach-2}
          - {destination_cidr_block: 172.16.0.0/12, transit_gateway_attachment_id: tgw-attach-con, type: propagated}
`
	for _, unlisted := range []string{"tgw-attach-x", "tgw-attach-vpn", "tgw-attach-dx"} {
		runYAML(t, behindTransit("", "        propagations: [tgw-attach-i, "+unlisted+"]"+routes), []flow{
			{unlisted + " may have a longer one than a static route", host("i-1"), "10.1.1.10", "10.2.8.5", "TRANSIT_GATEWAY", toTransit + "address/10.2.8.5", "", "- - - -", "unknown"},
			{unlisted + " has none longer than a single address", host("i-1"), "10.1.1.10", "10.2.1.10", "INTER_VPC", toTransit + "subnet/subnet-2 eni/eni-2", "", "", ""},
			{unlisted + " does not have another VPC's block", host("i-1"), "10.1.1.10", "10.250.1.1", "INTER_VPC", toTransit + "subnet/subnet-i address/10.250.1.1", "", "", ""},
		})
	}
	runYAML(t, behindTransit("", "        propagations: [tgw-attach-i, tgw-attach-con]"+routes), []flow{
		{"are no concern where a route names the attachment", host("i-1"), "10.1.1.10", "10.2.8.5", "INTER_VPC", toTransit + "subnet/subnet-2fw eni/eni-fw", "", "", ""},
	})
}

func TestWithoutAVPCsRouteTableATransitGatewaysOwnStillCount(t *testing.T) {
	for _, c := range []struct{ name, table, category, path, unresolved string }{
		{"a black hole", "routes: [{destination_cidr_block: 10.2.0.0/16, state: blackhole}]", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/10.2.1.10", "ambiguous"},
		{"no route", "routes: [{destination_cidr_block: 10.250.0.0/16, transit_gateway_attachment_id: tgw-attach-i}]", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/10.2.1.10", "ambiguous"},
		{"a route to something else", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-vpn}]", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/10.2.1.10", "ambiguous"},
		{"a route there", "routes: [{destination_cidr_block: 10.2.0.0/16, transit_gateway_attachment_id: tgw-attach-2}]", "INTER_VPC", toTransit + "subnet/subnet-2 eni/eni-2", ""},
		{"a propagated route there", "propagations: [tgw-attach-2]", "INTER_VPC", toTransit + "subnet/subnet-2 eni/eni-2", ""},
	} {
		runYAML(t, twoVPCs+onTransitGateway("", "        "+c.table), []flow{{c.name, host("i-1"), "10.1.1.10", "10.2.1.10", c.category, c.path, "", "", c.unresolved}})
	}
}

func TestWithoutRouteTablesAVPCOfUnknownAddressesCompetes(t *testing.T) {
	const peer = `
vpc_peering_connections:
  - {vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-2}}
  - {vpc_peering_connection_id: pcx-2, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-q`
	const there = "eni/eni-1 subnet/subnet-1 vpc_peering/pcx-1 subnet/subnet-2 eni/eni-2"
	const here = "eni/eni-1 subnet/subnet-1 address/10.2.1.10"
	runYAML(t, twoVPCs+peer+"}}\n", []flow{
		{"with a peer that has the address", host("i-1"), "10.1.1.10", "10.2.1.10", "UNCLASSIFIED", here, "", "- - - -", "ambiguous"},
		{"but not for what nobody has", host("i-1"), "10.1.1.10", "10.77.0.1", "UNCLASSIFIED", "eni/eni-1 subnet/subnet-1 address/10.77.0.1", "", "", "unknown"},
		{"nor for the Internet", host("i-1"), "10.1.1.10", "8.8.8.8", "INTERNET", "eni/eni-1 subnet/subnet-1 address/8.8.8.8", "", "", ""},
	})
	runYAML(t, twoVPCs+peer+", cidr_blocks: [10.3.0.0/16]}}\n", []flow{
		{"once its blocks are known it does not", host("i-1"), "10.1.1.10", "10.2.1.10", "INTER_VPC", there, "", "", ""},
	})
	runYAML(t, twoVPCs+peer+", cidr_blocks: [10.3.0.0/16]}}\n"+`
transit_gateways:
  - transit_gateway_id: tgw-1
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}
      - {transit_gateway_attachment_id: tgw-attach-p, resource_type: peering, resource_id: tgw-far}
`, []flow{
		{"so does a peer of the transit gateway", host("i-1"), "10.1.1.10", "10.2.1.10", "UNCLASSIFIED", here, "", "", "ambiguous"},
	})
}

func TestPublicAddressesNeedARoute(t *testing.T) {
	text := func(routes string) string {
		return twoVPCs + `
internet_gateways: [{internet_gateway_id: igw-1, vpc_id: vpc-1}]
nat_gateways: [{nat_gateway_id: nat-1, subnet_id: subnet-1b}]
route_tables:
  - {route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 0.0.0.0/0, target: nat-1}]}
  - {route_table_id: rtb-nat, vpc_id: vpc-1, subnet_ids: [subnet-1b], routes: [` + routes + `]}
`
	}
	const local = "eni/eni-1 subnet/subnet-1 "
	runYAML(t, text("{destination_cidr_block: 10.0.0.0/8, target: tgw-1}"), []flow{
		{"at the NAT gateway's subnet", host("i-1"), "10.1.1.10", "8.8.8.8", "UNCLASSIFIED", local + "address/8.8.8.8", "", "- - - -", "unknown"},
		{"at the own subnet, to the Internet", host("i-1b"), "10.1.2.10", "8.8.8.8", "UNCLASSIFIED", "eni/eni-1b subnet/subnet-1b address/8.8.8.8", "", "- - - -", "unknown"},
		{"at the own subnet, to S3", host("i-1b"), "10.1.2.10", "52.218.1.1", "UNCLASSIFIED", "eni/eni-1b subnet/subnet-1b address/52.218.1.1", "", "- - - -", "unknown"},
	})
	runYAML(t, text("{destination_cidr_block: 0.0.0.0/0, target: igw-1}"), []flow{
		{"which both have", host("i-1"), "10.1.1.10", "8.8.8.8", "INTERNET", local + "az_pair/euw1-az1:euw1-az2 nat_gateway/nat-1 internet_gateway/igw-1 address/8.8.8.8", "", "", ""},
	})
}

func TestAnOverlayNetworkIsNotChargedToTheGateways(t *testing.T) {
	runYAML(t, behindTransit("", "        routes: [{destination_cidr_block: 0.0.0.0/0, transit_gateway_attachment_id: tgw-attach-2}]"), []flow{
		{"between containers of two hosts", host("i-1"), "10.244.0.2", "10.244.7.7", "UNCLASSIFIED", "instance/i-1 address/10.244.7.7", "vpc-1 subnet-1 - i-1", "- - - -", "unknown"},
		{"whose addresses are in a subnet elsewhere", host("i-1"), "10.2.1.77", "10.2.1.78", "UNCLASSIFIED", "instance/i-1 address/10.2.1.78", "", "- - - -", "unknown"},
		{"but a container's flow to an interface is", host("i-1"), "10.244.0.2", "10.2.1.10", "INTER_VPC", "instance/i-1 subnet/subnet-1 transit_gateway/tgw-1 subnet/subnet-2 eni/eni-2", "", "vpc-2 subnet-2 eni-2 i-2", ""},
		{"and the host's own flow to anything", host("i-1"), "10.1.1.10", "10.2.1.78", "INTER_VPC", toTransit + "subnet/subnet-2 address/10.2.1.78", "", "vpc-2 subnet-2 - -", ""},
	})
}

func TestAnInterfaceEndpointThatIsNotListed(t *testing.T) {
	runYAML(t, `
vpcs: [{vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}]
subnets: [{subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1}]
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}
  - {network_interface_id: eni-ep, subnet_id: subnet-1, private_ip_addresses: [10.1.1.99], interface_type: vpc_endpoint, requester_managed: true, description: VPC Endpoint Interface vpce-unlisted}
  - {network_interface_id: eni-ep2, subnet_id: subnet-1, private_ip_addresses: [10.1.1.98], description: VPC Endpoint Interface vpce-unlisted2}
  - {network_interface_id: eni-ep3, subnet_id: subnet-1, private_ip_addresses: [10.1.1.97], interface_type: vpc_endpoint}
  - {network_interface_id: eni-fake, subnet_id: subnet-1, private_ip_addresses: [10.1.1.96], requester_managed: false, description: VPC Endpoint Interface vpce-fake}
`, []flow{
		{"by its type and description", path.Origin{}, "10.1.1.10", "10.1.1.99", "AWS_SERVICE", "eni/eni-1 subnet/subnet-1 eni/eni-ep vpc_endpoint/vpce-unlisted", "", "vpc-1 subnet-1 eni-ep -", ""},
		{"by its description", path.Origin{}, "10.1.1.10", "10.1.1.98", "AWS_SERVICE", "eni/eni-1 subnet/subnet-1 eni/eni-ep2 vpc_endpoint/vpce-unlisted2", "", "", ""},
		{"by its type", path.Origin{}, "10.1.1.10", "10.1.1.97", "AWS_SERVICE", "eni/eni-1 subnet/subnet-1 eni/eni-ep3", "", "", ""},
		{"not by what a customer wrote", path.Origin{}, "10.1.1.10", "10.1.1.96", "INTRA_AZ", "eni/eni-1 subnet/subnet-1 eni/eni-fake", "", "", ""},
	})
}

func TestAPeerVPCOfUnknownRegionLeavesTheCategoryOpen(t *testing.T) {
	peer := func(info string) string {
		return twoVPCs + `
vpc_peering_connections: [{vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-9` + info + `}}]
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 10.9.0.0/16, target: pcx-1}]}]
`
	}
	const there = "eni/eni-1 subnet/subnet-1 vpc_peering/pcx-1 vpc/vpc-9 address/10.9.1.1"
	runYAML(t, peer(""), []flow{{"between VPCs or between Regions", host("i-1"), "10.1.1.10", "10.9.1.1", "UNCLASSIFIED", there, "", "vpc-9 - - -", "unknown"}})
	runYAML(t, peer(", region: eu-west-1"), []flow{{"which the Region tells", host("i-1"), "10.1.1.10", "10.9.1.1", "INTER_VPC", there, "", "vpc-9 - - -", ""}})
}

func TestTransitGatewaysThatSendAFlowToEachOtherLoseIt(t *testing.T) {
	runYAML(t, twoVPCs+`
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 0.0.0.0/0, target: tgw-1}]}]
transit_gateways:
  - transit_gateway_id: tgw-1
    region: eu-west-1
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}
      - {transit_gateway_attachment_id: tgw-attach-p, resource_type: peering, resource_id: tgw-9}
    route_tables:
      - transit_gateway_route_table_id: tgw-rtb-1
        associations: [tgw-attach-1, tgw-attach-p]
        routes: [{destination_cidr_block: 10.0.0.0/8, transit_gateway_attachment_id: tgw-attach-p}]
  - transit_gateway_id: tgw-9
    region: us-east-1
    attachments: [{transit_gateway_attachment_id: tgw-attach-p, resource_type: peering, resource_id: tgw-1}]
    route_tables:
      - transit_gateway_route_table_id: tgw-rtb-9
        associations: [tgw-attach-p]
        routes: [{destination_cidr_block: 10.0.0.0/8, transit_gateway_attachment_id: tgw-attach-p}]
`, []flow{{"and its path ends where it came back to", host("i-1"), "10.1.1.10", "10.9.0.1", "TRANSIT_GATEWAY",
		toTransit + "transit_gateway_peering/tgw-attach-p region_edge/us-east-1 transit_gateway/tgw-9 transit_gateway_peering/tgw-attach-p region_edge/eu-west-1 transit_gateway/tgw-1 address/10.9.0.1",
		"", "- - - -", "unknown"}})
}

// AWS drops what a route leads over a peering to a VPC that does not have the address.
func TestAPeeringLeadsToTheAddressesOfTheOtherVPCOnly(t *testing.T) {
	run := func(cidrs string, flows ...flow) {
		runYAML(t, twoVPCs+`
vpc_peering_connections:
  - {vpc_peering_connection_id: pcx-9, status: active, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-9, region: us-east-1, owner_id: "999999999999"`+cidrs+`}}
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 10.8.0.0/15, target: pcx-9}]}]
`, flows)
	}
	const crossed = "eni/eni-1 subnet/subnet-1 vpc_peering/pcx-9 "
	run(", cidr_blocks: [10.9.0.0/16]",
		flow{"what it has", host("i-1"), "10.1.1.10", "10.9.1.1", "INTER_REGION", crossed + "region_edge/us-east-1 vpc/vpc-9 address/10.9.1.1", "", "vpc-9 - - -", ""},
		flow{"what it has not", host("i-1"), "10.1.1.10", "10.8.1.1", "UNCLASSIFIED", crossed + "address/10.8.1.1", "", "- - - -", "unknown"})
	run("",
		flow{"whatever it may have", host("i-1"), "10.1.1.10", "10.8.1.1", "INTER_REGION", crossed + "region_edge/us-east-1 vpc/vpc-9 address/10.8.1.1", "", "vpc-9 - - -", ""})
}

func TestGlobalIPv6AddressesOfAVPC(t *testing.T) {
	runYAML(t, `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, owner_id: "111111111111", cidr_blocks: [10.1.0.0/16, "2600:1f18:1::/56"]}
  - {vpc_id: vpc-2, region: eu-west-1, owner_id: "222222222222", cidr_blocks: [10.2.0.0/16, "2600:1f18:2::/56"]}
subnets: [{subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24, "2600:1f18:1:1::/64"], availability_zone_id: euw1-az1}]
network_interfaces: [{network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10], ipv6_addresses: ["2600:1f18:1:1::10"], instance_id: i-1}]
egress_only_internet_gateways: [{egress_only_internet_gateway_id: eigw-1, vpc_id: vpc-1}]
route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_ipv6_cidr_block: "::/0", target: eigw-1}]}]
`, []flow{
		{"of another VPC, in none of its known subnets", host("i-1"), "2600:1f18:1:1::10", "2600:1f18:2:2::99", "INTER_VPC",
			"eni/eni-1 subnet/subnet-1 egress_only_internet_gateway/eigw-1 vpc/vpc-2 address/2600:1f18:2:2::99", "", "vpc-2 - - -", ""},
		{"translated by nobody", host("i-1"), "2600:1f18:1:1::10", "64:ff9b::808:808", "UNCLASSIFIED",
			"eni/eni-1 subnet/subnet-1 address/64:ff9b::808:808", "", "- - - -", "unknown"},
	})
}

func TestARouteIsNotFollowedPastAPrefixListThatNobodyDescribes(t *testing.T) {
	m, err := file.Topology([]byte(`
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [10.9.0.0/16]}
  - {vpc_id: vpc-3, region: eu-west-1, cidr_blocks: [10.9.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.9.1.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-3, vpc_id: vpc-3, cidr_blocks: [10.9.1.0/24], availability_zone_id: euw1-az1}
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}
  - {network_interface_id: eni-2, subnet_id: subnet-2, private_ip_addresses: [10.9.1.10, 10.9.1.11]}
  - {network_interface_id: eni-3, subnet_id: subnet-3, private_ip_addresses: [10.9.1.10]}
prefix_lists:
  - {prefix_list_id: pl-1, prefix_list_name: corp, cidrs: [10.9.1.10/32]}
vpc_peering_connections:
  - {vpc_peering_connection_id: pcx-2, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-2}}
  - {vpc_peering_connection_id: pcx-3, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-3}}
route_tables:
  - route_table_id: rtb-1
    vpc_id: vpc-1
    main: true
    routes:
      - {destination_cidr_block: 10.9.0.0/16, target: pcx-2}
      - {destination_prefix_list_id: pl-1, target: pcx-3}
`))
	require.NoError(t, err)
	remote := func(to string) path.End {
		r := path.New(topology.Build(m, nil), nil)
		return r.Resolve(&path.Origin{}, netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr(to)).Remote
	}
	assert.Equal(t, "eni-3", remote("10.9.1.10").Interface, "by the list")
	assert.Equal(t, "eni-2", remote("10.9.1.11").Interface)
	m.PrefixLists = nil
	assert.Empty(t, remote("10.9.1.10"))
	assert.Empty(t, remote("10.9.1.11"))
	assert.Equal(t, "eni-1", remote("10.1.1.10").Interface, "the VPC's own blocks")
}
