// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// random makes a valid topology with few addresses, so that they collide between VPCs.
func random(r *rand.Rand) *topology.Topology {
	t := &topology.Topology{}
	for v := range 1 + r.IntN(6) {
		vpc := fmt.Sprintf("vpc-%d", v)
		second := r.IntN(2)
		m := topology.VPC{VPCID: vpc, Region: "eu-west-1", OwnerID: "1", CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
		if second == 1 {
			m.CIDRBlocks = append(m.CIDRBlocks, netip.MustParsePrefix("2001:db8::/56"), netip.MustParsePrefix("10.0.1.0/24"))
		}
		t.VPCs = append(t.VPCs, m)
		var prefixes []netip.Prefix
		for _, c := range m.CIDRBlocks {
			if c.Addr().Is6() {
				prefixes = append(prefixes, netip.PrefixFrom(c.Addr(), 64))
				continue
			}
			for i := range 4 {
				if r.IntN(4) > 0 {
					a := c.Addr().As4()
					a[3] = byte(i * 64)
					prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4(a), 26))
				}
			}
		}
		for s, p := range prefixes {
			subnet := topology.Subnet{SubnetID: fmt.Sprintf("subnet-%d-%d", v, s), VPCID: vpc, CIDRBlocks: []netip.Prefix{p}, AvailabilityZoneID: fmt.Sprintf("euw1-az%d", r.IntN(3))}
			t.Subnets = append(t.Subnets, subnet)
			used := map[netip.Addr]bool{}
			for e := range r.IntN(5) {
				n := topology.NetworkInterface{NetworkInterfaceID: fmt.Sprintf("eni-%d-%d-%d", v, s, e), SubnetID: subnet.SubnetID, InstanceID: fmt.Sprintf("i-%d", r.IntN(20))}
				for range r.IntN(4) {
					a := p.Addr()
					for range r.IntN(32) { // the lower half; delegated prefixes are in the upper one
						a = a.Next()
					}
					if used[a] {
						continue
					}
					used[a] = true
					if a.Is4() {
						n.PrivateIPAddresses = append(n.PrivateIPAddresses, a)
					} else {
						n.IPv6Addresses = append(n.IPv6Addresses, a)
					}
				}
				if p.Addr().Is4() && e < 2 && r.IntN(2) == 0 {
					b := p.Addr().As4()
					b[3] += byte(32 + 16*e)
					n.IPv4Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(b), 28)}
				}
				t.NetworkInterfaces = append(t.NetworkInterfaces, n)
			}
		}
	}
	return t
}

// The slow and obviously right answers: loops over the lists.

func slowIn(t *topology.Topology, vpc string, a netip.Addr) (subnet, eni string) {
	inVPC := func(id string) bool {
		i := slices.IndexFunc(t.Subnets, func(s topology.Subnet) bool { return s.SubnetID == id })
		return t.Subnets[i].VPCID == vpc
	}
	for _, n := range t.NetworkInterfaces {
		if inVPC(n.SubnetID) && (slices.Contains(n.PrivateIPAddresses, a) || slices.Contains(n.IPv6Addresses, a)) {
			return n.SubnetID, n.NetworkInterfaceID
		}
	}
	for _, n := range t.NetworkInterfaces {
		if inVPC(n.SubnetID) && slices.ContainsFunc(n.IPv4Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return n.SubnetID, n.NetworkInterfaceID
		}
	}
	for _, s := range t.Subnets {
		if s.VPCID == vpc && slices.ContainsFunc(s.CIDRBlocks, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return s.SubnetID, ""
		}
	}
	return "", ""
}

func addresses() []netip.Addr {
	var list []netip.Addr
	a := netip.MustParseAddr("10.0.0.0")
	for range 512 {
		list = append(list, a)
		a = a.Next()
	}
	b := netip.MustParseAddr("2001:db8::")
	for range 40 {
		list = append(list, b)
		b = b.Next()
	}
	return append(list, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::1"))
}

func TestTheIndexEqualsALoopOverTheLists(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	found := 0
	for range 60 {
		m := random(r)
		require.Empty(t, m.Validate())
		x := topology.Build(m, nil)
		for _, a := range addresses() {
			var enis, subnets []string
			for _, v := range m.VPCs {
				wantSubnet, wantENI := slowIn(m, v.VPCID, a)
				p, ok := x.In(x.VPC(v.VPCID), a)
				require.Equal(t, wantSubnet != "", ok, "%s in %s", a, v.VPCID)
				if !ok {
					continue
				}
				found++
				require.Equal(t, wantSubnet, p.Subnet.ID)
				if p.Interface != nil {
					require.Equal(t, wantENI, p.Interface.ID)
				} else {
					require.Empty(t, wantENI)
				}
				if wantENI != "" {
					enis = append(enis, wantENI)
				}
				for _, s := range m.Subnets {
					if s.VPCID == v.VPCID && s.CIDRBlocks[0].Contains(a) {
						subnets = append(subnets, s.SubnetID)
					}
				}
			}
			var gotENIs, gotSubnets []string
			for n := range x.Interfaces(a) {
				gotENIs = append(gotENIs, n.ID)
			}
			for s := range x.Subnets(a) {
				gotSubnets = append(gotSubnets, s.ID)
			}
			require.ElementsMatch(t, enis, gotENIs, a)
			require.ElementsMatch(t, subnets, gotSubnets, a)
		}
	}
	assert.Greater(t, found, 1000)
}

func TestBuildToleratesWhatIsDangling(t *testing.T) {
	x := topology.Build(&topology.Topology{
		Subnets:               []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-gone"}},
		NetworkInterfaces:     []topology.NetworkInterface{{NetworkInterfaceID: "eni-1", SubnetID: "subnet-1", PrivateIPAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}},
		RouteTables:           []topology.RouteTable{{RouteTableID: "rtb-1", VPCID: "vpc-gone", Routes: []topology.Route{{Target: "nat-gone"}}}},
		TransitGateways:       []topology.TransitGateway{{TransitGatewayID: "tgw-1", RouteTables: []topology.TransitGatewayRouteTable{{Associations: []string{"x"}, Propagations: []string{"y"}, Routes: []topology.TransitGatewayRoute{{PrefixListID: "pl-gone"}}}}}},
		NATGateways:           []topology.NATGateway{{NATGatewayID: "nat-1", SubnetID: "subnet-gone"}},
		VPCEndpoints:          []topology.VPCEndpoint{{VPCEndpointID: "vpce-1", VPCID: "vpc-gone", RouteTableIDs: []string{"rtb-1"}}},
		VPCPeeringConnections: []topology.VPCPeeringConnection{{VPCPeeringConnectionID: "pcx-1"}},
		InternetGateways:      []topology.InternetGateway{{InternetGatewayID: "igw-1", VPCID: "vpc-gone"}},
	}, nil)
	for range x.Interfaces(netip.MustParseAddr("10.0.0.1")) {
		t.Fatal("of a VPC that is not there")
	}
	assert.False(t, x.HasVPC("vpc-gone"))
}

func TestTheFirstOfTwoClaimsWins(t *testing.T) {
	a := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	net := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	x := topology.Build(&topology.Topology{
		VPCs:    []topology.VPC{{VPCID: "vpc-1", CIDRBlocks: net}},
		Subnets: []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-1", CIDRBlocks: net, AvailabilityZone: "a"}},
		NetworkInterfaces: []topology.NetworkInterface{
			{NetworkInterfaceID: "eni-1", SubnetID: "subnet-1", PrivateIPAddresses: a},
			{NetworkInterfaceID: "eni-2", SubnetID: "subnet-1", PrivateIPAddresses: a},
		},
	}, nil)
	p, ok := x.In(x.VPC("vpc-1"), a[0])
	require.True(t, ok)
	assert.Equal(t, "eni-1", p.Interface.ID)
}

// large makes a topology of n interfaces in VPCs of 500, of which every tenth has the
// same CIDR as others.
func large(n int) *topology.Topology {
	t := &topology.Topology{}
	for v := range max(1, n/500) {
		vpc := fmt.Sprintf("vpc-%017d", v)
		base := netip.AddrFrom4([4]byte{10, byte(v % 200), 0, 0})
		cidr := []netip.Prefix{netip.PrefixFrom(base, 16)}
		t.VPCs = append(t.VPCs, topology.VPC{VPCID: vpc, Region: "eu-west-1", OwnerID: "111111111111", CIDRBlocks: cidr})
		t.Subnets = append(t.Subnets, topology.Subnet{SubnetID: fmt.Sprintf("subnet-%017d", v), VPCID: vpc, CIDRBlocks: cidr, AvailabilityZoneID: "euw1-az1"})
		a := base
		for i := range 500 {
			a = a.Next()
			t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{
				NetworkInterfaceID: fmt.Sprintf("eni-%017d", v*500+i), SubnetID: t.Subnets[v].SubnetID, OwnerID: "111111111111",
				InstanceID: fmt.Sprintf("i-%017d", v*500+i), PrivateIPAddresses: []netip.Addr{a},
			})
		}
	}
	return t
}

func BenchmarkIn(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d interfaces", n), func(b *testing.B) {
			m := large(n)
			x := topology.Build(m, nil)
			type question struct {
				v *topology.VPCNode
				a netip.Addr
			}
			r := rand.New(rand.NewPCG(1, 1))
			questions := make([]question, 1<<14)
			for i := range questions {
				k := r.IntN(len(m.NetworkInterfaces))
				questions[i] = question{x.VPC(m.VPCs[k/500].VPCID), m.NetworkInterfaces[k].PrivateIPAddresses[0]}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := questions[i&(1<<14-1)]
				if p, _ := x.In(q.v, q.a); p.Interface == nil {
					b.Fatal("not found")
				}
				i++
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d interfaces", n), func(b *testing.B) {
			m := large(n)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			x := topology.Build(m, nil)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			for b.Loop() {
				topology.Build(m, nil)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
			runtime.KeepAlive(x)
		})
	}
}
