// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// collector is the built collector with one receiver and an exporter that does next to nothing, on a
// host of its own: its cgroup tells what it takes.
type collector struct {
	cmd    *netlab.Cmd
	node   *netlab.Node
	dir    string
	stderr bytes.Buffer
	memcg  string // of version 1, where the machine has it
}

// hostWithCollector is oneHost, and beside it a host for the collector.
func (m *measurement) hostWithCollector() (*lab, *netlab.Node, error) {
	l := &lab{Lab: netlab.New()}
	l.client = l.Host("host", "10.0.0.1")
	l.server = l.client
	watcher := l.Host("collector", "10.0.0.2")
	return l, watcher, m.started(l)
}

// collect starts the collector and returns when its program is attached.
func (m *measurement) collect(l *lab, on *netlab.Node, interval time.Duration) (*collector, error) {
	binary := os.Getenv("FLOWMONITOR_COLLECTOR")
	if binary == "" {
		binary = "bin/otelcol-flowmonitor"
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("no collector to measure: %w (make build)", err)
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	c := &collector{node: on}
	if c.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	config := filepath.Join(c.dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
receivers:
  sockops: {collection_interval: %s, jitter: 0s, cgroup_path: %q}
exporters:
  debug: {verbosity: basic, use_internal_logger: false} # a line a batch
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops], exporters: [debug]}
`, interval, l.client.CgroupPath()), 0o600); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.cmd = on.Command(m.ctx, binary, "--config", config)
	c.cmd.Stderr = &c.stderr
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for deadline := time.Now().Add(30 * time.Second); !attached(c.cmd.Process.Pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || m.ctx.Err() != nil || !alive(c.cmd.Process.Pid) {
			c.cmd.Process.Kill()
			return nil, errors.Join(fmt.Errorf("the collector did not start: %w", c.cmd.Wait()), errors.New(c.stderr.String()), os.RemoveAll(c.dir))
		}
	}
	return c, nil
}

// alive says whether a child has not ended: one that has is a zombie until it is waited for.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// Close ends the collector as an init system does.
func (c *collector) Close() error {
	var errs []error
	if c.cmd != nil {
		errs = append(errs, c.cmd.Process.Signal(unix.SIGTERM))
		kill := time.AfterFunc(30*time.Second, func() { c.cmd.Process.Kill() })
		err := c.cmd.Wait()
		kill.Stop()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, c.stderr.String())
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// cpu is the processor time of all that is in the collector's cgroup.
func (c *collector) cpu() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(c.node.CgroupPath(), "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == "usage_usec" {
			us, err := strconv.ParseInt(value, 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("no usage_usec in %s/cpu.stat", c.node.CgroupPath())
}

// resident is the collector's memory in bytes (VmRSS).
func (c *collector) resident() (float64, error) {
	kb := 0
	lines(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid), func(key, value string) {
		if key == "VmRSS" {
			_, _ = fmt.Sscanf(value, "%d kB", &kb)
		}
	})
	if kb == 0 {
		return 0, errors.New("the collector has no VmRSS")
	}
	return float64(kb) * 1024, nil
}
