// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import "time"

// Settings of a [Tracker]. Zero fields mean the defaults.
type Settings struct {
	// Namespace is a file of the network namespace that is asked second, after a socket's
	// own: the host's, where Kubernetes and container runtimes translate. Default:
	// /proc/self/ns/net, the collector's.
	Namespace string
	// MaxEntries is how many translated connections are held at once, those that have ended
	// but are kept included. Past it, the one that ended first gives way; if none has, a new
	// connection is refused. Default: 262,144, as many as the kernel tracks by default. Memory:
	// 8 B for each at the start, and 112 B for each that ever was there at once: 31 MB at
	// the default.
	MaxEntries int
	// MaxNamespaces is how many network namespaces are followed, the one above included.
	// Each takes two descriptors, and kernel memory while the collector gets no CPU. Default: 256.
	MaxNamespaces int
	// Retention is how long a connection is kept after its end: until the last counts of its
	// socket are resolved. At least two rounds of the receiver. Default: 2 min.
	Retention time.Duration
	// RefreshInterval is how often namespaces are looked for. Being followed keeps a
	// namespace alive, so this, twice, is also how much longer one lives. Default: 3 s.
	RefreshInterval time.Duration
	// ReconcileInterval is how often everything is dumped in a namespace that has connections
	// of which only dumps tell: from 5.19 on the kernel sends no event of the end of one that
	// began when nobody listened. Default: 5 min.
	ReconcileInterval time.Duration
	// ReceiveBuffer is how many bytes of events may wait in the kernel, of the collector's
	// own namespace; of each other one an eighth. Default: 16 MiB, which the kernel doubles: 25,000
	// events, or 0.25 s without CPU at 100,000 events a second. It is memory only while events
	// wait. SO_RCVBUFFORCE sets it past net.core.rmem_max, which is not changed; it needs
	// CAP_NET_ADMIN in the machine's first user namespace.
	ReceiveBuffer int
}

const (
	defaultNamespace         = "/proc/self/ns/net"
	defaultMaxEntries        = 262_144
	defaultMaxNamespaces     = 256
	defaultRetention         = 2 * time.Minute
	defaultRefreshInterval   = 3 * time.Second
	defaultReconcileInterval = 5 * time.Minute
	defaultReceiveBuffer     = 16 << 20
)

func (s Settings) withDefaults() Settings {
	if s.Namespace == "" {
		s.Namespace = defaultNamespace
	}
	s.MaxEntries = positive(s.MaxEntries, defaultMaxEntries)
	s.MaxNamespaces = positive(s.MaxNamespaces, defaultMaxNamespaces)
	s.Retention = positive(s.Retention, defaultRetention)
	s.RefreshInterval = positive(s.RefreshInterval, defaultRefreshInterval)
	s.ReconcileInterval = positive(s.ReconcileInterval, defaultReconcileInterval)
	s.ReceiveBuffer = positive(s.ReceiveBuffer, defaultReceiveBuffer)
	return s
}

func positive[T ~int | ~int64](value, otherwise T) T {
	if value > 0 {
		return value
	}
	return otherwise
}
