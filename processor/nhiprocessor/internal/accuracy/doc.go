// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package accuracy measures how often the verdicts are right: a deterministic simulator of
// fleets writes what the receiver and the flowmonitor processor would, together with the truth,
// and a scorer compares the verdicts with it, beside two published methods on the same data.
// Anybody's simulator can be scored in the same way, from a directory: see
// docs/health-accuracy.md. The package is imported by tests and by its own command only, and
// the simulator knows nothing of the inference.
package accuracy // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/accuracy"
