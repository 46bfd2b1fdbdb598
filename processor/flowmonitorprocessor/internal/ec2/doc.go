// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package ec2 reads the topology from the EC2 API.
//
// Each account in each Region is a part of its own: read whole every refresh interval,
// page by page, one request after the other, under a rate that leaves most of the account's
// request tokens to others. A refresh that fails leaves the part as it was. Parts are read
// side by side, as many at a time as is allowed.
//
// Between two refreshes, addresses of known VPCs and instances that nobody knows (see
// [Source.Note]) are gathered for some seconds and looked up together, by filters, under
// the same rate. What is not there is not asked for again for a while.
package ec2 // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
