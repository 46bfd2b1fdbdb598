// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package collector runs the built collector for a test and reads what it wrote.
package collector

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"

	"github.com/otel-flowmonitor/flowmonitor/internal/loopback"
)

// Binary gives the collector that the tests run: FLOWMONITOR_COLLECTOR, which make sets,
// or what `make build` leaves in bin/.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FLOWMONITOR_COLLECTOR")
	if path == "" {
		dir, err := os.Getwd()
		require.NoError(t, err)
		for ; dir != "/"; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				path = filepath.Join(dir, "bin", "otelcol-flowmonitor")
				break
			}
		}
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no collector to test: %v (make build)", err)
		}
		t.Skipf("no collector to test: %v (make build)", err)
	}
	return path
}

// Process is a running collector.
type Process struct {
	Output string // what the file exporter writes, as OTLP JSON lines
	Stderr *bytes.Buffer
	cmd    *exec.Cmd
	done   chan struct{}
	err    error
}

// Start runs the collector with a configuration in which {{output}} and {{health}}
// stand for the file of the file exporter and the endpoint of the health_check extension, and
// returns when all components have started: the receiver's program is attached then.
func Start(t testing.TB, config string) *Process {
	t.Helper()
	dir := t.TempDir()
	health := FreeAddress(t)
	output := filepath.Join(dir, "output.jsonl")
	config = strings.NewReplacer("{{output}}", output, "{{health}}", health).Replace(config)
	file := filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p := start(t, health, exec.Command(Binary(t), "--config", file))
	p.Output = output
	return p
}

// StartExample runs the collector with a configuration of examples/ as it is, in that file's folder as a user would,
// and returns when all components have started. variables are NAME=value, for what the example reads of the
// environment.
func StartExample(t testing.TB, file string, variables ...string) *Process {
	t.Helper()
	health := FreeAddress(t)
	// The only thing that an example lacks: how to know that it has started. A list replaces the one before it.
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var its struct{ Service struct{ Extensions []string } }
	require.NoError(t, yaml.Unmarshal(text, &its))
	extensions := strings.Join(append(its.Service.Extensions, "health_check"), ", ")
	more := filepath.Join(t.TempDir(), "health.yaml")
	require.NoError(t, os.WriteFile(more, fmt.Appendf(nil, "extensions: {health_check: {endpoint: %q}}\nservice: {extensions: [%s]}\n", health, extensions), 0o600))
	cmd := exec.Command(Binary(t), "--config", filepath.Base(file), "--config", more)
	cmd.Dir = filepath.Dir(file)
	cmd.Env = append(os.Environ(), variables...)
	return start(t, health, cmd)
}

func start(t testing.TB, health string, cmd *exec.Cmd) *Process {
	t.Helper()
	return launch(t, cmd, cmd.Start, func() bool { return healthy(http.DefaultTransport, health) })
}

func launch(t testing.TB, cmd *exec.Cmd, begin func() error, started func() bool) *Process {
	t.Helper()
	p := &Process{Stderr: &bytes.Buffer{}, cmd: cmd, done: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Environ(), "AWS_EC2_METADATA_DISABLED=true") // a test asks nobody outside
	p.cmd.Stderr, p.cmd.Stdout = p.Stderr, p.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, begin())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("collector: %s", tail(p.Stderr.String(), 4000))
		}
	})
	// It takes a second, on an emulated machine more than half a minute.
	require.Eventually(t, func() bool { return p.exited() || started() }, 2*time.Minute, 20*time.Millisecond, "start of the collector")
	if p.exited() {
		t.Fatalf("the collector ended: %v", p.err)
	}
	return p
}

func (p *Process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func healthy(through http.RoundTripper, address string) bool {
	client := http.Client{Timeout: time.Second, Transport: through}
	request, err := http.NewRequest(http.MethodGet, "http://"+address, nil)
	if err != nil {
		return false
	}
	request.Close = true // keeps nothing open
	r, err := client.Do(request)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// Stop ends the collector as an init system does, and waits for it: it has flushed then.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
		assert.NoError(t, p.err)
	case <-time.After(30 * time.Second):
		t.Fatal("the collector did not end within 30 s of SIGTERM")
	}
}

// Pid is the collector's process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Abort ends the collector as abruptly as Kill does, and gives the number of goroutines that it had: the Go runtime
// writes their stacks at SIGQUIT, and nothing of the program runs any more.
func (p *Process) Abort(t testing.TB) (goroutines int) {
	t.Helper()
	require.False(t, p.exited(), "it has ended by itself: %v", p.err)
	said := p.Stderr.Len()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGQUIT))
	<-p.done
	stacks := p.Stderr.String()[said:]
	for line := range strings.Lines(stacks) {
		if strings.HasPrefix(line, "goroutine ") && strings.HasSuffix(line, "]:\n") {
			goroutines++
		}
	}
	p.Stderr.Truncate(said)
	return goroutines
}

// Kill ends the collector without a warning, and waits until it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	require.False(t, p.exited(), "it has ended by itself: %v", p.err)
	require.NoError(t, p.cmd.Process.Kill())
	<-p.done
}

// Run runs the collector to its end, which has to come by itself, and gives exit code and output.
func Run(t testing.TB, args ...string) (code int, output string) {
	t.Helper()
	return run(t, exec.Command(Binary(t), args...))
}

func run(t testing.TB, cmd *exec.Cmd) (int, string) {
	t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// Read gives the batches that the file exporter has written so far.
func (p *Process) Read(t testing.TB) []pmetric.Metrics {
	t.Helper()
	f, err := os.Open(p.Output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	defer f.Close()
	var batches []pmetric.Metrics
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // the last line may be half written
			return batches
		}
		require.NoError(t, err)
		m, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
		require.NoError(t, err)
		batches = append(batches, m)
	}
}

// FreeAddress is [loopback.FreeAddress] for tests.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := loopback.FreeAddress()
	require.NoError(t, err)
	return address
}

func tail(s string, n int) string {
	if len(s) > n {
		return fmt.Sprintf("… %s", s[len(s)-n:])
	}
	return s
}
