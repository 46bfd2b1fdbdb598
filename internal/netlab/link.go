// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is a cable between two nodes, A and B: a veth pair.
type Link struct {
	lab  *Lab
	a, b *port
}

// port is one end of a link.
type port struct {
	node   *Node
	link   *Link
	peer   *port
	device string           // the interface's name in the node's namespace
	mac    net.HardwareAddr // its address
	index  int              // and its number
}

// mtu is that of every link. Links cut at this size, so that a lost packet is one
// segment (see [Link.make]).
const mtu = 1500

// Link declares a link between two nodes: a is its end A. Routes are found by
// themselves, along the fewest links; only routers pass traffic on.
func (l *Lab) Link(a, b *Node) *Link {
	k := &Link{lab: l}
	if a == nil || b == nil || a == b || a.lab != l || b.lab != l {
		l.declared = append(l.declared, errors.New("a link joins two nodes of one lab"))
		return k
	}
	k.a, k.b = a.newPort(k, b), b.newPort(k, a)
	k.a.peer, k.b.peer = k.b, k.a
	l.links = append(l.links, k)
	return k
}

// newPort names a new interface: eth0, eth1, … at a host, after the peer at a
// router, as far as the 15 bytes of an interface name go.
func (n *Node) newPort(k *Link, peer *Node) *port {
	i := len(n.ports)
	p := &port{node: n, link: k, device: "eth" + strconv.Itoa(i)}
	if n.router {
		p.device = peer.name
		if len(peer.name) > unix.IFNAMSIZ-1 || peer.name == "lo" || peer.name == "all" || peer.name == "default" || n.hasDevice(peer.name) {
			suffix := "." + strconv.Itoa(i) // no node's name has a dot
			p.device = peer.name[:min(len(peer.name), unix.IFNAMSIZ-1-len(suffix))] + suffix
		}
	}
	n.ports = append(n.ports, p)
	return p
}

func (n *Node) hasDevice(name string) bool {
	for _, p := range n.ports {
		if p.device == name {
			return true
		}
	}
	return false
}

// A is the node that the link was declared with first.
func (k *Link) A() *Node { return k.a.node }

// B is the other node.
func (k *Link) B() *Node { return k.b.node }

func (k *Link) String() string { return k.a.node.name + "–" + k.b.node.name }

// hardwareAddr names an end of link i: locally administered, "NL" in the middle.
func hardwareAddr(i int, end byte) net.HardwareAddr {
	return net.HardwareAddr{0x02, 'N', 'L', byte(i >> 8), byte(i), end}
}

// Last bytes of the hardware addresses of a link: its ends, and the mark by which
// a delayed frame tells from one that is yet to be delayed (see relay.go).
const (
	macA    = 0x0a
	macB    = 0x0b
	macMark = 0xd0
)

// make makes the veth pair, each end at once in its namespace, so that no name is
// ever seen, or taken, in the machine's own.
func (k *Link) make(i int) error {
	h, err := netlink.NewHandleAt(k.a.node.ns.fd, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	k.a.mac, k.b.mac = hardwareAddr(i, macA), hardwareAddr(i, macB)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = k.a.device, mtu, k.a.mac
	err = h.LinkAdd(&netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         k.b.device,
		PeerHardwareAddr: k.b.mac,
		PeerNamespace:    netlink.NsFd(k.b.node.ns.fd),
	})
	if err != nil {
		return fmt.Errorf("make veth pair: %w", err)
	}
	for _, p := range []*port{k.a, k.b} {
		err := p.node.ns.do(func() error {
			i, err := net.InterfaceByName(p.device)
			if err != nil {
				return err
			}
			p.index = i.Index
			if err := disableOffloads(p.device); err != nil {
				return err
			}
			link, err := netlink.LinkByIndex(p.index)
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		})
		if err != nil {
			return fmt.Errorf("node %q: %w", p.node.name, err)
		}
	}
	for _, p := range []*port{k.a, k.b} {
		if err := p.node.ns.do(p.waitUp); err != nil {
			return fmt.Errorf("node %q: %w", p.node.name, err)
		}
	}
	return nil
}

// upTimeout bounds the wait for a worker of the kernel to see that a cable is in.
const upTimeout = 10 * time.Second

// waitUp waits until the port can send. The end that was brought up first got its
// carrier with the second, and has a queue only when a worker of the kernel has
// noticed: what is sent before is dropped without a trace. To ask for the link,
// from Linux 6.8 on, makes the kernel look.
func (p *port) waitUp() error {
	for deadline := time.Now().Add(upTimeout); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByIndex(p.index)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is %s, not up, after %v", p.device, link.Attrs().OperState, upTimeout)
		}
	}
}

// single is the network that holds a only.
func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}
