// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"unique"

	"github.com/stretchr/testify/assert"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

func key(i int) flowKey {
	return flowKey{local: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
}

// held counts what the cache really holds.
func (c *cache) held() (entries, young int64) {
	for _, at := range c.origins {
		entries += int64(at.young.len()+at.old.len()) + 1
		young += int64(at.young.len())
	}
	return entries, young
}

func TestTheCacheNeverHoldsMoreThanItsCapacity(t *testing.T) {
	for name, origins := range map[string]int{"one resource": 1, "many resources": 300} {
		t.Run(name, func(t *testing.T) {
			c := newCache(1000)
			random := rand.New(rand.NewPCG(3, 4))
			for range 30_000 {
				at := c.at(path.Origin{Host: strconv.Itoa(random.IntN(origins))})
				for range 3 {
					k := key(random.IntN(5000))
					if c.get(at, k) == nil {
						c.put(at, k, &enrichment{})
					}
				}
				at.mu.Unlock()
				entries, _ := c.held()
				if entries != c.entries.Load() {
					t.Fatalf("holds %d, counts %d", entries, c.entries.Load())
				}
				// An origin itself is let in always; with its answers it is one more at most.
				if entries > c.capacity+int64(origins) {
					t.Fatalf("holds %d", entries)
				}
			}
		})
	}
}

func TestEveryFlowHasAKeyOfItsOwn(t *testing.T) {
	addresses := []netip.Addr{{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::1%eth1")}
	c := newCache(100_000)
	at := c.at(path.Origin{})
	defer at.mu.Unlock()
	answers := map[flowKey]*enrichment{}
	for _, local := range addresses {
		for _, peer := range addresses {
			for _, nat := range []natPair{{}, {local: addresses[3]}, {peer: addresses[3]}, {local: addresses[4]}} {
				for _, listener := range []bool{false, true} {
					k := flowKey{local: local, peer: peer, listener: listener}
					if nat != (natPair{}) {
						k.nat = unique.Make(nat)
					}
					answers[k] = &enrichment{unresolved: strconv.Itoa(len(answers))}
					assert.Nil(t, c.get(at, k))
					c.put(at, k, answers[k])
				}
			}
		}
	}
	for k, e := range answers {
		assert.Same(t, e, c.get(at, k))
	}
	n := 0
	for k, e := range at.young.all() {
		n++
		assert.Same(t, answers[k], e, "what is taken out has the key that was put in")
	}
	assert.Len(t, answers, n)
	for k, e := range answers {
		assert.Same(t, e, at.young.take(&k))
		assert.Nil(t, at.young.take(&k))
	}
	assert.Zero(t, at.young.len())
}

func TestWhatIsAskedForStays(t *testing.T) {
	c := newCache(1000)
	hot := &enrichment{}
	at := c.at(path.Origin{})
	c.put(at, key(1), hot)
	at.mu.Unlock()
	for i := range 20_000 {
		at := c.at(path.Origin{})
		if i%100 == 0 && c.get(at, key(1)) != hot {
			t.Fatalf("forgotten after %d others", i)
		}
		c.put(at, key(i+2), &enrichment{})
		at.mu.Unlock()
	}
	at = c.at(path.Origin{})
	defer at.mu.Unlock()
	assert.Nil(t, c.get(at, key(2)), "what nobody asked for went")
}

func TestResourcesThatCameOnceAreForgotten(t *testing.T) {
	c := newCache(1000)
	for i := range 50_000 {
		at := c.at(path.Origin{Host: strconv.Itoa(i)})
		c.put(at, key(1), &enrichment{})
		at.mu.Unlock()
	}
	assert.LessOrEqual(t, len(c.origins), 1000)
}

func TestTheCacheIsSafeForManyGoroutines(t *testing.T) {
	c := newCache(1000)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				at := c.at(path.Origin{Host: strconv.Itoa(random.IntN(20))})
				k := key(random.IntN(2000))
				if c.get(at, k) == nil {
					c.put(at, k, &enrichment{})
				}
				at.mu.Unlock()
			}
		})
	}
	wg.Wait()
	entries, _ := c.held()
	assert.Equal(t, entries, c.entries.Load(), "nothing is counted that is not held")
	assert.LessOrEqual(t, entries, c.capacity+20)
}

func TestTheCacheTurnsWithoutWaitingForABusyResource(t *testing.T) {
	c := newCache(1000)
	busy := c.at(path.Origin{Host: "busy"})
	mine := &enrichment{}
	c.put(busy, key(1), mine)
	for i := range 20_000 { // many turns; each would wait for ever
		at := c.at(path.Origin{Host: strconv.Itoa(i % 10)})
		c.put(at, key(i), &enrichment{})
		at.mu.Unlock()
	}
	assert.Same(t, mine, c.get(busy, key(1)))
	busy.mu.Unlock()
	entries, _ := c.held()
	assert.Equal(t, entries, c.entries.Load())
	assert.LessOrEqual(t, entries, c.capacity+11)
	for i := range 20_000 {
		at := c.at(path.Origin{Host: strconv.Itoa(i % 10)})
		c.put(at, key(i), &enrichment{})
		at.mu.Unlock()
	}
	_, there := c.origins[path.Origin{Host: "busy"}]
	assert.False(t, there, "forgotten once it is free and not seen again")
}
