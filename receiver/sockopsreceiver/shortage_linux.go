// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"time"

	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// quiet is how long a shortage that goes on is not said again: its metric tells how much.
const quiet = time.Hour

// shortage is one reason why something is not counted, or not by its flow.
type shortage struct {
	seen uint64 // the total, as of the last round
	said time.Time
}

// grew says whether the total has grown, and that has not just been said.
func (s *shortage) grew(total uint64, now time.Time) bool {
	grown := total > s.seen
	s.seen = total
	if !grown || !s.said.IsZero() && now.Sub(s.said) < quiet {
		return false
	}
	s.said = now
	return true
}

// shortages are those of the kernel side.
type shortages struct{ flows, sockets, memory, callbacks shortage }

// say logs which bounds were reached in the last round, each with its remedy.
func (s *shortages) say(logger *zap.Logger, c *Config, st bpf.Stats, now time.Time) {
	if s.flows.grew(st.Overflowed, now) {
		logger.Warn("The flow table is full. What has no room is counted in the overflow flow: raise 'max_flows', or shorten the rounds.",
			zap.Int("max_flows", c.MaxFlows), zap.Uint64("additions", st.Overflowed))
	}
	if s.sockets.grew(st.Refused, now) {
		logger.Warn("Connections are not counted, because as many sockets are watched as may be: raise 'max_sockets', and the memory limit by 384 B a socket.",
			zap.Int("max_sockets", c.MaxSockets), zap.Uint64("connections", st.Refused))
	}
	if s.memory.grew(st.Unseen, now) {
		logger.Warn("Connections are not counted, because the kernel had no memory for their state: raise the memory limit of the collector's cgroup, or the sysctl net.core.optmem_max.",
			zap.Uint64("connections", st.Unseen))
	}
	if s.callbacks.grew(st.Lost, now) {
		logger.Warn("Another sockops program has taken the callbacks of connections that then ended: what they did after the last round is missing. From now on a tracepoint sees their end.",
			zap.Uint64("connections", st.Lost))
	}
}
