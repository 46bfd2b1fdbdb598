// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command demo tells the story that flow monitor is built for, on one machine in under
// two minutes: a transit gateway that loses packets is told from a host that does. It
// injects the faults, prints what the monitor's metrics say beside them, and fails when
// a verdict is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func main() {
	if os.Getenv(visitorEnv) != "" { // the demo's own binary is also its HTTP client
		visit(os.Args[1:])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if err := netlab.Supported(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "flowmonitor-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	fmt.Println("building two VPCs, a transit gateway between them, three clients and three web servers …")
	f, err := newFleet(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.lab.Close()) }()

	c, err := startCollector(ctx, dir, f.lab.Cgroup())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := f.startTraffic(ctx); err != nil {
		return err
	}
	return tell(ctx, f, c)
}
