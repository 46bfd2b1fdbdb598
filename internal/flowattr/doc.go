// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package flowattr is the one place that knows how a flow looks on the wire: the
// names of attributes and metrics, and how a [Flow] is read from and written to a
// data point. The receiver writes flows, the processors read and enrich them;
// none of them spells a name itself.
package flowattr // import "github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
