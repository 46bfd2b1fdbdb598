// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseSS decodes a line of "ss -E -t -i -e -n -H -O":
//
//	UNCONN 0 0 10.0.0.1:47404 10.0.0.2:80 ino:0 sk:b ts sack … retrans:0/3 bytes_acked:101 …
//
// ss prints a counter only if it is not zero.
func parseSS(line string) (Destroyed, error) {
	var d Destroyed
	fields := strings.Fields(line)
	const state, recvQ, sendQ, local, remote, rest = 0, 1, 2, 3, 4, 5
	if len(fields) < rest {
		return d, fmt.Errorf("ss printed %q: too few columns", line)
	}
	for _, q := range fields[recvQ : sendQ+1] {
		if _, err := strconv.ParseUint(q, 10, 32); err != nil {
			return d, fmt.Errorf("ss printed %q: %q is no queue length", line, q)
		}
	}
	var err error
	if d.Local, err = parseSSAddr(fields[local]); err != nil {
		return d, fmt.Errorf("ss printed %q: %w", line, err)
	}
	if d.Remote, err = parseSSAddr(fields[remote]); err != nil {
		return d, fmt.Errorf("ss printed %q: %w", line, err)
	}
	for _, f := range fields[rest:] {
		key, value, ok := strings.Cut(f, ":")
		if !ok {
			continue // a flag, or a rate, whose value is the next word
		}
		if err := d.setSS(key, value); err != nil {
			return d, fmt.Errorf("ss printed %q: %w", f, err)
		}
	}
	return d, nil
}

// setSS takes what [TCPInfo] has from one key:value pair, and no other.
func (d *Destroyed) setSS(key, value string) (err error) {
	i := &d.Info
	u64 := func(to *uint64) { *to, err = strconv.ParseUint(value, 10, 64) }
	u32 := func(to *uint32) {
		var v uint64
		v, err = strconv.ParseUint(value, 10, 32)
		*to = uint32(v)
	}
	switch key {
	case "sk":
		d.Cookie, err = strconv.ParseUint(value, 16, 64)
	case "retrans": // now unacknowledged / ever
		_, value, _ = strings.Cut(value, "/")
		u32(&i.TotalRetrans)
	case "bytes_acked":
		u64(&i.BytesAcked)
	case "bytes_received":
		u64(&i.BytesReceived)
	case "bytes_sent":
		u64(&i.BytesSent)
	case "bytes_retrans":
		u64(&i.BytesRetrans)
	case "segs_out":
		u32(&i.SegsOut)
	case "segs_in":
		u32(&i.SegsIn)
	case "data_segs_out":
		u32(&i.DataSegsOut)
	case "data_segs_in":
		u32(&i.DataSegsIn)
	}
	return err
}

// parseSSAddr decodes 10.0.0.1:80, [::1]:80, [::ffff:10.0.0.1]:80, 0.0.0.0:* and
// *:* (any address of both families); an interface may follow the address after %.
func parseSSAddr(s string) (netip.AddrPort, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and port", s)
	}
	host, service := s[:i], s[i+1:]
	host, _, _ = strings.Cut(host, "%")
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr := netip.IPv6Unspecified()
	if host != "*" {
		var err error
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	var port uint64
	if service != "*" {
		var err error
		if port, err = strconv.ParseUint(service, 10, 16); err != nil {
			return netip.AddrPort{}, fmt.Errorf("%q is no port", service)
		}
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
