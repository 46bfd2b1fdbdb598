// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"math"
	"math/rand/v2"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Noise is the background that healthy networks have: losses of a two-state chain (Gilbert
// 1960, Elliott 1963), which come in bursts of geometric length.
type Noise struct {
	Rate  float64
	Burst float64 // mean length, at least 1
	// Pairs is the standard deviation of the logarithm of each flow's own rate, whose mean is Rate: of
	// nine flows in ten, the worst loses e^(3.3 Pairs) times as much as the best.
	Pairs float64
	// Categories is how many times less is lost within a zone, where it is more than one; between
	// zones it is the root of that.
	Categories float64
}

// of gives the flow's own rate.
func (n Noise) of(f *Flow, rng *rand.Rand) float64 {
	rate := n.Rate
	if n.Pairs > 0 {
		rate *= math.Exp(n.Pairs*rng.NormFloat64() - n.Pairs*n.Pairs/2)
	}
	if n.Categories > 1 {
		switch f.Category {
		case flowattr.CategoryIntraAZ:
			rate /= n.Categories
		case flowattr.CategoryInterAZ:
			rate /= math.Sqrt(n.Categories)
		}
	}
	return rate
}

// buckets are those of the receiver's histograms: scale 2, from 2⁻¹⁶ s.
const (
	bucketOffset = -64
	bucketCount  = 88
)

// Observed is what one end of a flow saw in one window.
type Observed struct {
	Flow                     *Flow
	AtClient                 bool
	Segments, Lost, Timeouts int
	Attempted, Refused       int
	Opened, Orderly, Resets  int
	Active, Retransmitting   int
	RTT                      [bucketCount]uint32
	RTTCount                 uint64
	RTTSum, RTTMin, RTTMax   float64
	Busy, ReceiverLimited    float64 // s
}

// Local is the end that observed.
func (o *Observed) Local() *Host {
	if o.AtClient {
		return o.Flow.Client
	}
	return o.Flow.Server
}

// Remote is the other end.
func (o *Observed) Remote() *Host {
	if o.AtClient {
		return o.Flow.Server
	}
	return o.Flow.Client
}

// traffic plays windows of one fleet.
type traffic struct {
	fleet  *Fleet
	noise  Noise
	rng    *rand.Rand
	out    []Observed
	active []bool
	rates  map[*Flow]float64 // of the noise, where flows differ
}

func newTraffic(f *Fleet, n Noise, seed uint64) *traffic {
	t := &traffic{fleet: f, noise: n, rng: rand.New(rand.NewPCG(seed, 0x74726166666963)), active: make([]bool, len(f.Hosts))}
	if n.Pairs > 0 || n.Categories > 1 {
		rng := rand.New(rand.NewPCG(seed, 0x6e6f697365))
		t.rates = make(map[*Flow]float64, len(f.Flows))
		for _, flow := range f.Flows {
			t.rates[flow] = n.of(flow, rng)
		}
	}
	return t
}

// day is the length of the diurnal wave in windows. Load swings by half.
const day = 240

// window plays one window while the given faults hold. The slice is reused by the next call.
func (t *traffic) window(index int, faults []*Fault) []Observed {
	t.out = t.out[:0]
	for i, h := range t.fleet.Hosts {
		t.active[i] = t.rng.Float64() < h.Activity
	}
	wave := 1 + 0.5*math.Sin(2*math.Pi*float64(index)/day)
	is := func(h *Host) bool { return h.index < 0 || t.active[h.index] }
	for _, flow := range t.fleet.Flows {
		if !is(flow.Client) || !is(flow.Server) {
			continue
		}
		// A flow's own load is never the same twice.
		load := wave * math.Exp(0.3*t.rng.NormFloat64())
		for _, f := range faults {
			load *= f.loadOf(flow)
		}
		t.observe(flow, true, load, faults)
		if flow.Server.Service == "" {
			t.observe(flow, false, load, faults)
		}
	}
	return t.out
}

func (t *traffic) observe(flow *Flow, atClient bool, load float64, faults []*Fault) {
	mean := flow.Up
	if !atClient {
		mean = flow.Down
	}
	n := t.poisson(mean * load)
	t.out = append(t.out, Observed{Flow: flow, AtClient: atClient})
	o := &t.out[len(t.out)-1]
	o.Segments = n
	o.Active = min(flow.Conns, n)
	var hit uint64
	all := ^uint64(0) >> (64 - uint(flow.Conns))
	lose := func(share, rate, burst float64, conns uint64) {
		if rate <= 0 || conns == 0 {
			return
		}
		for range t.poisson(float64(n) * share * rate / burst) {
			o.Lost++
			for t.rng.Float64() >= 1/burst {
				o.Lost++
			}
			// The burst hits one connection.
			for {
				if c := uint64(1) << t.rng.IntN(flow.Conns); c&conns != 0 {
					hit |= c
					break
				}
			}
		}
	}
	noise := t.noise.Rate
	if t.rates != nil {
		noise = t.rates[flow]
	}
	lose(1, noise, t.noise.Burst, all)
	rtt, resets, slow := flow.RTT, 0.0, false
	for _, f := range faults {
		share, conns := f.shareOf(flow, atClient)
		if share <= 0 {
			continue
		}
		lose(share, f.Loss, f.Burst, conns&all)
		if f.DelayShare > 0 {
			rtt += max(flow.RTT*f.DelayShare, f.DelayLeast)
		}
		resets = max(resets, f.Resets)
		slow = slow || f.SlowReader
	}
	o.Lost = min(o.Lost, n)
	o.Timeouts = o.Lost / 8
	for ; hit != 0; hit &= hit - 1 {
		o.Retransmitting++
	}
	o.Retransmitting = min(o.Retransmitting, o.Active, o.Lost)
	opened := t.poisson(float64(flow.Conns) / 10)
	for range opened {
		if resets > 0 && t.rng.Float64() < resets {
			o.Resets++
		} else {
			o.Orderly++
		}
	}
	o.Opened = opened
	if atClient {
		o.Attempted = opened
	}
	o.Busy = min(60, float64(n)*0.01)
	if slow {
		o.ReceiverLimited = 0.8 * o.Busy
	}
	t.roundTrips(o, n, rtt)
}

// samplesDrawn bounds how many samples of a round-trip time are drawn; more only weigh more.
const samplesDrawn = 64

// roundTrips draws the samples: log-normal around the pair's own time, which itself wobbles
// from window to window, with some that a delayed acknowledgement made long (RFC 1122: at
// most 0.5 s; Linux: 40 ms).
func (t *traffic) roundTrips(o *Observed, n int, rtt float64) {
	if n == 0 {
		return
	}
	samples := max(1, n/2)
	draws := min(samples, samplesDrawn)
	center := math.Log2(rtt) + 0.04*t.rng.NormFloat64()
	late := 0.03 * t.rng.Float64()
	lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
	weight := uint32(samples / draws)
	for i := range draws {
		w := weight
		if i == 0 {
			w += uint32(samples % draws)
		}
		x := center + 0.25*t.rng.NormFloat64()
		if t.rng.Float64() < late {
			x = math.Log2(0.04) + 0.05*t.rng.NormFloat64()
		}
		b := min(max(int(math.Floor(4*x))-bucketOffset, 0), bucketCount-1)
		o.RTT[b] += w
		lo, hi = min(lo, x), max(hi, x)
		sum += float64(w) * math.Exp2(x)
	}
	o.RTTCount, o.RTTSum, o.RTTMin, o.RTTMax = uint64(samples), sum, math.Exp2(lo), math.Exp2(hi)
}

func (t *traffic) poisson(mean float64) int {
	if mean <= 0 {
		return 0
	}
	if mean > 50 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*t.rng.NormFloat64())))
	}
	n, p := 0, t.rng.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= t.rng.Float64()
	}
	return n
}
