// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func TestWhatIsAskedForBetweenRefreshes(t *testing.T) {
	// vpc-1 (10.1.0.0/16) and vpc-2 (10.2.0.0/16) behind a transit gateway.
	w := world(t, example2)
	w.NetworkInterfaces[0].InstanceID = "i-1" // which has 10.1.1.10
	index := topology.Build(w, ipranges.Shipped().Blocks)
	e := newEngine(index, ipranges.Shipped(), monitors.New(nil), AttributesConfig{}, minMaxCachedFlows)
	known, fresh := path.Origin{Host: "i-1", Region: "eu-west-1"}, path.Origin{Host: "i-new", Region: "eu-west-1", Account: "111111111111"}
	for _, c := range []struct {
		name          string
		origin        path.Origin
		local, remote string
		want          []ec2.Miss
	}{
		{"both ends are known", known, "10.1.1.10", "10.2.1.10", nil},
		{"a new neighbour", known, "10.1.1.10", "10.2.1.99", []ec2.Miss{{VPC: "vpc-2", Address: netip.MustParseAddr("10.2.1.99")}}},
		{"a public address", known, "10.1.1.10", "203.0.113.7", nil},
		{"a private address of no VPC", known, "10.1.1.10", "192.168.7.7", nil},
		{"an address of the VPC in no subnet", known, "10.1.1.10", "10.2.200.1", nil},
		{"a container's own network", known, "172.17.0.2", "203.0.113.7", nil},
		{"a new address of a known host", known, "10.1.1.77", "10.2.1.10",
			[]ec2.Miss{{Instance: "i-1", Region: "eu-west-1"}, {VPC: "vpc-1", Address: netip.MustParseAddr("10.1.1.77")}}},
		{"a new host", fresh, "10.1.1.88", "10.2.1.10",
			[]ec2.Miss{{Instance: "i-new", Region: "eu-west-1", Account: "111111111111"}, {VPC: "vpc-1", Address: netip.MustParseAddr("10.1.1.88")}}},
		{"a new host of a network that is not known", fresh, "10.77.1.88", "203.0.113.7", []ec2.Miss{{Instance: "i-new", Region: "eu-west-1", Account: "111111111111"}}},
		{"a new host that does not say its Region", path.Origin{Host: "i-new"}, "10.77.1.88", "203.0.113.7", nil},
		{"a host that is no instance", path.Origin{Host: "laptop", Region: "eu-west-1"}, "192.168.0.2", "203.0.113.7", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []ec2.Miss
			e.note = func(m ec2.Miss) { asked = append(asked, m) }
			e.answer(&c.origin, flowKey{local: netip.MustParseAddr(c.local), peer: netip.MustParseAddr(c.remote)})
			assert.Equal(t, c.want, asked)
		})
	}
}
