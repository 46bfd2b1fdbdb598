// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func TestTheFirstPartThatSaysAnythingInAFieldWins(t *testing.T) {
	managed := true
	file := &topology.Topology{NetworkInterfaces: []topology.NetworkInterface{
		{NetworkInterfaceID: "eni-1", SubnetID: "subnet-1", K8S: &topology.K8S{PodName: "web"}},
	}}
	ec2 := &topology.Topology{
		VPCs: []topology.VPC{{VPCID: "vpc-1", Region: "eu-west-1"}},
		NetworkInterfaces: []topology.NetworkInterface{
			{NetworkInterfaceID: "eni-1", SubnetID: "subnet-9", PrivateIPAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, RequesterManaged: &managed},
			{NetworkInterfaceID: "eni-2", SubnetID: "subnet-1"},
		},
	}
	m := topology.Merge(file, nil, ec2)
	require.Len(t, m.NetworkInterfaces, 2)
	n := m.NetworkInterfaces[0]
	assert.Equal(t, "subnet-1", n.SubnetID)
	assert.Equal(t, "web", n.K8S.PodName)
	assert.Equal(t, "10.0.0.1", n.PrivateIPAddresses[0].String(), "what the file does not say is filled")
	assert.True(t, *n.RequesterManaged)
	assert.Len(t, m.VPCs, 1)
	assert.Empty(t, file.NetworkInterfaces[0].PrivateIPAddresses, "the parts stay as they are")
	assert.Empty(t, topology.Merge().VPCs)
	assert.Same(t, ec2, topology.Merge(nil, ec2))
}

func TestWhatASharedThingShowsToEachAccountIsJoined(t *testing.T) {
	attachment := func(id string) topology.TransitGatewayAttachment {
		return topology.TransitGatewayAttachment{TransitGatewayAttachmentID: id}
	}
	a := &topology.Topology{
		Subnets: []topology.Subnet{{SubnetID: "subnet-1", SharedWith: []string{"222222222222"}}},
		TransitGateways: []topology.TransitGateway{{TransitGatewayID: "tgw-1", Attachments: []topology.TransitGatewayAttachment{attachment("tgw-attach-1")},
			RouteTables: []topology.TransitGatewayRouteTable{{TransitGatewayRouteTableID: "tgw-rtb-1"}}}},
	}
	b := &topology.Topology{
		Subnets: []topology.Subnet{{SubnetID: "subnet-1", SharedWith: []string{"333333333333", "222222222222"}, Name: "shared"}},
		TransitGateways: []topology.TransitGateway{{TransitGatewayID: "tgw-1", Region: "eu-west-1",
			Attachments: []topology.TransitGatewayAttachment{attachment("tgw-attach-2"), attachment("tgw-attach-1")}}},
	}
	m := topology.Merge(a, b)
	assert.Equal(t, []string{"222222222222", "333333333333"}, m.Subnets[0].SharedWith)
	assert.Equal(t, "shared", m.Subnets[0].Name)
	g := m.TransitGateways[0]
	assert.Equal(t, []topology.TransitGatewayAttachment{attachment("tgw-attach-1"), attachment("tgw-attach-2")}, g.Attachments)
	assert.Len(t, g.RouteTables, 1)
	assert.Equal(t, "eu-west-1", g.Region)
	assert.Len(t, a.TransitGateways[0].Attachments, 1, "the parts stay as they are")
}

// A section that Merge forgets would be lost without a word.
func TestEverySectionIsMerged(t *testing.T) {
	sections := reflect.TypeFor[topology.Topology]()
	for i := range sections.NumField() {
		part := func(id string) *topology.Topology {
			p := &topology.Topology{}
			list := reflect.ValueOf(p).Elem().Field(i)
			list.Set(reflect.MakeSlice(list.Type(), 1, 1))
			list.Index(0).Field(0).SetString(id)
			return p
		}
		m := topology.Merge(part("x-1"), part("x-2"), part("x-1"))
		assert.Equal(t, 2, reflect.ValueOf(m).Elem().Field(i).Len(), sections.Field(i).Name)
	}
}

func BenchmarkMergeOfAHundredAccounts(b *testing.B) {
	parts := make([]*topology.Topology, 100)
	for i := range parts {
		t := &topology.Topology{}
		for j := range 1000 {
			t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{NetworkInterfaceID: fmt.Sprintf("eni-%d-%d", i, j)})
		}
		parts[i] = t
	}
	b.ReportAllocs()
	for b.Loop() {
		if m := topology.Merge(slices.Clone(parts)...); len(m.NetworkInterfaces) != 100_000 {
			b.Fatal("lost some")
		}
	}
}
