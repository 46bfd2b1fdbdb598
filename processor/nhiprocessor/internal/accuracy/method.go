// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"math"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// nhi is the processor's own evidence and judge, without data points between.
type nhi struct {
	table *evidence.Table
	judge *verdict.Judge
	end   time.Time
	last  *verdict.Decision
}

// NewNHI makes the method that is to be measured.
func NewNHI() Method { return newNHI() }

func newNHI() *nhi {
	const monitors = 4096
	return &nhi{
		table: evidence.NewTable(evidence.Limits{Flows: 1 << 20, Components: 1 << 14, Monitors: monitors}),
		judge: verdict.NewJudge(verdict.Config{FalseAlarmRate: 1e-4, Memory: time.Hour, Monitors: monitors}),
		end:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (m *nhi) Decide(window []Observed) map[string]Answer {
	w := evidence.NewWindow()
	var id evidence.Identity
	for i := range window {
		o := &window[i]
		o.identity(&id)
		key, _, refusal := m.table.Lookup(&id)
		if refusal != evidence.Accepted {
			panic("the simulated fleet is larger than the table")
		}
		o.count(w.Row(key, math.MaxInt))
	}
	m.end = m.end.Add(time.Minute)
	d := m.judge.Decide(w, m.end)
	m.table.Sweep()
	m.last = d
	out := make(map[string]Answer, len(d.Monitors))
	for i := range d.Monitors {
		mon := &d.Monitors[i]
		out[mon.Name] = Answer{
			Degraded: mon.State == flowattr.StateDegraded, Insufficient: mon.State == flowattr.StateInsufficientData,
			Cause: mon.Cause, Names: mon.Names,
		}
	}
	return out
}

// identity is what the points of an observation say of its flow.
func (o *Observed) identity(id *evidence.Identity) {
	id.Reset()
	local, remote := o.Local(), o.Remote()
	id.LocalHost, id.LocalAddress, id.LocalVPC = local.ID, local.Address, local.VPC
	id.RemoteHost, id.RemoteAddress, id.RemoteVPC = remote.ID, remote.Address, remote.VPC
	id.Category = o.Flow.Category
	id.Path = o.path(id.Path)
	id.LocalZone, id.RemoteZone = local.AZ, remote.AZ
	side := 0
	if o.AtClient {
		id.Service, id.Role = remote.Service, evidence.RoleClient
	} else {
		side, id.Role = 1, evidence.RoleServer
	}
	id.Monitors = append(id.Monitors, o.Flow.Monitors[side]...)
}

// path appends the flow's path as the observing end sees it.
func (o *Observed) path(to []string) []string {
	end := func(h *Host) string {
		if h.Service != "" {
			return flowattr.ComponentService + "/" + h.Service
		}
		return flowattr.ComponentENI + "/eni-" + h.Address
	}
	to = append(to, end(o.Local()))
	if o.AtClient {
		to = append(to, o.Flow.Components...)
	} else {
		for i := len(o.Flow.Components) - 1; i >= 0; i-- {
			to = append(to, o.Flow.Components[i])
		}
	}
	return append(to, end(o.Remote()))
}

func (o *Observed) count(c *evidence.Counts) {
	c.Add(evidence.Segments, uint64(o.Segments))
	c.Add(evidence.Retransmitted, uint64(o.Lost))
	c.Add(evidence.Timeouts, uint64(o.Timeouts))
	c.Add(evidence.Sent, uint64(o.Segments-o.Lost)*segmentBytes)
	c.Add(evidence.Attempted, uint64(o.Attempted))
	c.Add(evidence.Opened, uint64(o.Opened))
	c.Add(evidence.ClosedOrderly, uint64(o.Orderly))
	c.Add(evidence.ClosedReset, uint64(o.Resets))
	c.Add(evidence.Active, uint64(o.Active))
	c.Add(evidence.Retransmitting, uint64(o.Retransmitting))
	c.Add(evidence.Busy, uint64((o.Busy-o.ReceiverLimited)*evidence.TimeUnits))
	c.Add(evidence.ReceiverWindow, uint64(o.ReceiverLimited*evidence.TimeUnits))
	if o.RTTCount > 0 {
		c.AddRTT(evidence.RTT{Count: o.RTTCount, Sum: o.RTTSum, Min: o.RTTMin})
		for i, n := range o.RTT {
			if n > 0 {
				c.AddTimes(i, uint64(n))
			}
		}
	}
}

// segmentBytes is the payload of a segment on Ethernet, with time stamps.
const segmentBytes = 1448
