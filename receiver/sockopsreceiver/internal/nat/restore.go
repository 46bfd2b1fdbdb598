// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"errors"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
)

// seriesTuple is no connection's: in the kernel's map it stands for the series of the
// process that was here last.
var seriesTuple = bpf.Tuple{}

// restore takes over what an earlier process has told a kernel side that was pinned. Its
// ids are in rows that were counted meanwhile. What conntrack no longer knows stays
// unknown; connections that live are told anew, with ids of this process.
func (t *Translator) restore() error {
	var old []bpf.Tuple
	last := uint32(0)
	err := t.kernel.Translations(func(tuple bpf.Tuple, id uint32) {
		if tuple == seriesTuple {
			last = id
			return
		}
		old = append(old, tuple)
		if id == bpf.AskTranslation {
			return
		}
		x, result := t.tracker.ResolveAnywhere(addrPort(tuple.Local, tuple.LocalPort), addrPort(tuple.Peer, tuple.PeerPort))
		if result == conntrack.Translated {
			// Which of the ports is the flow's is in its key.
			t.names.restored[id] = beyond{local: x.Local.Addr().As16(), peer: x.Peer.Addr().As16(), localPort: x.Local.Port(), peerPort: x.Peer.Port()}
		}
	})
	t.names.series = (last + 1) % seriesCount
	_, series := t.kernel.Translate([]bpf.Tuple{seriesTuple}, []uint32{t.names.series})
	if len(old) > 0 {
		// Until they are told anew, they ask: it may think that it knows all.
		err = errors.Join(err, t.kernel.TranslationsComplete(false), t.kernel.Forget(old))
	}
	return errors.Join(err, series)
}
