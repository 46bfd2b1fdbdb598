// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// server is a running Prometheus that takes remote writes and native histograms.
type server struct {
	address string
	client  http.Client
}

// binary gives a program of Debian's package prometheus.
func binary(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	return path
}

// startServer runs Prometheus with the configuration given and returns when it answers.
func startServer(t testing.TB, config string) *server {
	t.Helper()
	return startServerAt(t, collector.FreeAddress(t), config)
}

func startServerAt(t testing.TB, address, config string) *server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	s := &server{address: address, client: http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	cmd := exec.Command(binary(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+s.address, "--web.enable-remote-write-receiver", "--enable-feature=native-histograms", "--log.level=warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus: %.4000s", text)
		}
	})
	require.Eventually(t, func() bool {
		r, err := s.client.Get("http://" + s.address + "/-/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond, "start of Prometheus")
	return s
}

// sample is one element of an instant vector; a histogram has its count as value.
type sample struct {
	labels map[string]string
	value  float64
}

// query evaluates an expression at a time.
func (s *server) query(t testing.TB, expr string, at time.Time) []sample {
	t.Helper()
	samples, err := s.ask(expr, at)
	require.NoError(t, err, expr)
	return samples
}

func (s *server) ask(expr string, at time.Time) ([]sample, error) {
	form := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	r, err := s.client.PostForm("http://"+s.address+"/api/v1/query", form)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, body)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("prometheus refuses %s: %s", expr, answer.Error)
	}
	if answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("%s gives a %s", expr, answer.Data.ResultType)
	}
	var elements []struct {
		Metric    map[string]string
		Value     []any
		Histogram []json.RawMessage
	}
	if err := json.Unmarshal(answer.Data.Result, &elements); err != nil {
		return nil, err
	}
	var samples []sample
	for _, e := range elements {
		text := ""
		switch {
		case len(e.Value) == 2:
			text = e.Value[1].(string)
		case len(e.Histogram) == 2:
			var h struct{ Count string }
			if err := json.Unmarshal(e.Histogram[1], &h); err != nil {
				return nil, err
			}
			text = h.Count
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{e.Metric, v})
	}
	return samples, nil
}

// value evaluates an expression that has to give exactly one element.
func (s *server) value(t testing.TB, expr string, at time.Time) float64 {
	t.Helper()
	samples := s.query(t, expr, at)
	require.Len(t, samples, 1, expr)
	return samples[0].value
}
