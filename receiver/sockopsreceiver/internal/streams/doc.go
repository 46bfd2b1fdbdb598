// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package streams holds what the kernel counted until the pipeline has taken it, and
// knows where each stream of data points ends.
//
// A round goes through it in three steps, all in one goroutine:
//
//	Add    for each flow of a harvest: network namespaces are merged, because the
//	       wire does not tell them apart
//	Write  everything held becomes data points; the start of each is the end of its
//	       stream's point before it
//	End    what was taken is let go, ends move on, silent flows are forgotten; what
//	       was refused stays and goes out with the next round
//
// Nothing is lost in between: what finds no room is added to an overflow flow.
package streams // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
