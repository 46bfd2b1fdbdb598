// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package collector

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// SelfMetric asks a collector at the address of its own metrics for one of them, and adds up its series. One that does not exist is 0.
func SelfMetric(t testing.TB, address, name string) (sum int) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address + "/metrics")
	require.NoError(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		v, err := strconv.ParseFloat(match[1], 64)
		require.NoError(t, err)
		sum += int(v)
	}
	return sum
}
