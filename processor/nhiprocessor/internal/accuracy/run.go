// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"runtime"
	"sync"
)

// Maker makes one method anew, for one run.
type Maker func() Method

// Run plays a cell for some seeds and scores each method. Seeds are spread over the CPUs; the
// scores do not depend on how. watch, if there is one, is told of every window of the first method.
func Run(c Cell, plan Plan, first, seeds int, makers []Maker, watch func(seed uint64, monitor string, t *Truth, a Answer)) []*Score {
	out := make([]*Score, len(makers))
	for i := range out {
		out[i] = NewScore()
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				scores := runOne(c, plan, seed, makers, func(monitor string, t *Truth, a Answer) {
					if watch != nil {
						mu.Lock()
						defer mu.Unlock()
						watch(seed, monitor, t, a)
					}
				})
				mu.Lock()
				for i := range out {
					out[i].add(scores[i])
				}
				mu.Unlock()
			}
		})
	}
	for i := range seeds {
		next <- uint64(first + i)
	}
	close(next)
	wg.Wait()
	return out
}

func runOne(c Cell, plan Plan, seed uint64, makers []Maker, watch func(string, *Truth, Answer)) []*Score {
	scores := make([]*Score, len(makers))
	methods := make([]Method, len(makers))
	latencies := make([]map[string]*latency, len(makers))
	for i := range makers {
		scores[i], methods[i], latencies[i] = NewScore(), makers[i](), map[string]*latency{}
	}
	play(c, plan, seed, methods, func(monitor string, t *Truth, answers []Answer) {
		for i, a := range answers {
			scores[i].Count(t, a)
			l := latencies[i][monitor]
			if l == nil {
				l = &latency{}
				latencies[i][monitor] = l
			}
			l.follow(scores[i], t, a)
		}
		watch(monitor, t, answers[0])
	})
	return scores
}

func (s *Score) add(o *Score) {
	s.Recall.Add(o.Recall)
	s.Insufficient.Add(o.Insufficient)
	s.Component.Add(o.Component)
	s.Set += o.Set
	s.Below.Add(o.Below)
	s.Clean.Add(o.Clean)
	s.Judged.Add(o.Judged)
	for _, m := range []struct{ to, from map[Kind]*Share }{{s.Other, o.Other}, {s.Cause, o.Cause}, {s.Named, o.Named}, {s.Network, o.Network}} {
		for k, v := range m.from {
			of(m.to, k).Add(*v)
		}
	}
	for i := range s.Detected {
		s.Detected[i] += o.Detected[i]
		s.Cleared[i] += o.Cleared[i]
	}
}
