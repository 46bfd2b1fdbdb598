// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// AdoptStats says what [Sockops.Adopt] found.
type AdoptStats struct {
	Adopted          int // sockets taken over, listeners included
	Namespaces       int // network namespaces that hold TCP sockets
	NamespacesFailed int // of those, the ones that could not be entered
}

// Adopt takes over the sockets that were open before [Load], below the cgroup, in every
// network namespace that holds a TCP socket: from here on what they transfer is counted.
// It takes about 35 ms for 16,000 descriptors and 3 ms a namespace, so it belongs off
// the start path. Namespaces that cannot be entered (no CAP_SYS_ADMIN, or gone) are
// counted, and the error says why; the others are adopted all the same.
//
// Not safe for concurrent use with itself, Harvest or Close.
func (s *Sockops) Adopt(ctx context.Context) (AdoptStats, error) {
	st, err := s.inNamespaces(ctx, s.objects.FlowAdopt)
	var total, traced uint64
	err = errors.Join(err, s.objects.AdoptedSockets.Get(&total), s.objects.TracedSockets.Get(&traced))
	st.Adopted = int(total)
	if traced > 0 && s.tracing == nil {
		// Their callbacks are refused (kernels before 6.12): a tracepoint sees their end.
		t, attach := link.AttachTracing(link.TracingOptions{Program: s.objects.FlowState})
		if attach != nil {
			return st, errors.Join(err, fmt.Errorf("attach the state tracepoint: %w", explain(attach)))
		}
		s.tracing = t
	}
	return st, err
}

// release takes back the callback flags of the sockets that live on. Without them the
// kernel would go on calling other programs for events they did not ask for.
func (s *Sockops) release() error {
	_, err := s.inNamespaces(context.Background(), s.objects.FlowRelease)
	if errors.Is(err, unix.EPERM) || errors.Is(err, errGone) {
		return nil // a namespace that cannot be entered, or is gone: nothing to mend
	}
	return err
}

// attempts bounds how often a namespace is looked for whose socket was closed, or whose
// process ended, between the walk over the descriptors and its use.
const attempts = 3

// inNamespaces runs an iterator over tcp in each network namespace with TCP sockets.
func (s *Sockops) inNamespaces(ctx context.Context, program *ebpf.Program) (AdoptStats, error) {
	it, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return AdoptStats{}, fmt.Errorf("attach the tcp iterator: %w", explain(err))
	}
	defer it.Close()
	done := map[uint32]error{} // by inode
	for range attempts {
		found, err := s.namespaces()
		if err != nil {
			return AdoptStats{}, err
		}
		// A namespace whose socket was gone is found again by another one, or has none any more.
		maps.DeleteFunc(done, func(_ uint32, err error) bool { return errors.Is(err, errGone) })
		gone := false
		for _, ns := range found {
			if ctx.Err() != nil {
				return AdoptStats{}, ctx.Err()
			}
			if _, seen := done[ns.Inode]; !seen {
				err := ns.run(it)
				done[ns.Inode] = err
				gone = gone || errors.Is(err, errGone)
			}
		}
		if !gone {
			break
		}
	}
	var st AdoptStats
	var errs []error
	for inode, err := range done {
		st.Namespaces++
		if err != nil {
			st.NamespacesFailed++
			errs = append(errs, fmt.Errorf("network namespace %d: %w", inode, err))
		}
	}
	return st, errors.Join(errs...)
}

func (n namespace) run(it *link.Iter) error {
	fd, err := n.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return runIn(fd, it)
}
