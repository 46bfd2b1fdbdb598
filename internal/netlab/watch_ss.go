// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// WatchDestroyedBySS is [Node.WatchDestroyed] with the kernel's announcements read
// by ss of iproute2 ("ss -E -t -i"): an implementation that is not ours. It lacks
// [TCPInfo.TotalRTO]. ss gives itself a receive buffer of 1 MiB, which some hundred
// sockets fill that end in one instant; it is made as large as that of
// WatchDestroyed from outside. An overrun is detected, and reported by Close and
// Wait.
//
// The process runs in the node's namespace and in the caller's cgroup: that of the
// node is for what is watched.
func (n *Node) WatchDestroyedBySS(ctx context.Context) (*DestroyWatch, error) {
	return n.watchDestroyedBySS(ctx, receiveBuffer)
}

func (n *Node) watchDestroyedBySS(ctx context.Context, buffer int) (*DestroyWatch, error) {
	stdbuf, err := lookTool("stdbuf")
	if err != nil {
		return nil, err
	}
	ss, err := lookTool("ss")
	if err != nil {
		return nil, err
	}
	// stdbuf: into a pipe ss writes full blocks only, and its last one never.
	cmd := exec.Command(stdbuf, "-oL", ss, "-E", "-t", "-i", "-e", "-n", "-H", "-O")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := n.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("watch the sockets of %q with ss: %w", n.name, err)
	}
	w := newDestroyWatch(n.lab)
	done := make(chan struct{})
	stopping := make(chan struct{})
	go func() {
		defer close(done)
		defer w.end()
		var wg sync.WaitGroup
		wg.Go(func() {
			lines := bufio.NewScanner(stdout)
			for lines.Scan() {
				d, err := parseSS(lines.Text())
				if err != nil {
					w.fail(err)
					continue
				}
				w.add(d)
			}
		})
		wg.Go(func() {
			lines := bufio.NewScanner(stderr)
			for lines.Scan() {
				// "netlink receive error No buffer space available (105)", and on it goes.
				if strings.Contains(lines.Text(), "("+strconv.Itoa(int(unix.ENOBUFS))+")") {
					w.fail(ErrOverrun)
				} else {
					w.fail(fmt.Errorf("netlab: ss: %s", lines.Text()))
				}
			}
		})
		wg.Wait()
		err := cmd.Wait()
		select {
		case <-stopping: // by our signal
		default:
			w.fail(fmt.Errorf("netlab: ss ended by itself: %w", errors.Join(err, errors.New("its output ended"))))
		}
	}()
	pid := cmd.Process.Pid
	var once sync.Once
	stop := func() {
		once.Do(func() {
			if s, err := findNetlinkSocket(pid); err == nil && s.drops > 0 {
				w.fail(ErrOverrun)
			}
			close(stopping)
			_ = cmd.Process.Signal(unix.SIGTERM)
		})
		<-done
	}
	err = ssReady(ctx, pid)
	if err == nil {
		err = setBuffer(pid, buffer)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch the sockets of %q with ss: %w", n.name, err)
	}
	return w, w.register(ctx, stop)
}

// ssReadyTimeout bounds the wait for a program to start and open a socket.
const ssReadyTimeout = 10 * time.Second

// ssReady waits until process pid has joined the groups: from then on the kernel
// keeps announcements for it. There is nothing to be told by, so it looks.
func ssReady(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, ssReadyTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := findNetlinkSocket(pid); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("ss does not listen to the kernel: %w", ctx.Err())
		}
	}
}

// netlinkSocket is what /proc/net/netlink tells of a socket.
type netlinkSocket struct {
	drops uint64 // announcements that the kernel could not put into its buffer
	inode uint64
}

// findNetlinkSocket finds the socket by which process pid listens to announcements
// of the kernel. It is an error if there is none.
func findNetlinkSocket(pid int) (netlinkSocket, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		return netlinkSocket{}, err
	}
	return parseNetlinkSocket(table, pid)
}

// parseNetlinkSocket finds in /proc/net/netlink the sock_diag socket of a port id
// that is in both TCP groups. Columns: sk, protocol, port id, groups, receive and
// write memory, dump, locks, drops, inode.
func parseNetlinkSocket(table []byte, portID int) (s netlinkSocket, err error) {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[1] != strconv.Itoa(unix.NETLINK_INET_DIAG) || f[2] != strconv.Itoa(portID) {
			continue
		}
		groups, err := strconv.ParseUint(f[3], 16, 32)
		const both = 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1)
		if err != nil || groups&both != both {
			continue
		}
		if s.drops, err = strconv.ParseUint(f[8], 10, 64); err != nil {
			return s, err
		}
		s.inode, err = strconv.ParseUint(f[9], 10, 64)
		return s, err
	}
	return s, errors.New("no such socket")
}

// setBuffer borrows the socket of process pid and sets its receive buffer: ss has
// no option for it.
func setBuffer(pid, buffer int) error {
	socket, err := findNetlinkSocket(pid)
	if err != nil {
		return err
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("socket:[%d]", socket.inode)
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || target != want {
			continue
		}
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		process, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return fmt.Errorf("open process of ss: %w", err)
		}
		defer unix.Close(process)
		fd, err := unix.PidfdGetfd(process, number, 0)
		if err != nil {
			return fmt.Errorf("borrow the socket of ss: %w", err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
			return fmt.Errorf("set the receive buffer of ss: %w", err)
		}
		return nil
	}
	return errors.New("ss has closed its socket")
}
