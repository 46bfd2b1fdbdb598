// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}

// pod is a host with a network namespace of its own, as a pod is, and a server to speak to.
type pod struct {
	*testing.T
	client, server *netlab.Node
	cgroup         string
	target         netip.AddrPort
	open           *netlab.Client // has a connection from before the collector's start,
	written        int64          // on which it has written so much
}

// Addresses of documentation (RFC 5737), which no other test uses.
const podAddress, serverAddress = "198.51.100.7", "203.0.113.9"

func newPod(t *testing.T) *pod {
	t.Helper()
	if err := netlab.Supported(); err != nil {
		missing(t, err)
	}
	p := &pod{T: t}
	lab := netlab.New()
	p.client, p.server = lab.Host("pod", podAddress), lab.Host("server", serverAddress)
	lab.Link(p.client, p.server)
	require.NoError(t, lab.Start(t.Context()))
	t.Cleanup(func() { assert.NoError(t, lab.Close()) })
	p.cgroup = lab.Cgroup()
	server, err := p.server.StartServer(context.Background(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	p.target = netip.AddrPortFrom(p.server.Addr4(), server.Port())
	p.open, err = p.client.StartClient(context.Background(), netlab.ClientConfig{
		Targets: []netip.AddrPort{p.target}, Connections: 1, Concurrency: 1, Stepwise: true,
		Upload: netlab.Exactly(5000), Download: netlab.Exactly(7000),
	})
	require.NoError(t, err)
	_ = p.open.Begun()
	return p
}

// agent is the collector with an example's configuration, in an example's sandbox.
type agent struct {
	*container
	telemetry string
	process   collector.Process
}

// overlay changes an example's configuration for a test: where the output goes, and what
// cannot be there, a gateway and fixed ports. {{…}} are put in by startAgent.
const overlay = `
receivers:
  sockops: {collection_interval: 1s, jitter: 0s, drop_capabilities: %v, nat: %v, cgroup_path: %q}
exporters:
  file: {path: /output/flows.jsonl}
extensions:
  health_check/test: {endpoint: %s}
service:
  extensions: [health_check/test]
  telemetry:
    metrics:
      level: detailed
      readers: [{pull: {exporter: {prometheus: {host: %q, port: %s}}}}]
  pipelines:
    metrics: {receivers: [sockops], exporters: [file]}
`

// options of the receiver that change what it needs.
type options struct {
	drop, nat bool
	cgroup    string
}

// startAgent adds to a bundle the binary and the configuration, and waits until the
// collector has started.
func startAgent(t *testing.T, b *bundle, config string, o options) *agent {
	t.Helper()
	dir := t.TempDir()
	// The sandbox may be another user's.
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	config, err := filepath.Abs(config)
	require.NoError(t, err)
	output := filepath.Join(dir, "output")
	require.NoError(t, os.Mkdir(output, 0o700))
	require.NoError(t, os.Chown(output, b.user, b.group))

	health, telemetry := freeAddress(t), freeAddress(t)
	a := &agent{telemetry: telemetry, process: collector.Process{Output: filepath.Join(output, "flows.jsonl")}}
	host, port, _ := strings.Cut(telemetry, ":")
	changed := filepath.Join(dir, "overlay.yaml")
	require.NoError(t, os.WriteFile(changed, fmt.Appendf(nil, overlay, o.drop, o.nat, o.cgroup, health, host, port), 0o644))
	b.mounts = append(b.mounts,
		mount{from: config, to: "/etc/otelcol-flowmonitor/config.yaml"},
		mount{from: changed, to: "/overlay.yaml"},
		mount{from: output, to: "/output", writable: true},
	)
	b.args = append(b.args, "--config", "/overlay.yaml")
	b.environment = append(b.environment, "AWS_EC2_METADATA_DISABLED=true")
	a.container = start(t, b)
	require.Eventually(t, func() bool { return a.exited() || answers("http://"+health) }, patience, 20*time.Millisecond, "start of the collector")
	require.False(t, a.exited(), "the collector ended")
	return a
}

// freeAddress gives an address that nobody listens on, and that no connection takes by the
// time that the collector does: it is below the ephemeral range.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

func answers(url string) bool {
	r, err := get(url)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func get(url string) (*http.Response, error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Get(url)
}

// patience is for a machine that has thousands of network namespaces, or much else to do.
const patience = time.Minute

// own gives one of the receiver's own metrics, summed over the lines that have all of
// these words; 0 if there is none, or the collector does not answer.
func (a *agent) own(name string, words ...string) (sum float64) {
	r, err := get("http://" + a.telemetry + "/metrics")
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		line := lines.Text()
		key, value, _ := strings.Cut(line, " ")
		if family, _, _ := strings.Cut(key, "{"); family != "otelcol_receiver_sockops_"+name && family != "otelcol_receiver_sockops_"+name+"_total" {
			continue
		}
		value = value[strings.LastIndexByte(value, ' ')+1:]
		n, _ := strconv.ParseFloat(value, 64)
		for _, w := range words {
			if !strings.Contains(line, w) {
				n = 0
			}
		}
		sum += n
	}
	return sum
}

// sum adds up one metric of the pod's flows.
func (a *agent) sum(metric string) int {
	a.t.Helper()
	return collector.Sum(collector.Points(a.process.Read(a.t)), metric, "network.local.address", podAddress)
}

// watches lets the pod use its old connection and make a new one, and waits until the
// collector has told of both; or, if the pod could not be entered, of the new one.
func (a *agent) watches(p *pod, old bool) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	require.Eventually(a.t, func() bool { return a.own("adoption_namespaces") > 0 }, patience, 50*time.Millisecond, "the adoption")
	report, err := p.open.Exchange(ctx)
	require.NoError(a.t, err)
	want := 0
	if old {
		want = int(report.Written - p.written) // and the namespace was entered, whatever became of those of others
	} else {
		assert.NotZero(a.t, a.own("adoption_namespaces", `outcome="failed"`))
	}
	p.written = report.Written
	again, err := p.client.RunClient(ctx, netlab.ClientConfig{
		Targets: []netip.AddrPort{p.target}, Connections: 3, Upload: netlab.Exactly(100), Download: netlab.Exactly(100),
	})
	require.NoError(a.t, err)
	require.Equal(a.t, 3, again.Opened)
	want += int(again.Written)
	all := func() bool { return a.sum("flow.tcp.connections.closed") >= 3 && a.sum("flow.tcp.sent") >= want }
	for deadline := time.Now().Add(patience); !all() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	assert.Equal(a.t, want, a.sum("flow.tcp.sent"))
	assert.Equal(a.t, 3, a.sum("flow.tcp.connections.closed"))
	assert.Equal(a.t, 3, a.sum("flow.tcp.connections.opened"))
	assert.Zero(a.t, a.own("harvest_failures"))
	assert.Zero(a.t, a.own("audit_failures"))
}

// mask gives a set of capabilities as /proc writes it.
func mask(t *testing.T, names []string) string {
	t.Helper()
	var bits uint64
	for _, name := range names {
		bit, ok := map[string]int{
			"CAP_BPF": unix.CAP_BPF, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN,
			"CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN,
		}[name]
		require.True(t, ok, "%s: this test knows no such capability", name)
		bits |= 1 << bit
	}
	return fmt.Sprintf("%016x", bits)
}

const noCapabilities = "0000000000000000"

// hasExactly checks that the collector has these privileges, and no others.
func (a *agent) hasExactly(b *bundle) {
	a.t.Helper()
	set := mask(a.t, b.capabilities)
	more := noCapabilities
	if b.ambient {
		more = set
	}
	user := strings.Repeat(strconv.Itoa(b.user)+" ", 4)
	for _, s := range a.threads() {
		assert.Equal(a.t, map[string]string{
			"CapBnd": set, "CapPrm": set, "CapEff": set, "CapInh": more, "CapAmb": more,
			"NoNewPrivs": "1", "Seccomp": "2", "Uid": strings.TrimSpace(user),
		}, s)
	}
}

// givesUpAllBut waits until the collector has dropped its other capabilities. The
// bounding set stays: CAP_SETPCAP, which lowers it, is not among those that it had.
func (a *agent) givesUpAllBut(names ...string) {
	a.t.Helper()
	kept := mask(a.t, names)
	require.Eventually(a.t, func() bool {
		for _, s := range a.threads() {
			if s["CapPrm"] != kept {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond)
	for _, s := range a.threads() {
		delete(s, "CapBnd")
		delete(s, "Uid")
		assert.Equal(a.t, map[string]string{
			"CapPrm": kept, "CapEff": kept, "CapInh": noCapabilities, "CapAmb": noCapabilities,
			"NoNewPrivs": "1", "Seccomp": "2",
		}, s)
	}
}

// translates checks that the pod's namespace is followed, and the host's.
func (a *agent) translates() {
	a.t.Helper()
	require.Eventually(a.t, func() bool { return a.own("nat_namespaces") >= 3 }, patience, 50*time.Millisecond)
	// (Namespaces of other tests that have no process are not within reach of a sandbox.)
	for _, name := range []string{"nat_dump_failures", "nat_sync_failures"} {
		assert.Zero(a.t, a.own(name), name)
	}
}

// suffices runs the collector as an example has it, and with less, where it says so.
// hierarchy is where the sandbox has the host's /sys/fs/cgroup.
func suffices(t *testing.T, config, hierarchy string, bundle func() *bundle, reduce func(*bundle)) {
	p := newPod(t)
	t.Run("with all that it has", func(t *testing.T) {
		b := bundle()
		a := startAgent(t, b, config, options{})
		a.hasExactly(b)
		a.watches(p, true)
		a.stop()
	})
	t.Run("with what is left after the start, as the example has it", func(t *testing.T) {
		a := startAgent(t, bundle(), config, options{drop: true})
		a.givesUpAllBut()
		a.watches(p, true)
		a.stop()
	})
	t.Run("with translation, which keeps what it needs", func(t *testing.T) {
		// Each connection is a flow of its own at first: those of other tests would fill the table.
		cgroup := hierarchy + strings.TrimPrefix(p.cgroup, "/sys/fs/cgroup")
		a := startAgent(t, bundle(), config, options{drop: true, nat: true, cgroup: cgroup})
		a.givesUpAllBut("CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN")
		a.translates()
		a.watches(p, true)
		a.stop()
	})
	t.Run("without the two that only other network namespaces need", func(t *testing.T) {
		b := bundle()
		b.capabilities = slices.DeleteFunc(b.capabilities, func(c string) bool { return c == "CAP_SYS_ADMIN" || c == "CAP_SYS_PTRACE" })
		require.Equal(t, []string{"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}, b.capabilities)
		reduce(b)
		a := startAgent(t, b, config, options{})
		a.hasExactly(b)
		a.watches(p, false)
		a.stop()
	})
}
