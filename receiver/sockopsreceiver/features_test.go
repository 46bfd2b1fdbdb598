// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

func TestWhatTheKernelLacksIsSaidOnceAndShown(t *testing.T) {
	old, recent := bpf.Feature{Name: "rtt_sample", Version: "6.10"}, bpf.Feature{Name: "total_rto", Version: "6.7"}
	for _, tt := range []struct {
		name       string
		has, lacks []bpf.Feature
		warnings   int
	}{
		{"a kernel that has all", []bpf.Feature{recent, old}, nil, 0},
		{"a kernel that lacks one", []bpf.Feature{recent}, []bpf.Feature{old}, 1},
		{"a kernel that lacks all", nil, []bpf.Feature{recent, old}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tel := componenttest.NewTelemetry()
			core, logged := observer.New(zapcore.WarnLevel)
			set := metadatatest.NewSettings(tel)
			set.Logger = zap.New(core)
			plain := newTestReceiver(t, &fakeKernel{has: tt.has, lacks: tt.lacks}, consumertest.NewNop())
			r, err := newReceiver(set, plain.config, plain.next, plain.surroundings)
			require.NoError(t, err)
			require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
			want := number(1, attribute.String("feature", "total_rto"))[:0]
			for _, f := range tt.has {
				want = append(want, number(1, attribute.String("feature", f.Name))...)
			}
			for _, f := range tt.lacks {
				want = append(want, number(0, attribute.String("feature", f.Name))...)
			}
			metadatatest.AssertEqualReceiverSockopsKernelFeatures(t, tel, want, anyTime)
			require.NoError(t, r.Shutdown(t.Context()))
			require.NoError(t, tel.Shutdown(t.Context()))
			assert.Equal(t, tt.warnings, logged.Len())
		})
	}
}
