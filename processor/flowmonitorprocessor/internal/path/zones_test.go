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

func TestZoneNamesAreNotTakenFromOneOwnerToAnother(t *testing.T) {
	const text = `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, owner_id: "222222222222", cidr_blocks: [10.2.0.0/16]}
  - {vpc_id: vpc-3, region: eu-west-1, owner_id: "333333333333", cidr_blocks: [10.3.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone: eu-west-1a, availability_zone_id: euw1-az1}
  - {subnet_id: subnet-1b, vpc_id: vpc-1, cidr_blocks: [10.1.2.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.1.0/24], availability_zone: eu-west-1a}
  - {subnet_id: subnet-2b, vpc_id: vpc-2, cidr_blocks: [10.2.2.0/24], availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2c, vpc_id: vpc-2, cidr_blocks: [10.2.3.0/24], availability_zone: eu-west-1c, availability_zone_id: euw1-az3, shared_with: ["333333333333", "444444444444"]}
  - {subnet_id: subnet-3, vpc_id: vpc-3, cidr_blocks: [10.3.1.0/24], availability_zone: eu-west-1e, availability_zone_id: euw1-az3}
  - {subnet_id: subnet-3b, vpc_id: vpc-3, cidr_blocks: [10.3.2.0/24], availability_zone: eu-west-1b, availability_zone_id: euw1-az2, shared_with: ["444444444444"]}
network_interfaces:
  - {network_interface_id: eni-3, subnet_id: subnet-2c, private_ip_addresses: [10.2.3.3], owner_id: "333333333333"}
  - {network_interface_id: eni-2, subnet_id: subnet-2c, private_ip_addresses: [10.2.3.2], owner_id: "222222222222"}
`
	m, err := file.Topology([]byte(text))
	require.NoError(t, err)
	r := path.New(topology.Build(m, nil), nil)
	for _, c := range []struct {
		name              string
		origin            path.Origin
		address           string
		account, zone, id string
		alias             string
	}{
		{"the name and id of an unknown owner", path.Origin{}, "10.1.1.1", "", "eu-west-1a", "euw1-az1", ""},
		{"its name in another subnet of the VPC", path.Origin{}, "10.1.2.1", "", "eu-west-1a", "euw1-az1", ""},
		{"another account's name has no id of it", path.Origin{}, "10.2.1.1", "222222222222", "eu-west-1a", "", ""},
		{"another account's id has no name of it", path.Origin{}, "10.2.2.1", "222222222222", "", "euw1-az1", ""},
		{"the owner of a shared subnet", path.Origin{}, "10.2.3.2", "222222222222", "eu-west-1c", "euw1-az3", ""},
		{"a participant whose name is known from elsewhere", path.Origin{}, "10.2.3.3", "333333333333", "eu-west-1e", "euw1-az3", ""},
		{"that participant, told by the resource", path.Origin{Account: "333333333333"}, "10.2.3.9", "333333333333", "eu-west-1e", "euw1-az3", ""},
		{"a participant whose name is not known", path.Origin{Account: "444444444444"}, "10.2.3.9", "444444444444", "", "euw1-az3", ""},
		{"a participant whose resource gives the name", path.Origin{Account: "444444444444", Zone: "eu-west-1f"}, "10.2.3.9", "444444444444", "eu-west-1f", "euw1-az3", ""},
		{"the owner, told by the resource", path.Origin{Account: "222222222222"}, "10.2.3.9", "222222222222", "eu-west-1c", "euw1-az3", ""},
		{"somebody unknown in a shared subnet", path.Origin{}, "10.2.3.9", "", "", "euw1-az3", ""},
		{"a participant whose zone all others call the same", path.Origin{Account: "444444444444"}, "10.3.2.9", "444444444444", "", "euw1-az2", "eu-west-1b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.ResolveLocal(&c.origin, netip.MustParseAddr(c.address)).Local
			assert.Equal(t, c.account, got.Account, "account")
			assert.Equal(t, c.zone, got.Zone, "zone")
			assert.Equal(t, c.id, got.ZoneID, "zone id")
			assert.Equal(t, c.alias, got.ZoneAlias, "what all whose names are known call it")
		})
	}
}

func TestZoneNamesOfTwoUnknownOwnersAreNotCompared(t *testing.T) {
	runYAML(t, `
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [10.2.0.0/16]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.1.0/24], availability_zone: eu-west-1a}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.1.0/24], availability_zone: eu-west-1b}
vpc_peering_connections:
  - {vpc_peering_connection_id: pcx-1, requester_vpc_info: {vpc_id: vpc-1}, accepter_vpc_info: {vpc_id: vpc-2}}
`, []flow{{"no pair of zones is named", path.Origin{}, "10.1.1.1", "10.2.1.1", "INTER_VPC", "address/10.1.1.1 subnet/subnet-1 vpc_peering/pcx-1 subnet/subnet-2 address/10.2.1.1", "", "", ""}})
}
