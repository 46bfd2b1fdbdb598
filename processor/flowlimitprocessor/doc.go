// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package flowlimitprocessor bounds how many rows of flow metrics leave a pipeline
// without changing any total.
//
// Data goes one way: parse.go tells the flow points of a batch from all others, which
// pass at once; held.go adds the flow points to the open round of their resource
// (round.go), until a later round, a timeout or a bound releases it; rank.go picks the
// flows that stay whole and rollup.go merges the others; emit.go writes the rows and
// gives each stream (streams.go) the start at which its last point ended. processor.go
// holds the ends together: it receives, keeps the clock and sends.
package flowlimitprocessor // import "github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor"
