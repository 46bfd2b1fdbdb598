// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// reading is a namespace in the middle of its first dump, number 7, without a socket.
func reading() (*reader, *namespace) {
	tracker := New(Settings{})
	r := &reader{tracker: tracker, namespaces: map[uint32]*namespace{}, number: 7}
	n := &namespace{socket: socket{-1}, origin: origin{netns: 1, round: 1}, dumping: true, dump: 7}
	return r, n
}

func (r *reader) tell(n *namespace, h header, failure unix.Errno) {
	payload := binary.NativeEndian.AppendUint32(nil, uint32(-int32(failure)))
	r.tracker.apply(func(t *table, _ time.Duration) { r.message(t, n, h, payload, second) })
}

var dumpEnd = header{kind: unix.NLMSG_DONE, flags: unix.NLM_F_MULTI, sequence: 7}

func TestADumpDuringWhichEventsWereLostEndsNothing(t *testing.T) {
	for name, overrun := range map[string]bool{"all was read": false, "some was lost": true} {
		t.Run(name, func(t *testing.T) {
			r, n := reading()
			r.tracker.table.open(nat(client, virtual, backend, 1), origin{netns: 1, round: 0}, 0) // the dump has not shown it
			n.overrun, n.wanted = overrun, overrun
			r.tell(n, dumpEnd, 0)
			assert.False(t, n.dumping)
			assert.EqualValues(t, 1, r.tracker.Stats().Dumps)
			if overrun {
				assert.Zero(t, r.tracker.Stats().Ended)
				assert.True(t, n.wanted, "another one is to come")
			} else {
				assert.Equal(t, 1, r.tracker.Stats().Ended)
			}
		})
	}
}

func TestWhatAnEventHasConfirmedNeedsNoFurtherDump(t *testing.T) {
	r, n := reading()
	line := n.origin
	line.dump = true
	r.tracker.table.open(nat(client, virtual, backend, 1), line, 0)
	r.tell(n, dumpEnd, 0)
	assert.NotZero(t, n.reconcile)

	r, n = reading()
	r.tracker.table.open(nat(client, virtual, backend, 1), line, 0)
	r.tracker.table.open(nat(client, virtual, backend, 1), n.origin, 0) // its end will be told too
	r.tell(n, dumpEnd, 0)
	assert.Zero(t, n.reconcile)
}

func TestADumpThatIsRefusedIsAskedForAgainEverLater(t *testing.T) {
	r, n := reading()
	for i := range refusalsCounted + 3 {
		n.dumping, n.wanted = true, false
		r.tell(n, header{kind: unix.NLMSG_ERROR, sequence: 7}, unix.EBUSY)
		assert.False(t, n.dumping)
		assert.True(t, n.wanted)
		assert.Equal(t, retry<<min(i, refusalsCounted), n.notBefore-second)
		n.passed = 9
		assert.Equal(t, i+1 >= refusalsCounted, n.synced(9), "who gives no dumps is not waited for")
	}
	assert.EqualValues(t, refusalsCounted+3, r.tracker.Stats().DumpFailures)
	n.dumping = true
	r.tell(n, dumpEnd, 0)
	assert.Zero(t, n.refusals)
}

func TestLinesOfADumpThatWasGivenUpAreNotBelieved(t *testing.T) {
	r, n := reading()
	m := readRecorded(t)["destination changed"][1]
	message := func(h header) {
		r.tracker.apply(func(t *table, _ time.Duration) { r.message(t, n, h, m, second) })
	}
	message(header{kind: typeNew, flags: unix.NLM_F_MULTI, sequence: 6})
	assert.Zero(t, r.tracker.Stats().Entries)
	message(header{kind: typeNew, flags: unix.NLM_F_MULTI, sequence: 7})
	assert.Equal(t, 1, r.tracker.Stats().Entries)
	assert.Zero(t, r.tracker.Stats().Events, "a line of a dump is no event")
}

func TestNumbersOfBarriersMayWrap(t *testing.T) {
	n := &namespace{passed: 1<<32 - 2}
	assert.True(t, n.synced(1<<32-3))
	assert.False(t, n.synced(1<<32-1))
	assert.False(t, n.synced(3))
	n.pass(2)
	assert.True(t, n.synced(1<<32-1))
	assert.False(t, n.synced(3))
	n.pass(1<<32 - 1)
	assert.True(t, n.synced(2), "an old one changes nothing")
}
