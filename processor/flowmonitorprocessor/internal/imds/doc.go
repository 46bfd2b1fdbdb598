// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package imds reads what an EC2 instance can know of itself without any permission, from
// the instance metadata service: its interfaces with their addresses and prefixes, the VPC
// and the subnets that they are in, its zone by name and id, its account and Region.
//
// Every interface is read, not the first: which of them owns a flow is told by the flow's
// local address.
package imds // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/imds"
