// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/nat"
)

// tracker follows the translations of a host: conntrack, or what plays it in tests.
type tracker interface {
	nat.Tracker
	Start() error
	Stats() conntrack.Stats
	Close()
}

var _ tracker = (*conntrack.Tracker)(nil)

// trackHost makes the tracker of this host.
func trackHost(cfg *Config) tracker {
	return conntrack.New(conntrack.Settings{
		MaxEntries:    cfg.MaxNATConnections,
		MaxNamespaces: cfg.MaxNATNamespaces,
		// The last counts of a socket come with the harvest after its end; one more may fail.
		Retention: 2 * (cfg.CollectionInterval + cfg.jitter()),
	})
}

// translation is the part of the loop that has flows translated; nil unless asked for.
type translation struct {
	tracker    tracker
	translator *nat.Translator
	overflowed uint64 // the kernel's count, as of the last round
	counts     atomic.Pointer[nat.Counts]
}

// startTranslation begins to follow the host's translations. A host whose translations
// cannot be followed is monitored all the same.
func startTranslation(kernel nat.Kernel, t tracker, resumed bool, logger *zap.Logger) *translation {
	if err := t.Start(); err != nil {
		logger.Warn("Translations of this host's own network namespace are not followed for now; it is tried again and again.", zap.Error(err))
	}
	tr := &translation{tracker: t, translator: nat.New(kernel, t, resumed)}
	tr.counts.Store(new(nat.Counts))
	return tr
}

// beginTranslation comes before a harvest.
func (l *loop) beginTranslation() {
	if l.nat != nil {
		l.nat.report(l.logger, l.nat.translator.Begin())
	}
}

// endTranslation comes after it. whole says that nothing is left to hand over, own that
// no other process has begun the round.
func (l *loop) endTranslation(whole, own bool) {
	if l.nat == nil {
		return
	}
	st, err := l.source.Stats()
	overflowed := err != nil || st.Overflowed != l.nat.overflowed
	l.nat.overflowed = st.Overflowed
	l.nat.report(l.logger, l.nat.translator.End(whole, own, overflowed))
	counts := l.nat.translator.Counts()
	l.nat.counts.Store(&counts)
}

func (tr *translation) report(logger *zap.Logger, err error) {
	if err != nil {
		logger.Warn("The kernel was not told of all translated connections: some flows may be reported as their sockets see them.", zap.Error(err))
	}
}

func (l *loop) closeTranslation() {
	if l.nat != nil {
		l.nat.tracker.Close()
	}
}

// register shows what is followed and translated, until the telemetry is shut down.
func (tr *translation) register(t *metadata.TelemetryBuilder, capacity int) error {
	ofTracker := func(value func(*conntrack.Stats) int64) metric.Int64Callback {
		return observe(func() int64 {
			st := tr.tracker.Stats()
			return value(&st)
		})
	}
	ofTranslator := func(value func(*nat.Counts) int64) metric.Int64Callback {
		return observe(func() int64 { return value(tr.counts.Load()) })
	}
	return errors.Join(
		t.RegisterReceiverSockopsNatAddressesRefusedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.AddressesRefused) })),
		t.RegisterReceiverSockopsNatConnectionsCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Entries) })),
		t.RegisterReceiverSockopsNatConnectionsCapacityCallback(observe(func() int64 { return int64(capacity) })),
		t.RegisterReceiverSockopsNatConnectionsRefusedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Refused) })),
		t.RegisterReceiverSockopsNatConnectionsEvictedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Evicted) })),
		t.RegisterReceiverSockopsNatNamespacesCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Namespaces) })),
		t.RegisterReceiverSockopsNatNamespacesFailedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.NamespacesFailed) })),
		t.RegisterReceiverSockopsNatNamespacesRefusedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.NamespacesRefused) })),
		t.RegisterReceiverSockopsNatNamespacesSilentCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.NamespacesSilent) })),
		t.RegisterReceiverSockopsNatEventsCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Events) })),
		t.RegisterReceiverSockopsNatEventsLostCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.EventsLost) })),
		t.RegisterReceiverSockopsNatEventsMalformedCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Malformed) })),
		t.RegisterReceiverSockopsNatDumpsCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.Dumps) })),
		t.RegisterReceiverSockopsNatDumpFailuresCallback(ofTracker(func(s *conntrack.Stats) int64 { return int64(s.DumpFailures) })),
		t.RegisterReceiverSockopsNatLookupsAmbiguousCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.Ambiguous) })),
		t.RegisterReceiverSockopsNatLookupsTranslatedCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.Translated) })),
		t.RegisterReceiverSockopsNatLookupsNotTranslatedCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.NotTranslated) })),
		t.RegisterReceiverSockopsNatSyncFailuresCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.SyncFailures) })),
		t.RegisterReceiverSockopsNatTranslationsCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.Told) })),
		t.RegisterReceiverSockopsNatTranslationsRefusedCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.Refused) })),
		t.RegisterReceiverSockopsNatTranslationsUnknownCallback(ofTranslator(func(c *nat.Counts) int64 { return int64(c.UnknownIDs) })),
	)
}
