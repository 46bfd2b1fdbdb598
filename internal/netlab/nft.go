// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// table is an nftables table that holds one fault in one namespace: what is made
// by one command is removed by one, and leaves the other faults alone.
type table struct {
	ns   *namespace
	name string
}

// priorityDelay is before the priorities of all other faults, which count from 1: a
// delay takes the packet away and brings it back, and the others see it once.
const priorityDelay = 0

// add makes the table: packets that arrive at the devices, from or to the port if
// one is given, are counted and given to the rules. The family netdev hooks in
// before routing and connection tracking, for both IP versions, and its reject
// answers by itself, without the rate limit on ICMP.
func (t *table) add(devices []string, priority int, port uint16, rules []string) error {
	return t.ns.do(func() error { return runNFT(renderFault(t.name, devices, priority, port, rules)) })
}

// renderFault writes the table of a fault in the language of nft.
func renderFault(name string, devices []string, priority int, port uint16, rules []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table netdev %s {\n", name)
	b.WriteString("  counter seen { }\n  counter hit { }\n")
	b.WriteString("  chain strike {\n    counter name seen\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "    %s\n", r)
	}
	b.WriteString("  }\n  chain arrive {\n")
	fmt.Fprintf(&b, "    type filter hook ingress devices = { %s } priority %d; policy accept;\n", quoteAll(devices), priority)
	if port == 0 {
		// Packets to this host: the kernel reports its multicast groups by itself, and no
		// test counts on that.
		b.WriteString("    meta pkttype host meta protocol { ip, ip6 } goto strike\n")
	} else {
		// goto: a packet from this port to this port is struck once.
		fmt.Fprintf(&b, "    meta l4proto { tcp, udp } th dport %d goto strike\n", port)
		fmt.Fprintf(&b, "    meta l4proto { tcp, udp } th sport %d goto strike\n", port)
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

func quoteAll(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}

func (t *table) clear() (Counts, error) {
	c, err := t.counts()
	return c, errors.Join(err, t.delete())
}

func (t *table) delete() error {
	return t.ns.do(func() error { return runNFT("delete table netdev " + t.name + "\n") })
}

func (t *table) counts() (Counts, error) {
	var out []byte
	err := t.ns.do(func() (err error) {
		out, err = outputNFT("", "-j", "list", "counters", "table", "netdev", t.name)
		return err
	})
	if err != nil {
		return Counts{}, err
	}
	return parseCounters(out, t.name)
}

// parseCounters reads the two counters of a fault from the output of nft -j.
func parseCounters(out []byte, table string) (Counts, error) {
	var doc struct {
		Nftables []struct {
			Counter *struct {
				Name    string `json:"name"`
				Table   string `json:"table"`
				Packets uint64 `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return Counts{}, fmt.Errorf("read the counters of %s: %w", table, err)
	}
	var c Counts
	found := 0
	for _, o := range doc.Nftables {
		if o.Counter == nil || o.Counter.Table != table {
			continue
		}
		switch o.Counter.Name {
		case "seen":
			c.Seen = o.Counter.Packets
		case "hit":
			c.Hit = o.Counter.Packets
		default:
			continue
		}
		found++
	}
	if found != 2 {
		return Counts{}, fmt.Errorf("read the counters of %s: nft lists %d of 2", table, found)
	}
	return c, nil
}

// runNFT gives a script to nft, in the calling thread's namespace. A script is
// one transaction: all of it or nothing.
func runNFT(script string) error {
	_, err := outputNFT(script, "-f", "-")
	return err
}

func outputNFT(stdin string, args ...string) ([]byte, error) {
	nft, err := lookTool("nft")
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(nft, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
