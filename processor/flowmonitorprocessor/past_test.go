// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadatatest"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// holders is a VPC in which interfaces have the addresses given.
func holders(of map[string]string) *topology.Topology {
	net := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	t := &topology.Topology{
		VPCs:    []topology.VPC{{VPCID: "vpc-1", Region: "eu-west-1", OwnerID: "1", CIDRBlocks: net}},
		Subnets: []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-1", CIDRBlocks: net, AvailabilityZoneID: "euw1-az1"}},
		NetworkInterfaces: []topology.NetworkInterface{{NetworkInterfaceID: "eni-local", SubnetID: "subnet-1", InstanceID: "i-local",
			PrivateIPAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}},
	}
	for a, eni := range of {
		t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{NetworkInterfaceID: eni, SubnetID: "subnet-1",
			InstanceID: "i-" + eni, PrivateIPAddresses: []netip.Addr{netip.MustParseAddr(a)}})
	}
	return t
}

// timed is a processor whose topologies are stored by hand, at times of its own.
type timed struct {
	*flowMonitor
	now       time.Time
	telemetry *componenttest.Telemetry
}

func newTimed(t testing.TB) *timed {
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) })
	p, err := newFlowMonitor(createDefaultConfig().(*Config), tel.NewTelemetrySettings())
	require.NoError(t, err)
	x := &timed{flowMonitor: p, telemetry: tel, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	p.engine.now = func() time.Time { return x.now }
	return x
}

func engineOf(m *topology.Topology, definitions ...monitors.Definition) *engine {
	return newEngine(topology.Build(m, nil), ipranges.Shipped(), monitors.New(definitions), AttributesConfig{Path: true, Monitors: true}, minMaxCachedFlows)
}

// becomes stores a topology some time after the last one.
func (x *timed) becomes(after time.Duration, of map[string]string) time.Time {
	x.now = x.now.Add(after)
	x.engine.Store(engineOf(holders(of)))
	return x.now
}

// says gives an attribute of a flow from the local interface, seen until a time.
func (x *timed) says(t testing.TB, peer string, end time.Time, key string) string {
	md := oneFlow(flowattr.Flow{Local: netip.MustParseAddr("10.0.0.1"), Peer: netip.MustParseAddr(peer), PeerPort: 443, Role: flowattr.RoleClient})
	if !end.IsZero() {
		md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).SetTimestamp(pcommon.NewTimestampFromTime(end))
	}
	md, err := x.process(context.Background(), md)
	require.NoError(t, err)
	v, ok := firstPoint(md).Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

func TestAnAddressResolvesByWhenTheFlowWasSeen(t *testing.T) {
	x := newTimed(t)
	begin := x.becomes(0, map[string]string{"10.0.0.2": "eni-first", "10.0.0.3": "eni-stays"})
	moved := x.becomes(5*time.Minute, map[string]string{"10.0.0.2": "eni-second", "10.0.0.3": "eni-stays"})
	freed := x.becomes(5*time.Minute, map[string]string{"10.0.0.3": "eni-stays"})
	again := x.becomes(2*time.Minute, map[string]string{"10.0.0.2": "eni-first", "10.0.0.3": "eni-stays"})
	for _, tt := range []struct {
		name string
		end  time.Time
		want string
	}{
		{"before anything was known: by the oldest that is remembered", begin.Add(-time.Hour), "eni-first"},
		{"while the first had it", begin.Add(time.Minute), "eni-first"},
		{"a nanosecond before it moved", moved.Add(-1), "eni-first"},
		{"when it moved", moved, "eni-second"},
		{"while the second had it", freed.Add(-1), "eni-second"},
		{"while nobody had it", freed.Add(time.Minute), ""},
		{"when the first got it back", again, "eni-first"},
		{"later than now: a clock that is ahead", again.Add(time.Hour), "eni-first"},
		{"without a time", time.Time{}, "eni-first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // and out of the cache
				assert.Equal(t, tt.want, x.says(t, "10.0.0.2", tt.end, remoteENI))
				assert.Equal(t, "eni-stays", x.says(t, "10.0.0.3", tt.end, remoteENI))
			}
			wantUnresolved := "" // the subnet is known all the time
			assert.Equal(t, wantUnresolved, x.says(t, "10.0.0.2", tt.end, flowattr.Unresolved))
		})
	}
	// Of the nine times six are before the present version, with five questions each.
	metadatatest.AssertEqualProcessorFlowmonitorPointsLate(t, x.telemetry, []metricdata.DataPoint[int64]{{Value: 6 * 5}}, metricdatatest.IgnoreTimestamp())
}

func TestWhatWasNotDescribedThenIsToldByTheTopologyOfNow(t *testing.T) {
	x := newTimed(t)
	x.engine.Store(engineOf(&topology.Topology{})) // the sources have not answered yet
	loaded := x.becomes(time.Minute, map[string]string{"10.0.0.2": "eni-2"})
	assert.Equal(t, "eni-2", x.says(t, "10.0.0.2", loaded.Add(-time.Second), remoteENI), "nobody knew, which is not that nobody had it")
	assert.Equal(t, "eni-local", x.says(t, "10.0.0.2", loaded.Add(-time.Second), flowattr.LocalPrefix+flowattr.AWSENIID))

	// Of an address outside the VPC's subnets the old topology says that nobody has it.
	other := holders(nil)
	other.Subnets[0].CIDRBlocks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	x.now = x.now.Add(time.Minute)
	x.engine.Store(engineOf(other))
	grown := x.becomes(time.Minute, map[string]string{"10.0.1.2": "eni-new"})
	assert.Equal(t, "eni-new", x.says(t, "10.0.1.2", grown, remoteENI))
	assert.Equal(t, "", x.says(t, "10.0.1.2", grown.Add(-time.Second), remoteENI))
	assert.Equal(t, "unknown", x.says(t, "10.0.1.2", grown.Add(-time.Second), flowattr.Unresolved))
}

func TestTheHostOfALateStreamIsTheOneThatHadTheAddress(t *testing.T) {
	x := newTimed(t)
	begin := x.becomes(0, map[string]string{"10.0.0.2": "eni-2"})
	x.becomes(time.Minute, map[string]string{"10.0.0.2": "eni-3"}) // i-eni-2 is gone, and its address with i-eni-3
	send := func(host string, end time.Time) pcommon.Map {
		md := oneFlow(flowattr.Flow{Local: netip.MustParseAddr("10.0.0.2"), Peer: netip.MustParseAddr("10.0.0.1"), LocalPort: 443, Role: flowattr.RoleServer})
		md.ResourceMetrics().At(0).Resource().Attributes().PutStr(flowattr.HostID, host)
		md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).SetTimestamp(pcommon.NewTimestampFromTime(end))
		md, err := x.process(t.Context(), md)
		require.NoError(t, err)
		return firstPoint(md)
	}
	local, _ := send("i-eni-2", begin).Get(flowattr.LocalPrefix + flowattr.AWSENIID)
	assert.Equal(t, "eni-2", local.Str())
	gone := send("i-eni-2", x.now)
	why, _ := gone.Get(flowattr.Unresolved)
	assert.Equal(t, "unknown", why.Str(), "now the address is another host's")
	_, has := gone.Get(flowattr.LocalPrefix + flowattr.AWSENIID)
	assert.False(t, has)
	local, _ = send("i-eni-3", x.now).Get(flowattr.LocalPrefix + flowattr.AWSENIID)
	assert.Equal(t, "eni-3", local.Str())
}

func TestThePastIsBounded(t *testing.T) {
	t.Run("by its age", func(t *testing.T) {
		x := newTimed(t)
		begin := x.becomes(0, map[string]string{"10.0.0.2": "eni-1"})
		moved := x.becomes(time.Hour, map[string]string{"10.0.0.2": "eni-2"})
		x.becomes(pastLimits.age-1, map[string]string{"10.0.0.2": "eni-3"})
		assert.Equal(t, "eni-1", x.says(t, "10.0.0.2", begin, remoteENI), "kept since it was replaced, not since it began")
		x.becomes(2, map[string]string{"10.0.0.2": "eni-4"})
		require.Len(t, x.engine.Load().past, 2)
		assert.Equal(t, "eni-2", x.says(t, "10.0.0.2", begin, remoteENI))
		assert.Equal(t, "eni-2", x.says(t, "10.0.0.2", moved, remoteENI))
	})
	t.Run("by the number of versions, of which the short-lived go first", func(t *testing.T) {
		x := newTimed(t)
		begin := x.becomes(0, map[string]string{"10.0.0.2": "eni-0"})
		for i := 1; i <= 30; i++ {
			x.becomes(time.Second, map[string]string{"10.0.0.2": fmt.Sprint("eni-", i)})
		}
		last := x.becomes(time.Minute, map[string]string{"10.0.0.2": "eni-31"})
		past := x.engine.Load().past
		require.Len(t, past, pastLimits.versions)
		assert.Equal(t, last.UnixNano(), past[0].until)
		for i, p := range past[1:] {
			assert.Equal(t, past[i].from, p.until, "without a gap")
			assert.Less(t, p.from, p.until)
		}
		assert.Zero(t, past[len(past)-1].from)
		assert.Equal(t, "eni-30", x.says(t, "10.0.0.2", last.Add(-time.Second), remoteENI))
		assert.NotEmpty(t, x.says(t, "10.0.0.2", begin, remoteENI))
	})
	t.Run("by the addresses that it holds", func(t *testing.T) {
		big := &engine{index: topology.Build(fleet{vpcs: 2}.topology(), nil), from: 1, pool: newPool(1)}
		now := time.Unix(10, 0)
		for n, want := range map[int]int{100: 1, 1999: 1, 2000: 2, 3000: 3} {
			l := limits{age: time.Hour, versions: 8, addresses: n}
			var list []*past
			for range 3 {
				now = now.Add(time.Second)
				list = l.remember(&engine{index: big.index, from: now.UnixNano() - 1, past: list, pool: big.pool}, nil, false, now)
			}
			assert.Len(t, list, want, "each has a thousand; one is kept always")
		}
	})
	t.Run("by what changes: new monitors are no new topology", func(t *testing.T) {
		x := newTimed(t)
		x.becomes(0, map[string]string{"10.0.0.2": "eni-1"})
		moved := x.becomes(time.Minute, map[string]string{"10.0.0.2": "eni-2"})
		old := x.engine.Load()
		x.now = x.now.Add(time.Minute)
		set := monitors.New([]monitors.Definition{{Name: "m", Local: []monitors.Resource{{Type: "vpc", ID: "vpc-1"}}}})
		x.engine.Store(newEngine(old.index, old.ranges, set, AttributesConfig{Path: true, Monitors: true}, minMaxCachedFlows))
		require.Len(t, x.engine.Load().past, 1)
		assert.Equal(t, "eni-1", x.says(t, "10.0.0.2", moved.Add(-1), remoteENI))
		assert.Equal(t, `["m"]`, x.says(t, "10.0.0.2", moved.Add(-1), flowattr.Monitors), "monitors are what the user wants now")
		assert.Equal(t, "eni-2", x.says(t, "10.0.0.2", moved, remoteENI))
	})
}

func TestAnswersAreKnownWhenATopologyComesIntoUse(t *testing.T) {
	x := newTimed(t)
	x.becomes(0, map[string]string{"10.0.0.2": "eni-2", "10.0.0.3": "eni-3"})
	for _, peer := range []string{"10.0.0.2", "10.0.0.3"} {
		x.says(t, peer, x.now, flowattr.Category)
	}
	before := x.engine.Load()
	x.becomes(time.Minute, map[string]string{"10.0.0.2": "eni-moved", "10.0.0.3": "eni-3"})
	after := x.engine.Load()
	require.Equal(t, before.cache.entries.Load(), after.cache.entries.Load())
	held := func(e *engine) map[flowKey]*enrichment {
		list := e.cache.all()
		require.Len(t, list, 1)
		m := map[flowKey]*enrichment{}
		for _, a := range list[0].answers {
			m[a.flowKey] = a.enrichment
		}
		return m
	}
	was, is := held(before), held(after)
	require.Len(t, is, 2)
	for k, e := range is {
		if k.peer.String() == "10.0.0.3" {
			assert.Same(t, was[k], e, "what is as before is not in memory twice")
			continue
		}
		v, _ := e.remote.Attributes().AsRaw()[remoteENI].(string)
		assert.Equal(t, "eni-moved", v)
	}
}

// Batches run while addresses move from interface to interface, and some points are late:
// each has the holder of its own time.
func TestMovesInTheMiddleOfTheStreamMislabelNothing(t *testing.T) {
	x := newTimed(t)
	clock := sync.RWMutex{}
	x.engine.now = func() time.Time {
		clock.RLock()
		defer clock.RUnlock()
		return x.now
	}
	const moves = 6 // all of them are remembered
	holder := func(i int) map[string]string { return map[string]string{"10.0.0.2": fmt.Sprint("eni-", i)} }
	var since [moves + 1]time.Time
	var known sync.RWMutex
	latest := 0
	var batches atomic.Int64
	some := func() { // batches between two moves
		for until := batches.Load() + 20; batches.Load() < until && !t.Failed(); {
			runtime.Gosched()
		}
	}
	since[0] = x.becomes(0, holder(0))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for ctx.Err() == nil {
				known.RLock()
				last := latest
				known.RUnlock()
				i := r.IntN(last + 1)
				got := x.says(t, "10.0.0.2", since[i].Add(time.Duration(r.Int64N(int64(time.Minute)))), remoteENI)
				batches.Add(1)
				if want := fmt.Sprint("eni-", i); got != want {
					t.Errorf("%s instead of %s", got, want)
					return
				}
			}
		})
	}
	for i := 1; i <= moves; i++ {
		some()
		clock.Lock()
		x.now = x.now.Add(time.Minute)
		now := x.now
		clock.Unlock()
		x.engine.Store(engineOf(holders(holder(i))))
		since[i] = now
		known.Lock()
		latest = i
		known.Unlock()
	}
	some()
	stop()
	wg.Wait()
	assert.Len(t, x.engine.Load().past, moves)
}
