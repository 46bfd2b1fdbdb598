// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cputime

import "time"

var start = time.Now()

// used is the wall clock where the processor time is not known.
func used() time.Duration { return time.Since(start) }
