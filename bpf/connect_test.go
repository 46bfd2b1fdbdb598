// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawConnect is connect(2) with an address that package unix has no type for.
func rawConnect(fd int, a *unix.RawSockaddrInet4) error {
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(a)), unsafe.Sizeof(*a))
	if errno != 0 {
		return errno
	}
	return nil
}
