// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package collector

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// Where a collector on a host of a lab answers: the network is the host's own, so that each can have the same ports.
const (
	nodeHealth    = "127.0.0.1:13133"
	nodeTelemetry = "127.0.0.1:8888" // as in the examples
)

// OnNode is a collector on a host of a lab: in its network, but not in its cgroup, so that what watches the host's
// applications does not count the collector's own connections.
type OnNode struct {
	*Process
	node *netlab.Node
}

// StartOn runs the collector on a host with a configuration of examples/, in that file's folder as a user would, and
// returns when all components have started, as the example's health_check extension tells. more is YAML that is merged
// over the example, in which {{output}} stands for a file to write; variables are NAME=value. There is one collector on
// a host at a time.
func StartOn(t testing.TB, n *netlab.Node, file, more string, variables ...string) *OnNode {
	t.Helper()
	return startOn(t, n, nil, file, more, variables)
}

// StartNaming is StartOn for a collector that looks names up in a file of the test's, in place of /etc/hosts.
func StartNaming(t testing.TB, n *netlab.Node, names, file, more string, variables ...string) *OnNode {
	t.Helper()
	// A mount of the process's own. exec: the collector is the process that was started.
	return startOn(t, n, []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, names}, file, more, variables)
}

func startOn(t testing.TB, n *netlab.Node, before []string, file, more string, variables []string) *OnNode {
	t.Helper()
	dir := t.TempDir()
	output := filepath.Join(dir, "output.jsonl")
	over := filepath.Join(dir, "more.yaml")
	require.NoError(t, os.WriteFile(over, []byte(strings.ReplaceAll(more, "{{output}}", output)), 0o600))
	args := append(before, Binary(t), "--config", filepath.Base(file), "--config", over)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Dir(file)
	cmd.Env = append(os.Environ(), variables...)
	through := Transport(n)
	p := launch(t, cmd, func() error { return n.Do(cmd.Start) }, func() bool { return healthy(through, nodeHealth) })
	p.Output = output
	return &OnNode{p, n}
}

// Transport makes HTTP requests from a host of a lab.
func Transport(n *netlab.Node) http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = n.Do(func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}
}

// Telemetry is what the collector says of itself now: values by name, added up over their labels, and by name with
// labels as they are written.
func (p *OnNode) Telemetry(t testing.TB) map[string]float64 {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: Transport(p.node)}
	r, err := client.Get("http://" + nodeTelemetry + "/metrics")
	require.NoError(t, err)
	defer r.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		require.NoError(t, err, line)
		name, _, labelled := strings.Cut(line[:cut], "{")
		values[name] += value
		if labelled {
			values[line[:cut]] = value
		}
	}
	return values
}
