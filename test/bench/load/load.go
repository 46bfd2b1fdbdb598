// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package load makes the traffic of the benchmarks, in processes of their own that wait for
// orders: nothing is started while something is measured. They call the kernel directly,
// a thread to each connection at work, so that as little as possible but TCP is measured.
package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// env marks a process as one of this package's.
const env = "FLOWMONITOR_BENCH_LOAD"

// Main runs this process as a load if it was started to be one, and does not return then.
// Call it first of all in main.
func Main() {
	if os.Getenv(env) == "" {
		return
	}
	// More than there are threads: each keeps its own processor of Go's scheduler while the kernel
	// has it, and none waits for the monitor that hands over those of blocked threads.
	runtime.GOMAXPROCS(256)
	os.Exit(work(os.Stdin, os.Stdout))
}

// Order says what to do next. One field is set.
type Order struct {
	Serve       *Serve       `json:",omitempty"`
	Connections *Connections `json:",omitempty"`
	Paced       *Paced       `json:",omitempty"`
	Streams     *Streams     `json:",omitempty"`
	Sockets     *Sockets     `json:",omitempty"`
	Touch       bool         `json:",omitempty"` // one byte each way on every connection of Sockets
}

// Answer is what became of an order.
type Answer struct {
	Error     string          `json:",omitempty"`
	Elapsed   time.Duration   `json:",omitempty"`
	Count     int             `json:",omitempty"` // connections made, or sockets held
	Bytes     int64           `json:",omitempty"`
	Latencies []time.Duration `json:",omitempty"`
}

// order does one order.
type order interface{ run(*worker) (Answer, error) }

// worker is what a process keeps from order to order.
type worker struct {
	held []pair // the sockets of Sockets
}

func work(in io.Reader, out io.Writer) int {
	orders, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	w := &worker{}
	for {
		var o Order
		if err := orders.Decode(&o); err != nil {
			return 0 // nobody is there any more
		}
		answer, err := w.do(o)
		if err != nil {
			answer.Error = err.Error()
		}
		if answers.Encode(answer) != nil {
			return 0
		}
	}
}

func (w *worker) do(o Order) (Answer, error) {
	var what order
	switch {
	case o.Serve != nil:
		what = o.Serve
	case o.Connections != nil:
		what = o.Connections
	case o.Paced != nil:
		what = o.Paced
	case o.Streams != nil:
		what = o.Streams
	case o.Sockets != nil:
		what = o.Sockets
	case o.Touch:
		what = touch{}
	default:
		return Answer{}, errors.New("an order for nothing")
	}
	began := time.Now()
	answer, err := what.run(w)
	if answer.Elapsed == 0 {
		answer.Elapsed = time.Since(began)
	}
	return answer, err
}

// Process is a load on a node.
type Process struct {
	cmd    *netlab.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	reads  *json.Decoder
	once   sync.Once
}

// Start starts a load on a node; it ends with Close, with ctx, or with this process.
func Start(ctx context.Context, n *netlab.Node) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: n.Command(ctx, self)}
	p.cmd.Env = append(os.Environ(), env+"=1")
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a load on %q: %w", n.Name(), err)
	}
	p.in, p.orders, p.reads = in, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))
	return p, nil
}

// Do gives an order and waits for its answer.
func (p *Process) Do(o Order) (Answer, error) {
	if err := p.orders.Encode(o); err != nil {
		return Answer{}, fmt.Errorf("order a load: %w", err)
	}
	var a Answer
	if err := p.reads.Decode(&a); err != nil {
		return Answer{}, fmt.Errorf("the load gave no answer: %w", err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("load: %s", a.Error)
	}
	return a, nil
}

// Close ends the process, with all its sockets. Safe to call twice.
func (p *Process) Close() (err error) {
	p.once.Do(func() {
		p.in.Close()
		p.cmd.Process.Kill()
		err = p.cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil // killed
		}
	})
	return err
}
