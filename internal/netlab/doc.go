// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package netlab makes networks to break: hosts and routers as network namespaces
// of this machine, cables between them, and faults on the cables. Tests, the demo
// and the benchmarks run real programs on it.
//
//	client-1 ─ eth0 ─┐                                                 ┌─ eth0 ─ web-1
//	10.1.1.1         ├─ vpc-a ────────────── tgw ────────────── vpc-b ─┤          10.2.1.1
//	client-2 ─ eth0 ─┘  router    ▲         router              router └─ eth0 ─ web-2
//	10.1.1.2                      │                                              10.2.1.2
//	a cgroup each                 link.Fault(netlab.Loss{Rate: 0.03}, netlab.FromA)
//
// A lab is declared first ([Lab.Host], [Lab.Router], [Lab.Link], [Node.Host]), then
// made by [Lab.Start] and removed by [Lab.Close]:
//
//   - A node is a network namespace with its own addresses, routes, TCP parameters
//     and firewall, mounted under /run/netns ("ip netns" lists it, "nsenter
//     --net=/run/netns/…" enters), and a cgroup of its own below the machine's
//     cgroup2 mount. A process started by [Node.Command] is born in both. One kernel
//     plays many hosts: a collector that watches only the cgroup [Node.CgroupPath]
//     plays that one, wherever it runs itself.
//   - A link is a veth pair. Addresses are single ones (/32, /128), everything goes
//     through the cables that were declared, along the fewest; ARP and neighbour
//     discovery have nothing to do. Segmentation and checksum offloads are off, so
//     that what is lost is a segment (see offload.go).
//     A cable is as fast as the machine, and its queue is the kernel's: transfers at
//     full speed fill it and lose some segments, as on any network, and on a busy
//     machine TCP now and then sends again what only was late. Light traffic
//     retransmits next to nothing; a test that wants exactly nothing is wrong.
//   - A fault ([Loss], [Delay], [Blackhole], [Refused], [Reset], [Unreachable]) is
//     put on a link ([Link.Fault]) or at a node ([Node.Fault]), in one [Direction] or
//     both, and cleared one by one. It is an nftables table at the ingress hook of
//     the receiving end of the cable; a delay is a relay in this process besides.
//     tcpdump looks before that hook: it shows packets that are then dropped.
//   - Servers and clients for traffic with exact counts, and slow readers, are in the
//     package: [Node.StartServer], [Node.StartClient]; [Main] must be called first.
//   - What the kernel says at the end of each TCP socket: [Node.WatchDestroyed], and
//     the same by the program ss, [Node.WatchDestroyedBySS].
//
// A lab needs root, veth and cgroup2, its faults nftables with the ingress hook (Linux 5.15
// is enough): [Supported] says what is missing. It changes nothing of the machine
// but /run/netns, which becomes a mount point as by "ip netns add". Several labs
// may be there at once, in one process or in many. All that a lab leaves visible
// bears its owner's process id and start time in its name; after a crash, [Sweep],
// or the next [Lab.Start], removes what the dead left, living processes of theirs
// included.
//
// The package is for Linux only; elsewhere it is empty.
package netlab // import "github.com/otel-flowmonitor/flowmonitor/internal/netlab"
