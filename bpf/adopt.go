// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"

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
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ESRCH) {
		return nil // a namespace that cannot be entered, or is gone: nothing to mend
	}
	return err
}

// inNamespaces runs an iterator over tcp in each network namespace with TCP sockets.
func (s *Sockops) inNamespaces(ctx context.Context, program *ebpf.Program) (AdoptStats, error) {
	var st AdoptStats
	found, err := s.namespaces()
	if err != nil {
		return st, err
	}
	it, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return st, fmt.Errorf("attach the tcp iterator: %w", explain(err))
	}
	defer it.Close()
	var errs []error
	for _, ns := range found {
		if ctx.Err() != nil {
			return st, errors.Join(append(errs, ctx.Err())...)
		}
		st.Namespaces++
		if err := ns.run(it); err != nil {
			st.NamespacesFailed++
			errs = append(errs, fmt.Errorf("network namespace %d: %w", ns.Inode, err))
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
