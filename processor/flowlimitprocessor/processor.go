// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"
)

var (
	// errShutdown is what a batch gets that comes after Shutdown: held, it would be lost.
	errShutdown = errors.New("flowlimit is shut down")

	// errFull is what a batch gets that there is no room for. Not permanent: nothing of the
	// batch is taken, and it can be sent again.
	errFull = errors.New("flowlimit holds 'max_held_mib' and the next component does not take more")

	// errSendingElsewhere says that others are sending, and that the wait for them was given up.
	errSendingElsewhere = errors.New("rounds are being sent by another caller")
)

// roomPatience is how long a batch waits for room, if its caller does. A next component
// that works takes a round in some milliseconds; one that does not within a second is
// stuck, and waiting batches would only pile up in front of this processor.
const roomPatience = time.Second

// limiter is the processor. Batches are parsed side by side, added to the held rounds
// under mu, and leave under the one place in sending: so ranking and sending a round
// holds up no batch, and rounds leave in the order in which they were released.
type limiter struct {
	next      consumer.Metrics
	logger    *zap.Logger
	hasher    *hasher
	telemetry *telemetry
	batches   sync.Pool // of *batch

	mu     sync.Mutex
	held   *held
	closed bool
	room   chan struct{} // closed when there is room again; nil when nobody waits for that

	sending chan struct{} // holds one: a lock that gives up with a context
	emitter *emitter      // of who is in sending
	failing bool          // likewise: the last round was refused

	wake     chan struct{} // a first round is held: there is a time to wait for
	stop     chan struct{} // closed by Shutdown
	abort    context.CancelFunc
	loop     sync.WaitGroup
	shutdown sync.Once

	cumulativeOnce sync.Once
}

var _ processor.Metrics = (*limiter)(nil)

func newLimiter(set processor.Settings, cfg *Config, next consumer.Metrics) (*limiter, error) {
	h := newHasher()
	l := &limiter{
		next:    next,
		logger:  set.Logger,
		hasher:  h,
		batches: sync.Pool{New: func() any { return &batch{} }},
		held:    newHeld(h, cfg.RoundTimeout, cfg.MaxHeldMiB<<20),
		sending: make(chan struct{}, 1),
		emitter: &emitter{hasher: h, top: cfg.TopFlows, streams: newStreams(cfg.MaxStreams)},
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		abort:   func() {},
	}
	var err error
	if l.telemetry, err = newTelemetry(set.TelemetrySettings, cfg); err != nil {
		return nil, fmt.Errorf("make the internal telemetry: %w", err)
	}
	return l, nil
}

// Capabilities: what passes is not changed and what is held is copied.
func (*limiter) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// Start starts the clock of the rounds.
func (l *limiter) Start(starting context.Context, _ component.Host) error {
	l.telemetry.begin(starting)
	ctx, abort := context.WithCancel(context.Background())
	l.abort = abort
	l.loop.Go(func() { l.releaseDue(ctx) })
	return nil
}

// releaseDue sends the rounds that have waited long enough, until Shutdown. ctx is given
// up only when Shutdown can wait no longer.
func (l *limiter) releaseDue(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		l.held.releaseDue(time.Now())
		at, ok := l.held.deadline()
		sends := len(l.held.outbox) > 0
		l.telemetry.observeHeld(ctx, l.held)
		l.mu.Unlock()
		if sends {
			_ = l.send(ctx, ctx) // counted, and said
		}
		var due <-chan time.Time
		if ok {
			timer.Reset(time.Until(at))
			due = timer.C
		}
		select {
		case <-l.stop:
			return
		case <-due:
		case <-l.wake:
		}
	}
}

// ConsumeMetrics takes the flow points of md and passes all others on at once. It sends
// the rounds that this releases, also those of others that wait for it.
//
// An error of the next component about what passes is returned as it is: nothing is held
// then, and the batch can be sent again. So it can after errFull. One about a round is
// counted and logged, and not returned: md itself is held, and a caller would count it as lost, too.
// When ctx ends while others send, md is held as well, and the clock sends what it released. Safe
// for concurrent use.
func (l *limiter) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	b := l.batches.Get().(*batch)
	defer l.batches.Put(b)
	b.parse(l.hasher, md)
	if b.flows == 0 && b.refused == ([numRefusals]int{}) {
		return l.next.ConsumeMetrics(ctx, md)
	}
	// With the lock, unless something passes: then as many batches as there are callers
	// may find the last room at once. Looked at before anything is taken: what came twice
	// would count twice.
	if err := l.lockWithRoom(ctx, b.flows); err != nil {
		return err
	}
	if b.passing > 0 {
		l.mu.Unlock()
		if err := l.next.ConsumeMetrics(ctx, b.rest(md)); err != nil {
			return err
		}
		l.mu.Lock()
	}
	l.refuse(ctx, b)
	if b.flows == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.closed {
		l.mu.Unlock()
		return errShutdown
	}
	_, waiting := l.held.deadline()
	l.held.add(b, md, time.Now())
	_, waits := l.held.deadline()
	l.telemetry.observeHeld(ctx, l.held)
	l.mu.Unlock()
	if waits && !waiting {
		l.wakeClock()
	}
	// Sent not with ctx: rounds are of many callers, whose metadata must not mix, and a
	// caller that gives up must not take the others' rounds with it.
	if err := l.send(ctx, context.Background()); errors.Is(err, errSendingElsewhere) {
		l.wakeClock() // whoever sends takes it along, unless just done: then the clock does
	}
	return nil
}

// wakeClock makes the clock look at the rounds.
func (l *limiter) wakeClock() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// lockWithRoom locks mu when there is room for a batch with so many flow points, or gives
// the reason why the batch is not taken. It waits for room as long as the caller does, at
// most roomPatience.
func (l *limiter) lockWithRoom(ctx context.Context, flows int) error {
	var patience <-chan time.Time
	for {
		l.mu.Lock()
		switch {
		case l.closed:
			l.mu.Unlock()
			return errShutdown
		case flows == 0 || !l.held.full():
			return nil
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		l.wakeClock() // if those who released gave up, nobody sends
		if patience == nil {
			timer := time.NewTimer(roomPatience)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-room:
			continue
		case <-l.stop:
			return errShutdown
		case <-ctx.Done():
		case <-patience:
		}
		l.telemetry.refuse(ctx, refusedFull, flows)
		return errFull
	}
}

// refuse counts the points that are not taken, and says once what to do about them.
func (l *limiter) refuse(ctx context.Context, b *batch) {
	for why, n := range b.refused {
		l.telemetry.refuse(ctx, refusal(why), n)
	}
	if b.refused[refusedCumulative] > 0 {
		l.cumulativeOnce.Do(func() {
			l.logger.Error("flow points with cumulative temporality are refused and counted: " +
				"set 'temporality: delta' on the sockops receiver, or leave flowlimit out of this pipeline")
		})
	}
}

// send sends what is in the outbox, with ctx. wait bounds the wait for others who do, which
// ends in errSendingElsewhere; what they were given they send.
func (l *limiter) send(wait, ctx context.Context) error {
	l.mu.Lock()
	empty := len(l.held.outbox) == 0
	l.mu.Unlock()
	if empty {
		return nil
	}
	select {
	case l.sending <- struct{}{}: // also when wait has ended already
	default:
		select {
		case l.sending <- struct{}{}:
		case <-wait.Done():
			return errors.Join(errSendingElsewhere, wait.Err())
		}
	}
	defer func() { <-l.sending }()
	var errs []error
	for {
		r := l.takeRound()
		if r == nil {
			return errors.Join(errs...)
		}
		if err := l.sendRound(ctx, r); err != nil {
			errs = append(errs, err)
		}
	}
}

func (l *limiter) takeRound() *round {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.held.take()
	if l.room != nil && !l.held.full() {
		close(l.room)
		l.room = nil
	}
	l.telemetry.observeHeld(context.Background(), l.held)
	return r
}

// sendRound sends one round. Who calls it is in sending.
func (l *limiter) sendRound(ctx context.Context, r *round) error {
	begin := time.Now()
	out := l.emitter.emit(r)
	var err error
	if out.points > 0 {
		err = l.next.ConsumeMetrics(ctx, out.metrics)
	}
	if err != nil {
		l.emitter.abandon()
		err = fmt.Errorf("send a round of %d points, which are lost: %w", out.points, err)
		if !l.failing { // once for a row of failures: each round's points are counted
			l.logger.Warn("the next component refuses rounds, which are lost", zap.Error(err))
		}
	} else {
		l.emitter.commit()
	}
	l.failing = err != nil
	l.telemetry.sent(ctx, out, err, time.Since(begin), l.emitter.streams)
	return err
}

// Shutdown ends the clock and sends all that is held. Without Start, and a second time, it
// does what is left to do. If ctx ends first, what was not sent is counted as lost.
func (l *limiter) Shutdown(ctx context.Context) error {
	var err error
	l.shutdown.Do(func() { err = l.flush(ctx) })
	return err
}

func (l *limiter) flush(ctx context.Context) error {
	close(l.stop)
	l.mu.Lock()
	l.closed = true
	l.held.releaseAll()
	l.telemetry.observeHeld(ctx, l.held)
	l.mu.Unlock()
	err := errors.Join(l.send(ctx, ctx), l.join(ctx))
	lost := 0
	for r := l.takeRound(); r != nil; r = l.takeRound() {
		lost += r.points
	}
	l.telemetry.lose(ctx, lost)
	l.telemetry.shutdown()
	return err
}

// join waits for the clock, which may be sending.
func (l *limiter) join(ctx context.Context) error {
	defer l.abort()
	ended := make(chan struct{})
	go func() {
		l.loop.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a round that is being sent: %w", ctx.Err())
	}
}
