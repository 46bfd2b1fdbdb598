// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
)

var update = flag.Bool("update", false, "write the seeds of the fuzz test anew")

// The seeds are the answers of the test server to each action, as account 111111111111 sees
// the world of everything in eu-west-1.
func TestTheSeedsOfTheFuzzTestAreAnswers(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	w := run(t, options(s, accounts(s, world)))
	require.NoError(t, w.await(t, 1))
	w.stop()
	// Of several calls of an action, which may be made side by side, always the same one.
	asked := map[string]url.Values{}
	for _, c := range s.Calls() {
		if c.Service != "ec2" || c.Region != "eu-west-1" || c.Account != "333333333333" {
			continue
		}
		if before, ok := asked[c.Action]; !ok || c.Form.Encode() < before.Encode() {
			asked[c.Action] = c.Form
		}
	}
	for action, form := range asked {
		name := filepath.Join("testdata", "answers", action+".xml")
		if *update {
			require.NoError(t, os.WriteFile(name, ask(t, s, form), 0o600))
		}
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(want), string(ask(t, s, form)), name)
	}
	require.Greater(t, len(asked), 18)
}

// ask gives the bytes of an answer.
func ask(t *testing.T, s *ec2test.Server, form url.Values) []byte {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.PostForm, r.Form = form, form
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA333333333333/20261122/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0000000000000000000000000000000000000000000000000000000000000000")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	body, err := io.ReadAll(rec.Body)
	require.NoError(t, err)
	require.Equal(t, 200, rec.Code, string(body))
	return body
}
