// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"

type loss struct{ segments, lost float64 }

// view is one way to look at a window: what is lost or slow in it, and what explains that.
type view struct {
	problem *inference.Problem
	e       *inference.Explanation
	byClass [][]int32 // rows
	origins []int32   // rows of the assembly that the rows stand for; nil: the same
	windows int       // that delays are of together
	blamed  [][]loss  // of each class that was asked for, what each suspect has there
}

func (v *view) origin(row int32) int32 {
	if v.origins == nil {
		return row
	}
	return v.origins[row]
}

// index lists the rows of each class.
func (v *view) index() {
	v.byClass = make([][]int32, len(v.problem.Classes))
	for i := range v.problem.Rows {
		c := v.problem.Rows[i].Class
		v.byClass[c] = append(v.byClass[c], int32(i))
	}
}

// blame sums up what each suspect has in a class of paths. Many monitors ask for the same.
func (v *view) blame(class int32) []loss {
	if v.blamed == nil {
		v.blamed = make([][]loss, len(v.problem.Classes))
	}
	if v.blamed[class] == nil {
		sums := make([]loss, len(v.e.Suspects))
		for _, i := range v.byClass[class] {
			if b := v.e.Blame[i]; b >= 0 {
				sums[b].segments += v.problem.Rows[i].Segments
				sums[b].lost += v.problem.Rows[i].Lost
			}
		}
		v.blamed[class] = sums
	}
	return v.blamed[class]
}
