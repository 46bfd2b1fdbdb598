// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// commandVariable names the program under test: a command line for sh.
const commandVariable = "FLOWMONITOR_CONFORMANCE_COMMAND"

// ourCommand is for when it is not set.
const ourCommand = `exec "$FLOWMONITOR_COLLECTOR" --config testdata/collector.yaml`

// subject is the program under test at work on a host.
type subject struct {
	node   *netlab.Node
	output string // the file that it writes
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}
	err    error
}

// start runs the program for a host. Whether it watches already is another question: see ready.
func start(t testing.TB, node *netlab.Node) *subject {
	t.Helper()
	command, own := os.Getenv(commandVariable), []string(nil)
	if command == "" {
		command, own = ourCommand, []string{"FLOWMONITOR_COLLECTOR=" + collector.Binary(t), "AWS_EC2_METADATA_DISABLED=true"}
	}
	s := &subject{node: node, output: filepath.Join(t.TempDir(), "output.jsonl"), done: make(chan struct{})}
	s.cmd = exec.Command("sh", "-c", command)
	s.cmd.Env = append(os.Environ(), own...)
	s.cmd.Env = append(s.cmd.Env, "FLOW_HOST="+node.Name(), "FLOW_CGROUP="+node.CgroupPath(), "FLOW_NETNS="+node.NetnsPath(), "FLOW_OUTPUT="+s.output)
	s.cmd.Stdout, s.cmd.Stderr = &s.stderr, &s.stderr
	// A group, so that what the shell has started ends with it whatever happens.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, s.cmd.Start())
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = unix.Kill(-s.cmd.Process.Pid, unix.SIGKILL)
		<-s.done
		if t.Failed() {
			t.Logf("the program on %s: %s", node.Name(), tail(s.stderr.Bytes(), 3000))
		}
	})
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// probePort is discard's (RFC 863). Connections to it find out whether the program watches:
// that is all that they are for, and what is reported of them is left out.
const probePort = 9

// observe runs the program for each of the hosts, and returns when all watch. Connections go
// from the first host to the last, which may be the same.
func observe(t testing.TB, nodes ...*netlab.Node) []*subject {
	t.Helper()
	var subjects []*subject
	for _, n := range nodes {
		subjects = append(subjects, start(t, n))
	}
	client, server := nodes[0], nodes[len(nodes)-1]
	listen := addressOf(server, probePort)
	probed, err := server.StartServer(t.Context(), netlab.ServerConfig{Listen: listen, Summary: true})
	require.NoError(t, err)
	watching := func() bool {
		_, err := client.RunClient(t.Context(), netlab.ClientConfig{Targets: targets(listen), Connections: 1, Summary: true})
		require.NoError(t, err)
		for _, s := range subjects {
			if collector.Sum(ofProbes(collector.Points(s.read(t))), flowattr.MetricConnectionsOpened) == 0 {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(time.Minute); !watching(); time.Sleep(50 * time.Millisecond) {
		for _, s := range subjects {
			select {
			case <-s.done:
				t.Fatalf("the program on %s ended: %v\n%s", s.node.Name(), s.err, s.stderr.Bytes())
			default:
			}
		}
		require.True(t, time.Now().Before(deadline), "the program reports no connection for a minute")
	}
	_, err = probed.Stop(t.Context())
	require.NoError(t, err)
	return subjects
}

// stop ends the program as an init system does, and gives all that it has reported.
func (s *subject) stop(t testing.TB) []pmetric.Metrics {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(unix.SIGTERM))
	select {
	case <-s.done:
		require.NoError(t, s.err, "exit after SIGTERM")
	case <-time.After(30 * time.Second):
		t.Fatal("the program did not end within 30 s of SIGTERM")
	}
	batches := s.read(t)
	conform(t, batches)
	return batches
}

// points is stop, without the histograms' buckets and without the probes.
func (s *subject) points(t testing.TB) []collector.Point {
	t.Helper()
	return withoutProbes(collector.Points(s.stop(t)))
}

// sofar is what the program has reported until now, without the probes.
func (s *subject) sofar(t testing.TB) []collector.Point {
	t.Helper()
	return withoutProbes(collector.Points(s.read(t)))
}

func (s *subject) read(t testing.TB) []pmetric.Metrics {
	t.Helper()
	b, err := os.ReadFile(s.output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	var batches []pmetric.Metrics
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) { // half written
			break
		}
		m, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
		if !assert.NoError(t, err) {
			break
		}
		batches = append(batches, m)
	}
	return batches
}

func ofProbes(points []collector.Point) (kept []collector.Point) {
	for _, p := range points {
		if isProbe(p.Attribute(flowattr.NetworkLocalPort), p.Attribute(flowattr.NetworkPeerPort)) {
			kept = append(kept, p)
		}
	}
	return kept
}

func withoutProbes(points []collector.Point) (kept []collector.Point) {
	for _, p := range points {
		if !isProbe(p.Attribute(flowattr.NetworkLocalPort), p.Attribute(flowattr.NetworkPeerPort)) {
			kept = append(kept, p)
		}
	}
	return kept
}

func isProbe(localPort, peerPort string) bool {
	port := strconv.Itoa(probePort)
	return localPort == port || peerPort == port
}
