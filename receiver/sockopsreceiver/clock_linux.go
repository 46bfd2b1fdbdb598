// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// clock gives the times of points: the wall clock at the start plus monotonic time. A
// step of the wall clock does not show, and each time is later than the one before.
type clock struct {
	start time.Time // with its monotonic reading
	last  pcommon.Timestamp
}

func newClock() clock {
	start := time.Now()
	return clock{start: start, last: pcommon.NewTimestampFromTime(start)}
}

func (c *clock) now() pcommon.Timestamp {
	t := pcommon.NewTimestampFromTime(c.start) + pcommon.Timestamp(time.Since(c.start))
	c.last = max(t, c.last+1) // two rounds in one tick: an interval must not be empty
	return c.last
}
