// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

import (
	"net/netip"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Glance is what there is to see of a data point without taking its addresses apart: enough
// to find a flow again that was read before.
type Glance struct {
	Local, Peer       string // addresses as they are written; "" is absent
	NATLocal, NATPeer string
	IsFlow            bool // as [Read] tells it
	Overflow          bool
	Aggregated        bool
	Enriched          bool // has attributes that the flowmonitor processor writes
}

// LookAt reads a data point's attributes once.
func LookAt(m pcommon.Map) (g Glance) {
	for k, v := range m.All() {
		switch k {
		case Role:
			g.IsFlow = true
		case NetworkLocalAddress:
			g.Local = v.Str()
		case NetworkPeerAddress:
			g.Peer = v.Str()
		case NATLocalAddress:
			g.NATLocal = v.Str()
		case NATPeerAddress:
			g.NATPeer = v.Str()
		case Overflow:
			g.IsFlow, g.Overflow = true, v.Bool()
		case Aggregated:
			g.Aggregated = v.Bool()
		default:
			g.Enriched = g.Enriched || IsEnrichment(k)
		}
	}
	return g
}

// IsEnrichment tells the attributes that the flowmonitor processor writes.
func IsEnrichment(key string) bool {
	if !strings.HasPrefix(key, "flow.") {
		return false
	}
	switch key {
	case Category, Path, Monitors, Unresolved:
		return true
	}
	return strings.HasPrefix(key, LocalPrefix) || strings.HasPrefix(key, RemotePrefix)
}

// ParseAddress reads an address as [Read] does: IPv4-mapped ones are IPv4, a malformed one
// is the zero Addr.
func ParseAddress(s string) netip.Addr {
	a, _ := netip.ParseAddr(s) // the zero Addr on error
	return a.Unmap()
}
