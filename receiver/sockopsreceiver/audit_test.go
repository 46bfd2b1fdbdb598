// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/audit"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

// fakeAudit writes down what it is told.
type fakeAudit struct {
	told   []audit.Flow
	whole  []bool
	closed int
	report audit.Report
	before error
}

func (a *fakeAudit) Before() error        { return a.before }
func (a *fakeAudit) Add(f *audit.Flow)    { a.told = append(a.told, *f) }
func (a *fakeAudit) After(w bool) error   { a.whole = append(a.whole, w); return nil }
func (a *fakeAudit) Report() audit.Report { return a.report }
func (a *fakeAudit) Close()               { a.closed++ }

func TestTheAuditIsToldOfEveryFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retransmissions := [3]uint64{1, 10, 100}
		overflow := bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: bpf.RoleServer}
		k := &fakeKernel{
			rounds: [][]counted{{
				{key: web, flow: bpf.Flow{Attempted: 3, Opened: 2, Retransmissions: retransmissions, SegmentsOut: 7}},
				{key: api, flow: bpf.Flow{Opened: 4, Retransmissions: retransmissions, SegmentsOut: 8}},
				{key: overflow, flow: bpf.Flow{Opened: 5}},
			}, {}, {}},
			harvest: func(n int) error {
				if n == 1 {
					return errKernel
				}
				return nil
			},
		}
		a := &fakeAudit{}
		k.audit = a
		play(t, k, consumertest.NewNop())
		assert.Equal(t, []audit.Flow{
			{Netns: web.Netns, Attempted: 3, Retransmissions: 111, SegmentsOut: 7},
			{Netns: api.Netns, Opened: 4, Retransmissions: 111, SynAcks: 1, SegmentsOut: 8},
			{Anonymous: true, Opened: 5},
		}, a.told)
		assert.Equal(t, []bool{true, false, true, true}, a.whole)
		assert.Equal(t, 1, a.closed)
	})
}

func counter(name string) attribute.KeyValue { return attribute.String("counter", name) }

func TestTelemetryOfTheAudit(t *testing.T) {
	report := audit.Report{
		Seen:    [audit.NumCounters]uint64{10, 20, 30, 40},
		Covered: [audit.NumCounters]uint64{9, 20, 29, 38},
		Audited: 5, Unreadable: 2, Refused: 3, Vanished: 7,
	}
	report.Recent.Seen = [audit.NumCounters]uint64{2, 4, 0, 8}
	report.Recent.Covered = [audit.NumCounters]uint64{1, 4, 0, 6}
	k := &fakeKernel{}
	k.audit = &fakeAudit{report: report, before: errKernel}
	observed(t, k, consumertest.NewNop(), 2, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		four := func(n ...int64) []metricdata.DataPoint[int64] {
			return slices.Concat(number(n[0], counter("active_opens")), number(n[1], counter("passive_opens")),
				number(n[2], counter("retransmissions")), number(n[3], counter("segments")))
		}
		metadatatest.AssertEqualReceiverSockopsAuditSeen(t, tel, four(10, 20, 30, 40), anyTime)
		metadatatest.AssertEqualReceiverSockopsAuditCovered(t, tel, four(9, 20, 29, 38), anyTime)
		metadatatest.AssertEqualReceiverSockopsAuditRatio(t, tel, []metricdata.DataPoint[float64]{
			{Value: 0.5, Attributes: attribute.NewSet(counter("active_opens"))},
			{Value: 1, Attributes: attribute.NewSet(counter("passive_opens"))},
			{Value: 0.75, Attributes: attribute.NewSet(counter("segments"))},
		}, anyTime)
		metadatatest.AssertEqualReceiverSockopsAuditNamespaces(t, tel, slices.Concat(
			number(5, attribute.String("state", "audited")),
			number(2, attribute.String("state", "unreadable")),
			number(3, attribute.String("state", "refused"))), anyTime)
		metadatatest.AssertEqualReceiverSockopsAuditNamespacesVanished(t, tel, number(7), anyTime)
		metadatatest.AssertEqualReceiverSockopsAuditFailures(t, tel, number(2), anyTime)
	})
}

func TestWithoutAnAuditThereIsNothingOfIt(t *testing.T) {
	observed(t, &fakeKernel{}, consumertest.NewNop(), 2, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		_, err := tel.GetMetric("otelcol_receiver_sockops_audit_seen")
		require.Error(t, err)
	})
}

func TestAPartOfTheHierarchyIsNotAudited(t *testing.T) {
	part := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(part, "cgroup.type"), nil, 0o600))
	assert.Nil(t, newAudit(&Config{CgroupPath: part}, &fakeKernel{}))
	assert.NotNil(t, newAudit(&Config{CgroupPath: t.TempDir()}, &fakeKernel{}))
}

// The receiver with all that is real: what it says of itself.
func TestTheAuditOfTheRealKernel(t *testing.T) {
	needKernel(t)
	assert.NotNil(t, newAudit(&Config{}, &fakeKernel{}), "this machine's whole hierarchy is mounted")
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval = time.Second
	r, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(tel), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer r.Shutdown(t.Context()) //nolint:errcheck // the second, unless the test failed

	of := func(name string) int64 {
		m, err := tel.GetMetric("otelcol_receiver_sockops_audit_" + name)
		if err != nil {
			return -1
		}
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			if v, _ := p.Attributes.Value("counter"); v.AsString() == "active_opens" {
				return p.Value
			}
		}
		return -1
	}
	require.Eventually(t, func() bool { return of("seen") >= 0 }, 10*time.Second, 10*time.Millisecond, "the first round")
	before := of("seen")
	const n = 50
	for range n {
		exchange(t, 10)
	}
	require.Eventually(t, func() bool { return of("seen") >= before+n }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Equal(t, of("seen"), of("covered"))
}
