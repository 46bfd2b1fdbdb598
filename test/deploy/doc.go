// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package deploy runs the built collector with exactly the privileges that the examples
// give it: the systemd unit's and the Kubernetes container's, read from their files and
// enforced by runc. What they leave out the collector does not need.
//
// No systemd and no kubelet runs here. From their settings the tests make what those make
// of them: capability sets, user, no_new_privs, seccomp filter, mounts, memory limit.
package deploy
