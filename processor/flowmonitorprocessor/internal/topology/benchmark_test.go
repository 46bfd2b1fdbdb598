// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

const perVPC = 500 // interfaces; 2,000 VPCs have a million

// large makes a topology of n interfaces in VPCs of 500, of which every tenth has the
// same CIDR as others, with ids as long as those of AWS. Every interface has an address,
// every second one a delegated prefix, every fourth a public address.
func large(n int) *topology.Topology {
	t := &topology.Topology{}
	for v := range max(1, n/perVPC) {
		vpc := fmt.Sprintf("vpc-%017x", v)
		base := netip.AddrFrom4([4]byte{10, byte(v % 200), 0, 0})
		cidr := []netip.Prefix{netip.PrefixFrom(base, 16)}
		t.VPCs = append(t.VPCs, topology.VPC{VPCID: vpc, Region: "eu-west-1", OwnerID: "111111111111", CIDRBlocks: cidr})
		t.Subnets = append(t.Subnets, topology.Subnet{SubnetID: fmt.Sprintf("subnet-%017x", v), VPCID: vpc, CIDRBlocks: cidr, AvailabilityZoneID: "euw1-az1"})
		for i := range perVPC {
			k := v*perVPC + i
			m := topology.NetworkInterface{
				NetworkInterfaceID: fmt.Sprintf("eni-%017x", k), SubnetID: t.Subnets[v].SubnetID, OwnerID: "111111111111",
				InstanceID:         fmt.Sprintf("i-%017x", k),
				PrivateIPAddresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(v % 200), byte(i >> 8), byte(i)})},
			}
			if i%2 == 0 {
				m.IPv4Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(v % 200), 64 + byte(i>>4), byte(i << 4)}), 28)}
			}
			if i%4 == 0 {
				m.Associations = []topology.Association{{PublicIP: netip.AddrFrom4([4]byte{byte(3 + k>>24), byte(k >> 16), byte(k >> 8), byte(k)})}}
			}
			t.NetworkInterfaces = append(t.NetworkInterfaces, m)
		}
	}
	return t
}

var sizes = []int{1000, 100_000, 1_000_000}

type question struct {
	v *topology.VPCNode
	a netip.Addr
}

// BenchmarkLookup finds the holder of an address that is drawn at random out of all: as an
// interface's own, in a delegated prefix, by the subnet only, and as a public one.
func BenchmarkLookup(b *testing.B) {
	for _, n := range sizes {
		m := large(n)
		x := topology.Build(m, nil)
		at := func(k int) *topology.NetworkInterface { return &m.NetworkInterfaces[k] }
		for _, kind := range []struct {
			name string
			ask  func(k int) netip.Addr
		}{
			{"interface", func(k int) netip.Addr { return at(k).PrivateIPAddresses[0] }},
			{"prefix", func(k int) netip.Addr { return at(k &^ 1).IPv4Prefixes[0].Addr().Next() }},
			{"subnet", func(k int) netip.Addr {
				a := at(k).PrivateIPAddresses[0].As4()
				a[2] += 128
				return netip.AddrFrom4(a)
			}},
			{"public", func(k int) netip.Addr { return at(k &^ 3).Associations[0].PublicIP }},
		} {
			b.Run(fmt.Sprintf("%s/%d interfaces", kind.name, n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				questions := make([]question, 1<<16)
				for i := range questions {
					k := r.IntN(len(m.NetworkInterfaces))
					questions[i] = question{x.VPC(m.VPCs[k/perVPC].VPCID), kind.ask(k)}
				}
				lookup := func(q question) bool {
					p, ok := x.In(q.v, q.a)
					return ok && p.Subnet != nil
				}
				if kind.name == "public" {
					lookup = func(q question) bool {
						p, n := x.Public(q.a)
						return n == 1 && p.Subnet != nil
					}
				}
				var watch cputime.Stopwatch
				b.ReportAllocs()
				for i := 0; b.Loop(); {
					watch.Start()
					for range 1 << 12 {
						if !lookup(questions[i&(len(questions)-1)]) {
							b.Fatal("not found")
						}
						i++
					}
					watch.Stop(1 << 12)
				}
				watch.Report(b, "lookup")
			})
		}
	}
}

// BenchmarkBuild compiles a topology. What is held afterwards is measured with the source
// still there, which the index shares no text of interfaces and instances with. The source
// stays in memory where parts of several accounts are merged, and is let go with a file alone.
func BenchmarkBuild(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("%d interfaces", n), func(b *testing.B) {
			var none, before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&none)
			m := large(n)
			runtime.GC()
			runtime.ReadMemStats(&before)
			x := topology.Build(m, nil)
			runtime.GC()
			runtime.ReadMemStats(&after)
			var watch cputime.Stopwatch
			b.ReportAllocs()
			for b.Loop() {
				watch.Start()
				topology.Build(m, nil)
				watch.Stop(1)
			}
			watch.Report(b, "build")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
			b.ReportMetric(float64(before.HeapAlloc-none.HeapAlloc)/(1<<20), "MiB-source")
			runtime.KeepAlive(x)
		})
	}
}
