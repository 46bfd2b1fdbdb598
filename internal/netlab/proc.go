// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// proc is the process of an app, seen from the lab's side.
type proc struct {
	node  *Node
	cmd   *Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the process is gone

	mu    sync.Mutex
	said  []message     // not yet taken
	err   error         // once done
	news  chan struct{} // capacity 1
	final *Report
}

// stderrTail is how much of an app's complaints an error quotes.
const stderrTail = 4 << 10

// startApp runs this very program again, as an app, in the node.
func (n *Node) startApp(ctx context.Context, config appConfig) (*proc, error) {
	if !mainCalled.Load() {
		return nil, errors.New("netlab: call netlab.Main first in main, or in TestMain: apps are this program, started again")
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	env, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	p := &proc{node: n, done: make(chan struct{}), news: make(chan struct{}, 1)}
	p.cmd = n.Command(ctx, exe)
	p.cmd.Env = append(os.Environ(), appEnv+"="+string(env))
	var stderr tail
	p.cmd.Stderr = &stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		decode := json.NewDecoder(stdout)
		for {
			var m message
			if err := decode.Decode(&m); err != nil {
				break
			}
			p.mu.Lock()
			p.said = append(p.said, m) // one for each command: as many as are asked for
			p.mu.Unlock()
			select {
			case p.news <- struct{}{}:
			default:
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		err := p.cmd.Wait()
		p.mu.Lock()
		if err != nil && len(stderr.b) > 0 {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.b))
		}
		p.err = err
		p.mu.Unlock()
	}()
	n.lab.mu.Lock()
	alive := n.lab.alive()
	if alive == nil {
		n.lab.procs[p] = struct{}{}
	}
	n.lab.mu.Unlock()
	if alive != nil {
		p.kill()
		return nil, alive
	}
	return p, nil
}

// tail keeps the last bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - stderrTail; over > 0 {
		t.b = t.b[over:]
	}
	return len(b), nil
}

// next takes the next thing that the app says.
func (p *proc) next(ctx context.Context) (message, error) {
	for gone := false; ; {
		p.mu.Lock()
		if len(p.said) > 0 {
			m := p.said[0]
			p.said = p.said[1:]
			p.mu.Unlock()
			if m.Error != "" {
				return m, fmt.Errorf("netlab: app on %q: %s", p.node.name, m.Error)
			}
			return m, nil
		}
		err := p.err
		p.mu.Unlock()
		if gone {
			return message{}, fmt.Errorf("netlab: app on %q has ended: %w", p.node.name, errors.Join(err, io.ErrUnexpectedEOF))
		}
		select {
		case <-p.news:
		case <-p.done:
			gone = true
		case <-ctx.Done():
			return message{}, fmt.Errorf("netlab: app on %q: %w", p.node.name, ctx.Err())
		}
	}
}

// tell sends a command. An app that is gone says so by next.
func (p *proc) tell(command string) {
	_, _ = io.WriteString(p.stdin, command+"\n")
}

// finish takes the last report, and waits for the process to end. Later calls
// return the same report.
func (p *proc) finish(ctx context.Context) (*Report, error) {
	p.mu.Lock()
	final := p.final
	p.mu.Unlock()
	if final != nil {
		return final, nil
	}
	m, err := p.next(ctx)
	if err != nil {
		p.kill()
		return nil, err
	}
	if m.Report == nil {
		p.kill()
		return nil, fmt.Errorf("netlab: app on %q: no report", p.node.name)
	}
	p.mu.Lock()
	p.final = m.Report
	p.mu.Unlock()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return nil, ctx.Err()
	}
	p.forget()
	return m.Report, nil
}

// kill ends the process at once.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.forget()
}

// forget takes a process that has ended from the lab's list.
func (p *proc) forget() {
	_ = p.stdin.Close()
	p.node.lab.mu.Lock()
	delete(p.node.lab.procs, p)
	p.node.lab.mu.Unlock()
}
