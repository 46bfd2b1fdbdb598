// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// visitorEnv makes the demo's binary a visitor: an HTTP client on one host.
const visitorEnv = "FLOWMONITOR_DEMO_VISITOR"

// visit requests the page of each address so many times a second, and posts as much
// back, so that both ends send: loss is seen by the sender. It ends when it is killed.
func visit(args []string) {
	perSecond, err := strconv.Atoi(args[0])
	if err != nil {
		panic(err)
	}
	var visits sync.WaitGroup
	for _, address := range args[1:] {
		visits.Go(func() {
			for range time.Tick(time.Second / time.Duration(perSecond)) {
				request(address)
			}
		})
	}
	visits.Wait()
}

// A request that fails was struck by the fault that the demo injected: the next one comes.
func request(address string) {
	if r, err := http.Get("http://" + address + "/page"); err == nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if r, err := http.Post("http://"+address+"/post", "application/octet-stream", bytes.NewReader(make([]byte, page))); err == nil {
		r.Body.Close()
	}
}
