// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Cmd is an [exec.Cmd] whose process begins its life in a node: in its network
// namespace and in its cgroup. Set the fields of the embedded Cmd as usual, and
// start it by the methods of this type.
//
// It sees the machine's file system, /sys and /proc as they are: unlike "ip netns
// exec" nothing is mounted over /sys, where the cgroups are.
type Cmd struct {
	*exec.Cmd
	node *Node
}

// Command is [exec.CommandContext] in the node. [Lab.Close] kills the process and
// all that came of it; it is still the caller's to wait for.
func (n *Node) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), node: n}
}

// Start is [exec.Cmd.Start].
func (c *Cmd) Start() error {
	if c.node.cgroup == "" {
		return errors.New("netlab: the lab is not started")
	}
	dir, err := os.Open(c.node.cgroup)
	if err != nil {
		return fmt.Errorf("start %s on %q: %w", c.Path, c.node.name, err)
	}
	defer dir.Close()
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The kernel makes the process in the cgroup (CLONE_INTO_CGROUP): moved there
	// after its birth, it could have opened a socket before.
	c.SysProcAttr.UseCgroupFD = true
	c.SysProcAttr.CgroupFD = int(dir.Fd())
	// A child has the namespaces of the thread that made it.
	return c.node.Do(c.Cmd.Start)
}

// Run is [exec.Cmd.Run].
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output is [exec.Cmd.Output]: on failure the error's Stderr holds what the
// process wrote there.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("netlab: Stdout is set")
	}
	var stdout, stderr bytes.Buffer
	c.Stdout = &stdout
	capture := c.Stderr == nil
	if capture {
		c.Stderr = &stderr
	}
	err := c.Run()
	var exit *exec.ExitError
	if capture && errors.As(err, &exit) {
		exit.Stderr = stderr.Bytes()
	}
	return stdout.Bytes(), err
}

// CombinedOutput is [exec.Cmd.CombinedOutput].
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("netlab: Stdout or Stderr is set")
	}
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.Run()
	return both.Bytes(), err
}
