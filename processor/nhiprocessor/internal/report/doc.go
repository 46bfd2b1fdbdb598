// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package report writes decisions as metrics. It keeps, for each monitor, the sums that no
// consumer has taken yet and where its streams ended, so that every point starts where the
// one before it ended and nothing is lost when a consumer refuses a batch.
package report // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/report"
