// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// reading is what the kernel counted in a network namespace, since that began.
type reading struct {
	activeOpens, passiveOpens uint64
	outSegs, retransSegs      uint64
	outRsts                   uint64

	// Of TcpExt, and zero if this kernel does not count it.
	embryonicRsts, syncookiesSent                uint64
	timeWaitsEnded, timeWaitsUsed, timeWaitsShot uint64 // TW, TWRecycled, TWKilled
	// Of sockstat: no counter, but a level.
	timeWaitsNow uint64
}

// column is one that is wanted of a table.
type column struct {
	name  string
	value func(*reading) *uint64
}

var tcpColumns = []column{
	{"ActiveOpens", func(r *reading) *uint64 { return &r.activeOpens }},
	{"PassiveOpens", func(r *reading) *uint64 { return &r.passiveOpens }},
	{"OutSegs", func(r *reading) *uint64 { return &r.outSegs }},
	{"RetransSegs", func(r *reading) *uint64 { return &r.retransSegs }},
	{"OutRsts", func(r *reading) *uint64 { return &r.outRsts }},
}

var tcpExtColumns = []column{
	{"EmbryonicRsts", func(r *reading) *uint64 { return &r.embryonicRsts }},
	{"SyncookiesSent", func(r *reading) *uint64 { return &r.syncookiesSent }},
	{"TW", func(r *reading) *uint64 { return &r.timeWaitsEnded }},
	{"TWRecycled", func(r *reading) *uint64 { return &r.timeWaitsUsed }},
	{"TWKilled", func(r *reading) *uint64 { return &r.timeWaitsShot }},
}

// What is wrong with a file that is not the kernel's.
var (
	errNoTable  = errors.New("no such table")
	errNoColumn = errors.New("no such column")
)

// parseSNMP reads the table Tcp of /proc/<pid>/net/snmp. All of its columns have been
// there since Linux 2.6.
func (r *reading) parseSNMP(file []byte) error {
	found, err := r.parseTable(file, "Tcp:", tcpColumns)
	if err == nil && found < len(tcpColumns) {
		err = errNoColumn
	}
	if err != nil {
		return fmt.Errorf("table Tcp of the file snmp: %w", err)
	}
	return nil
}

// parseNetstat reads the table TcpExt of /proc/<pid>/net/netstat.
func (r *reading) parseNetstat(file []byte) error {
	if _, err := r.parseTable(file, "TcpExt:", tcpExtColumns); err != nil {
		return fmt.Errorf("table TcpExt of the file netstat: %w", err)
	}
	return nil
}

// parseTable reads the columns of a table, which is two lines, of names and of values,
// that both begin with its own name. It says how many it found.
func (r *reading) parseTable(file []byte, table string, columns []column) (found int, err error) {
	names, rest, ok := lineOf(file, table)
	if !ok {
		return 0, errNoTable
	}
	values, _, ok := lineOf(rest, table)
	if !ok {
		return 0, errNoTable
	}
	for len(names) > 0 && len(values) > 0 {
		var name, value []byte
		name, names = field(names)
		value, values = field(values)
		for i := range columns {
			if string(name) != columns[i].name {
				continue
			}
			n, err := strconv.ParseUint(string(value), 10, 64)
			if err != nil {
				return found, fmt.Errorf("%s: %w", name, err)
			}
			*columns[i].value(r) = n
			found++
		}
	}
	return found, nil
}

// parseSockstat reads how many sockets are in TIME_WAIT of /proc/<pid>/net/sockstat.
func (r *reading) parseSockstat(file []byte) error {
	line, _, ok := lineOf(file, "TCP:")
	if !ok {
		return fmt.Errorf("the file sockstat: %w", errNoTable)
	}
	for len(line) > 0 {
		var name, value []byte
		name, line = field(line)
		value, line = field(line)
		if string(name) != "tw" {
			continue
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		if err != nil {
			return fmt.Errorf("the file sockstat: tw: %w", err)
		}
		r.timeWaitsNow = n
		return nil
	}
	return fmt.Errorf("the file sockstat: tw: %w", errNoColumn)
}

// lineOf gives the first line that begins with a field, without that, and what follows it.
func lineOf(file []byte, first string) (line, rest []byte, ok bool) {
	for len(file) > 0 {
		line, file, _ = bytes.Cut(file, []byte{'\n'})
		if name, tail := field(line); string(name) == first {
			return tail, file, true
		}
	}
	return nil, nil, false
}

// field takes the first field off a line.
func field(line []byte) (first, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, " \t")
	if end < 0 {
		return line, nil
	}
	return line[:end], bytes.TrimLeft(line[end:], " \t")
}
