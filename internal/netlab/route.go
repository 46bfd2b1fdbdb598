// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every interface has one neighbour, the other end of its cable, under the same
// two addresses. The entries are permanent: no ARP and no neighbour discovery, so
// that a fault takes the packets of a test and never the resolution before it.
var (
	gateway4 = net.IPv4(169, 254, 1, 1).To4()
	gateway6 = net.ParseIP("fe80::1")
)

// route gives each node its neighbours and its routes.
func (l *Lab) route(v6 bool) error {
	for _, n := range l.nodes {
		if err := n.route(v6); err != nil {
			return fmt.Errorf("node %q: %w", n.name, err)
		}
	}
	return nil
}

// route: a host with one link sends everything there; what has more than one
// choice, a router above all, knows each address of the lab by itself.
func (n *Node) route(v6 bool) error {
	h, err := netlink.NewHandleAt(n.ns.fd, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	gateways := []net.IP{gateway4}
	if v6 {
		gateways = append(gateways, gateway6)
	}
	for _, p := range n.ports {
		for _, gw := range gateways {
			err := h.NeighSet(&netlink.Neigh{LinkIndex: p.index, IP: gw, HardwareAddr: p.peer.mac, State: netlink.NUD_PERMANENT})
			if err != nil {
				return fmt.Errorf("add neighbour of %s: %w", p.device, err)
			}
		}
	}
	if !n.router && len(n.ports) > 0 {
		for _, gw := range gateways {
			if err := n.addRoute(h, everywhere(gw), n.ports[0]); err != nil {
				return err
			}
		}
	}
	if !n.router && len(n.ports) < 2 {
		return nil
	}
	for to, p := range n.nextHops() {
		for _, a := range to.addrs {
			if a.Is6() && !v6 {
				continue
			}
			if err := n.addRoute(h, single(a), p); err != nil {
				return err
			}
		}
	}
	return nil
}

func everywhere(gw net.IP) *net.IPNet {
	if len(gw) == net.IPv4len {
		return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	}
	return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
}

func (n *Node) addRoute(h *netlink.Handle, dst *net.IPNet, p *port) error {
	gw := gateway6
	if len(dst.IP) == net.IPv4len {
		gw = gateway4
	}
	// onlink: the gateway is in no network of ours, and need not be.
	err := h.RouteAdd(&netlink.Route{LinkIndex: p.index, Dst: dst, Gw: gw, Flags: int(netlink.FLAG_ONLINK), Congctl: congestion})
	if err != nil {
		return fmt.Errorf("add route to %s: %w", dst, err)
	}
	return nil
}

// nextHops finds, for every node that can be reached, the port by which the way
// with the fewest links begins. Of equal ways the one declared first is taken.
func (n *Node) nextHops() map[*Node]*port {
	first := map[*Node]*port{}
	queue := []*Node{n}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at != n && !at.router {
			continue // hosts do not pass on
		}
		for _, p := range at.ports {
			next := p.peer.node
			if next == n || first[next] != nil {
				continue
			}
			first[next] = p
			if at != n {
				first[next] = first[at]
			}
			queue = append(queue, next)
		}
	}
	return first
}
