// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/loopback"
)

// mock is the metadata service that AWS itself publishes for tests. Go installs it from
// the versions of its own go.mod.
const mock = "github.com/aws/amazon-ec2-metadata-mock/cmd/ec2-metadata-mock@v1.13.0"

// startMock runs the mock and gives its address.
func startMock(t *testing.T, arguments ...string) (endpoint string) {
	bin := t.TempDir()
	install := exec.Command("go", "install", mock)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	out, err := install.CombinedOutput()
	require.NoError(t, err, string(out))

	// It takes no port 0.
	address, err := loopback.FreeAddress()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)

	var log bytes.Buffer
	server := exec.Command(filepath.Join(bin, "ec2-metadata-mock"), append(arguments, "--hostname", "127.0.0.1", "--port", port)...)
	server.Env = append(os.Environ(), "HOME="+bin)
	server.Stdout, server.Stderr = &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, 10*time.Second, 10*time.Millisecond)
	return "http://127.0.0.1:" + port
}

// The values are those that the mock answers with when nothing else is configured.
var mocked = Instance{ID: "i-1234567890abcdef0", Account: "0123456789", Region: "us-east-1", Zone: "us-east-1f"}

func TestTheMetadataServiceSaysWhoThisHostIs(t *testing.T) {
	for name, arguments := range map[string][]string{
		"where both versions answer":         nil,
		"where only the second one does":     {"--imdsv2"},
		"beside an interruption of the spot": {"spot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", startMock(t, arguments...))
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // never asked
			got, err := EC2(t.Context())
			require.NoError(t, err)
			assert.Equal(t, mocked, got)
		})
	}
}

// document serves an identity document, or what is meant to be one.
func document(t *testing.T, body string) *atomic.Int32 {
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			_, _ = w.Write([]byte("token"))
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	return &requests
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for name, body := range map[string]string{
		"an empty document":        "{}",
		"a page of a login portal": "<html>sign in</html>",
		"nothing":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			requests := document(t, body)
			got, err := EC2(t.Context())
			require.ErrorContains(t, err, "ask the EC2 instance metadata service who this host is")
			assert.Zero(t, got)
			assert.LessOrEqual(t, requests.Load(), int32(2*attempts), "a token and a document each")
		})
	}
}

func TestTheSDKsSwitchForbidsTheQuestion(t *testing.T) {
	requests := document(t, `{"instanceId": "i-1"}`)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	_, err := EC2(t.Context())
	require.ErrorContains(t, err, "AWS_EC2_METADATA_DISABLED")
	assert.Zero(t, requests.Load())
}

// Nobody listens, or somebody who says nothing.
func TestWhereThereIsNoServiceTheQuestionEndsSoon(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for name, endpoint := range map[string]string{
		"nobody listens": "http://127.0.0.1:1",
		"nobody answers": "http://" + l.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
			began := time.Now()
			_, err := EC2(t.Context())
			require.Error(t, err)
			assert.Less(t, time.Since(began), Timeout+time.Second) // a second for a machine that is busy
		})
	}
}

func TestTheQuestionCanBeTakenBack(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = EC2(ctx)
	require.ErrorContains(t, err, "canceled")
}
