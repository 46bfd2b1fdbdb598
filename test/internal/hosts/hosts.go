// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package hosts gives tests lab hosts, traffic between them, and what others than the
// program under test say of it.
package hosts

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// patience is how long traffic may take on a machine that does other things too.
const patience = 4 * time.Minute

// NewLab gives a lab that lives as long as the test.
func NewLab(t testing.TB, declare func(*netlab.Lab)) *netlab.Lab {
	t.Helper()
	if err := netlab.Supported(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	lab := netlab.New()
	declare(lab)
	require.NoError(t, lab.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	return lab
}

// RunAll runs clients side by side and adds up what they report.
func RunAll(t testing.TB, n *netlab.Node, configs []netlab.ClientConfig) (sum netlab.Report) {
	t.Helper()
	return RunFor(t, patience, n, configs)
}

// RunFor is RunAll with another patience.
func RunFor(t testing.TB, patience time.Duration, n *netlab.Node, configs []netlab.ClientConfig) (sum netlab.Report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var clients []*netlab.Client
	for _, c := range configs {
		c.Summary = true
		client, err := n.StartClient(ctx, c)
		require.NoError(t, err)
		clients = append(clients, client)
	}
	for _, c := range clients {
		r, err := c.Wait(ctx)
		require.NoError(t, err)
		sum.Attempted += r.Attempted
		sum.Opened += r.Opened
		sum.Failed += r.Failed
		sum.Severed += r.Severed
		sum.Written += r.Written
		sum.Read += r.Read
	}
	return sum
}
