// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package path says of a flow where both ends live, which category it is, and what it
// crosses.
//
// The local end is found first, by its address and by what the stream's resource says
// of the host. The remote end is then found the way the network finds it: by the route
// table of the local subnet, longest prefix first, through peerings and transit
// gateways, until a VPC, a service or the Internet is reached. That is what tells equal
// addresses of different VPCs apart. What cannot be found stays unresolved; nothing is
// guessed. The path is the same walk, written down.
package path // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
