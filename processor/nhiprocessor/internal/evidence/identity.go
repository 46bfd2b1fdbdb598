// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"hash/maphash"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Identity is what one data point says about its flow, as far as evidence needs it. The
// strings may alias the point: a [Table] copies what it keeps.
type Identity struct {
	LocalHost, RemoteHost       string // host.id, "" when unknown
	LocalAddress, RemoteAddress string
	LocalVPC, RemoteVPC         string // addresses are unique within a VPC only
	Service                     string
	Category                    string
	LocalZone, RemoteZone       string
	Role                        Role
	Unresolved, Aggregated      bool
	Evidence                    bool // of another stage, which judged what is attributable
	Path, Monitors              []string

	places Places
	flow   *flow // that it was found to be
}

// Role says which end opened the connections.
type Role uint8

// Roles of the local end.
const (
	RoleUnknown Role = iota
	RoleClient
	RoleServer
)

// Places is where the two ends of a path are.
type Places struct{ LocalZone, LocalVPC, RemoteZone, RemoteVPC string }

// Reset empties the identity and keeps its slices' memory.
func (id *Identity) Reset() {
	*id = Identity{Path: id.Path[:0], Monitors: id.Monitors[:0]}
}

// Enriched says whether the flowmonitor processor has seen the flow.
func (id *Identity) Enriched() bool {
	return id.Category != "" || len(id.Path) > 0 || len(id.Monitors) > 0
}

// normalize leaves in the identity only what distinguishes its evidence, so that flows
// which cannot differ in evidence share an entry: a remote address counts only when it
// is all that is known of the remote host.
func (id *Identity) normalize() {
	id.places = Places{id.LocalZone, id.LocalVPC, id.RemoteZone, id.RemoteVPC}
	if id.RemoteHost != "" {
		id.RemoteAddress, id.RemoteVPC = "", ""
	}
	shared := id.Path[:0]
	for _, name := range id.Path {
		switch kind(name) {
		case flowattr.ComponentInstance, flowattr.ComponentENI, flowattr.ComponentAddress, "":
			// One host's own: the hosts at the two ends stand for it.
		case flowattr.ComponentService:
			if id.Service == "" {
				id.Service = name[len(flowattr.ComponentService)+1:]
			}
		default:
			if !contains(shared, name) {
				shared = append(shared, name)
			}
		}
	}
	id.Path = shared
}

// attributable says whether loss of the flow can be put down to components of the
// provider's network or to its ends. Beyond the provider's network (the Internet,
// on-premises, an end that was not resolved) anything may have lost a segment; and what
// crosses nothing did not leave its host.
func (id *Identity) attributable() bool {
	switch id.Category {
	case flowattr.CategoryIntraAZ, flowattr.CategoryInterAZ, flowattr.CategoryInterVPC, flowattr.CategoryInterRegion,
		flowattr.CategoryAmazonS3, flowattr.CategoryAmazonDynamoDB, flowattr.CategoryAWSService, flowattr.CategoryLocalZone:
	default:
		if !id.Evidence {
			return false
		}
	}
	return !id.Unresolved && !id.Aggregated && (len(id.Path) > 0 || id.Service != "") &&
		(id.LocalHost != "" || id.LocalAddress != "") && (id.RemoteHost != "" || id.RemoteAddress != "")
}

var seed = maphash.MakeSeed()

func (id *Identity) hash() uint64 {
	var h mixer
	h.add(id.LocalHost)
	h.add(id.LocalAddress)
	h.add(id.LocalVPC)
	h.add(id.RemoteHost)
	h.add(id.RemoteAddress)
	h.add(id.RemoteVPC)
	h.add(id.Service)
	h += mixer(id.Role)
	h.addAll(id.Path)
	h.addAll(id.Monitors)
	return uint64(h)
}

func hashAll(names []string) uint64 {
	var h mixer
	h.addAll(names)
	return uint64(h)
}

// mixer combines hashes so that their order counts.
type mixer uint64

func (m *mixer) add(s string) {
	*m = (*m ^ mixer(maphash.String(seed, s))) * 0x9e3779b97f4a7c15 // 2⁶⁴ divided by the golden ratio: odd, well mixed bits
	*m ^= *m >> 29
}

func (m *mixer) addAll(names []string) {
	for _, s := range names {
		m.add(s)
	}
	*m += mixer(len(names))
}

// kind is the type of a component's name "type/id", "" for a name that has none.
func kind(name string) string {
	k, _, ok := strings.Cut(name, "/")
	if !ok {
		return ""
	}
	return k
}

// contains scans: paths have a dozen components, for which a map is slower.
func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
