// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// lab is where the traffic is: nothing else of the machine runs below its cgroup.
type lab struct {
	*netlab.Lab
	client, server *netlab.Node // the same one for traffic over the loopback interface
}

// oneHost is a host that speaks to itself: segments of up to 64 KB.
func (m *measurement) oneHost() (*lab, error) {
	l := &lab{Lab: netlab.New()}
	l.client = l.Host("host", "10.0.0.1")
	l.server = l.client
	return l, m.started(l)
}

// twoHosts are two with a cable between them that takes 1,500 bytes, without offloads:
// segments of 1,448.
func (m *measurement) twoHosts() (*lab, error) {
	l := &lab{Lab: netlab.New()}
	l.client, l.server = l.Host("client", "10.0.0.1"), l.Host("server", "10.0.0.2")
	l.Link(l.client, l.server)
	if err := m.started(l); err != nil {
		return nil, err
	}
	for _, n := range []*netlab.Node{l.client, l.server} {
		if err := n.Do(noSegmentation); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// noSegmentation: without it TCP itself handles 64 KB at a time and the device cuts them.
func noSegmentation() error {
	device, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	return netlink.LinkSetGSOMaxSegs(device, 1)
}

func (m *measurement) started(l *lab) error {
	if err := l.Start(m.ctx); err != nil {
		return err
	}
	for _, n := range []*netlab.Node{l.client, l.server} {
		// Connections are made by the hundred thousand and rest in TIME_WAIT for a minute: ports
		// must not run out, nor the kernel's patience.
		for name, value := range map[string]string{
			"net.ipv4.ip_local_port_range": "1024 65535",
			"net.ipv4.tcp_tw_reuse":        "1",
			"net.ipv4.tcp_max_tw_buckets":  "2000000",
		} {
			if err := n.Sysctl(name, value); err != nil {
				return errors.Join(err, l.Close())
			}
		}
	}
	return nil
}

const (
	replyPort = 700 // below the ephemeral ports
	sinkPort  = 701
	pacedPort = 703
)

// addresses of the server, so that ports are not used up: 64 flows at each end.
const addresses = 64

// targets are where short connections go, in turns.
func targets(port uint16) (to []netip.AddrPort) {
	for i := range byte(addresses) {
		to = append(to, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, 1 + i}), port))
	}
	return to
}

// traffic is a client and a server process.
type traffic struct{ client, server *load.Process }

// traffic starts both; the server listens for short connections and for streams.
func (m *measurement) traffic(l *lab) (*traffic, error) {
	t := &traffic{}
	var err error
	if t.server, err = load.Start(m.ctx, l.server); err != nil {
		return nil, err
	}
	if t.client, err = load.Start(m.ctx, l.client); err != nil {
		return nil, errors.Join(err, t.server.Close())
	}
	any4 := netip.IPv4Unspecified()
	for _, s := range []load.Serve{
		{Listen: netip.AddrPortFrom(any4, replyPort), Threads: workers, Reply: true},
		{Listen: netip.AddrPortFrom(any4, pacedPort), Threads: workers, Reply: true, Realtime: true},
		{Listen: netip.AddrPortFrom(any4, sinkPort), Threads: streams},
	} {
		if _, err := t.server.Do(load.Order{Serve: &s}); err != nil {
			return nil, errors.Join(fmt.Errorf("serve: %w", err), t.Close())
		}
	}
	return t, nil
}

func (t *traffic) Close() error { return errors.Join(t.client.Close(), t.server.Close()) }

const (
	workers = 64 // short connections at a time, at most
	streams = 8
)
