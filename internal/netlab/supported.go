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

// Supported reports whether a lab can be made here: nil, or one sentence that says
// what is missing. It tries the things themselves, in a namespace that is gone
// when it returns, once per process.
func Supported() error { return supported() }

var supported = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("netlab: needs root, to make network namespaces and cgroups")
	}
	if _, err := lookTool("nft"); err != nil {
		return err
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netlab: cannot make a network namespace (needs CAP_SYS_ADMIN): %w", err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "probe"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}); err != nil {
			return fmt.Errorf("netlab: cannot make a veth pair (needs the kernel's veth driver): %w", err)
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
	if err != nil {
		return err
	}
	cc, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err == nil && !strings.Contains(string(cc), "cubic") {
		return errors.New("netlab: the kernel has no TCP congestion control \"cubic\"")
	}
	return cgroupSupported()
})

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
