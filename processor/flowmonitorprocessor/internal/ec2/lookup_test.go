// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// launched adds interfaces that came after the refresh, with the address before in the
// hands of nobody, or of eni-00000 for the first.
func launched(world *topology.Topology, addresses ...string) *topology.Topology {
	next := *world
	next.NetworkInterfaces = slices.Clone(world.NetworkInterfaces)
	no := false
	for i, a := range addresses {
		n := topology.NetworkInterface{NetworkInterfaceID: fmt.Sprintf("eni-new-%d", i), SubnetID: "subnet-1", VPCID: "vpc-1", OwnerID: ec2test.DefaultAccount,
			InterfaceType: "interface", RequesterManaged: &no, InstanceID: fmt.Sprintf("i-new-%d", i)}
		if ip := netip.MustParseAddr(a); ip.Is4() {
			n.PrivateIPAddresses = []netip.Addr{ip}
		} else {
			n.IPv6Addresses = []netip.Addr{ip}
		}
		next.NetworkInterfaces = append(next.NetworkInterfaces, n)
	}
	return &next
}

func miss(address string) ec2.Miss {
	return ec2.Miss{VPC: "vpc-1", Address: netip.MustParseAddr(address)}
}

func (w *watched) holder(id string) *topology.NetworkInterface {
	p, _ := w.Get(firstKey)
	if p.Own == nil {
		return nil
	}
	for i := range p.Own.NetworkInterfaces {
		if p.Own.NetworkInterfaces[i].NetworkInterfaceID == id {
			return &p.Own.NetworkInterfaces[i]
		}
	}
	return nil
}

// filtered are the requests with filters.
func filtered(s *ec2test.Server) []ec2test.Call {
	return slices.DeleteFunc(s.Calls(), func(c ec2test.Call) bool { return !c.Form.Has("Filter.1.Name") })
}

func TestWhatCameAfterTheRefreshIsLookedUp(t *testing.T) {
	world := small(3)
	s := ec2test.New(t, world)
	o := options(s, ambient)
	o.LookupDelay = 20 * time.Millisecond
	w := run(t, o)
	require.NoError(t, w.await(t, 1))
	before, _ := w.Get(firstKey)

	s.SetWorld(launched(world, "10.1.5.1", "10.1.5.2", "2001:db8::5"))
	w.Note(miss("10.1.5.1"))
	w.Note(miss("10.1.5.1")) // once is enough
	w.Note(miss("10.1.5.9")) // of nobody
	w.Note(miss("2001:db8::5"))
	w.Note(ec2.Miss{Instance: "i-new-1", Account: ec2test.DefaultAccount, Region: "eu-west-1"})
	w.Note(ec2.Miss{Instance: "i-elsewhere", Account: ec2test.DefaultAccount, Region: "us-east-1"})
	require.Eventually(t, func() bool {
		return w.count(w.lookups, ec2.LookupFound) == 3 && w.count(w.lookups, ec2.LookupNotFound) == 2
	}, patience, time.Millisecond)
	for i := range 3 {
		assert.NotNil(t, w.holder(fmt.Sprint("eni-new-", i)), i)
	}
	assert.NotNil(t, w.holder("eni-00002"), "what was there stays")
	now, _ := w.Get(firstKey)
	assert.Equal(t, before.Current, now.Current, "the part is as old as it was")

	calls := filtered(s)
	require.Len(t, calls, 3, "together: IPv4, IPv6, instances")
	for _, c := range calls {
		assert.Equal(t, "1000", c.Form.Get("MaxResults"))
	}
	w.Note(miss("10.1.5.9")) // known not to be there
	_, negative := w.Pending()
	assert.Equal(t, 3, negative, "and the instance that was found, for a minute")
	pending, _ := w.Pending()
	assert.Zero(t, pending)
}

func TestAnAddressThatMovedLeavesTheInterfaceThatHadIt(t *testing.T) {
	world := small(3)
	s := ec2test.New(t, world)
	w := run(t, options(s, ambient))
	require.NoError(t, w.await(t, 1))
	require.Equal(t, "[10.1.0.1]", fmt.Sprint(w.holder("eni-00001").PrivateIPAddresses))
	s.SetWorld(launched(world, "10.1.0.1"))
	w.Note(ec2.Miss{Instance: "i-new-0", Region: "eu-west-1"})
	require.Eventually(t, func() bool { return w.holder("eni-new-0") != nil }, patience, time.Millisecond)
	assert.Empty(t, w.holder("eni-00001").PrivateIPAddresses)
	assert.Len(t, w.holder("eni-00002").PrivateIPAddresses, 1)
}

func TestAFilterHasTwoHundredValuesAtMost(t *testing.T) {
	world := small(3)
	s := ec2test.New(t, world) // which refuses more
	o := options(s, ambient)
	o.LookupDelay = 300 * time.Millisecond
	w := run(t, o)
	require.NoError(t, w.await(t, 1))
	for i := range 450 {
		w.Note(miss(fmt.Sprintf("10.1.%d.%d", 100+i/200, i%200)))
	}
	require.Eventually(t, func() bool { return w.count(w.lookups, ec2.LookupNotFound) == 450 }, patience, time.Millisecond)
	assert.Len(t, filtered(s), 3)
	assert.Zero(t, w.count(w.lookups, ec2.LookupFailed))
}

func TestALookUpThatFailsIsNotTakenForAnAbsence(t *testing.T) {
	world := small(3)
	s := ec2test.New(t, world)
	w := run(t, options(s, ambient))
	require.NoError(t, w.await(t, 1))
	s.SetFault(func(c ec2test.Call) *ec2test.Fault { return &ec2test.Fault{Status: 500, Code: "InternalError"} })
	w.Note(miss("10.1.5.1"))
	require.Eventually(t, func() bool { return w.count(w.lookups, ec2.LookupFailed) == 1 }, patience, time.Millisecond, "after a second try")
	_, negative := w.Pending()
	assert.Zero(t, negative)
	s.SetFault(nil)
	s.SetWorld(launched(world, "10.1.5.1"))
	w.Note(miss("10.1.5.1"))
	require.Eventually(t, func() bool { return w.holder("eni-new-0") != nil }, patience, time.Millisecond)
}

func TestTooManyMissesAreRefusedAndCounted(t *testing.T) {
	source := ec2.New(ec2.Options{Accounts: ambient, RefreshInterval: time.Hour, Put: func(p parts.Part) parts.Part { return p }})
	for i := range 10_000 {
		source.Note(miss(fmt.Sprintf("10.1.%d.%d", i/250, i%250)))
	}
	pending, _ := source.Pending()
	require.Equal(t, 10_000, pending)
	refused := 0
	source = ec2.New(ec2.Options{Accounts: ambient, RefreshInterval: time.Hour, Put: func(p parts.Part) parts.Part { return p }, Lookups: func(result string, n int) {
		assert.Equal(t, ec2.LookupRefused, result)
		refused += n
	}})
	for i := range 10_007 {
		source.Note(miss(fmt.Sprintf("10.1.%d.%d", i/250, i%250)))
	}
	assert.Equal(t, 7, refused)
}

// A part that a snapshot has is worth looking up in before it was read.
func TestWhatASnapshotHasIsUsedUntilThePartAnswers(t *testing.T) {
	world := small(3)
	s := ec2test.New(t, world)
	w := run(t, options(s, ambient))
	require.NoError(t, w.await(t, 1))
	last, _ := w.Get(firstKey)
	w.stop()

	s.SetWorld(launched(world, "10.1.5.1"))
	s.SetFault(func(c ec2test.Call) *ec2test.Fault { // a refresh fails, a look-up does not
		if strings.HasPrefix(c.Action, "Describe") && !c.Form.Has("Filter.1.Name") {
			return &ec2test.Fault{Status: 500, Code: "InternalError"}
		}
		return nil
	})
	o := options(s, ambient)
	put := make(chan parts.Part, 1)
	o.Put = func(p parts.Part) parts.Part { put <- p; return p }
	source := ec2.New(o)
	source.Restore([]parts.Part{last, {Key: parts.Key{Source: parts.EC2, Name: "arn:aws:iam::111111111111:role/no-longer/eu-west-1"}}})
	source.Note(miss("10.1.5.1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { source.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	select {
	case p := <-put:
		assert.Len(t, p.Own.NetworkInterfaces, 4)
		assert.Equal(t, last.Current, p.Current)
	case <-time.After(patience):
		t.Fatal("nothing was found")
	}
}
