// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"bytes"
	"os"
	"time"
)

// namespace is one that is followed. It belongs to the reader.
type namespace struct {
	socket socket
	origin origin
	silent bool // it sends no events: nothing but a dump tells

	left      bool          // something is still to be read
	wanted    bool          // a dump, once nothing is left
	notBefore time.Duration // but not before
	dumping   bool
	dump      uint32        // its number
	refusals  int           // of the last dumps, one after the other
	overrun   bool          // events were lost since the dump began
	reconcile time.Duration // when the next dump is due; 0: not
	drops     uint32        // as of the last look
	passed    uint32        // number of the last barrier, or dump, that has come back
}

// refusalsCounted: after six, in 13 s, a namespace counts as one that gives no dumps.
const refusalsCounted = 6

// open follows a namespace: the subscription comes first, the dump after, so that no
// connection falls between them.
func open(path string, inode uint32, receiveBuffer int) (*namespace, *interfaces, error) {
	var i *interfaces
	n := &namespace{origin: origin{netns: inode}, wanted: true}
	err := enter(path, inode, func() (err error) {
		n.silent = eventsOff()
		if n.socket, err = listen(receiveBuffer); err != nil {
			return err
		}
		if i, err = listInterfaces(); err != nil {
			n.socket.close()
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return n, i, nil
}

// eventsOff says whether the namespace of the calling thread was told to send no events.
// Ours is not to change that.
func eventsOff() bool {
	value, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_events")
	return err == nil && bytes.Equal(bytes.TrimSpace(value), []byte("0"))
}

// since says whether barrier or dump a was asked for after b, or is b; numbers wrap.
func since(a, b uint32) bool { return int32(a-b) >= 0 }

// synced says whether all is read and applied that was there when the barrier with this
// number was raised.
func (n *namespace) synced(barrier uint32) bool {
	whole := !n.dumping && !n.wanted || n.refusals == refusalsCounted // who has no dump must not be waited for
	return whole && since(n.passed, barrier)
}

// missing is how many messages the kernel dropped since the last call.
func (n *namespace) missing() uint64 {
	drops := n.socket.drops()
	missing := drops - n.drops
	n.drops = drops
	return uint64(missing)
}

func (n *namespace) pass(number uint32) {
	if since(number, n.passed) {
		n.passed = number
	}
}
