// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package flowmonitorprocessor says of each TCP flow where both ends live in AWS, which
// category it is, what it crosses, and which monitors it belongs to.
//
// A data point's way: its flow is read (flowattr), looked up in the cache by (resource,
// local address, remote address), and the answer's attributes are written onto it. On a
// miss internal/path resolves both ends against internal/topology and internal/ipranges,
// and internal/monitors matches. All of these are immutable and belong to one engine; a
// changed file makes a new engine, with an empty cache, that takes over between two batches.
//
// The topology is joined from parts (internal/parts): the file, the metadata service, and
// each account in each Region (internal/ec2). A part that fails stays as it was. What a miss
// shows to be unknown is asked for between two refreshes.
package flowmonitorprocessor // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor"
