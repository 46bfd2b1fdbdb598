// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package test holds the built collector against what others say of the same
// connections: the kernel, the applications, a Prometheus server.
package test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}

// newLab gives a lab that lives as long as the test.
func newLab(t testing.TB, declare func(*netlab.Lab)) *netlab.Lab {
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
