// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

func TestNoRowIsMoreThanItsShareOfAWindow(t *testing.T) {
	rows := func(n int, others float64, heavy ...float64) []inference.Row {
		var out []inference.Row
		for range n {
			out = append(out, inference.Row{Segments: others, Lost: others / 1000})
		}
		for _, h := range heavy {
			out = append(out, inference.Row{Segments: h, Lost: h / 100})
		}
		return out
	}
	for name, tt := range map[string]struct {
		rows  []inference.Row
		share float64
	}{
		"one heavy row":                {rows(99, 1000, 1e6), 0.05},
		"one absurd row":               {rows(99, 1000, 1<<50), 0.05},
		"fifteen heavy rows":           {rows(200, 1000, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6), 0.05},
		"of few rows twice their part": {rows(9, 1000, 1e6), 0.2},
		"of two rows one may be all":   {rows(1, 1000, 1e6), 1},
		"even rows":                    {rows(100, 1000), 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			p := &inference.Problem{Rows: tt.rows}
			got := inference.Limited(p)
			sum, most := 0.0, 0.0
			for i := range got.Rows {
				sum += got.Rows[i].Segments
				most = max(most, got.Rows[i].Segments)
				assert.InEpsilon(t, tt.rows[i].Lost/tt.rows[i].Segments, got.Rows[i].Lost/got.Rows[i].Segments, 1e-9, "a row keeps its rate")
			}
			assert.LessOrEqual(t, most, 1.06*tt.share*sum)
			if tt.share < 1 && most > 1000 {
				assert.Greater(t, most, 0.9*tt.share*sum, "and has no less than that")
			}
			assert.Equal(t, 1000.0, got.Rows[0].Segments, "the others keep theirs")
		})
	}
	assert.Empty(t, inference.Limited(&inference.Problem{}).Rows)
}

// window is two VPCs whose gateway loses at a rate, with what is known of the classes.
func window(f *fleet.Fleet, rate float64, known map[int]*inference.Usual) *inference.Problem {
	f.Background = fleet.Loss{Rate: 1e-5, Burst: 1}
	f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: rate, Burst: 1})}
	p := fleet.Problem(f.Window())
	for c := range p.Classes {
		if known[c] == nil {
			known[c] = &inference.Usual{}
		}
		p.Classes[c].Usual = known[c]
	}
	return p
}

func TestWhatAClassAlwaysLostIsUsual(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 5, 20)
	known := map[int]*inference.Usual{}
	var b inference.Baseline
	for range 30 {
		e := inference.Explain(window(f, 8e-4, known), rate, &b)
		require.Empty(t, e.Suspects, "the gateway has lost eighty times as much as the others from the start")
	}
	e := inference.Explain(window(f, 4e-3, known), rate, &b)
	assert.Equal(t, []string{"network transit_gateway/tgw-1"}, suspects(e), "five times the usual is a fault")
}

func TestWhatIsBlamedBecomesUsualSlowlyAndNeverMoreThanHealthy(t *testing.T) {
	for name, tt := range map[string]struct {
		rate         float64
		blamed, free int // at least so long, and at most
	}{
		"0.08 % is the path's own after half a day": {8e-4, 300, 1200},
		"1 % is a fault for good":                   {1e-2, 2000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, _ := fleet.TwoVPCs(1, 4, 10)
			known := map[int]*inference.Usual{}
			var b inference.Baseline
			for range 20 {
				require.Empty(t, inference.Explain(window(f, 1e-4, known), rate, &b).Suspects)
			}
			lasted := 0
			for i := range 2000 {
				if len(inference.Explain(window(f, tt.rate, known), rate, &b).Suspects) > 0 {
					lasted = i + 1
				}
			}
			assert.GreaterOrEqual(t, lasted, tt.blamed)
			if tt.free > 0 {
				assert.LessOrEqual(t, lasted, tt.free)
			}
		})
	}
}

// One pair that loses all of what it sends says nothing of the others.
func TestThePairThatLosesMostIsNotTheBackground(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 5, 20)
	f.Background = fleet.Loss{Rate: 2e-4, Burst: 1}
	p := fleet.Problem(f.Window())
	p.Rows[0].Lost = p.Rows[0].Segments
	var b inference.Baseline
	e := inference.Explain(p, rate, &b)
	assert.Less(t, e.Background, 5e-4)
	for _, s := range e.Suspects {
		assert.NotEqual(t, inference.Network, s.Kind)
	}
}
