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
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// WatchDestroyedBySS is [Node.WatchDestroyed] with the kernel's announcements read
// by ss of iproute2 ("ss -E -t -i"): an implementation that is not ours. It lacks
// [TCPInfo.TotalRTO]. The receive buffer of ss is 1 MiB, some hundred sockets that
// end in one instant: with more, an overrun is detected and reported by Close and
// Wait, and WatchDestroyed is the one to take.
//
// The process runs in the node's namespace and in the caller's cgroup: that of the
// node is for what is watched.
func (n *Node) WatchDestroyedBySS(ctx context.Context) (*DestroyWatch, error) {
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
			if drops, err := ssDrops(pid); err == nil && drops > 0 {
				w.fail(ErrOverrun)
			}
			close(stopping)
			_ = cmd.Process.Signal(unix.SIGTERM)
		})
		<-done
	}
	if err := ssReady(ctx, pid); err != nil {
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
		if _, err := ssDrops(pid); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("ss does not listen to the kernel: %w", ctx.Err())
		}
	}
}

// ssDrops reads how many announcements the kernel could not give to process pid.
// It is an error if the process does not listen to any.
func ssDrops(pid int) (uint64, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		return 0, err
	}
	return parseNetlinkDrops(table, pid)
}

// parseNetlinkDrops finds in /proc/net/netlink the sock_diag socket of a port id
// that is in both TCP groups. Columns: sk, protocol, port id, groups, receive and
// write memory, dump, locks, drops, inode.
func parseNetlinkDrops(table []byte, portID int) (uint64, error) {
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
		return strconv.ParseUint(f[8], 10, 64)
	}
	return 0, errors.New("no such socket")
}
