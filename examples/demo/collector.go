// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/loopback"
)

// collector is the running otelcol-flowmonitor with config.yaml.
type collector struct {
	cmd    *exec.Cmd
	output string
	read   int64 // bytes of output that verdicts has given
	done   chan error
}

func startCollector(ctx context.Context, dir, cgroups string) (*collector, error) {
	_, here, _, _ := runtime.Caller(0)
	binary := os.Getenv("FLOWMONITOR_COLLECTOR")
	if binary == "" {
		binary = filepath.Join(filepath.Dir(here), "../../bin/otelcol-flowmonitor")
	}
	health, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	c := &collector{output: filepath.Join(dir, "verdicts.jsonl"), done: make(chan error, 1)}
	c.cmd = exec.Command(binary, "--config", "config.yaml")
	c.cmd.Dir = filepath.Dir(here)
	c.cmd.Env = append(os.Environ(), "DEMO_CGROUPS="+cgroups, "DEMO_OUTPUT="+c.output, "DEMO_HEALTH="+health)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the collector: %w (make build)", err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	return c, c.ready(ctx, health)
}

// ready waits until every component has started: the programs are attached then.
func (c *collector) ready(ctx context.Context, health string) error {
	deadline := time.After(30 * time.Second)
	for {
		if r, err := http.Get("http://" + health); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-c.done:
			return fmt.Errorf("the collector ended: %w", err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), c.stop())
		case <-deadline:
			return errors.Join(errors.New("the collector was not ready within 30 s"), c.stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *collector) stop() error {
	c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-c.done:
		return err
	case <-time.After(10 * time.Second):
		c.cmd.Process.Kill()
		return errors.New("the collector did not end within 10 s of SIGTERM")
	}
}

// batches gives what the collector has exported since the last call.
func (c *collector) batches() ([]pmetric.Metrics, error) {
	f, err := os.Open(c.output)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(c.read, io.SeekStart); err != nil {
		return nil, err
	}
	var found []pmetric.Metrics
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // half a line comes whole later
			return found, nil
		}
		if err != nil {
			return found, err
		}
		c.read += int64(len(line))
		m, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(bytes.TrimSpace(line))
		if err != nil {
			return found, err
		}
		found = append(found, m)
	}
}
