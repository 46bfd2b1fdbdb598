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
	start pcommon.Timestamp // by the wall clock
	began time.Time         // the same moment, for its monotonic reading
	last  pcommon.Timestamp
}

// newClock looks at the wall clock, once.
func newClock(wall func() time.Time) clock {
	start := pcommon.NewTimestampFromTime(wall())
	return clock{start: start, began: time.Now(), last: start}
}

func (c *clock) now() pcommon.Timestamp {
	t := c.start + pcommon.Timestamp(time.Since(c.began))
	c.last = max(t, c.last+1) // two rounds in one tick: an interval must not be empty
	return c.last
}

// at gives the time of a round of an earlier process: what that one's clock said, if it is
// after the round before and not after now.
func (c *clock) at(end time.Time, before pcommon.Timestamp) pcommon.Timestamp {
	return min(max(pcommon.NewTimestampFromTime(end), before+1), c.now())
}
