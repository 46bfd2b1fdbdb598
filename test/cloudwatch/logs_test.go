// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cloudwatch

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Limits of PutLogEvents, from its API reference.
const (
	maxBatchBytes  = 1_048_576
	maxBatchEvents = 10_000
	eventOverhead  = 26      // bytes that each event counts beside its message
	maxEventBytes  = 262_144 // the EMF specification's; of plain events it is more by now
	maxAge         = 14 * 24 * time.Hour
	maxAhead       = 2 * time.Hour
	maxSpan        = 24 * time.Hour
)

// logs is a stand-in of the CloudWatch Logs API: JSON 1.1 over HTTP, as the AWS SDK speaks it. It knows the calls that the
// exporter makes, has no group and no stream until they are created, and refuses with the API's own errors.
type logs struct {
	URL string

	mu      sync.Mutex
	groups  map[string]map[string]bool
	calls   map[string]int // that succeeded, by operation
	events  []string
	refused []string // what the real one would have refused, or thrown away
	busy    int      // how many of the next PutLogEvents are answered with ServiceUnavailableException
}

type logEvent struct {
	Timestamp int64
	Message   string
}

type logsRequest struct {
	LogGroupName, LogStreamName string
	RetentionInDays             int
	LogEvents                   []logEvent
}

func startLogs(t testing.TB, busy int) *logs {
	l := &logs{groups: map[string]map[string]bool{}, calls: map[string]int{}, busy: busy}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.URL = server.URL
	return l
}

func (l *logs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fail := func(status int, kind, message string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-ErrorType", kind)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message})
	}
	refuse := func(format string, args ...any) {
		l.refused = append(l.refused, fmt.Sprintf(format, args...))
		fail(http.StatusBadRequest, "InvalidParameterException", fmt.Sprintf(format, args...))
	}
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "Logs_20140328.")
	if !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		refuse("%s with target %q and type %q", r.Method, r.Header.Get("X-Amz-Target"), r.Header.Get("Content-Type"))
		return
	}
	// The signature is made for this service and the Region of the configuration.
	if a := r.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=") || !strings.Contains(a, "/eu-west-1/logs/aws4_request") {
		refuse("%s is signed %q", operation, a)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			refuse("%s: %v", operation, err)
			return
		}
		body = z
	}
	var request logsRequest
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		refuse("%s: %v", operation, err)
		return
	}
	streams, group := l.groups[request.LogGroupName]
	answer := map[string]any{}
	switch operation {
	case "CreateLogGroup":
		if group {
			fail(http.StatusBadRequest, "ResourceAlreadyExistsException", "The specified log group already exists")
			return
		}
		l.groups[request.LogGroupName] = map[string]bool{}
	case "CreateLogStream":
		if !group {
			fail(http.StatusBadRequest, "ResourceNotFoundException", "The specified log group does not exist.")
			return
		}
		if streams[request.LogStreamName] {
			fail(http.StatusBadRequest, "ResourceAlreadyExistsException", "The specified log stream already exists")
			return
		}
		streams[request.LogStreamName] = true
	case "PutRetentionPolicy":
		if !group || request.RetentionInDays <= 0 {
			refuse("PutRetentionPolicy of %q for %d days", request.LogGroupName, request.RetentionInDays)
			return
		}
	case "PutLogEvents":
		if !group || !streams[request.LogStreamName] {
			fail(http.StatusBadRequest, "ResourceNotFoundException", "The specified log stream does not exist.")
			return
		}
		if l.busy > 0 {
			l.busy--
			fail(http.StatusServiceUnavailable, "ServiceUnavailableException", "The service cannot complete the request.")
			return
		}
		if format := r.Header.Get("X-Amzn-Logs-Format"); format != "json/emf" {
			refuse("the format is %q", format)
			return
		}
		if err := checkBatch(request.LogEvents, time.Now()); err != nil {
			refuse("%v", err)
			return
		}
		for _, e := range request.LogEvents {
			l.events = append(l.events, e.Message)
		}
		answer["nextSequenceToken"] = "49590302388188000000000000000000000000000000000000000000"
	default:
		refuse("unexpected operation %s", operation)
		return
	}
	l.calls[operation]++
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(answer)
}

func checkBatch(events []logEvent, now time.Time) error {
	if len(events) == 0 || len(events) > maxBatchEvents {
		return fmt.Errorf("a batch of %d events", len(events))
	}
	size := 0
	for i, e := range events {
		size += len(e.Message) + eventOverhead
		at := time.UnixMilli(e.Timestamp)
		switch {
		case len(e.Message) == 0 || len(e.Message)+eventOverhead > maxEventBytes:
			return fmt.Errorf("event %d has %d bytes", i, len(e.Message))
		case at.Before(now.Add(-maxAge)):
			return fmt.Errorf("event %d is too old: %v", i, at)
		case at.After(now.Add(maxAhead)):
			return fmt.Errorf("event %d is too new: %v", i, at)
		case i > 0 && e.Timestamp < events[i-1].Timestamp:
			return fmt.Errorf("event %d is older than the one before it", i)
		case at.Sub(time.UnixMilli(events[0].Timestamp)) > maxSpan:
			return fmt.Errorf("the batch spans more than a day")
		}
	}
	if size > maxBatchBytes {
		return fmt.Errorf("a batch of %d bytes", size)
	}
	return nil
}

// refuseNext makes the API answer the next n PutLogEvents with ServiceUnavailableException.
func (l *logs) refuseNext(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = n
}

// seen gives all events so far, what was refused, and the calls that succeeded.
func (l *logs) seen() (events, refused []string, calls map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls = map[string]int{}
	for k, v := range l.calls {
		calls[k] = v
	}
	return append([]string(nil), l.events...), append([]string(nil), l.refused...), calls
}
