// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"strings"
	"sync"

	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// pool keeps one copy of what many answers have in common: an end, a component of a path,
// the monitors. Thousands of flows end at one host. It outlives versions of the topology, so
// that an answer that a new version leaves as it is can be seen to be the same; and it
// holds no text of a topology, which would keep all of that in memory. Safe for concurrent use.
type pool struct {
	max int

	mu            sync.Mutex
	local, remote map[path.End]*prepared.Set
	texts         map[string]prepared.Text
	lists         map[string]prepared.List // by the names, each with a zero byte behind it
	held          int
	scratch       []prepared.Text
	key           []byte
}

// newPool makes a pool for so many flows. What it cannot hold is forgotten at once, all
// of it: then the same thing is in memory twice for a while.
func newPool(flows int) *pool {
	p := &pool{max: flows}
	p.forget()
	return p
}

func (p *pool) forget() {
	p.local, p.remote = map[path.End]*prepared.Set{}, map[path.End]*prepared.Set{}
	p.texts, p.lists, p.held = map[string]prepared.Text{}, map[string]prepared.List{}, 0
}

// bound makes room. What follows is to be called with the lock.
func (p *pool) bound() {
	if p.held >= p.max {
		p.forget()
	}
}

// end gives the attributes of an end.
func (p *pool) end(end *path.End, local bool) *prepared.Set {
	ends := p.remote
	if local {
		ends = p.local
	}
	if s := ends[*end]; s != nil {
		return s
	}
	p.held++
	copied := own(*end)
	s := p.attributesOf(&copied, local)
	ends[copied] = s
	return s
}

// text gives a text that is kept once.
func (p *pool) text(s string) prepared.Text {
	t, ok := p.texts[s]
	if !ok {
		p.held++
		s = strings.Clone(s)
		t = prepared.NewText(s)
		p.texts[s] = t
	}
	return t
}

// path gives a list of components, which few flows have in common.
func (p *pool) path(components []string) prepared.List {
	p.scratch = p.scratch[:0]
	for _, c := range components {
		p.scratch = append(p.scratch, p.text(c))
	}
	return prepared.NewList(p.scratch)
}

// names gives a list that is kept once.
func (p *pool) names(names []string) prepared.List {
	p.key = p.key[:0]
	for _, n := range names {
		p.key = append(append(p.key, n...), 0)
	}
	l, ok := p.lists[string(p.key)]
	if !ok {
		p.held++
		l = p.path(names)
		p.lists[string(p.key)] = l
	}
	return l
}
