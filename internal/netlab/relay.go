// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// relay delays what arrives at one port. A rule at the port's ingress hook sends
// each frame to a TAP device, in one step, so that none is doubled or lost; the
// relay reads it there, holds it, marks it by its source hardware address and puts
// it on the cable again at the *other* end of the link. It arrives at the port a
// second time, where the rule sees the mark, restores the address and lets it in.
type relay struct {
	lab    *Lab
	port   *port
	table  *table
	tap    *os.File
	inject int // packet socket at the other end

	delays map[*delayPart]struct{} // guarded by the lab's mu

	mu      sync.Mutex // guards the rest
	queue   frameQueue
	current []Delay
	limit   int
	lastDue time.Time
	seen    uint64
	dropped uint64
	closing bool
	changed chan struct{} // capacity 1: look again

	done sync.WaitGroup
}

// delayPart is one [Delay] at one port.
type delayPart struct {
	relay           *relay
	delay           Delay
	seen0, dropped0 uint64
}

// tapQueue is how many frames wait while the relay does not get to run: as many
// as a [Delay] holds.
const tapQueue = defaultQueue

// maxFrame is a frame of the size that a link takes.
const maxFrame = mtu + 14

// delay adds a delay at p, with a relay if there is none yet. Called with mu held.
func (l *Lab) delay(p *port, d Delay) (*delayPart, error) {
	if d.Queue == 0 {
		d.Queue = defaultQueue
	}
	r := l.relays[p]
	if r == nil {
		var err error
		if r, err = newRelay(l, p, d); err != nil {
			return nil, fmt.Errorf("delay at %q: %w", p.node.name, err)
		}
		l.relays[p] = r
	}
	part := &delayPart{relay: r, delay: d}
	r.delays[part] = struct{}{}
	r.apply()
	r.mu.Lock()
	part.seen0, part.dropped0 = r.seen, r.dropped
	r.mu.Unlock()
	return part, nil
}

func (d *delayPart) counts() (Counts, error) {
	r := d.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	return Counts{Seen: r.seen - d.seen0, Hit: r.dropped - d.dropped0}, nil
}

// clear ends one delay, and with the last one the relay.
func (d *delayPart) clear() (Counts, error) {
	r := d.relay
	delete(r.delays, d)
	r.apply()
	if len(r.delays) > 0 {
		return d.counts()
	}
	delete(r.lab.relays, r.port)
	err := r.table.delete() // from here on frames go straight
	r.stop()
	c, _ := d.counts()
	return c, err
}

// newRelay starts a relay that does not delay yet.
func newRelay(l *Lab, p *port, d Delay) (_ *relay, err error) {
	l.faults++
	r := &relay{
		lab: l, port: p, inject: -1,
		table:   &table{ns: p.node.ns, name: fmt.Sprintf("delay%d", l.faults)},
		delays:  map[*delayPart]struct{}{},
		current: []Delay{d},
		limit:   d.Queue,
		changed: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			if r.tap != nil {
				r.tap.Close()
			}
			if r.inject >= 0 {
				unix.Close(r.inject)
			}
		}
	}()
	tapName := fmt.Sprintf("tap%d", l.faults) + "." // no node's name has a dot, nor has eth0
	if err := p.node.ns.do(func() error { return r.openTAP(tapName) }); err != nil {
		return nil, fmt.Errorf("open TAP device: %w", err)
	}
	if err := p.peer.node.ns.do(r.openInjector); err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	mark := markOf(p)
	script := fmt.Sprintf(`table netdev %s {
  chain arrive {
    type filter hook ingress device "%s" priority %d; policy accept;
    ether saddr %s ether saddr set %s accept
    meta pkttype host fwd to "%s"
  }
}
`, r.table.name, p.device, priorityDelay, mark, p.peer.mac, tapName)
	r.done.Add(2)
	go r.read()
	go r.write()
	if err := p.node.ns.do(func() error { return runNFT(script) }); err != nil {
		r.stop()
		r.tap, r.inject = nil, -1
		return nil, err
	}
	return r, nil
}

// markOf is the hardware address of frames on their second way to a port. Each
// end of a link has its own cable direction: one mark does for both.
func markOf(p *port) net.HardwareAddr {
	mark := append(net.HardwareAddr(nil), p.mac...)
	mark[len(mark)-1] = macMark
	return mark
}

// openTAP makes the TAP device in the calling thread's namespace.
func (r *relay) openTAP(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	// NewFile after TUNSETIFF: before it the descriptor cannot be polled.
	r.tap = os.NewFile(uintptr(fd), name)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetTxQLen(link, tapQueue); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// openInjector opens the socket that sends from the other end of the link.
func (r *relay) openInjector() error {
	// Protocol 0: it sends only, and is given no copies of what passes.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.inject = fd
	return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: r.port.peer.index})
}

// apply takes over a change of delays. Called with the lab's mu held.
func (r *relay) apply() {
	r.mu.Lock()
	r.current = r.current[:0]
	r.limit = 0
	for d := range r.delays {
		r.current = append(r.current, d.delay)
		r.limit = max(r.limit, d.delay.Queue)
	}
	if len(r.current) == 0 {
		// What is held goes out at once, before the frames that come after it.
		r.queue.hurry()
		r.lastDue = time.Time{}
	}
	r.mu.Unlock()
	r.look()
}

// look wakes the writer.
func (r *relay) look() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// due is when a frame that arrives now goes on. Called with mu held.
func (r *relay) due(now time.Time) time.Time {
	at := now
	for _, d := range r.current {
		at = at.Add(d.Delay)
		if d.Jitter > 0 {
			at = at.Add(time.Duration(rand.Int64N(int64(2*d.Jitter)+1)) - d.Jitter)
		}
	}
	if at.Before(r.lastDue) {
		at = r.lastDue // order is kept
	}
	r.lastDue = at
	return at
}

// read takes frames from the TAP device until it is closed.
func (r *relay) read() {
	defer r.done.Done()
	defer r.look()                  // the writer ends after it
	buf := make([]byte, maxFrame+4) // room to see one that is too long
	mark := markOf(r.port)
	for {
		n, err := r.tap.Read(buf)
		if err != nil {
			r.mu.Lock()
			r.closing = true
			r.mu.Unlock()
			return
		}
		const source = 6 // after the destination
		if n < source+len(mark) || n > maxFrame || !bytes.Equal(buf[source:source+len(mark)], r.port.peer.mac) {
			continue // none from the cable: the device's own
		}
		copy(buf[source:], mark)
		r.mu.Lock()
		r.seen++
		if r.queue.len() >= r.limit && len(r.current) > 0 {
			r.dropped++
			r.mu.Unlock()
			continue
		}
		r.queue.push(r.due(time.Now()), buf[:n])
		first := r.queue.len() == 1
		r.mu.Unlock()
		if first {
			r.look()
		}
	}
}

// write sends frames when they are due, until the reader has ended.
func (r *relay) write() {
	defer r.done.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.mu.Lock()
		due, ok := r.queue.next()
		closing := r.closing
		var frame []byte
		if ok && (closing || !due.After(time.Now())) {
			frame = r.queue.pop()
		}
		r.mu.Unlock()
		switch {
		case frame != nil:
			// An error is a loss: the link is going down.
			_, _ = unix.Write(r.inject, frame)
			r.mu.Lock()
			r.queue.release(frame)
			r.mu.Unlock()
			continue
		case closing:
			return
		case ok:
			timer.Reset(time.Until(due))
		default:
			timer.Reset(time.Hour)
		}
		select {
		case <-timer.C:
		case <-r.changed:
		}
	}
}

// stop ends both goroutines, after the frames that are there, and the device.
func (r *relay) stop() {
	// Reading on until there is nothing: what the rule sent here before it was
	// removed shall not be lost.
	_ = r.tap.SetReadDeadline(time.Now().Add(tapDrain))
	r.done.Wait()
	r.tap.Close()
	unix.Close(r.inject)
}

// tapDrain is time enough to read a full TAP device.
const tapDrain = 10 * time.Millisecond
