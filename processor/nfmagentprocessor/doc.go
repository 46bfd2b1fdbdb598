// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package nfmagentprocessor turns the reports of unmodified AWS Network Flow Monitor agents into flow points.
//
// An agent's report is one OTLP request: of each flow a scope whose attributes are its key and whose metrics are histograms
// without buckets, counters too. report.go reads such a scope, flow.go its key, write.go writes the flow points; processor.go
// does so for a batch. Nothing is kept from one batch to the next.
package nfmagentprocessor // import "github.com/otel-flowmonitor/flowmonitor/processor/nfmagentprocessor"
