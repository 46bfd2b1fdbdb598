// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package ec2test is a server that speaks the query protocols of EC2 and STS over HTTP,
// for tests only. What it answers comes from a declared topology, each account and Region
// seeing what it would see of it in AWS; the XML has the elements that the API reference
// gives for each action, those included that nobody here reads. It checks what it is asked
// as EC2 does: sizes of pages, page tokens, names and numbers of filters, credentials.
//
// [Complete] turns a declared topology, which may leave out what is not needed, into one
// that could be an account's: with the fields that the API always fills.
package ec2test // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
