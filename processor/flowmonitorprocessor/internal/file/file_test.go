// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package file_test

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

// base is a small valid topology that the cases below break.
const base = `vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [10.2.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.1.0/24], availability_zone_id: euw1-az1}
network_interfaces:
  - {network_interface_id: eni-1, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}
`

func TestEachThingThatCannotBeIsSaidWithItsLineAndField(t *testing.T) {
	_, err := file.Topology([]byte(base))
	require.NoError(t, err)
	for _, c := range []struct{ name, add, want string }{
		{"a VPC twice", "@vpcs:\n  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.9.0.0/16]}", `vpcs[2].vpc_id: "vpc-1" is defined twice, before as vpcs[0]`},
		{"an id of the wrong kind", "@vpcs:\n  - {vpc_id: subnet-9, region: eu-west-1, cidr_blocks: [10.9.0.0/16]}", `vpcs[2].vpc_id: "subnet-9" does not begin with "vpc-"`},
		{"overlapping CIDRs of a VPC", "@vpcs:\n  - {vpc_id: vpc-9, region: eu-west-1, cidr_blocks: [10.9.0.0/16, 10.9.1.0/24]}", "vpcs[2].cidr_blocks[1]: 10.9.1.0/24 overlaps with 10.9.0.0/16 of the same VPC"},
		{"no CIDR", "@vpcs:\n  - {vpc_id: vpc-9, region: eu-west-1, cidr_blocks: }", "vpcs[2].cidr_blocks: is required and empty"},
		{"a CIDR that is none", "@vpcs:\n  - {vpc_id: vpc-9, region: eu-west-1, cidr_blocks: [10.9.0.0/33]}", `vpcs[2].cidr_blocks[0]: "10.9.0.0/33" is not a CIDR block`},
		{"IPv4 written as IPv6", "@vpcs:\n  - {vpc_id: vpc-9, region: eu-west-1, cidr_blocks: [\"::ffff:10.0.0.0/104\"]}", "vpcs[2].cidr_blocks[0]"},
		{"a subnet of no VPC", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-9, cidr_blocks: [10.9.0.0/24], availability_zone_id: euw1-az1}", `subnets[2].vpc_id: VPC "vpc-9" is not defined in 'vpcs'`},
		{"a subnet outside its VPC", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-1, cidr_blocks: [10.9.0.0/24], availability_zone_id: euw1-az1}", `subnets[2].cidr_blocks[0]: 10.9.0.0/24 is outside the cidr_blocks of VPC "vpc-1"`},
		{"a zone whose name is another Region's", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-1, cidr_blocks: [10.1.9.0/24], availability_zone: us-west-2-lax-1a}", `subnets[2].availability_zone: zone "us-west-2-lax-1a" is in region "us-west-2", not in "eu-west-1"`},
		{"a local zone's id of another Region", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-1, cidr_blocks: [10.1.9.0/24], availability_zone_id: usw2-lax1-az1}", `subnets[2].availability_zone_id: zone "usw2-lax1-az1" is not in region "eu-west-1": ids of its zones begin with "euw1-"`},
		{"overlapping subnets", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-1, cidr_blocks: [10.1.0.0/20], availability_zone_id: euw1-az1}", `subnets[2].cidr_blocks[0]: 10.1.0.0/20 overlaps with 10.1.1.0/24 of subnet "subnet-1"`},
		{"a subnet without a zone", "@subnets:\n  - {subnet_id: subnet-9, vpc_id: vpc-1, cidr_blocks: [10.1.9.0/24]}", "subnets[2]: the field 'availability_zone_id' or 'availability_zone' is required"},
		{"an interface without a subnet", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-9}", `network_interfaces[1].subnet_id: subnet "subnet-9" is not defined`},
		{"an interface in another VPC than its subnet", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, vpc_id: vpc-2}", `network_interfaces[1].vpc_id: subnet "subnet-1" is in VPC "vpc-1", not "vpc-2"`},
		{"an address twice in a VPC", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, private_ip_addresses: [10.1.1.10]}", `network_interfaces[1].private_ip_addresses[0]: 10.1.1.10 is already an address of network interface "eni-1"`},
		{"an address outside the subnet", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, private_ip_addresses: [10.1.2.10]}", `network_interfaces[1].private_ip_addresses[0]: 10.1.2.10 is outside the cidr_blocks of subnet "subnet-1"`},
		{"an IPv6 address among the IPv4 ones", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, private_ip_addresses: [\"2001:db8::1\"]}", "network_interfaces[1].private_ip_addresses[0]: 2001:db8::1 is not an IPv4 address"},
		{"an empty address", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, private_ip_addresses: [\"\"]}", "network_interfaces[1].private_ip_addresses[0]"},
		{"overlapping delegated prefixes", "@network_interfaces:\n  - {network_interface_id: eni-8, subnet_id: subnet-1, ipv4_prefixes: [10.1.1.32/28]}\n  - {network_interface_id: eni-9, subnet_id: subnet-1, ipv4_prefixes: [10.1.1.32/28]}", `network_interfaces[2].ipv4_prefixes[0]: 10.1.1.32/28 overlaps with 10.1.1.32/28 of network interface "eni-8"`},
		{"an address in another's prefix", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, ipv4_prefixes: [10.1.1.0/28]}", `network_interfaces[0].private_ip_addresses[0]: 10.1.1.10 is in a prefix delegated to network interface "eni-9"`},
		{"a public address twice", "@network_interfaces:\n  - {network_interface_id: eni-8, subnet_id: subnet-1, associations: [{public_ip: 54.1.1.1}]}\n  - {network_interface_id: eni-9, subnet_id: subnet-1, associations: [{public_ip: 54.1.1.1}]}", `network_interfaces[2].associations[0].public_ip: 54.1.1.1 is already associated with network interface "eni-8"`},
		{"an association with an address that is not there", "@network_interfaces:\n  - {network_interface_id: eni-9, subnet_id: subnet-1, associations: [{public_ip: 54.1.1.1, private_ip_address: 10.1.1.9}]}", "network_interfaces[1].associations[0].private_ip_address: 10.1.1.9 is not an address of this network interface"},
		{"a VPC in a region that is not listed", "regions: [{region_name: us-east-1}]", `vpcs[0].region: region "eu-west-1" is not defined in 'regions'`},
		{"a zone that is not listed", "availability_zones: [{zone_id: euw1-az2, region_name: eu-west-1}]", `subnets[0].availability_zone_id: zone "euw1-az1" is not defined`},
		{"a zone of another region", "availability_zones: [{zone_id: euw1-az1, region_name: us-east-1}]", `subnets[0].availability_zone_id: zone "euw1-az1" is in region "us-east-1", VPC "vpc-1" in "eu-west-1"`},
		{"a zone type that is none", "availability_zones: [{zone_id: euw1-az1, region_name: eu-west-1, zone_type: zone}]", `availability_zones[0].zone_type: "zone" is none of availability-zone, local-zone`},
		{"one name for two zones", "availability_zones: [{zone_id: euw1-az1, zone_name: a, region_name: eu-west-1}, {zone_id: euw1-az2, zone_name: a, region_name: eu-west-1}]", `availability_zones[1].zone_name: "a" names two zones`},
		{"a zone's parent", "availability_zones: [{zone_id: euw1-az1, region_name: eu-west-1, parent_zone_id: x}]", `availability_zones[0].parent_zone_id: zone "x" is not defined`},
		{"two main route tables", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, main: true}, {route_table_id: rtb-2, vpc_id: vpc-1, main: true}]", `route_tables[1].main: route table "rtb-1" is already the main one of VPC "vpc-1"`},
		{"a subnet in two route tables", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, subnet_ids: [subnet-1]}, {route_table_id: rtb-2, vpc_id: vpc-1, subnet_ids: [subnet-1]}]", `route_tables[1].subnet_ids[0]: subnet "subnet-1" is already associated with route table "rtb-1"`},
		{"a route table of another VPC", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, subnet_ids: [subnet-2]}]", `route_tables[0].subnet_ids[0]: subnet "subnet-2" is in VPC "vpc-2", not "vpc-1"`},
		{"a route without a destination", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{target: local}]}]", "route_tables[0].routes[0]: one of 'destination_cidr_block', 'destination_ipv6_cidr_block' and 'destination_prefix_list_id' is required, not 0"},
		{"a destination twice", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 10.3.0.0/16, target: tgw-1}, {destination_cidr_block: 10.3.0.0/16, target: tgw-2}]}]", "route_tables[0].routes[1]: the destination 10.3.0.0/16 has a route in this table already"},
		{"a route to nothing", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 10.3.0.0/16}]}]", "route_tables[0].routes[0].target: is required"},
		{"a route to something unheard of", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 10.3.0.0/16, target: moon-1}]}]", `route_tables[0].routes[0].target: "moon-1" is none of local, tgw-`},
		{"a route to a gateway that is not defined", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 0.0.0.0/0, target: igw-1}]}]", `route_tables[0].routes[0].target: "igw-1" is not defined in 'internet_gateways'`},
		{"a route to another VPC's gateway", "internet_gateways: [{internet_gateway_id: igw-2, vpc_id: vpc-2}]\nroute_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 0.0.0.0/0, target: igw-2}]}]", `route_tables[0].routes[0].target: "igw-2" belongs to VPC "vpc-2", not "vpc-1"`},
		{"a route by a prefix list that is not defined", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_prefix_list_id: pl-1, target: tgw-1}]}]", `route_tables[0].routes[0].destination_prefix_list_id: prefix list "pl-1" is not defined`},
		{"a route state that is none", "route_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 10.3.0.0/16, target: tgw-1, state: dead}]}]", `route_tables[0].routes[0].state: "dead" is none of active, blackhole`},
		{"a route by a peering of others", "vpc_peering_connections: [{vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-2}, accepter_vpc_info: {vpc_id: vpc-9}}]\nroute_tables: [{route_table_id: rtb-1, vpc_id: vpc-1, routes: [{destination_cidr_block: 10.9.0.0/16, target: pcx-1}]}]", `route_tables[0].routes[0].target: VPC "vpc-1" is neither side of peering "pcx-1"`},
		{"a peering with itself", "vpc_peering_connections: [{vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-1}}]", `vpc_peering_connections[0].accepter_vpc_info.vpc_id: "vpc-1" is the requester too`},
		{"a peering of overlapping VPCs", "@vpcs:\n  - {vpc_id: vpc-9, region: eu-west-1, cidr_blocks: [10.1.128.0/17]}\nvpc_peering_connections: [{vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-9}}]", `vpc_peering_connections[0]: VPCs with overlapping CIDRs cannot be peered: 10.1.0.0/16 of "vpc-1" and 10.1.128.0/17 of "vpc-9"`},
		{"a peering that says another region", "vpc_peering_connections: [{vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1, region: us-east-1}, accepter_vpc_info: {vpc_id: vpc-9}}]", `vpc_peering_connections[0].requester_vpc_info.region: VPC "vpc-1" is in region "eu-west-1", not "us-east-1"`},
		{"a VPN of no gateway", "vpn_connections: [{vpn_connection_id: vpn-1, vpn_gateway_id: vgw-1}]", `vpn_connections[0].vpn_gateway_id: "vgw-1" is not defined in 'vpn_gateways'`},
		{"a VPN of two gateways", "vpn_connections: [{vpn_connection_id: vpn-1, vpn_gateway_id: vgw-1, transit_gateway_id: tgw-1}]", `vpn_connections[0].transit_gateway_id: is absent where`},
		{"a VPC attached twice", "transit_gateways: [{transit_gateway_id: tgw-1, attachments: [{transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}, {transit_gateway_attachment_id: tgw-attach-2, resource_type: vpc, resource_id: vpc-1}]}]", `transit_gateways[0].attachments[1].resource_id: VPC "vpc-1" is attached to this transit gateway already`},
		{"an attachment type that is none", "transit_gateways: [{transit_gateway_id: tgw-1, attachments: [{transit_gateway_attachment_id: tgw-attach-1, resource_type: moon}]}]", `transit_gateways[0].attachments[0].resource_type: "moon" is none of vpc, peering, vpn`},
		{"a transit gateway's association with nothing", "transit_gateways: [{transit_gateway_id: tgw-1, route_tables: [{transit_gateway_route_table_id: tgw-rtb-1, associations: [tgw-attach-1]}]}]", `transit_gateways[0].route_tables[0].associations[0]: attachment "tgw-attach-1" is not defined in this transit gateway's 'attachments'`},
		{"a transit gateway's route to nothing", "transit_gateways: [{transit_gateway_id: tgw-1, route_tables: [{transit_gateway_route_table_id: tgw-rtb-1, routes: [{destination_cidr_block: 10.0.0.0/8, transit_gateway_attachment_id: tgw-attach-1}]}]}]", `transit_gateways[0].route_tables[0].routes[0].transit_gateway_attachment_id: attachment "tgw-attach-1" is not defined`},
		{"an attachment at two transit gateways", "transit_gateways: [{transit_gateway_id: tgw-1, attachments: [{transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}]}, {transit_gateway_id: tgw-2, attachments: [{transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-2}]}]", `transit_gateways[1].attachments[0].transit_gateway_attachment_id: "tgw-attach-1" is defined at another transit gateway`},
		{"a NAT gateway without a place", "nat_gateways: [{nat_gateway_id: nat-1}]", "nat_gateways[0].subnet_id: is required"},
		{"a NAT gateway in no subnet", "nat_gateways: [{nat_gateway_id: nat-1, subnet_id: subnet-9}]", `nat_gateways[0].subnet_id: subnet "subnet-9" is not defined`},
		{"two internet gateways at a VPC", "internet_gateways: [{internet_gateway_id: igw-1, vpc_id: vpc-1}, {internet_gateway_id: igw-2, vpc_id: vpc-1}]", `internet_gateways[1].vpc_id: VPC "vpc-1" already has internet gateway "igw-1"`},
		{"an endpoint's interface", "vpc_endpoints: [{vpc_endpoint_id: vpce-1, vpc_endpoint_type: Interface, vpc_id: vpc-1, service_name: com.amazonaws.eu-west-1.sqs, network_interface_ids: [eni-9]}]", `vpc_endpoints[0].network_interface_ids[0]: network interface "eni-9" is not defined`},
		{"an interface endpoint with route tables", "vpc_endpoints: [{vpc_endpoint_id: vpce-1, vpc_endpoint_type: Interface, vpc_id: vpc-1, service_name: com.amazonaws.eu-west-1.sqs, route_table_ids: [rtb-1]}]", "vpc_endpoints[0].route_table_ids: only an endpoint of type gateway has route tables"},
		{"a prefix list without entries", "prefix_lists: [{prefix_list_id: pl-1}]", "prefix_lists[0].cidrs: is required"},
		{"a section that does not exist", "virtual_networks: []", "virtual_networks: unknown field; the fields here are accounts, regions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := base
			add, rest, _ := strings.Cut(c.add, "\nvpc_peering")
			if section, items, ok := strings.Cut(add, "\n"); ok && strings.HasPrefix(section, "@") {
				// Into a section that is there.
				head, tail, _ := strings.Cut(text, "\n"+section[1:]+"\n")
				if strings.HasPrefix(text, section[1:]+"\n") {
					head, tail = "", text[len(section):]
				} else {
					head += "\n"
				}
				end := len(tail)
				for _, next := range []string{"subnets:\n", "network_interfaces:\n"} {
					if i := strings.Index(tail, next); i >= 0 && i < end {
						end = i
					}
				}
				text = head + section[1:] + "\n" + tail[:end] + items + "\n" + tail[end:]
				if rest != "" {
					text += "vpc_peering" + rest + "\n"
				}
			} else {
				text += c.add + "\n"
			}
			_, err := file.Topology([]byte(text))
			require.Error(t, err, text)
			assert.ErrorContains(t, err, c.want)
			assert.Regexp(t, `^line \d+: `, err.Error())
		})
	}
}

func TestAllErrorsAreSaidAtOnce(t *testing.T) {
	_, err := file.Topology([]byte(strings.ReplaceAll(base, "vpc_id: vpc-2, cidr", "vpc_id: vpc-3, cidr") + "colour: red\nregions: [{region_name: us-east-1}]\n"))
	for _, want := range []string{
		`line 6: subnets[1].vpc_id: VPC "vpc-3" is not defined in 'vpcs'`,
		"line 9: colour: unknown field",
		`line 2: vpcs[0].region: region "eu-west-1" is not defined`,
		`line 3: vpcs[1].region: region "eu-west-1" is not defined`,
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestWhatFollowsFromAnotherErrorIsNotSaid(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a subnet without its VPC", strings.Replace(base, "subnet_id: subnet-1, vpc_id: vpc-1,", "subnet_id: subnet-1,", 1) +
			"nat_gateways: [{nat_gateway_id: nat-1, subnet_id: subnet-1, vpc_id: vpc-1}]", "the field 'vpc_id' is required"},
		{"a VPC whose block is none", strings.Replace(base, "10.2.0.0/16", "10.2.0.0/33", 1), "is not a CIDR block"},
		{"a VPC whose Region is a list", strings.Replace(base, "region: eu-west-1", "region: [eu-west-1]", 1) +
			"availability_zones: [{zone_id: euw1-az1, region_name: eu-west-1}]", "vpcs[0].region"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := file.Topology([]byte(c.text))
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, 1, len(strings.Split(err.Error(), "\n")), err.Error())
		})
	}
}

func TestATabIsNamed(t *testing.T) {
	_, err := file.Topology([]byte("vpcs:\n\t- vpc_id: vpc-1\n"))
	require.ErrorContains(t, err, "line 2: not YAML: found character that cannot start any token (a tab: YAML is indented by spaces)")
}

func TestWhatBelongsToOthersMayStayUndescribed(t *testing.T) {
	_, err := file.Topology([]byte(base + `
accounts: [{account_id: "111111111111"}]
regions: [{region_name: eu-west-1}]
instances: [{instance_id: i-1, owner_id: "222222222222"}]
vpc_peering_connections:
  - {vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-other, owner_id: "999999999999", region: us-east-1}}
transit_gateways:
  - transit_gateway_id: tgw-1
    owner_id: "999999999999"
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-other, resource_owner_id: "999999999999", subnet_ids: [subnet-other]}
      - {transit_gateway_attachment_id: tgw-attach-2, resource_type: peering, resource_id: tgw-other, peer_region: ap-south-1}
route_tables:
  - route_table_id: rtb-1
    vpc_id: vpc-1
    routes:
      - {destination_cidr_block: 10.7.0.0/16, target: tgw-shared}
      - {destination_cidr_block: 10.8.0.0/16, target: pcx-1}
      - {destination_cidr_block: 10.9.0.0/16, target: "arn:aws:networkmanager::999999999999:core-network/core-network-1"}
      - {destination_cidr_block: 10.6.0.0/16, state: blackhole}
`))
	require.NoError(t, err)
}

func TestAnEmptyTopologyFileIsAnError(t *testing.T) {
	for _, data := range []string{"", "# nothing yet\n", "vpcs: []\n", "~\n"} {
		_, err := file.Topology([]byte(data))
		assert.ErrorContains(t, err, "'vpcs'", "a truncated file must not look like a network without anything in it")
	}
}

func TestTheMonitorsFile(t *testing.T) {
	for name, data := range map[string]string{
		"the list alone":    "- name: a\n  local: [{type: vpc, id: vpc-1}]\n",
		"the list by a key": "monitors:\n  - {name: a, local: [{type: vpc, id: vpc-1}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			list, err := file.Monitors([]byte(data), ipranges.Shipped(), nil)
			require.NoError(t, err)
			require.Len(t, list, 1)
			assert.Equal(t, "a", list[0].Name)
			_, err = file.Monitors([]byte(data), ipranges.Shipped(), []string{"a"})
			assert.ErrorContains(t, err, "is the name of a monitor from another place")
		})
	}
	list, err := file.Monitors([]byte("[]"), nil, nil)
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestABrokenMonitorsFileNamesLineAndField(t *testing.T) {
	_, err := file.Monitors([]byte("- name: a\n  local:\n    - {type: vpc, id: eni-1}\n    - {type: moon, id: x}\n- local: [{type: vpc, id: vpc-1}]\n  far: []\n- {name: a, local: []}\n"), ipranges.Shipped(), nil)
	for _, want := range []string{
		`line 3: [0].local[0].id: "eni-1" is neither the id`,
		`line 4: [0].local[1].type: "moon" is no type of a local resource`,
		"line 6: [1].far: unknown field",
		"line 5: [1]: the field 'name' is required",
		`line 7: [2].name: "a" is the name of monitor [0] too`,
		"line 7: [2].local: at least one resource is required",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.Equal(t, 1, strings.Count(err.Error(), "'name' is required"), "said once")
	for _, data := range []string{"", "monitors:\n", "monitor: []\n", "just text", "- [\n"} {
		_, err := file.Monitors([]byte(data), nil, nil)
		assert.Error(t, err, data)
	}
}

func seeds(f *testing.F, pattern string) {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "testdata", pattern))
	if len(paths) == 0 {
		f.Fatal("no seeds")
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// Whatever is accepted can be compiled and asked; nothing panics.
func FuzzTopology(f *testing.F) {
	seeds(f, "*/topology.yaml")
	f.Add([]byte(base))
	addresses := []netip.Addr{netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr("10.2.1.10"), netip.MustParseAddr("203.0.113.7"),
		netip.MustParseAddr("52.218.1.1"), netip.MustParseAddr("2a05:d018:1:1::10"), netip.MustParseAddr("64:ff9b::1"), {}}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := file.Topology(data)
		if err != nil {
			if m != nil {
				t.Fatal("a topology and an error")
			}
			return
		}
		r := path.New(topology.Build(m, ipranges.Shipped().Blocks), ipranges.Shipped())
		for _, a := range addresses {
			for _, b := range addresses {
				res := r.Resolve(&path.Origin{Host: "i-1"}, a, b)
				if res.Category == "" {
					t.Fatalf("%s to %s has no category", a, b)
				}
				r.ResolveLocal(&path.Origin{}, a)
			}
		}
	})
}

func FuzzMonitors(f *testing.F) {
	seeds(f, "*/monitors.yaml")
	f.Add([]byte("- {name: a, local: [{type: region, id: eu-west-1}], remote: [{type: everywhere}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := file.Monitors(data, ipranges.Shipped(), []string{"taken"})
		if err != nil {
			return
		}
		names := map[string]bool{"taken": true}
		for _, d := range list {
			if d.Name == "" || names[d.Name] || len(d.Local) == 0 {
				t.Fatalf("accepted: %+v", d)
			}
			names[d.Name] = true
		}
	})
}
