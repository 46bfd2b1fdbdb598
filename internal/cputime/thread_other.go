// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package cputime

import "time"

// Thread is the time that has passed, where that of a thread is not known.
func Thread() time.Duration { return time.Since(thread) }

var thread = time.Now()
