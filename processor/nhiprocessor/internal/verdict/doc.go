// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package verdict decides, window by window, how healthy each monitor is and which
// components are suspected. It states the evidence of a window as a problem to the
// inference, asks of each monitor which part of the explanation concerns its own flows, and
// steadies the answer over time.
package verdict // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
