// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offloads are switched off on both ends of every link.
//
// Segmentation (TSO, GSO, GRO): with it what crosses a veth pair is up to 64 KiB
// in one piece, and a rule that drops "a packet" drops 45 segments: the loss rate
// would be right and its effect that of rare bursts. Without it the kernel cuts
// before the cable, as a network card does, and each segment is drawn for by itself.
//
// Checksums: a veth pair passes packets on without computing them, trusting that
// nobody looks. A delayed packet leaves the kernel and comes back: the second time
// its checksum is verified.
var offloads = []struct {
	name string
	cmd  uint32
}{
	{"TSO", unix.ETHTOOL_STSO},
	{"GSO", unix.ETHTOOL_SGSO},
	{"GRO", unix.ETHTOOL_SGRO},
	{"checksums", unix.ETHTOOL_STXCSUM}, // last: without it the kernel refuses none of those above
}

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqPointer is struct ifreq of linux/if.h with ifr_data in its union.
type ifreqPointer struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// disableOffloads changes device in the calling thread's namespace.
func disableOffloads(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, o := range offloads {
		value := ethtoolValue{cmd: o.cmd}
		req := ifreqPointer{data: unsafe.Pointer(&value)}
		copy(req.name[:unix.IFNAMSIZ-1], device)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return fmt.Errorf("switch off %s of %s: %w", o.name, device, errno)
		}
	}
	return nil
}
