// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package k8sattributes compares the speed of the flowmonitor processor with that of
// contrib's k8sattributes processor, side by side in one benchmark. It is a module of its own, so
// that the project's does not require client-go for it. `make bench-k8sattributes` runs it.
package k8sattributes
