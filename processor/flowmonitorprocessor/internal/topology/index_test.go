// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
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
				switch {
				case e >= 2 || r.IntN(2) == 0:
				case p.Addr().Is4():
					b := p.Addr().As4()
					b[3] += byte(32 + 16*e)
					n.IPv4Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(b), 28+r.IntN(3))}
				default:
					b := p.Addr().As16()
					b[9] = byte(1 + e)
					n.IPv6Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(b), []int{80, 96, 124}[r.IntN(3)])}
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
		if inVPC(n.SubnetID) && slices.ContainsFunc(slices.Concat(n.IPv4Prefixes, n.IPv6Prefixes), func(p netip.Prefix) bool { return p.Contains(a) }) {
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
	for _, text := range []string{"2001:db8:0:0:1::", "2001:db8:0:0:1::f", "2001:db8:0:0:1:0:1:1", "2001:db8:0:0:1:ffff:1:1", "2001:db8:0:0:2::1", "2001:db8:0:0:2::ff",
		"192.0.2.1", "::1", "::", "0.0.0.0", "255.255.255.255", "10.0.2.0", "9.255.255.255", "2001:db8:0:1::", "2001:db7:ffff::"} {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
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
				if p.Interface.Exists() {
					require.Equal(t, wantENI, p.Interface.ID())
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
				gotENIs = append(gotENIs, n.ID())
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

// What no valid topology has, but a source in flux may: everything stays where it is said to
// be, and the more specific wins.
func TestOddPlacesAreFound(t *testing.T) {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	x := topology.Build(&topology.Topology{
		VPCs: []topology.VPC{{VPCID: "vpc-1", CIDRBlocks: []netip.Prefix{p("10.0.0.0/16"), p("2001:db8::/56")}}},
		Subnets: []topology.Subnet{
			{SubnetID: "subnet-wide", VPCID: "vpc-1", CIDRBlocks: []netip.Prefix{p("10.0.0.0/24"), p("2001:db8::/64")}, AvailabilityZone: "a"},
			{SubnetID: "subnet-inner", VPCID: "vpc-1", CIDRBlocks: []netip.Prefix{p("10.0.0.8/29")}, AvailabilityZone: "a"},
		},
		NetworkInterfaces: []topology.NetworkInterface{
			{NetworkInterfaceID: "eni-block", SubnetID: "subnet-wide", IPv4Prefixes: []netip.Prefix{p("10.0.0.0/28"), p("10.0.0.64/27")}, IPv6Prefixes: []netip.Prefix{p("2001:db8::/72")}},
			{NetworkInterfaceID: "eni-within", SubnetID: "subnet-inner", PrivateIPAddresses: []netip.Addr{a("10.0.0.9")}},
			{NetworkInterfaceID: "eni-narrow", SubnetID: "subnet-wide", IPv4Prefixes: []netip.Prefix{p("10.0.0.4/30"), p("10.0.0.64/28")}, IPv6Prefixes: []netip.Prefix{p("2001:db8::/80")}},
			{NetworkInterfaceID: "eni-stray", SubnetID: "subnet-inner", PrivateIPAddresses: []netip.Addr{a("10.0.200.1")}, IPv6Addresses: []netip.Addr{a("2001:db8:0:99::1")}, IPv4Prefixes: []netip.Prefix{p("10.0.201.0/28")}},
			{NetworkInterfaceID: "eni-all", SubnetID: "subnet-inner", IPv4Prefixes: []netip.Prefix{p("0.0.0.0/0"), {}}},
		},
	}, nil)
	for address, want := range map[string][2]string{
		"10.0.0.1": {"eni-block", "subnet-wide"}, "10.0.0.9": {"eni-within", "subnet-inner"}, "10.0.0.10": {"eni-block", "subnet-wide"},
		"10.0.0.5": {"eni-narrow", "subnet-wide"}, "10.0.0.70": {"eni-narrow", "subnet-wide"}, "10.0.0.90": {"eni-block", "subnet-wide"},
		"10.0.200.1": {"eni-stray", "subnet-inner"}, "10.0.201.3": {"eni-stray", "subnet-inner"}, "2001:db8:0:99::1": {"eni-stray", "subnet-inner"},
		"2001:db8::5": {"eni-narrow", "subnet-wide"}, "2001:db8:0:0:1::5": {"eni-block", "subnet-wide"},
		"10.0.0.200": {"", "subnet-wide"},
	} {
		place, ok := x.In(x.VPC("vpc-1"), a(address))
		require.True(t, ok, address)
		assert.Equal(t, want[1], place.Subnet.ID, address)
		var holders []string
		for n := range x.Interfaces(a(address)) {
			holders = append(holders, n.ID())
		}
		if want[0] == "" {
			assert.False(t, place.Interface.Exists(), address)
			assert.Empty(t, holders, address)
			continue
		}
		assert.Equal(t, want[0], place.Interface.ID(), address)
		assert.Equal(t, []string{want[0]}, holders, address)
	}
	_, ok := x.In(x.VPC("vpc-1"), a("10.0.202.1"))
	assert.False(t, ok)
}

func TestInstancesHaveTheirInterfacesInOrder(t *testing.T) {
	net := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	m := &topology.Topology{
		VPCs:      []topology.VPC{{VPCID: "vpc-1", CIDRBlocks: net}},
		Subnets:   []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-1", CIDRBlocks: net, AvailabilityZone: "a"}},
		Instances: []topology.Instance{{InstanceID: "i-0", OwnerID: "7"}, {InstanceID: "i-0", OwnerID: "8"}, {InstanceID: "i-bare", K8S: &topology.K8S{NodeName: "n"}}},
	}
	for i := range 300 {
		m.NetworkInterfaces = append(m.NetworkInterfaces, topology.NetworkInterface{
			NetworkInterfaceID: fmt.Sprint("eni-", i), SubnetID: "subnet-1", InstanceID: fmt.Sprint("i-", i%100), OwnerID: fmt.Sprint(i % 3)})
	}
	m.NetworkInterfaces = append(m.NetworkInterfaces, m.NetworkInterfaces[5], // described twice
		topology.NetworkInterface{NetworkInterfaceID: "eni-last", SubnetID: "subnet-1", InstanceID: "i-lent"})
	m.Instances = append(m.Instances, topology.Instance{InstanceID: "i-lent", OwnerID: "9"})
	x := topology.Build(m, nil)
	for i := range 100 {
		h := x.Instance(fmt.Sprint("i-", i))
		require.True(t, h.Exists())
		require.Equal(t, fmt.Sprint("i-", i), h.ID())
		var got []string
		for n := range h.Interfaces() {
			require.Equal(t, h, n.Instance())
			got = append(got, n.ID()+" "+n.Owner())
		}
		require.Equal(t, []string{fmt.Sprint("eni-", i, " ", i%3), fmt.Sprint("eni-", i+100, " ", (i+100)%3), fmt.Sprint("eni-", i+200, " ", (i+200)%3)}, got)
	}
	assert.Equal(t, "7", x.Instance("i-0").Owner())
	assert.Equal(t, "9", x.Instance("i-lent").First().Owner(), "of whom its instance is")
	assert.Equal(t, "n", x.Instance("i-bare").K8S().NodeName)
	assert.False(t, x.Instance("i-bare").First().Exists())
	assert.Nil(t, x.Instance("i-1").K8S())
	for _, unknown := range []string{"", "i-100", "i"} {
		assert.False(t, x.Instance(unknown).Exists(), unknown)
	}
	assert.False(t, new(topology.Index).Instance("i-1").Exists(), "of an index that knows nothing")
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
	assert.Equal(t, "eni-1", p.Interface.ID())
}
