// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestASettingOnTheEdgeOfItsGridIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name        string
		grid        grid
		best        float64
		explanation string // of the error, none when it is right
	}{
		{"inside", grid{name: "ratio", values: []float64{1, 2, 3}}, 2, ""},
		{"the least of what was tried", grid{name: "ratio", values: []float64{1, 2, 3}}, 1, "tune ratio: the best value 1 is on the edge of what was tried (1 to 3)"},
		{"the most of what was tried", grid{name: "ratio", values: []float64{1, 2, 3}}, 3, "the best value 3 is on the edge"},
		{"the setting's own bound below", grid{name: "ratio", values: []float64{0, 2, 3}, lowestIsBound: true}, 0, ""},
		{"the setting's own bound above", grid{name: "ratio", values: []float64{0, 0.5, 1}, highIsBound: true}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.grid.inside(tt.best); tt.explanation == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.explanation)
			}
		})
	}
}

func TestGridsAreSortedAndEndAtTheBoundsThatTheyClaim(t *testing.T) {
	for _, g := range []grid{shares, voteRatios, thresholds} {
		assert.True(t, slices.IsSorted(g.values), g.name)
		assert.True(t, !g.lowestIsBound || g.values[0] == 0, g.name)
		assert.True(t, !g.highIsBound || g.values[len(g.values)-1] == 1, g.name)
	}
}
