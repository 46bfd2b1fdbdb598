// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Node is a host or a router: a network namespace and a cgroup.
type Node struct {
	lab    *Lab
	name   string
	router bool
	addrs  []netip.Addr
	ports  []*port

	ns     *namespace
	cgroup string
}

// Host declares a host: a node that does not forward. Its addresses, IPv4 and
// IPv6 in any number, are single ones: a lab has no on-link neighbours, all
// traffic goes through the links that were declared, as in a cloud's network.
func (l *Lab) Host(name string, addrs ...string) *Node {
	n := &Node{lab: l, name: name}
	for _, s := range addrs {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			l.declared = append(l.declared, fmt.Errorf("node %q: %q is no IPv4 or IPv6 address of a host", name, s))
			continue
		}
		n.addrs = append(n.addrs, a)
	}
	l.nodes = append(l.nodes, n)
	return n
}

// Router declares a router. Without addresses it gets one of each family from
// 198.18.0.0/15 and fd4e:4c00::/64: errors that it reports by ICMP come from there.
func (l *Lab) Router(name string, addrs ...string) *Node {
	if len(addrs) == 0 {
		i := len(l.nodes) + 1
		addrs = []string{
			fmt.Sprintf("198.18.%d.%d", i>>8, i&0xff),
			fmt.Sprintf("fd4e:4c00::%x", i),
		}
	}
	n := l.Host(name, addrs...)
	n.router = true
	return n
}

// Host declares a host with a link to this router: end A is the host.
func (n *Node) Host(name string, addrs ...string) *Node {
	h := n.lab.Host(name, addrs...)
	n.lab.Link(h, n)
	return h
}

// Name is the name that the node was declared with.
func (n *Node) Name() string { return n.name }

// Addrs are the node's addresses, in the order of the declaration.
func (n *Node) Addrs() []netip.Addr { return append([]netip.Addr(nil), n.addrs...) }

// Addr4 is the node's first IPv4 address, or the zero Addr.
func (n *Node) Addr4() netip.Addr { return n.firstAddr(netip.Addr.Is4) }

// Addr6 is the node's first IPv6 address, or the zero Addr.
func (n *Node) Addr6() netip.Addr { return n.firstAddr(netip.Addr.Is6) }

func (n *Node) firstAddr(is func(netip.Addr) bool) netip.Addr {
	for _, a := range n.addrs {
		if is(a) {
			return a
		}
	}
	return netip.Addr{}
}

// Link is the node's first link, which is a host's only one as a rule. It is nil
// if there is none.
func (n *Node) Link() *Link {
	if len(n.ports) == 0 {
		return nil
	}
	return n.ports[0].link
}

// CgroupPath is the cgroup in which [Node.Command] starts processes: what a
// collector that plays this host takes for its cgroup_path. It is "" before
// [Lab.Start].
func (n *Node) CgroupPath() string { return n.cgroup }

// NetnsPath is the file of the node's network namespace, for
// "nsenter --net=FILE". It is "" before [Lab.Start].
func (n *Node) NetnsPath() string {
	if n.ns == nil {
		return ""
	}
	return n.ns.path
}

// Do runs fn in the node's network namespace, on the caller's goroutine, and
// returns its error. Sockets that fn opens stay in the namespace. They belong to
// the cgroup of the *calling process*, for a cgroup holds processes, not threads:
// a collector that watches the node's cgroup does not see them; use
// [Node.Command] or [Node.StartClient] for those it shall see.
//
// Goroutines that fn starts are not in the namespace.
func (n *Node) Do(fn func() error) error {
	n.lab.mu.Lock()
	err := n.lab.alive()
	n.lab.mu.Unlock()
	if err != nil {
		return err
	}
	return n.ns.do(fn)
}

// Sysctl sets a kernel parameter of the node's network namespace, for instance
// Sysctl("net.ipv4.tcp_syn_retries", "1"). Only parameters under net are a
// namespace's own.
func (n *Node) Sysctl(name, value string) error {
	if !strings.HasPrefix(name, "net.") {
		return fmt.Errorf("netlab: sysctl %q: only those under net. belong to a node", name)
	}
	return n.Do(func() error { return writeSysctl(name, value) })
}

func writeSysctl(name, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", name, value, err)
	}
	return nil
}

// sysctl is a kernel parameter that a node differs in from a fresh namespace.
type sysctl struct{ name, value string }

// sysctls are those of all nodes, then those of routers; each with its reason.
var (
	sysctls = []sysctl{
		// The kernel remembers ssthresh and RTT by peer address, for the connections to come:
		// what one test did to a path would show in the next.
		{"net.ipv4.tcp_no_metrics_save", "1"},
		// With /32 addresses on more than one link a reply may leave by another link.
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
	}
	sysctls6 = []sysctl{
		// Some container runtimes switch it off in what new namespaces inherit.
		{"net.ipv6.conf.all.disable_ipv6", "0"},
		{"net.ipv6.conf.default.disable_ipv6", "0"},
		// Addresses are ours: no link-local ones (1 = none), no probing for duplicates, which
		// holds an address back for a second, no router solicitations.
		{"net.ipv6.conf.default.addr_gen_mode", "1"},
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.all.accept_ra", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
	}
	routerSysctls = []sysctl{
		{"net.ipv4.ip_forward", "1"},
		// One "unreachable" a second and peer would make what a client sees depend on the
		// test before it. 0 is no limit.
		{"net.ipv4.icmp_ratelimit", "0"},
	}
	routerSysctls6 = []sysctl{
		{"net.ipv6.conf.all.forwarding", "1"},
		{"net.ipv6.icmp.ratelimit", "0"},
	}
)

// congestion is the congestion control of the nodes. A namespace inherits the
// machine's, and with bbr, which ignores loss, a test would measure something else.
//
// A kernel built with another default does not let a namespace have this one
// ("restricted"), unless the whole machine is changed. So every route between nodes
// names it too, which is always allowed: only connections of a node with itself
// may have the machine's.
const congestion = "cubic"

// configure sets the parameters of a new node.
func (n *Node) configure(v6 bool) error {
	sets := [][]sysctl{sysctls}
	if v6 {
		sets = append(sets, sysctls6)
	}
	if n.router {
		sets = append(sets, routerSysctls)
	}
	if n.router && v6 {
		sets = append(sets, routerSysctls6)
	}
	return n.ns.do(func() error {
		err := writeSysctl("net.ipv4.tcp_congestion_control", congestion)
		if err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
		for _, set := range sets {
			for _, s := range set {
				if err := writeSysctl(s.name, s.value); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// address gives the node its addresses: a host's are on its first link, a
// router's on its loopback interface, which is brought up here.
func (n *Node) address(v6 bool) error {
	h, err := netlink.NewHandleAt(n.ns.fd, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	home, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(home); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	if !n.router && len(n.ports) > 0 {
		if home, err = h.LinkByIndex(n.ports[0].index); err != nil {
			return err
		}
	}
	for _, a := range n.addrs {
		if a.Is6() && !v6 {
			if n.router {
				continue // given by us: the lab may use IPv4 only
			}
			return fmt.Errorf("address %s: this kernel has no IPv6", a)
		}
		addr := &netlink.Addr{IPNet: single(a)}
		if a.Is6() {
			addr.Flags = unix.IFA_F_NODAD // usable at once
		}
		if err := h.AddrAdd(home, addr); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	return nil
}
