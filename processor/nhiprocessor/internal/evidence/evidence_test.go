// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

var limits = Limits{Flows: 1000, Components: 1000, Monitors: 100}

// identity of a flow from a host in subnet a to one in subnet b.
func identity() *Identity {
	return &Identity{
		LocalHost: "i-1", LocalAddress: "10.0.0.1", LocalVPC: "vpc-a", RemoteHost: "i-2", RemoteAddress: "10.1.0.1", RemoteVPC: "vpc-b",
		Category: flowattr.CategoryInterVPC, Path: []string{"eni/eni-1", "subnet/a", "transit_gateway/t", "subnet/b", "eni/eni-2"},
		Monitors: []string{"m"},
	}
}

func with(change func(*Identity)) *Identity {
	id := identity()
	change(id)
	return id
}

func reversed() *Identity {
	return with(func(id *Identity) {
		id.LocalHost, id.LocalAddress, id.LocalVPC, id.RemoteHost, id.RemoteAddress, id.RemoteVPC = "i-2", "10.1.0.1", "vpc-b", "i-1", "10.0.0.1", "vpc-a"
		id.Path = []string{"eni/eni-2", "subnet/b", "transit_gateway/t", "subnet/a", "eni/eni-1"}
	})
}

func lookup(t *testing.T, table *Table, id *Identity) *Key {
	k, _, refusal := table.Lookup(id)
	require.Equal(t, Accepted, refusal)
	return k
}

func TestFlowsWithTheSameEvidenceShareAKey(t *testing.T) {
	table := NewTable(limits)
	k := lookup(t, table, identity())
	assert.Equal(t, []string{"subnet/a", "transit_gateway/t", "subnet/b"}, k.Path.Components, "hosts stand for their own interfaces")
	assert.True(t, k.Attributable)
	for name, id := range map[string]*Identity{
		"seen again":                 identity(),
		"another address of a host":  with(func(id *Identity) { id.LocalAddress = "10.0.0.9" }),
		"another remote address":     with(func(id *Identity) { id.RemoteAddress = "10.1.0.9" }),
		"other interfaces":           with(func(id *Identity) { id.Path[0] = "eni/eni-9" }),
		"a component crossed twice":  with(func(id *Identity) { id.Path = append(id.Path, "subnet/b") }),
		"another category of a kind": with(func(id *Identity) { id.Category = flowattr.CategoryInterAZ }),
	} {
		assert.Same(t, k, lookup(t, table, id), name)
	}
	for name, id := range map[string]*Identity{
		"another local host":  with(func(id *Identity) { id.LocalHost = "i-3" }),
		"another remote host": with(func(id *Identity) { id.RemoteHost = "i-3" }),
		"another path":        with(func(id *Identity) { id.Path[2] = "vpc_peering/p" }),
		"other monitors":      with(func(id *Identity) { id.Monitors = []string{"m", "n"} }),
		"no monitor":          with(func(id *Identity) { id.Monitors = nil }),
		"a service":           with(func(id *Identity) { id.Service = "S3" }),
		"the way back":        reversed(),
		"not attributable":    with(func(id *Identity) { id.Unresolved = true }),
	} {
		assert.NotSame(t, k, lookup(t, table, id), name)
	}
}

func TestServicesBehindTheSameComponentsAreClassesOfTheirOwn(t *testing.T) {
	for name, path := range map[string][]string{
		"behind one gateway":            {"eni/eni-1", "subnet/a", "nat_gateway/n"},
		"in a fleet without a topology": nil,
	} {
		table := NewTable(limits)
		to := func(service string) *Key {
			return lookup(t, table, with(func(id *Identity) { id.Category, id.Path, id.Service = flowattr.CategoryAWSService, path, service }))
		}
		s3, sqs := to("S3"), to("SQS")
		assert.NotSame(t, s3.Path.Class, sqs.Path.Class, name)
		assert.Equal(t, "SQS", sqs.Path.Class.Service, name)
		assert.Same(t, s3.Path.Class, to("S3").Path.Class, name)
		assert.False(t, s3.Path.Class.Palindrome, "a service is no place of its own")
	}
}

// Flows that are no evidence are kept apart by monitors only: an Internet full of clients must
// not take the place of evidence.
func TestFlowsThatAreNoEvidenceTakeNoPlace(t *testing.T) {
	table := NewTable(Limits{Flows: 100, Components: 100, Monitors: 10})
	var key *Key
	for i := range 131_072 {
		k := lookup(t, table, with(func(id *Identity) {
			id.Category, id.RemoteHost, id.RemoteAddress = flowattr.CategoryInternet, "", fmt.Sprint("198.51.", i/256, ".", i%256)
		}))
		require.False(t, k.Attributable)
		if key == nil {
			key = k
		}
		require.Same(t, key, k)
		if i%40_000 == 0 {
			table.Sweep()
		}
	}
	flows, _ := table.Sizes()
	assert.Zero(t, flows)
	assert.True(t, lookup(t, table, identity()).Attributable, "there is room for evidence")
}

func TestAnAddressBelongsToWhoeverSendsFromIt(t *testing.T) {
	table := NewTable(limits)
	client := with(func(id *Identity) { id.RemoteHost = "" }) // sends to 10.1.0.1
	from := func(host string) *Identity { id := reversed(); id.LocalHost = host; return id }
	owner := func() string { return lookup(t, table, client).Remote.Resolved().Name }
	client = with(func(id *Identity) { id.RemoteHost = "" })
	refresh := func() { client = with(func(id *Identity) { id.RemoteHost = "" }) } // a look-up normalizes
	lookup(t, table, from("i-2"))
	assert.Equal(t, "instance/i-2", owner())

	for range keepGenerations + 1 { // i-2 is gone, its address is still sent to
		table.Sweep()
		refresh()
		owner()
	}
	refresh()
	assert.Equal(t, "address/10.1.0.1", owner(), "nobody sends from it any more")

	lookup(t, table, from("i-3"))
	lookup(t, table, from("i-4"))
	refresh()
	assert.Equal(t, "instance/i-4", owner(), "the last that began to")
	for range keepGenerations + 1 {
		table.Sweep()
		lookup(t, table, from("i-3"))
		refresh()
		owner()
	}
	lookup(t, table, from("i-3"))
	refresh()
	assert.Equal(t, "instance/i-3", owner(), "one that still does")
}

// A decision asks who owns an address while points come in; -race tells.
func TestOwnersAreReadWhilePointsComeIn(t *testing.T) {
	table := NewTable(limits)
	address := lookup(t, table, with(func(id *Identity) { id.RemoteHost = "" })).Remote
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			id := reversed()
			id.LocalHost = fmt.Sprint("i-", i%3)
			table.Lookup(id)
			if i%10 == 0 {
				table.Sweep()
				table.Lookup(with(func(id *Identity) { id.RemoteHost = "" }))
			}
		}
	}()
	for {
		require.NotNil(t, address.Resolved())
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestBothDirectionsAreOneClass(t *testing.T) {
	table := NewTable(limits)
	there, back := lookup(t, table, identity()), lookup(t, table, reversed())
	assert.Same(t, there.Path.Class, back.Path.Class)
	assert.NotEqual(t, there.Path.Forward, back.Path.Forward)
	assert.False(t, there.Path.Class.Palindrome)

	// A pair of zones stands in another place on the way back.
	zones := lookup(t, table, with(func(id *Identity) { id.Path = []string{"subnet/a", "transit_gateway/t", "az_pair/1:2", "subnet/b"} }))
	home := reversed()
	home.Path = []string{"subnet/b", "transit_gateway/t", "az_pair/1:2", "subnet/a"}
	assert.Same(t, zones.Path.Class, lookup(t, table, home).Path.Class)

	within := lookup(t, table, with(func(id *Identity) {
		id.Path, id.RemoteVPC = []string{"eni/eni-1", "subnet/a", "eni/eni-2"}, id.LocalVPC
	}))
	assert.True(t, within.Path.Class.Palindrome)
}

func TestOnlyFlowsOfTheProvidersNetworkAreAttributable(t *testing.T) {
	table := NewTable(limits)
	for name, change := range map[string]func(*Identity){
		"the Internet":                  func(id *Identity) { id.Category = flowattr.CategoryInternet },
		"unclassified":                  func(id *Identity) { id.Category = flowattr.CategoryUnclassified },
		"beyond a transit gateway":      func(id *Identity) { id.Category = flowattr.CategoryTransitGateway },
		"a category nobody knows":       func(id *Identity) { id.Category = "X" },
		"an end that was not resolved":  func(id *Identity) { id.Unresolved = true },
		"a row of many flows":           func(id *Identity) { id.Aggregated = true },
		"no path":                       func(id *Identity) { id.Path = nil },
		"a path that stays on the host": func(id *Identity) { id.Path = []string{"eni/eni-1"} },
		"no remote host":                func(id *Identity) { id.RemoteHost, id.RemoteAddress = "", "" },
		"no local host":                 func(id *Identity) { id.LocalHost, id.LocalAddress = "", "" },
	} {
		k := lookup(t, table, with(change))
		assert.False(t, k.Attributable, name)
		assert.Equal(t, []string{"m"}, k.Monitors.Names, "%s: its counts belong to the monitor all the same", name)
	}
	s3 := lookup(t, table, with(func(id *Identity) {
		id.Category, id.Path, id.RemoteHost = flowattr.CategoryAmazonS3, []string{"eni/eni-1", "subnet/a", "service/S3"}, ""
	}))
	assert.True(t, s3.Attributable)
	assert.Equal(t, "S3", s3.Service, "a service in the path is one")
	assert.Equal(t, "address/10.1.0.1", s3.Remote.Name)
}

func TestAHostIsOneWhetherKnownByIDOrByAddress(t *testing.T) {
	table := NewTable(limits)
	byAddress := lookup(t, table, with(func(id *Identity) { id.RemoteHost = "" }))
	assert.Equal(t, "address/10.1.0.1", byAddress.Remote.Resolved().Name, "until its own collector is heard")
	own := lookup(t, table, reversed())
	assert.Same(t, own.Local, byAddress.Remote.Resolved())
	assert.Equal(t, "instance/i-2", byAddress.Remote.Resolved().Name)

	// The same address in another VPC is another host.
	other := lookup(t, table, with(func(id *Identity) { id.RemoteHost, id.RemoteVPC = "", "vpc-c" }))
	assert.Equal(t, "address/10.1.0.1", other.Remote.Resolved().Name)
}

func TestTheTableIsBounded(t *testing.T) {
	t.Run("flows", func(t *testing.T) {
		table := NewTable(Limits{Flows: 3, Components: 100, Monitors: 100})
		for i := range 3 {
			lookup(t, table, with(func(id *Identity) { id.LocalHost = fmt.Sprint("i-", i) }))
		}
		k, set, refusal := table.Lookup(with(func(id *Identity) { id.LocalHost = "i-9" }))
		assert.Equal(t, FlowLimit, refusal)
		assert.Nil(t, k)
		assert.Equal(t, []string{"m"}, set.Names, "its monitors are told")
		lookup(t, table, with(func(id *Identity) { id.LocalHost = "i-0" })) // known ones go on
	})
	t.Run("strings", func(t *testing.T) {
		table := NewTable(Limits{Flows: 10, Components: 100, Monitors: 100})
		lookup(t, table, with(func(id *Identity) { id.LocalHost = string(make([]byte, 1<<20)) }))
		_, set, refusal := table.Lookup(with(func(id *Identity) { id.LocalHost = "i-9" }))
		assert.Equal(t, FlowLimit, refusal)
		assert.Equal(t, []string{"m"}, set.Names)
		_, set, _ = table.Lookup(with(func(id *Identity) { id.LocalHost, id.Monitors = "i-9", []string{"m", "new"} }))
		assert.Equal(t, []string{"m"}, set.Names, "of a full table only known monitors are told")
		assert.True(t, set.Refused)
	})
	t.Run("components", func(t *testing.T) {
		table := NewTable(Limits{Flows: 100, Components: 4, Monitors: 100})
		lookup(t, table, identity())
		_, set, refusal := table.Lookup(with(func(id *Identity) { id.Path = []string{"subnet/c", "subnet/d"} }))
		assert.Equal(t, ComponentLimit, refusal)
		assert.Equal(t, []string{"m"}, set.Names)
		lookup(t, table, with(func(id *Identity) { id.Path = []string{"subnet/a", "subnet/b"} }))
		lookup(t, table, with(func(id *Identity) { id.Path = []string{"subnet/a", "subnet/c"} }))
	})
	t.Run("monitors", func(t *testing.T) {
		table := NewTable(Limits{Flows: 100, Components: 100, Monitors: 2})
		k := lookup(t, table, with(func(id *Identity) { id.Monitors = []string{"a", "b", "b", "c"} }))
		assert.Equal(t, []string{"a", "b"}, k.Monitors.Names)
		assert.True(t, k.Monitors.Refused)
	})
	t.Run("paths", func(t *testing.T) {
		table := NewTable(limits)
		_, set, refusal := table.Lookup(with(func(id *Identity) { id.Path = make([]string, 33) }))
		assert.Equal(t, PathLimit, refusal)
		assert.Equal(t, []string{"m"}, set.Names)
	})
	t.Run("ever new sets of monitors while full", func(t *testing.T) {
		table := NewTable(Limits{Flows: 2, Components: 100, Monitors: 5})
		for i := range 10_000 {
			table.Lookup(with(func(id *Identity) { id.LocalHost, id.Monitors = fmt.Sprint(i), []string{"m", fmt.Sprint(i)} }))
		}
		flows, components := table.Sizes()
		assert.Equal(t, 2, flows)
		assert.Equal(t, 3, components)
	})
}

// What is not seen is dropped, to the last byte and reference: else a table would fill up
// with what is gone.
func TestSweepDropsWhatIsNotSeen(t *testing.T) {
	table := NewTable(Limits{Flows: 100, Components: 100, Monitors: 40})
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 2000 {
		for range 5 {
			id := identity()
			id.LocalHost = fmt.Sprint("i-", round, "-", rng.IntN(4))
			id.LocalAddress = fmt.Sprint("10.0.", round%250, ".", rng.IntN(4))
			id.Path[1] = fmt.Sprint("subnet/", round, "-", rng.IntN(2))
			id.Monitors = []string{fmt.Sprint("m", round)}
			if rng.IntN(3) == 0 {
				id.RemoteHost = ""
			}
			if rng.IntN(4) == 0 {
				id.Category = flowattr.CategoryInternet
			}
			_, set, refusal := table.Lookup(id)
			require.Equal(t, Accepted, refusal, "round %d: the table still has room", round)
			require.False(t, set.Refused)
		}
		table.Sweep()
	}
	for range keepGenerations + 2 {
		table.Sweep()
	}
	flows, components := table.Sizes()
	assert.Zero(t, flows)
	assert.Zero(t, components)
	assert.True(t, table.Empty())
}

func TestWhatIsSeenStays(t *testing.T) {
	table := NewTable(limits)
	k := lookup(t, table, identity())
	for range 50 {
		table.Sweep()
		assert.Same(t, k, lookup(t, table, identity()))
	}
}

func TestTrials(t *testing.T) {
	for _, tt := range []struct {
		name           string
		counts         map[Field]uint64
		segments, lost uint64
	}{
		{"nothing", nil, 0, 0},
		{"segments and retransmissions", map[Field]uint64{Segments: 100, Retransmitted: 3, Opened: 2}, 100, 3},
		{"retransmissions of FIN are among the lost but not among the segments", map[Field]uint64{Segments: 1, Retransmitted: 3, Opened: 1}, 3, 3},
		{"SYNs do not count while connections open", map[Field]uint64{Segments: 100, Opened: 1, Attempted: 50, RetransmittedConnect: 49}, 100, 0},
		{"lost SYNs are no loss beside clean data of connections that were open before", map[Field]uint64{Segments: 5000, Retransmitted: 2, Attempted: 50, RetransmittedConnect: 300}, 5000, 2},
		{"SYNs count when all that is sent is sent again", map[Field]uint64{Segments: 20, Retransmitted: 20, Attempted: 5, RetransmittedConnect: 9}, 34, 29},
		{"SYNs count when no connection opens", map[Field]uint64{Attempted: 5, RetransmittedConnect: 9}, 14, 9},
		{"a refusal is an answer", map[Field]uint64{Attempted: 5, FailedRefused: 5}, 5, 0},
		{"spurious retransmissions are no loss", map[Field]uint64{Segments: 100, RetransmittedSpurious: 7, Opened: 1}, 100, 0},
		{"counts stay at their maximum", map[Field]uint64{Attempted: math.MaxUint64, RetransmittedConnect: 2}, math.MaxUint64, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Counts
			for f, n := range tt.counts {
				c.Add(f, n)
			}
			segments, lost := c.Trials()
			assert.Equal(t, tt.segments, segments)
			assert.Equal(t, tt.lost, lost)
		})
	}
}

// Evidence of any split of the points, merged in any order, is the evidence of all.
func TestMergeIsAssociativeAndCommutative(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	table := NewTable(limits)
	parts, whole := []*Window{NewWindow(), NewWindow(), NewWindow()}, NewWindow()
	for range 3000 {
		id := with(func(id *Identity) {
			id.LocalHost = fmt.Sprint("i-", rng.IntN(10))
			id.Monitors = [][]string{nil, {"m"}, {"m", "n"}}[rng.IntN(3)]
		})
		k := lookup(t, table, id)
		f, n := Field(rng.IntN(int(NumFields))), rng.Uint64N(1000)
		part := parts[rng.IntN(3)]
		for _, w := range []*Window{part, whole} {
			w.Row(k, 1000).Add(f, n)
			w.Row(k, 1000).AddRTT(RTT{Count: n, Sum: float64(n) / 4, Min: float64(1 + n%7)})
			w.ExtraOf("late").Add(f, n)
			w.AddRTT("m", histogram(n))
		}
	}
	got := NewWindow()
	for _, i := range []int{2, 0, 1} {
		got.Merge(parts[i])
	}
	require.Len(t, got.Rows, len(whole.Rows))
	for _, r := range whole.Rows {
		assert.Equal(t, r.Counts, got.Row(r.Key, 0))
	}
	assert.Equal(t, whole.Extra, got.Extra)
	assert.Equal(t, whole.RTT["m"].Count(), got.RTT["m"].Count())
	assert.Equal(t, whole.RTT["m"].Positive().BucketCounts().AsRaw(), got.RTT["m"].Positive().BucketCounts().AsRaw())
	assert.Equal(t, whole.Totals(), got.Totals())
}

func histogram(n uint64) pmetric.ExponentialHistogramDataPoint {
	h := pmetric.NewExponentialHistogramDataPoint()
	h.SetScale(2)
	h.SetCount(n)
	h.SetSum(float64(n) / 4)
	h.Positive().SetOffset(int32(n%5) - 40)
	h.Positive().BucketCounts().FromRaw([]uint64{n})
	return h
}

func TestTotalsAreEachMonitorsOwn(t *testing.T) {
	table := NewTable(limits)
	w := NewWindow()
	w.Row(lookup(t, table, identity()), 10).Add(Sent, 5)
	w.Row(lookup(t, table, with(func(id *Identity) { id.Monitors = []string{"m", "n"} })), 10).Add(Received, 7)
	w.Row(lookup(t, table, with(func(id *Identity) { id.Monitors = nil })), 10).Add(Sent, 100)
	w.ExtraOf("n").Add(Sent, 11)
	totals := w.Totals()
	require.Len(t, totals, 2)
	assert.Equal(t, uint64(12), totals["m"].DataTransferred())
	assert.Equal(t, uint64(18), totals["n"].DataTransferred())
}

func TestAWindowHoldsNoMoreRowsThanItsLimit(t *testing.T) {
	table := NewTable(limits)
	w := NewWindow()
	a, b := lookup(t, table, identity()), lookup(t, table, reversed())
	require.NotNil(t, w.Row(a, 1))
	assert.Nil(t, w.Row(b, 1))
	assert.NotNil(t, w.Row(a, 1), "rows that it has go on")
	assert.NotNil(t, NewWindow().Row(b, 1))
}

func TestCountsSumUpEveryPhase(t *testing.T) {
	var c Counts
	for i, f := range []Field{Retransmitted, RetransmittedConnect, RetransmittedSpurious, Timeouts, TimeoutsConnect} {
		c.Add(f, 1<<i)
	}
	assert.Equal(t, uint64(1+2+4), c.AllRetransmissions())
	assert.Equal(t, uint64(8+16), c.AllTimeouts())
}
