// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// pipeline completes a configuration with what every one needs.
const pipeline = `
exporters: {debug: {}}
service:
  pipelines:
    metrics: {receivers: [sockops], processors: [flowmonitor, nhi, flowlimit], exporters: [debug]}
`

func TestEveryInvalidValueIsNamedByItsKeyAndAllAtOnce(t *testing.T) {
	code, output := collector.Run(t, "validate", "--config", write(t, "config.yaml", `
receivers:
  sockops:
    collection_interval: 10ms
    jitter: 1h
    max_flows: 0
    idle_timeout: -1s
    temporality: sideways
    max_sockets: 0
    max_nat_connections: -1
    max_nat_namespaces: 0
    pin_path: flow
    cgroup_path: here
    detail: [everything]
    resource: {host.id: ""}
processors:
  flowmonitor:
    monitors:
      - {name: "", local: []}
      - {name: twice, local: [{type: galaxy, id: x}]}
      - {name: twice, local: [{type: subnet, id: subnet-1}], remote: [{type: service, id: nonsense}]}
  nhi:
    window: 0s
    lateness: -1s
    evaluation: guess
    role: king
    false_alarm_rate: 2
  flowlimit:
    top_flows: -1
    round_timeout: 0s
`+pipeline))
	assert.NotZero(t, code)
	for _, message := range []string{
		"'collection_interval'", "'jitter'", "'max_flows'", "'idle_timeout'", "'temporality'", "'max_sockets'", "'max_nat_connections'", "'max_nat_namespaces'", "'pin_path'", "'cgroup_path'", "'detail'", "'resource'",
		"monitors[0]", "galaxy", "twice", "nonsense",
		"'window'", "'lateness'", "'evaluation'", "'role'", "'false_alarm_rate'",
		"'top_flows'", "'round_timeout'",
	} {
		assert.Contains(t, output, message)
	}
}

func TestABrokenTopologyFileIsNamedByLineAndField(t *testing.T) {
	topology := write(t, "topology.yaml", `vpcs:
  - vpc_id: vpc-1
    region: eu-west-1
    cidr_blocks: [10.0.0.0/16]
subnets:
  - subnet_id: subnet-1
    vpc_id: vpc-1
    availability_zone_id: euw1-az1
    cidr_blocks: [10.0.0.0/33]
  - subnet_id: subnet-1
    vpc_id: vpc-1
    colour: blue
    availability_zone_id: euw1-az1
    cidr_blocks: [10.0.1.0/24]
`)
	code, output := collector.Run(t, "--config", write(t, "config.yaml", `
receivers: {sockops: {}}
processors:
  flowmonitor:
    topology: {file: {path: `+topology+`}}
  nhi: {}
  flowlimit: {}
`+pipeline))
	assert.NotZero(t, code)
	for _, want := range []string{"line 9", "cidr_blocks", "10.0.0.0/33", "line 12", "colour"} {
		assert.Contains(t, output, want)
	}
}

// TestAMissingCapabilityIsNamed runs the collector as a root that lacks one of them: dropped from the bounding set of the thread that starts it.
func TestAMissingCapabilityIsNamed(t *testing.T) {
	for name, drop := range map[string]uintptr{
		"CAP_BPF":       unix.CAP_BPF,
		"CAP_PERFMON":   unix.CAP_PERFMON,
		"CAP_NET_ADMIN": unix.CAP_NET_ADMIN,
	} {
		t.Run(name, func(t *testing.T) {
			config := write(t, "config.yaml", `
receivers: {sockops: {}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [sockops], exporters: [debug]}}}
`)
			type ended struct {
				code   int
				output string
			}
			done := make(chan ended)
			go func() {
				runtime.LockOSThread()                                  // never unlocked: the thread ends with the goroutine
				for _, c := range []uintptr{drop, unix.CAP_SYS_ADMIN} { // which stands for each of them
					assert.NoError(t, unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0))
				}
				code, output := collector.Run(t, "--config", config)
				done <- ended{code, output}
			}()
			e := <-done
			assert.NotZero(t, e.code)
			assert.Contains(t, e.output, name)
		})
	}
}

// TestTheThreeCapabilitiesAreEnough runs the collector with exactly what the receiver's
// README asks for: it adopts what is open in its own network namespace, counts, and stops cleanly.
func TestTheThreeCapabilitiesAreEnough(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()

	started, done := make(chan *collector.Process), make(chan struct{})
	defer close(done)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the collector with the thread
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if c != unix.CAP_BPF && c != unix.CAP_PERFMON && c != unix.CAP_NET_ADMIN {
				assert.NoError(t, unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0))
			}
		}
		started <- collector.Start(t, `
receivers:
  sockops: {collection_interval: 1s, jitter: 0s}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops], exporters: [file]}
`)
		<-done
	}()
	process := <-started
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	of := func(metric string, attributes ...string) int {
		return collector.Sum(collector.Points(process.Read(t)), metric, attributes...)
	}
	require.Eventually(t, func() bool {
		return of(flowattr.MetricConnectionsOpen, flowattr.NetworkPeerPort, port) > 0
	}, 20*time.Second, 100*time.Millisecond, "adoption")
	_, err = client.Write(make([]byte, 4321))
	require.NoError(t, err)
	_, err = io.ReadFull(server, make([]byte, 4321))
	require.NoError(t, err)
	process.Stop(t) // fails unless the exit code is 0
	assert.Equal(t, 4321, of(flowattr.MetricSent, flowattr.NetworkPeerPort, port))
	assert.Equal(t, 4321, of(flowattr.MetricReceived, flowattr.NetworkLocalPort, port))
}
