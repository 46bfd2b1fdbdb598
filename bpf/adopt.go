// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

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
// Safe for concurrent use with Harvest, not with itself or Close.
func (s *Sockops) Adopt(ctx context.Context) (AdoptStats, error) {
	// Pinned counters go on from the process before.
	adoptedBefore, moreBefore, err := s.adoptionCounters()
	if err != nil {
		return AdoptStats{}, err
	}
	st, err := s.inNamespaces(ctx, s.objects.FlowAdopt)
	err = errors.Join(err, clearMap[sockopsListener, uint8](s.objects.Listeners))
	adopted, more, counters := s.adoptionCounters()
	err = errors.Join(err, counters, s.trace())
	st.Adopted = int(adopted - adoptedBefore)
	if more > moreBefore {
		st.NamespacesFailed++
		err = errors.Join(err, fmt.Errorf("more than %d network namespaces: %d sockets are in others", s.objects.Namespaces.MaxEntries(), more-moreBefore))
	}
	return st, err
}

func (s *Sockops) adoptionCounters() (adopted, ofMoreNamespaces uint64, err error) {
	err = errors.Join(s.objects.AdoptedSockets.Get(&adopted), s.objects.SocketsOfMoreNamespaces.Get(&ofMoreNamespaces))
	return adopted, ofMoreNamespaces, err
}

// release takes back the callback flags of the sockets that live on, so that the kernel
// makes no calls that nobody asked for. Flags do not say whose they are: while any other
// sockops program is left below the cgroup, or above it, they stay.
func (s *Sockops) release() {
	others, err := attachedPrograms(s.path)
	if err != nil || others > 0 {
		return
	}
	// A namespace that cannot be entered keeps its flags; no program is there to be called.
	_, _ = s.inNamespaces(context.Background(), s.objects.FlowRelease)
}

// others says whether another sockops program is called for the sockets of the cgroup
// itself: one that assigns its callback flags takes ours. (The many cgroups below it are
// looked through at the end only.)
func (s *Sockops) others() bool {
	n, err := programsOf(s.path)
	return err == nil && n > 1
}

// attachedPrograms counts the sockops programs that are called for sockets of a cgroup or
// of any below it, up to the first cgroup that has some.
func attachedPrograms(cgroup string) (n int, err error) {
	err = filepath.WalkDir(cgroup, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it was removed meanwhile
		}
		found, err := programsOf(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if n += found; n > 0 {
			return fs.SkipAll
		}
		return nil
	})
	return n, err
}

// programsOf counts the sockops programs that are called for sockets of a cgroup.
func programsOf(cgroup string) (int, error) {
	dir, err := os.Open(cgroup)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	found, err := link.QueryPrograms(link.QueryOptions{
		Target:     int(dir.Fd()),
		Attach:     ebpf.AttachCGroupSockOps,
		QueryFlags: unix.BPF_F_QUERY_EFFECTIVE,
	})
	if err != nil {
		return 0, fmt.Errorf("query the sockops programs of cgroup %q: %w", cgroup, explain(err))
	}
	return len(found.Programs), nil
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
	// What is still gone had its last socket closed while it was looked for: there is nothing to adopt.
	maps.DeleteFunc(done, func(_ uint32, err error) bool { return errors.Is(err, errGone) })
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
	var home unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &home) == nil && uint32(home.Ino) == n.Inode {
		return readAll(it) // our own needs no further capability
	}
	fd, err := n.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return runIn(fd, it)
}
