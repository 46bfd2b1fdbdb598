// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package nat gives the flows of the kernel the addresses that they have beyond network
// address translation. It stands between the kernel side, which knows what sockets
// hold, and package conntrack, which knows what becomes of it.
//
//	kernel   a young connection is a row of its own, with both ports  ─┐
//	         one whose translation was told is part of its flow,       │ harvest
//	         which bears the translation's id                         ─┤
//	                                                                   ▼
//	nat      rows: look up in conntrack · ids: read what they stand for
//	           │                     │
//	           │ of rows still open: └─► streams: flows, with what the sockets held
//	           ▼ tuple → id
//	kernel   told, until conntrack has forgotten the connection
//
// The package is for Linux only; elsewhere it is empty.
package nat // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/nat"
