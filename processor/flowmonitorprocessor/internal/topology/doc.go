// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package topology is the model of an AWS network and the index that answers who holds
// an address.
//
// A source (a file, the EC2 API, the instance metadata service) fills a [Topology]: flat
// lists of what the EC2 Describe calls return, tied together by ids. [Merge] joins those of
// several. [Topology.Validate] says all
// that cannot be true of it, by field; a file is held to that, a live account in flux need not be.
// [Build] compiles it into an [Index], which tolerates what is dangling and never
// changes afterwards: a new topology is a new Index, swapped in as a whole.
//
// Every address is keyed by its VPC, because CIDRs overlap between VPCs. The index holds
// one sorted table of (address, VPC, interface), found by a hash of the address: it
// answers both "who is this address in that VPC" and "which VPCs know this address".
// Delegated prefixes and subnets are longest-prefix tables, one for each VPC and one
// over all.
//
// An address has no meaning outside a moment either: it moves to another interface.
// An Index is one version; the sources that know times keep several and choose by the
// time of the flow, above this package.
package topology // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
