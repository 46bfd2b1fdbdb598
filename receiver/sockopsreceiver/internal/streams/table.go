// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"time"
	"unique"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
)

// Settings of a [Table].
type Settings struct {
	// MaxFlows is how many flows are held undelivered, and how many are remembered
	// after a round, besides the overflow flows. During a round both may be there.
	MaxFlows int
	// IdleTimeout is how long the end of a silent stream is remembered.
	IdleTimeout time.Duration
	// Cumulative makes sums and histograms totals since their stream began.
	Cumulative bool
	// Netns tells flows of different network namespaces apart.
	Netns bool
	// Container gives the container of the flows of a cgroup in a network namespace; the
	// zero Handle: none. Nil: containers are not told apart.
	Container func(cgroup uint64, netns uint32) unique.Handle[container.ID]
	// Translate has flows told by what they are beyond network address translation; nil if
	// it is not asked for.
	Translate Translate
	// Jiffy is the kernel's unit of the times in [bpf.Detail]. May be nil if there are none.
	Jiffy func() time.Duration
}

// Table holds the flows. It is not safe for concurrent use.
type Table struct {
	settings Settings
	index    map[key]int32 // into states
	states   []state
	unused   []int32 // free slots of states
	round    uint64

	inUse     int // flows seen in this round or with an account, overflow flows not counted
	harvested int
	overflows uint64

	accounts   pool[account]
	histograms pool[histogram]
	sums       [numSums]uint64 // scratch of Add
	attributes pcommon.Map     // scratch of Write
	oldest     []int32         // scratch of trim

	levels    bool      // the last Write wrote gauges
	forgotten Forgotten // since the last End
}

// state is what is remembered of a flow: about 500 bytes.
type state struct {
	key     key
	since   [numStreams]pcommon.Timestamp // where the stream's next point starts; 0: no stream
	seen    pcommon.Timestamp             // end of the last round in which the kernel reported the flow
	round   uint64                        // the last round in which it did; 0: free slot
	open    [phases]uint64                // levels of that round
	shown   uint8                         // bit set: the gauge last written for that phase was not 0
	account *account
}

// New makes an empty table.
func New(s Settings) *Table {
	return &Table{
		settings:   s,
		index:      map[key]int32{},
		round:      1,
		attributes: pcommon.NewMap(),
	}
}

// Len is how many flows are remembered, silent ones included.
func (t *Table) Len() int { return len(t.index) }

// Harvested is how many flows that had something to report were added since the end of
// the last round.
func (t *Table) Harvested() int { return t.harvested }

// Overflows is how many additions went to an overflow flow for want of room here, in
// all. The kernel counts its own.
func (t *Table) Overflows() uint64 { return t.overflows }

// hold gives the state of a flow that reports in this round, or of the overflow flow
// if there is no room for it. The pointer is good until the next call.
func (t *Table) hold(k key) *state {
	i, known := t.index[k]
	if k.kind == kindFlow && !(known && t.used(&t.states[i])) {
		if t.full(known) {
			t.overflows++
			return t.hold(k.overflow())
		}
		t.inUse++
	}
	if !known {
		i = t.insert(k)
	}
	s := &t.states[i]
	if s.round != t.round {
		s.round = t.round
		s.open = [phases]uint64{}
	}
	return s
}

// used says whether a flow takes one of the places of this round.
func (t *Table) used(s *state) bool {
	return s.round == t.round || s.account != nil
}

// full says whether a flow more would be too much. While the pipeline refuses data
// the flows of several rounds wait for it, and gauges to be set to 0: that is what can
// fill the second half.
func (t *Table) full(known bool) bool {
	return t.inUse >= t.settings.MaxFlows ||
		!known && len(t.index) >= 2*t.settings.MaxFlows+overflowFlows
}

func (t *Table) insert(k key) int32 {
	var i int32
	if n := len(t.unused); n > 0 {
		i = t.unused[n-1]
		t.unused = t.unused[:n-1]
	} else {
		i = int32(len(t.states))
		t.states = append(t.states, state{})
	}
	t.states[i].key = k
	t.index[k] = i
	return i
}

func (t *Table) remove(i int32) {
	delete(t.index, t.states[i].key)
	t.states[i] = state{}
	t.unused = append(t.unused, i)
}
