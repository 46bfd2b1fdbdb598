// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package features tests, on whatever kernel it runs, what the kernel side can do there:
// that each counter is exact, and that what a kernel lacks is missing as documented and
// nothing else is. It runs on this machine with the other tests, and with make
// test-kernels on those that are booted: static, without any program besides.
package features

import (
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf/features"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}

// need skips a test on a machine that cannot count connections; what checks this project
// must be able to.
func need(t testing.TB) {
	t.Helper()
	err := bpf.Supported()
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
}

// since says whether the kernel is of that version or newer.
func since(t testing.TB, major, minor uint32) bool {
	t.Helper()
	v, err := features.LinuxVersionCode()
	require.NoError(t, err)
	return v >= major<<16|minor<<8
}

// found tells what this kernel can do, for the table of make test-kernels. A test that
// failed has found out nothing.
func found(t testing.TB, feature, what string) {
	t.Helper()
	if t.Failed() {
		what = "**fails**"
	}
	fmt.Printf("\n%s %s %s: %s\n", plan.Mark, plan.Feature, feature, what)
}

func TestAKernelThatIsTooOldIsRefusedInOneLine(t *testing.T) {
	v, err := features.LinuxVersionCode()
	require.NoError(t, err)
	_, err = bpf.Load(bpf.Options{MaxFlows: 1, MaxSockets: 1})
	if since(t, 5, 15) {
		need(t)
		found(t, "supported", "yes")
		return
	}
	line := fmt.Sprintf("kernel %d.%d is too old (needs 5.15 or newer)", v>>16, v>>8&0xff)
	require.EqualError(t, err, line)
	require.Contains(t, refused(t), line+"\n", "nothing comes after it")
	found(t, "supported", "refused: "+err.Error())
}
