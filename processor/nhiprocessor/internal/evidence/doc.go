// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package evidence holds what the flows of a window tell about the network: counts per
// (components crossed, local host, remote host, service, monitors). It is additive: the
// evidence of two collectors is summed by [Window.Merge], and the verdict over the sum
// is the verdict over all flows.
//
// A [Table] turns the identity of a data point into a [Key] that is shared by all
// flows with the same evidence; a [Window] holds the [Counts] of each key.
// Neither is safe for concurrent use.
package evidence // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
