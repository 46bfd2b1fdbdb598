/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* What becomes of a watched socket when its state changes: a new phase, or its end. */
#ifndef STATES_H
#define STATES_H

#include "kernel.h"
#include "flow.h"
#include "table.h"
#include "ends.h"
#include "watch.h"

bool walking;	      /* a walk is under way, */
__u64 ends_meanwhile; /* and sockets that have ended since it began */

static __always_inline void fold_drops(struct conn *c, struct sock *sk, struct delta *d)
{
	__u32 n = READ(sk->sk_drops.counter);

	d->role = ROLE_LISTENER;
	d->drops = n - c->segments_sent; /* a listener sends no data: the field keeps its drops */
	c->segments_sent = n;
}

/*
 * Key and delta take half of a program's stack: what has them is a function of its own,
 * so that no two of them are there at once.
 */

/* close folds a socket for the last time. */
static __noinline void close(struct conn *c, struct sock *sk, struct tcp_sock *tp, int state)
{
	struct flow_key k = {};
	struct delta d = {};
	bool established, acked, unwanted;
	struct flow *f;
	int err;

	begin(&d);
	bpf_spin_lock(&c->lock);
	if (!(c->flags & CONN_LIVE)) {
		bpf_spin_unlock(&c->lock);
		return;
	}
	if (c->role == ROLE_LISTENER)
		fold_drops(c, sk, &d);
	else
		take_held(c, sk, tp, &d, state);
	key_of(&k, &d, c, sk);
	d.flags |= CONN_ENDED;
	c->flags &= ~CONN_LIVE;
	err = sk->sk_err;
	acked = fin_acked(tp, state);
	unwanted = (state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2) && sk->sk_shutdown & RCV_SHUTDOWN &&
		   tp->data_segs_in != c->segments_at_fin;
	bpf_spin_unlock(&c->lock);
	__sync_fetch_and_sub(&sockets, 1);
	if (READ(walking))
		__sync_fetch_and_add(&ends_meanwhile, 1);

	if (d.role == ROLE_LISTENER && !d.drops)
		return;
	established = d.phase != PHASE_CONNECT;
	f = flow_of(&k, &d, sk);
	if (!f)
		return;
	add(f, &d);
	if (d.role == ROLE_LISTENER)
		return;
	if (established)
		__sync_fetch_and_add(&f->closed[closure_of(err, acked, unwanted)], 1);
	else
		__sync_fetch_and_add(&f->failed[failure_of(err)], 1);
}

/* enter notes that the socket is in a new phase. Called with c->lock held. */
static __always_inline void enter(struct conn *c, struct tcp_sock *tp, __u8 phase, __u32 now)
{
	if (c->phase == PHASE_CONNECT)
		c->flags |= CONN_OPENED; /* a Fast Open server may go straight to FIN_WAIT1 */
	if (phase == PHASE_ESTABLISHED && c->role == ROLE_CLIENT && c->connect_us) {
		c->flags |= CONN_TIMED;
		c->connect_us = now - c->connect_us;
	}
	if (phase == PHASE_CLOSE)
		c->segments_at_fin = tp->data_segs_in;
	c->phase = phase;
}

/* change_folding folds what was counted in the phase that ends as that phase's. */
static __noinline void change_folding(struct conn *c, struct sock *sk, struct tcp_sock *tp, int from, __u8 phase)
{
	struct flow_key k = {};
	struct delta d = {};
	__u32 now = now_us();
	struct flow *f;

	begin(&d);
	bpf_spin_lock(&c->lock);
	if (!(c->flags & CONN_LIVE)) {
		bpf_spin_unlock(&c->lock);
		return;
	}
	take_held(c, sk, tp, &d, from);
	key_of(&k, &d, c, sk);
	enter(c, tp, phase, now);
	bpf_spin_unlock(&c->lock);
	f = flow_of(&k, &d, sk);
	if (f)
		add(f, &d);
}

/* change notes a new state. There is something to fold only if something was retransmitted: most connections go without. */
static __always_inline void change(struct conn *c, struct sock *sk, struct tcp_sock *tp, int from, int to)
{
	__u8 phase = phase_of(to);
	__u32 now = 0;

	if (phase == c->phase)
		return;
	if (phase == PHASE_ESTABLISHED)
		now = now_us();
	bpf_spin_lock(&c->lock);
	if (!(c->flags & CONN_LIVE)) {
		bpf_spin_unlock(&c->lock);
		return;
	}
	if (tp->total_retrans == c->retransmissions && timeouts_of(c, tp) == c->timeouts) {
		enter(c, tp, phase, now);
		bpf_spin_unlock(&c->lock);
		return;
	}
	bpf_spin_unlock(&c->lock);
	change_folding(c, sk, tp, from, phase);
}

/* matters says whether a change of state is the end, or one of phase. */
static __always_inline bool matters(int from, int to)
{
	return to == TCP_CLOSE || phase_of(from) != phase_of(to);
}

static __always_inline void state_changed(struct conn *c, struct sock *sk, struct tcp_sock *tp, int from, int to)
{
	if (to == TCP_CLOSE)
		close(c, sk, tp, from);
	else if (c->role != ROLE_LISTENER)
		change(c, sk, tp, from, to);
}

#endif
