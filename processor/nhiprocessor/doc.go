// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package nhiprocessor tells whether the degradation of TCP flows is the network's or an
// end's. Flows pass through unchanged. Of each delta point of a flow that the flowmonitor
// processor has enriched it keeps counts, per window and per (path, local host, remote host);
// when the window is over, an inference finds what explains its losses, and each monitor gets
// its sums and a verdict.
//
//	points ─► observation ─► evidence of the window ─► inference ─► verdict ─► metrics
package nhiprocessor // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor"
