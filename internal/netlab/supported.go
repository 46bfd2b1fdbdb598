// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Supported reports whether a lab can be made here, and every fault: nil, or one
// sentence that says what is missing. It tries the things themselves, in a namespace
// that is gone when it returns, once per process.
func Supported() error {
	if err := nodesSupported(); err != nil {
		return err
	}
	return faultsSupported()
}

// nodesSupported is all that [Lab.Start] needs: many kernels have no ingress hook.
var nodesSupported = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("netlab: needs root, to make network namespaces and cgroups")
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netlab: cannot make a network namespace (needs CAP_SYS_ADMIN): %w", err)
		}
		if err := addProbe(); err != nil {
			return fmt.Errorf("netlab: cannot make a veth pair (needs the kernel's veth driver): %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	cc, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err == nil && !strings.Contains(string(cc), "cubic") {
		return errors.New("netlab: the kernel has no TCP congestion control \"cubic\"")
	}
	return cgroupSupported()
})

var faultsSupported = sync.OnceValue(func() error {
	if _, err := lookTool("nft"); err != nil {
		return err
	}
	return onThread(func() error {
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), addProbe()); err != nil {
			return fmt.Errorf("netlab: make a namespace to try faults in: %w", err)
		}
		var all []string
		for _, f := range []Fault{Loss{Rate: 0.5}, Blackhole{}, Refused{}, Reset{}, Unreachable{}} {
			rules, err := f.rules()
			if err != nil {
				return err
			}
			all = append(all, rules...)
		}
		if err := runNFT(renderFault("probe", []string{"probe"}, 1, 1, all)); err != nil {
			return fmt.Errorf("netlab: the kernel's nftables lacks the ingress hook, numgen or reject (CONFIG_NF_TABLES_NETDEV, CONFIG_NFT_NUMGEN, CONFIG_NFT_REJECT_NETDEV): %w", err)
		}
		return nil
	})
})

// addProbe makes a pair of devices in the thread's namespace.
func addProbe() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "probe"
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"})
}

// cgroupSupported makes a cgroup, and removes it.
func cgroupSupported() error {
	id, err := newID()
	if err != nil {
		return err
	}
	tree, err := newCgroupTree(id)
	if err != nil {
		return fmt.Errorf("netlab: needs a writable cgroup2: %w", err)
	}
	if err := tree.remove(); err != nil {
		return fmt.Errorf("netlab: needs cgroup2 with cgroup.kill (Linux 5.14): %w", errors.Join(err, unix.Rmdir(tree.path)))
	}
	return nil
}
