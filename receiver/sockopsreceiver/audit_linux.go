// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/audit"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// auditor compares what flows counted with the kernel's own counters: [audit.Audit], or
// what plays it in tests.
type auditor interface {
	Before() error
	Add(*audit.Flow)
	After(whole bool) error
	Report() audit.Report
	Close()
}

// newAudit gives nil where an audit would tell nothing: the kernel counts by network
// namespace, and only some of its sockets are watched.
func newAudit(cfg *Config, src source) auditor {
	if !watchesAll(cfg.CgroupPath) {
		return nil
	}
	return audit.New(audit.MaxNamespaces, src.SynAcks)
}

// watchesAll says whether a cgroup_path is the root of the hierarchy, or empty where the
// root can be found.
func watchesAll(path string) bool {
	isRoot := func(path string) bool {
		_, err := os.Stat(filepath.Join(path, "cgroup.type")) // only the root has none
		return errors.Is(err, os.ErrNotExist)
	}
	if path != "" {
		return isRoot(path)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" && isRoot(f[1]) {
			return true
		}
	}
	return false
}

// harvestAudited hands what the kernel counted to the table, and to the audit if there is
// one. It begins when the adoption is done: until then flows lack what the kernel counts.
func (l *loop) harvestAudited(ctx context.Context) error {
	if l.audit == nil || !l.takenOver.Load() {
		return l.source.Harvest(l.table.Add)
	}
	before := l.audit.Before()
	err := l.source.Harvest(func(k *bpf.FlowKey, f *bpf.Flow, d *bpf.Detail) {
		flow := audit.FlowOf(k, f)
		l.audit.Add(&flow)
		l.table.Add(k, f, d)
	})
	l.reportAudit(ctx, errors.Join(before, l.audit.After(err == nil)))
	return err
}

func (l *loop) reportAudit(ctx context.Context, err error) {
	report := l.audit.Report()
	l.figures.audit.Store(&report)
	if err != nil {
		l.telemetry.ReceiverSockopsAuditFailures.Add(ctx, 1)
		if !l.auditFailing { // said once: it goes on
			l.logger.Warn("The audit could not read all of the kernel's counters. Flows are counted all the same.", zap.Error(err))
		}
	}
	l.auditFailing = err != nil
}

// Attribute sets of the audit's metrics, made once.
var (
	auditCounters = [audit.NumCounters]attribute.Set{
		audit.ActiveOpens:     attribute.NewSet(attribute.String("counter", "active_opens")),
		audit.PassiveOpens:    attribute.NewSet(attribute.String("counter", "passive_opens")),
		audit.Retransmissions: attribute.NewSet(attribute.String("counter", "retransmissions")),
		audit.Segments:        attribute.NewSet(attribute.String("counter", "segments")),
	}
	stateAudited    = attribute.NewSet(attribute.String("state", "audited"))
	stateUnreadable = attribute.NewSet(attribute.String("state", "unreadable"))
	stateRefused    = attribute.NewSet(attribute.String("state", "refused"))
)

// registerAudit shows the last report. Without one, nothing is shown.
func (f *figures) registerAudit(t *metadata.TelemetryBuilder) error {
	totals := func(of func(*audit.Report) *[audit.NumCounters]uint64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			if r := f.audit.Load(); r != nil {
				for i, n := range of(r) {
					o.Observe(int64(n), metric.WithAttributeSet(auditCounters[i]))
				}
			}
			return nil
		}
	}
	return errors.Join(
		t.RegisterReceiverSockopsAuditSeenCallback(totals(func(r *audit.Report) *[audit.NumCounters]uint64 { return &r.Seen })),
		t.RegisterReceiverSockopsAuditCoveredCallback(totals(func(r *audit.Report) *[audit.NumCounters]uint64 { return &r.Covered })),
		t.RegisterReceiverSockopsAuditRatioCallback(func(_ context.Context, o metric.Float64Observer) error {
			if r := f.audit.Load(); r != nil {
				for i := range audit.NumCounters {
					if ratio, ok := r.Ratio(i); ok {
						o.Observe(ratio, metric.WithAttributeSet(auditCounters[i]))
					}
				}
			}
			return nil
		}),
		t.RegisterReceiverSockopsAuditNamespacesCallback(func(_ context.Context, o metric.Int64Observer) error {
			if r := f.audit.Load(); r != nil {
				o.Observe(int64(r.Audited), metric.WithAttributeSet(stateAudited))
				o.Observe(int64(r.Unreadable), metric.WithAttributeSet(stateUnreadable))
				o.Observe(int64(r.Refused), metric.WithAttributeSet(stateRefused))
			}
			return nil
		}),
		t.RegisterReceiverSockopsAuditNamespacesVanishedCallback(func(_ context.Context, o metric.Int64Observer) error {
			if r := f.audit.Load(); r != nil {
				o.Observe(int64(r.Vanished))
			}
			return nil
		}),
	)
}
