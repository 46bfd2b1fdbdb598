// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// usage is what a process holds at a time.
type usage struct {
	at      time.Time
	anon    int64 // bytes of RssAnon: the heap and the stacks
	rss     int64 // bytes of VmRSS: with the binary's pages, and the queue's, which the storage maps
	fds     int
	threads int
}

// history is a process's usage from its start to its end.
type history struct {
	host    string
	pid     int
	samples []usage
	cpu     time.Duration
}

// observer looks at all collectors again and again.
type observer struct {
	mu        sync.Mutex
	processes []*history
	byPid     map[int]*history
	done      sync.WaitGroup
	stop      context.CancelFunc
}

// sampling is often enough for some hundred samples in the short form.
const sampling = 500 * time.Millisecond

func observe(ctx context.Context, running func() map[string]*collector.OnNode) *observer {
	ctx, stop := context.WithCancel(ctx)
	o := &observer{byPid: map[int]*history{}, stop: stop}
	o.done.Go(func() {
		ticks := time.NewTicker(sampling)
		defer ticks.Stop()
		for {
			for host, p := range running() {
				if u, cpu, err := read(p.Pid()); err == nil { // else it has ended just now
					o.note(host, p.Pid(), u, cpu)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
		}
	})
	return o
}

func (o *observer) note(host string, pid int, u usage, cpu time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.byPid[pid]
	if h == nil {
		h = &history{host: host, pid: pid}
		o.byPid[pid] = h
		o.processes = append(o.processes, h)
	}
	h.samples = append(h.samples, u)
	h.cpu = cpu
}

// end stops looking and gives what was seen, by process in the order of their starts.
func (o *observer) end() []*history {
	o.stop()
	o.done.Wait()
	return o.processes
}

func read(pid int) (usage, time.Duration, error) {
	u := usage{at: time.Now()}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, 0, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var n int64
		_, _ = fmt.Sscan(value, &n)
		switch name {
		case "VmRSS":
			u.rss = n << 10
		case "RssAnon":
			u.anon = n << 10
		case "Threads":
			u.threads = int(n)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return u, 0, err
	}
	u.fds = len(fds)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, 0, err
	}
	// Fields 14 and 15 of proc(5), after a name that may have anything in it; the kernel's clock for users ticks 100
	// times a second on every architecture that Go has.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return u, time.Duration(user+system) * 10 * time.Millisecond, nil
}

// later leaves out what a process needs to warm up: a quarter of its life.
func (h *history) later() []usage { return h.samples[len(h.samples)/4:] }

// growth is the slope of the least-squares line through a quantity of the later samples, times their span: what was
// gained from their first to their last if it grew steadily. Garbage that comes and goes is not in it.
func (h *history) growth(of func(usage) int64) float64 {
	samples := h.later()
	if len(samples) < 2 {
		return 0
	}
	var meanX, meanY float64
	first := samples[0].at
	for _, s := range samples {
		meanX += s.at.Sub(first).Seconds()
		meanY += float64(of(s))
	}
	meanX, meanY = meanX/float64(len(samples)), meanY/float64(len(samples))
	var xy, xx float64
	for _, s := range samples {
		x := s.at.Sub(first).Seconds() - meanX
		xy += x * (float64(of(s)) - meanY)
		xx += x * x
	}
	return xy / xx * samples[len(samples)-1].at.Sub(first).Seconds()
}

func mean(samples []usage, of func(usage) int64) float64 {
	sum := 0.0
	for _, s := range samples {
		sum += float64(of(s))
	}
	return sum / float64(max(len(samples), 1))
}

func most(samples []usage, of func(usage) int64) (most int64) {
	for _, s := range samples {
		most = max(most, of(s))
	}
	return most
}

func anon(u usage) int64    { return u.anon }
func rss(u usage) int64     { return u.rss }
func fds(u usage) int64     { return int64(u.fds) }
func threads(u usage) int64 { return int64(u.threads) }

func (h *history) life() time.Duration {
	return h.samples[len(h.samples)-1].at.Sub(h.samples[0].at)
}
