// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package loopback finds addresses for servers that have to be told where to listen before they start.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Above the ports that services are known by, and below 32,768, from where Linux takes the port of whoever asks for none: all
// connections (ip_local_port_range). From there a collector's port was taken now and then between the question and its start.
const first, ports = 10_000, 22_768

// A process goes through the ports in turn. Its start is random, since tests of several packages run at the same time.
var (
	start = rand.Uint32N(ports)
	asked atomic.Uint32
)

// FreeAddress gives an address of 127.0.0.1 that nobody listens on. It gives the same one again only after all others. Safe for
// concurrent use.
func FreeAddress() (string, error) {
	var err error
	for range ports {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+int((start+asked.Add(1))%ports)))
		ln, taken := net.Listen("tcp4", address)
		if taken == nil {
			return address, ln.Close()
		}
		err = taken
	}
	return "", fmt.Errorf("find a port from %d to %d that nobody listens on: %w", first, first+ports-1, err)
}
