// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sockets opens connections of the process to itself until it has Count, and holds both ends: to each of
// the listeners in turns.
type Sockets struct {
	Listen []netip.AddrPort
	Count  int
}

// pair is both ends of a connection.
type pair struct{ client, server int }

func (s *Sockets) run(w *worker) (Answer, error) {
	listeners := make([]int, len(s.Listen))
	for i, at := range s.Listen {
		var err error
		if listeners[i], err = listen(at); err != nil {
			return Answer{}, err
		}
		defer unix.Close(listeners[i])
	}
	for i := len(w.held); i < s.Count; i++ {
		client, err := connect(s.Listen[i%len(s.Listen)])
		if err != nil {
			return Answer{}, fmt.Errorf("connection %d: %w", i, err)
		}
		server, err := accept(listeners[i%len(s.Listen)])
		if err != nil {
			return Answer{}, fmt.Errorf("connection %d: %w", i, err)
		}
		w.held = append(w.held, pair{client, server})
	}
	return Answer{Count: 2 * len(w.held)}, nil
}

type touch struct{}

func (touch) run(w *worker) (Answer, error) {
	var b [1]byte
	for _, p := range w.held {
		for _, way := range [][2]int{{p.client, p.server}, {p.server, p.client}} {
			if err := writeAll(way[0], b[:]); err != nil {
				return Answer{}, err
			}
			if _, err := readFull(way[1], b[:]); err != nil {
				return Answer{}, err
			}
		}
	}
	return Answer{Count: 2 * len(w.held)}, nil
}
