// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package sockopsreceiver reports the TCP connections of a host by flow.
//
// The kernel side (package bpf) counts. Once a round the receiver harvests what was
// counted since the round before, adds it to the flows it holds (internal/streams), and
// hands one batch of data points to the pipeline. What the pipeline refuses stays in
// those flows and goes out with the next round: totals are never dropped unseen.
package sockopsreceiver // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver"
