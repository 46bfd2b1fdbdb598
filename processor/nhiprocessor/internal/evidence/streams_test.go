// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func flowOf(t *testing.T, table *Table) *Identity {
	id := &Identity{
		LocalHost: "i-1", RemoteHost: "i-2", Category: "INTRA_AZ", Path: []string{"subnet/a"}, Monitors: []string{"m"},
	}
	_, _, refusal := table.Lookup(id)
	require.Equal(t, Accepted, refusal)
	return id
}

func TestStreamsOfAnIdentityAreToldApartUpToABound(t *testing.T) {
	table := NewTable(Limits{Flows: 10, Components: 10, Monitors: 10})
	id := flowOf(t, table)
	for round := range 3 {
		for i := range maxStreams {
			s := table.Stream(id, Series(1000+i))
			require.NotNil(t, s)
			assert.True(t, s.Tell(int64(1+10*round), int64(11+10*round)), "stream %d in round %d", i, round)
		}
		for i := range maxStreams { // in the other order
			assert.False(t, table.Stream(id, Series(1000+maxStreams-1-i)).Tell(int64(1+10*round), int64(11+10*round)))
		}
		over := table.Stream(id, 1)
		assert.Nil(t, over)
		assert.True(t, over.Tell(1, 11), "what is not told apart is news")
	}
	_, _, _ = table.Lookup(&Identity{Category: "INTERNET", Monitors: []string{"m"}})
	other := &Identity{Category: "INTERNET", Monitors: []string{"m"}}
	table.Lookup(other)
	assert.Nil(t, table.Stream(other, 1), "what is no evidence is not remembered")
}

func BenchmarkStream(b *testing.B) {
	table := NewTable(Limits{Flows: 10, Components: 10, Monitors: 10})
	id := &Identity{LocalHost: "i-1", RemoteHost: "i-2", Category: "INTRA_AZ", Path: []string{"subnet/a"}}
	table.Lookup(id)
	b.ReportAllocs()
	at := int64(1)
	for b.Loop() {
		for i := range 16 {
			if !table.Stream(id, Series(i)).Tell(at, at+1) {
				b.Fatal("news is taken for a duplicate")
			}
		}
		at++
	}
}

// In whatever lengths and gaps a stream comes, each point is news once.
func FuzzStreamTell(f *testing.F) {
	f.Add([]byte{2, 0, 2, 0, 2, 0}, false)
	f.Add([]byte{2, 200, 1, 0, 255, 7}, true)
	f.Fuzz(func(t *testing.T, steps []byte, gaps bool) {
		var s Stream
		at := int64(1)
		for i := 0; i+1 < len(steps); i += 2 {
			length := int64(steps[i]) + 2
			if gaps {
				at += int64(steps[i+1])
			}
			require.True(t, s.Tell(at, at+length), "news at %d", at)
			require.False(t, s.Tell(at, at+length), "the same again at %d", at)
			require.True(t, s.Tell(0, at+length), "without a start")
			at += length
		}
	})
}
