// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"errors"
)

// find looks for network namespaces that are not audited yet. One is known by a process
// in it; when that ends, the audit of the namespace ends (see Before), and begins anew
// with another process: meanwhile the namespace may have ended too, and its number been
// given to a new one.
func (a *Audit) find() error {
	var refused map[uint32]bool
	err := processes(func(pid int) {
		inode, err := namespaceOf(pid)
		if err != nil || a.namespaces[inode] != nil {
			return // it has ended, or must not be looked at
		}
		if len(a.namespaces) >= a.max {
			if refused == nil {
				refused = map[uint32]bool{}
			}
			refused[inode] = true
			return
		}
		p, err := openProcess(pid)
		if err != nil {
			return
		}
		n := &namespace{process: p}
		if a.read(inode, n, &n.before) != nil {
			p.close()
			return
		}
		a.namespaces[inode] = n
	})
	a.report.Refused = len(refused)
	return err
}

// leave ends the audit of a namespace. What was found stays in the report. It gives back
// the reason, unless that is the end of the namespace.
func (a *Audit) leave(inode uint32, n *namespace, reason error) error {
	n.process.close()
	delete(a.namespaces, inode)
	a.report.Vanished++
	if errors.Is(reason, errGone) {
		return nil
	}
	return reason
}

// read brings a reading of a namespace up to date. Where no segment was sent meanwhile
// the rest is as it was too, and its reading, which costs most, is saved.
func (a *Audit) read(inode uint32, n *namespace, r *reading) error {
	sent := r.segments()
	if err := a.readSNMP(inode, n, r); err != nil || r.segments() == sent {
		return err
	}
	// What an allowance is made of comes after what it is for, and so cannot lack any of it.
	return cmp.Or(
		a.readFile(n, "netstat", r.parseNetstat),
		a.readFile(n, "sockstat", r.parseSockstat),
		n.process.in(inode),
	)
}

// readSNMP reads the counters that are compared.
func (a *Audit) readSNMP(inode uint32, n *namespace, r *reading) error {
	return cmp.Or(a.readFile(n, "snmp", r.parseSNMP), n.process.in(inode))
}

func (a *Audit) readFile(n *namespace, name string, parse func([]byte) error) error {
	file, err := n.process.read(name, a.buffer)
	if err != nil {
		return err
	}
	a.buffer = file
	return parse(file)
}
