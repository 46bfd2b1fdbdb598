// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// showFeatures makes known what this kernel has and what it lacks: as a metric, and the
// lack once in the log.
func showFeatures(t *metadata.TelemetryBuilder, logger *zap.Logger, has, lacks []bpf.Feature) error {
	if len(lacks) > 0 {
		effects := make([]string, len(lacks))
		for i, f := range lacks {
			effects[i] = fmt.Sprintf("%s (before Linux %s)", f.Without, f.Version)
		}
		logger.Warn("The kernel is too old for some figures; all others are exact.", zap.Strings("effects", effects))
	}
	sets := map[int64][]metric.MeasurementOption{}
	for value, list := range map[int64][]bpf.Feature{1: has, 0: lacks} {
		for _, f := range list {
			sets[value] = append(sets[value], metric.WithAttributeSet(attribute.NewSet(attribute.String("feature", f.Name))))
		}
	}
	return t.RegisterReceiverSockopsKernelFeaturesCallback(func(_ context.Context, o metric.Int64Observer) error {
		for value, list := range sets {
			for _, set := range list {
				o.Observe(value, set)
			}
		}
		return nil
	})
}
