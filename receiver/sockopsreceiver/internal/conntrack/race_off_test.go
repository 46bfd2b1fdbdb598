// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package conntrack

const raceEnabled = false
