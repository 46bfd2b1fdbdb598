// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// addresses are all that a topology names, one beside each of them, and some of nobody.
func addresses(t *topology.Topology) []netip.Addr {
	set := map[netip.Addr]bool{}
	add := func(a netip.Addr) {
		if a.IsValid() {
			set[a] = true
			set[a.Next()] = true
		}
	}
	block := func(p netip.Prefix) {
		if p.IsValid() {
			add(p.Addr().Next())
		}
	}
	for _, n := range t.NetworkInterfaces {
		for _, a := range slices.Concat(n.PrivateIPAddresses, n.IPv6Addresses) {
			add(a)
		}
		for _, p := range slices.Concat(n.IPv4Prefixes, n.IPv6Prefixes) {
			block(p)
		}
		for _, a := range n.Associations {
			add(a.PublicIP)
		}
	}
	for _, v := range t.VPCs {
		for _, c := range v.CIDRBlocks {
			block(c)
		}
	}
	for _, s := range t.Subnets {
		for _, c := range s.CIDRBlocks {
			block(c)
		}
	}
	for _, r := range t.RouteTables {
		for _, x := range r.Routes {
			block(x.DestinationCIDRBlock)
			block(x.DestinationIPv6CIDRBlock)
		}
	}
	for _, g := range t.TransitGateways {
		for _, r := range g.RouteTables {
			for _, x := range r.Routes {
				block(x.DestinationCIDRBlock)
			}
		}
	}
	for _, g := range t.NATGateways {
		for _, a := range g.NATGatewayAddresses {
			add(a.PublicIP)
		}
	}
	for _, s := range []string{"203.0.113.7", "52.218.1.1", "52.94.24.1", "13.32.1.1", "54.73.1.10", "169.254.169.254", "10.99.0.1", "2001:db8:ffff::1", "2a05:d031:8000::1", "64:ff9b::a00:1"} {
		add(netip.MustParseAddr(s))
	}
	list := make([]netip.Addr, 0, len(set))
	for a := range set {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// origins are the hosts of a topology, as streams name them, and some that it does not have.
func origins(t *topology.Topology) []path.Origin {
	list := []path.Origin{{}, {Host: "i-unknown"}, {Host: "a-laptop"}}
	seen := map[string]bool{}
	for _, n := range t.NetworkInterfaces {
		if n.InstanceID != "" && !seen[n.InstanceID] {
			seen[n.InstanceID] = true
			list = append(list, path.Origin{Host: n.InstanceID})
		}
	}
	for _, v := range t.VPCs {
		list = append(list, path.Origin{Account: v.OwnerID, Region: v.Region})
	}
	for _, a := range t.Accounts {
		list = append(list, path.Origin{Account: a.AccountID})
	}
	return list
}

// What is read over the wire, of all accounts and Regions and with pages of a few items,
// answers every question as the declared topology itself does.
func TestTheAPIGivesTheSameAnswersAsTheFile(t *testing.T) {
	const questions = 30_000 // of each world at most
	asked := 0
	for name, d := range declared(t) {
		t.Run(name, func(t *testing.T) {
			world := complete(d)
			s := ec2test.New(t, world)
			s.PageLimit = 2
			w := run(t, options(s, accounts(s, world)))
			require.NoError(t, w.await(t, 1))
			ranges := ipranges.Shipped()
			want := path.New(topology.Build(world, ranges.Blocks), ranges)
			got := path.New(topology.Build(w.Merge(), ranges.Blocks), ranges)
			from, all := origins(world), addresses(world)
			random := rand.New(rand.NewPCG(1, 2)) // of a large world, a sample that is the same each time
			keep := float64(questions) / float64(len(from)*len(all)*len(all))
			wrong := 0
			for _, o := range from {
				for _, a := range all {
					for _, b := range all {
						if random.Float64() > keep {
							continue
						}
						asked++
						x, y := want.Resolve(&o, a, b), got.Resolve(&o, a, b)
						if wrong < 5 && !assert.ObjectsAreEqual(x, y) {
							wrong++
							assert.Equal(t, x, y, fmt.Sprintf("%+v: %s to %s", o, a, b))
						}
					}
				}
			}
		})
	}
	assert.Greater(t, asked, 100_000)
}
