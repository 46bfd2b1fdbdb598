// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package cputime

import (
	"syscall"
	"time"
	"unsafe"
)

// Thread is the processor time that the present thread has used. It means something between
// two calls only while the goroutine is locked to its thread.
func Thread() time.Duration {
	const clockThread = 3 // CLOCK_THREAD_CPUTIME_ID: nanoseconds, where getrusage counts ticks
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockThread, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}
