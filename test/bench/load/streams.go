// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Streams sends over Number connections at a time: Bytes in all, or for a time. Its answer
// comes when all has arrived.
type Streams struct {
	To       netip.AddrPort
	Number   int
	Write    int // bytes a write()
	Bytes    int64
	Duration time.Duration
}

func (s *Streams) run(*worker) (Answer, error) {
	var sent atomic.Int64
	var streams sync.WaitGroup
	errs := make([]error, s.Number)
	began := time.Now()
	for i := range s.Number {
		streams.Go(func() {
			errs[i] = s.stream(began, &sent)
		})
	}
	streams.Wait()
	return Answer{Bytes: sent.Load(), Elapsed: time.Since(began)}, errors.Join(errs...)
}

func (s *Streams) stream(began time.Time, sent *atomic.Int64) error {
	fd, err := connect(s.To)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	chunk := make([]byte, s.Write)
	share := s.Bytes / int64(s.Number)
	for n := int64(0); s.Bytes > 0 && n < share || s.Duration > 0 && time.Since(began) < s.Duration; n += int64(len(chunk)) {
		if err := writeAll(fd, chunk); err != nil {
			return err
		}
		sent.Add(int64(len(chunk)))
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return err
	}
	_, err = read(fd, chunk[:1]) // the receiver closes when it has all
	return err
}
