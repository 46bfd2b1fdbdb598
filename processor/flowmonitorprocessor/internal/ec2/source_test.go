// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// small is a world of one VPC with many interfaces.
func small(interfaces int) *topology.Topology {
	t := &topology.Topology{
		VPCs:    []topology.VPC{{VPCID: "vpc-1", Region: "eu-west-1", CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}},
		Subnets: []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-1", CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, AvailabilityZoneID: "euw1-az1"}},
	}
	for i := range interfaces {
		t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{NetworkInterfaceID: fmt.Sprintf("eni-%05d", i), SubnetID: "subnet-1",
			PrivateIPAddresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, InstanceID: fmt.Sprintf("i-%05d", i)})
	}
	return complete(t)
}

var ambient = []ec2.Account{{Regions: []string{"eu-west-1"}}}

var firstKey = ec2.Expected(ambient)[0].Key

func TestEveryListIsReadInPagesOfTheLargestSize(t *testing.T) {
	s := ec2test.New(t, small(2500))
	w := run(t, options(s, ambient))
	require.NoError(t, w.await(t, 1))
	p, _ := w.Get(firstKey)
	assert.Len(t, p.Own.NetworkInterfaces, 2500)
	assert.Equal(t, ec2test.DefaultAccount, p.Account)
	assert.Equal(t, 3, s.Count("DescribeNetworkInterfaces"))
	sizes := map[string]string{}
	for _, c := range s.Calls() {
		sizes[c.Action] = c.Form.Get("MaxResults")
	}
	for action, size := range map[string]string{"DescribeNetworkInterfaces": "1000", "DescribeRouteTables": "100", "DescribeEgressOnlyInternetGateways": "255",
		"DescribeManagedPrefixLists": "100", "DescribeVpcEndpoints": "1000", "DescribeAvailabilityZones": "", "DescribeVpnGateways": "", "DescribeVpnConnections": ""} {
		got, asked := sizes[action]
		assert.True(t, asked, action)
		assert.Equal(t, size, got, action)
	}
}

func TestThrottledRequestsAreTriedAgain(t *testing.T) {
	s := ec2test.New(t, small(10))
	var n atomic.Int32
	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		if c.Action == "DescribeNetworkInterfaces" && n.Add(1) <= 4 {
			return &ec2test.Fault{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded"}
		}
		return nil
	})
	w := run(t, options(s, ambient))
	require.NoError(t, w.await(t, 1))
	assert.Equal(t, 4, w.count(w.requests, "DescribeNetworkInterfaces throttled"))
	assert.Equal(t, 1, w.count(w.requests, "DescribeNetworkInterfaces ok"))
}

func TestARefreshThatFailsKeepsTheLastGoodPart(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	for name, fault := range map[string]*ec2test.Fault{
		"throttling without end": {Status: 503, Code: "RequestLimitExceeded"},
		"an internal error":      {Status: 500, Code: "InternalError"},
		"no permission any more": {Status: 403, Code: "UnauthorizedOperation"},
		"malformed XML":          {Status: 200, Body: []byte("<DescribeSubnetsResponse><subnetSet><item>")},
		"HTML of a proxy":        {Status: 200, Body: []byte("<!DOCTYPE html><html><body>Please log in<br></body></html>")},
		"an empty error":         {Status: 502, Body: []byte{}},
		"an empty answer":        {Status: 200, Body: []byte("")},
		"white space":            {Status: 200, Body: []byte("\n")},
		"no element":             {Status: 200, Body: []byte(`<?xml version="1.0" encoding="UTF-8"?>`)},
		"well-formed HTML":       {Status: 200, Body: []byte("<html><body>hi</body></html>")},
		"another's answer":       {Status: 200, Body: []byte("<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>")},
	} {
		t.Run(name, func(t *testing.T) {
			s := ec2test.New(t, world)
			o := options(s, accounts(s, world))
			o.RefreshInterval = 50 * time.Millisecond
			w := run(t, o)
			require.NoError(t, w.await(t, 1))
			before := w.List()
			s.SetFault(func(c ec2test.Call) *ec2test.Fault {
				if c.Account == "222222222222" && c.Region == "eu-west-1" && c.Action == "DescribeSubnets" {
					return fault
				}
				return nil
			})
			bad := parts.Key{Source: parts.EC2, Name: "arn:aws:iam::222222222222:role/reader/eu-west-1"}
			require.Eventually(t, func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				list := w.results[bad]
				return list[len(list)-1] != nil
			}, patience, time.Millisecond)
			_, failedAt := w.Get(bad)
			require.True(t, failedAt)
			held, _ := w.Get(bad)
			require.Eventually(t, func() bool { // the others go on
				p, _ := w.Get(before[0].Key)
				return p.Current.After(held.Current)
			}, patience, time.Millisecond)
			for _, p := range before {
				now, _ := w.Get(p.Key)
				assert.Equal(t, p.Own, now.Own, p.Name)
				assert.Equal(t, p.Shared, now.Shared, p.Name)
			}
			w.mu.Lock()
			assert.ErrorContains(t, w.results[bad][len(w.results[bad])-1], "EC2 API, arn:aws:iam::222222222222:role/reader/eu-west-1: read subnets: ")
			w.mu.Unlock()
			s.SetFault(nil)
			require.Eventually(t, func() bool { p, _ := w.Get(bad); return p.Current.After(held.Current) }, patience, time.Millisecond, "and it comes back")
		})
	}
}

func TestARoleNeedsItsExternalID(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	list := accounts(s, world)
	for i := range list {
		if list[i].RoleARN == "arn:aws:iam::111111111111:role/reader" {
			list[i].ExternalID = "wrong"
		}
	}
	w := run(t, options(s, list))
	err := w.await(t, 1)
	assert.ErrorContains(t, err, "role/reader/eu-west-1: read availability_zones: ")
	assert.ErrorContains(t, err, "AccessDenied")
	assert.Len(t, w.List(), len(w.keys)-len(world.Regions), "all accounts but one")
	assert.Positive(t, w.count(w.requests, "AssumeRole denied"))
	assert.Equal(t, 3, s.Count("AssumeRole")-w.count(w.requests, "AssumeRole denied")+1, "one session for all Regions of each other role")
}

func TestWithoutAPermissionForGatewaysTheRestIsRead(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		if slices.Contains([]string{"DescribeTransitGateways", "DescribeVpnGateways", "DescribeVpnConnections", "DescribeLocalGateways"}, c.Action) {
			return &ec2test.Fault{Status: 403, Code: "UnauthorizedOperation"}
		}
		return nil
	})
	w := run(t, options(s, accounts(s, world)))
	require.NoError(t, w.await(t, 1))
	m := w.Merge()
	assert.Empty(t, m.TransitGateways)
	assert.Len(t, m.NetworkInterfaces, len(world.NetworkInterfaces))
	assert.Positive(t, w.count(w.requests, "DescribeTransitGateways denied"))
}

func TestWhatGoesAwayWhileItIsReadIsLeftOut(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		switch {
		case c.Action == "GetManagedPrefixListEntries" && c.Form.Get("PrefixListId") == "pl-offices":
			return &ec2test.Fault{Status: 400, Code: "IncorrectState"}
		case c.Form.Get("TransitGatewayRouteTableId") == "tgw-rtb-egress":
			return &ec2test.Fault{Status: 400, Code: "InvalidRouteTableID.NotFound"}
		}
		return nil
	})
	w := run(t, options(s, accounts(s, world)))
	require.NoError(t, w.await(t, 1))
	m := w.Merge()
	hub := slices.IndexFunc(m.TransitGateways, func(g topology.TransitGateway) bool { return g.TransitGatewayID == "tgw-hub" })
	require.GreaterOrEqual(t, hub, 0)
	assert.Len(t, m.TransitGateways[hub].RouteTables, 2)
	for _, l := range m.PrefixLists {
		assert.Equal(t, l.PrefixListID == "pl-offices", len(l.CIDRs) == 0, l.PrefixListID)
	}
}

// A guest of a transit gateway sees neither its route tables nor the attachments of
// others: what it does see must not look like the whole.
func TestATransitGatewayOfOthersIsNotGuessedFromTheOwnAttachments(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	list := slices.DeleteFunc(accounts(s, world), func(a ec2.Account) bool { return a.RoleARN == "arn:aws:iam::333333333333:role/reader" })
	w := run(t, options(s, list))
	require.NoError(t, w.await(t, 1))
	m := w.Merge()
	require.Len(t, m.TransitGateways, 1)
	assert.Equal(t, "tgw-west", m.TransitGateways[0].TransitGatewayID)
}

func TestRequestsStayUnderTheRate(t *testing.T) {
	s := ec2test.New(t, small(10))
	s.PageLimit = 1 // some dozens of requests
	o := options(s, ambient)
	o.RequestRate = 50
	begun := time.Now()
	w := run(t, o)
	require.NoError(t, w.await(t, 1))
	took, n := time.Since(begun), s.Count("")-s.Count("GetCallerIdentity")
	require.Greater(t, n, 20)
	burst := 2 * o.RequestRate
	assert.LessOrEqual(t, float64(n), burst+o.RequestRate*took.Seconds()+1, "%d requests in %s", n, took)

	o = options(s, ambient)
	o.RequestRate = 10 // a burst of 20, then ten a second
	begun = time.Now()
	w = run(t, o)
	require.NoError(t, w.await(t, 1))
	assert.Greater(t, time.Since(begun), time.Duration(float64(n-20)/10*0.9*float64(time.Second)))
}

func TestAsManyPartsAreReadAtATimeAsIsAllowed(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	var at, most atomic.Int32
	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		if c.Action == "DescribeAvailabilityZones" {
			for n := at.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
		}
		if c.Action == "DescribeVpcPeeringConnections" {
			at.Add(-1)
		}
		return &ec2test.Fault{Delay: time.Millisecond}
	})
	o := options(s, accounts(s, world))
	o.MaxParallel = 3
	w := run(t, o)
	require.NoError(t, w.await(t, 1))
	assert.LessOrEqual(t, most.Load(), int32(3))
	assert.GreaterOrEqual(t, most.Load(), int32(2), "side by side")
}

func TestItStopsAtOnceWhileAnswersAreSlow(t *testing.T) {
	s := ec2test.New(t, small(10))
	s.SetFault(func(ec2test.Call) *ec2test.Fault { return &ec2test.Fault{Delay: time.Minute} })
	w := run(t, options(s, append([]ec2.Account{{RoleARN: "arn:aws:iam::111111111111:role/reader", Regions: []string{"eu-west-1"}}}, ambient...)))
	require.Eventually(t, func() bool { return s.Count("GetCallerIdentity") > 0 && s.Count("AssumeRole") > 0 }, patience, time.Millisecond)
	begun := time.Now()
	w.stop()
	assert.Less(t, time.Since(begun), 2*time.Second)
	assert.Empty(t, w.results, "to be stopped is no failure")
}

func TestAServiceThatNeverEndsIsGivenUp(t *testing.T) {
	s := ec2test.New(t, small(1))
	var n atomic.Int32
	for name, c := range map[string]struct {
		token func() string
		want  string
	}{
		"the same token again and again": {func() string { return "same" }, "the same page token came twice"},
		"new tokens without end":         {func() string { return strconv.Itoa(int(n.Add(1))) }, "there are more than 2000 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetFault(func(call ec2test.Call) *ec2test.Fault {
				if call.Action != "DescribeVpcs" {
					return nil
				}
				return &ec2test.Fault{Body: []byte(`<DescribeVpcsResponse><vpcSet/><nextToken>` + c.token() + `</nextToken></DescribeVpcsResponse>`)}
			})
			w := run(t, options(s, ambient))
			assert.ErrorContains(t, w.await(t, 1), c.want)
		})
	}
}

func TestARefreshThatFindsTheSameIsNoChange(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	o := options(s, accounts(s, world))
	o.RefreshInterval = 20 * time.Millisecond
	w := run(t, o)
	require.NoError(t, w.await(t, 3))
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(t, len(w.keys), w.changes, "the first of each")
}

func TestTheRoutesOfATableAreAllFoundHoweverFewAnAnswerHas(t *testing.T) {
	d := read(t, "../../testdata/transit_gateway_routes/topology.yaml")
	for i := range 256 {
		r := &d.TransitGateways[0].RouteTables[0]
		r.Routes = append(r.Routes, topology.TransitGatewayRoute{DestinationCIDRBlock: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i%16), byte(i), 0}), 24),
			TransitGatewayAttachmentID: d.TransitGateways[0].Attachments[0].TransitGatewayAttachmentID, Type: topology.RoutePropagated})
	}
	d.TransitGateways[0].RouteTables[0].Routes = append(d.TransitGateways[0].RouteTables[0].Routes, topology.TransitGatewayRoute{
		DestinationCIDRBlock: netip.MustParsePrefix("2001:db8::/32"), State: topology.RouteBlackhole})
	world := complete(d)
	id := world.TransitGateways[0].RouteTables[0].TransitGatewayRouteTableID
	read := func(limit int) topology.TransitGatewayRouteTable {
		s := ec2test.New(t, world)
		s.SearchLimit = limit
		w := run(t, options(s, accounts(s, world)))
		require.NoError(t, w.await(t, 1))
		if limit == 1000 {
			assert.Zero(t, s.Count("GetTransitGatewayRouteTablePropagations"), "no need")
		}
		for _, table := range w.Merge().TransitGateways[0].RouteTables {
			if table.TransitGatewayRouteTableID == id {
				return table
			}
		}
		t.Fatal("no table")
		return topology.TransitGatewayRouteTable{}
	}
	whole := read(1000)
	require.GreaterOrEqual(t, len(whole.Routes), 257)
	require.False(t, whole.RoutesIncomplete)
	assert.Equal(t, whole, read(20), "by halves")

	table := read(1) // more than the patience for one table
	assert.True(t, table.RoutesIncomplete)
	assert.NotEmpty(t, table.Propagations, "what stands in for the rest")
	assert.Less(t, len(table.Routes), 257)
}

// The server makes and sends the XML within the same time: what the source takes is less.
func BenchmarkRefreshOf10000Interfaces(b *testing.B) {
	s := ec2test.New(b, small(10_000))
	ec2test.Environment(b, ec2test.DefaultAccount)
	b.ReportAllocs()
	for b.Loop() {
		w := run(b, options(s, ambient))
		if err := w.await(b, 1); err != nil {
			b.Fatal(err)
		}
		w.stop()
	}
}
