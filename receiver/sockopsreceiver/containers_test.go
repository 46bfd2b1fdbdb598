// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

const (
	someID  = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	otherID = "b18febce22a7b18febce22a7b18febce22a7b18febce22a7b18febce22a7dddd"
	podUID  = "9ac48755-3968-48e4-b9dc-6d4b69f3bb42"
)

// in gives the key of a flow in a cgroup.
func in(k bpf.FlowKey, cgroup uint64) bpf.FlowKey {
	k.Cgroup = cgroup
	return k
}

var cgroups = map[uint64][]string{
	1: {""},
	2: {"pod" + podUID, "kubepods", ""},
	3: {someID, "pod" + podUID, "kubepods", ""},
	4: {"x.service", "system.slice", someID, "pod" + podUID, "kubepods", ""},
	5: {"docker-" + otherID + ".scope", "system.slice", ""},
	6: {"sshd.service", "system.slice", ""},
}

// sentBy sums what each container sent; the key is container.id and k8s.pod.uid.
func sentBy(sink *consumertest.MetricsSink) map[container.ID]int64 {
	sums := map[container.ID]int64{}
	for _, p := range points(sink.AllMetrics(), flowattr.MetricSent) {
		f, _ := flowattr.Read(p.Attributes())
		sums[container.ID{Container: f.ContainerID, Pod: f.PodUID}] += p.IntValue()
	}
	return sums
}

func TestFlowsOfDifferentContainersAreApart(t *testing.T) {
	kernel := func() *fakeKernel {
		round := []counted{
			{key: in(web, 1), flow: bpf.Flow{Sent: 1}},
			{key: in(web, 2), flow: bpf.Flow{Sent: 10}},
			{key: in(web, 3), flow: bpf.Flow{Sent: 100}},
			{key: in(web, 4), flow: bpf.Flow{Sent: 1000}}, // the same container
			{key: in(web, 5), flow: bpf.Flow{Sent: 10_000}},
			{key: in(web, 6), flow: bpf.Flow{Sent: 100_000}},
			{key: in(web, 7), flow: bpf.Flow{Sent: 1_000_000}}, // unknown
		}
		return &fakeKernel{rounds: [][]counted{round, round}, cgroups: cgroups}
	}
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		play(t, kernel(), &sink)
		assert.Equal(t, map[container.ID]int64{
			{}:                               2 * 1_100_001,
			{Pod: podUID}:                    2 * 10,
			{Container: someID, Pod: podUID}: 2 * 1100,
			{Container: otherID}:             2 * 10_000,
		}, sentBy(&sink))
		assert.Len(t, points(sink.AllMetrics(), flowattr.MetricSent), 2*4, "each is one flow")
	})
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		play(t, kernel(), &sink, func(c *Config) { c.Container = false })
		assert.Equal(t, map[container.ID]int64{{}: 2 * 1_111_111}, sentBy(&sink))
	})
}

func TestAListenersDropsCarryNoContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		listener := bpf.FlowKey{Local: address("::"), LocalPort: 443, Role: bpf.RoleListener}
		play(t, &fakeKernel{cgroups: cgroups, rounds: [][]counted{{
			{key: in(listener, 3), flow: bpf.Flow{ListenDrops: 1}},
			{key: in(listener, 5), flow: bpf.Flow{ListenDrops: 2}},
		}}}, &sink)
		assert.Equal(t, []int64{3}, values(sink.AllMetrics(), flowattr.MetricListenDrops))
	})
}

func TestTelemetryOfFlowsWithoutContainer(t *testing.T) {
	host, elsewhere := in(web, 1), in(web, 1)
	host.Netns, elsewhere.Netns = hostNetns(), hostNetns()+1
	k := &fakeKernel{cgroups: cgroups, always: []counted{
		{key: host, flow: bpf.Flow{Sent: 1}},
		{key: elsewhere, flow: bpf.Flow{Sent: 1}},
		{key: in(web, 5), flow: bpf.Flow{Sent: 1}},
		{key: in(web, 7), flow: bpf.Flow{Sent: 1}},
		{key: in(api, 7), flow: bpf.Flow{Sent: 1}},
	}}
	observed(t, k, consumertest.NewNop(), 2, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsFlowsWithoutContainer(t, tel, slices.Concat(
			number(2, attribute.String("reason", "no_cgroup")),
			number(4, attribute.String("reason", "no_names"))), anyTime)
		metadatatest.AssertEqualReceiverSockopsCgroups(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsCgroupsCapacity(t, tel, number(container.Capacity), anyTime)
	})
}

// connectFrom runs a program in a new cgroup below the mount's root that connects to the
// port, sends a byte and ends. Then the cgroups are removed, outermost last: all of it is
// over before anybody looks.
func connectFrom(t *testing.T, root, path string, port uint16) {
	t.Helper()
	var made []string
	for dir := filepath.Join(root, path); dir != root; dir = filepath.Dir(dir) {
		made = append(made, dir)
	}
	require.NoError(t, os.MkdirAll(made[0], 0o755))
	cgroup, err := os.Open(made[0])
	require.NoError(t, err)
	defer cgroup.Close()
	// The shell's own TCP: a byte out, one back.
	cmd := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && echo -n x >&3 && read -N 1 <&3", port))
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, string(out))
	for _, dir := range made {
		// The kernel lets go of the process a moment after it was waited for.
		require.Eventually(t, func() bool { return os.Remove(dir) == nil }, 5*time.Second, time.Millisecond, dir)
	}
}

// echoes answers each connection with the byte that it sends.
func echoes(t *testing.T) (port uint16) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if _, err := c.Read(b); err == nil {
				_, _ = c.Write(b)
			}
			c.Close()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func cgroup2Root(t *testing.T) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Fatal("no cgroup2 mount")
	return ""
}

// Directories as the runtimes make them, below one of this test's own, and real sockets in
// them: containers that have come and gone before the first harvest.
func TestContainersOfTheRealKernel(t *testing.T) {
	needKernel(t)
	pod_ := strings.ReplaceAll(podUID, "-", "_")
	layouts := map[string]container.ID{
		"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + pod_ + ".slice/cri-containerd-%s.scope": {Pod: podUID},
		"kubepods.slice/kubepods-pod" + pod_ + ".slice/crio-%s.scope/container":                                    {Pod: podUID},
		"kubepods/besteffort/pod" + podUID + "/%s":                                                                 {Pod: podUID},
		"system.slice/docker-%s.scope":                                                                             {},
		"docker/%s/system.slice/nginx.service":                                                                     {},
		"machine.slice/libpod-%s.scope/container":                                                                  {},
		"system.slice/docker-" + otherID + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + pod_ + ".slice/cri-containerd-%s.scope": {Pod: podUID},
	}
	cfg := createDefaultConfig().(*Config)
	cfg.AdoptExisting = false
	var sink consumertest.MetricsSink
	r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, &sink)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer r.Shutdown(t.Context()) //nolint:errcheck // the second, unless the test failed

	root, port := cgroup2Root(t), echoes(t)
	want := map[container.ID]int64{}
	base := "flowmonitor-test-" + strconv.Itoa(os.Getpid())
	n := 0
	for layout, id := range layouts {
		n++
		id.Container = fmt.Sprintf("%064x", n)
		connectFrom(t, root, filepath.Join(base, fmt.Sprintf(layout, id.Container)), port)
		want[id] = 1
	}
	require.NoError(t, r.Shutdown(t.Context()))

	got := map[container.ID]int64{}
	for id, n := range sentBy(&sink) {
		if id.Container != "" {
			got[id] = n
		}
	}
	assert.Equal(t, want, got)
}
