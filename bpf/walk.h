/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* The walk at each harvest, which folds every watched socket into its flow. */
#ifndef WALK_H
#define WALK_H

#include "kernel.h"
#include "table.h"
#include "states.h"

/*
 * A long walk holds RCU: after so many sockets the pass ends (read() says EAGAIN and
 * goes on where it was). 16,384 take 17 ms at the measured 1 us a socket.
 */
#define PASS 16384

__u32 walked;

/* When the last walk ended, in jiffies and by CLOCK_MONOTONIC: from both follows how long a jiffy is. */
__u64 clock_jiffies;
__u64 clock_ns;

/*
 * ask_for loads the cache lines of a socket that its fold will need, one right after the
 * other, so that they are on their way together: behind the lock and its barriers each
 * would be waited for by itself. Sockets that rest are in no cache.
 */
static __always_inline void ask_for(struct sock *sk, struct tcp_sock *tp)
{
	(void)READ(sk->__sk_common.skc_flags);
	(void)READ(sk->sk_lock.owned);
	(void)READ(sk->sk_cgrp_data.cgroup);
	(void)READ(tp->segs_out);
	(void)READ(tp->data_segs_in);
	(void)READ(tp->bytes_acked);
	(void)READ(tp->total_retrans);
}

/*
 * The count of sockets stays too high by those whose end nobody told: another program took
 * their callbacks, and they were gone before flow_state was attached. The walk meets each
 * socket that is watched, unless it ends meanwhile. What three walks in a row have not met
 * was lost; three, because a walk in passes can miss one.
 */
__u64 met;
__u64 sockets_before;
__s64 unmet_before[2];

static __always_inline void begin_walk(void)
{
	if (walking)
		return;
	ends_meanwhile = 0;
	walking = true; /* first: an end that counts as meanwhile and before errs to the low side */
	sockets_before = READ(sockets);
	met = 0;
}

static __always_inline void recount(void)
{
	__s64 ends = READ(ends_meanwhile), unmet = (__s64)(sockets_before - met) - ends, least = unmet;
	__s64 missing = (__s64)(met - READ(sockets)) - ends;

	walking = false;
	if (missing > 0) /* one that was missed before */
		__sync_fetch_and_add(&sockets, missing);
	if (least > unmet_before[0])
		least = unmet_before[0];
	if (least > unmet_before[1])
		least = unmet_before[1];
	if (least > 0) {
		__sync_fetch_and_sub(&sockets, least);
		__sync_fetch_and_add(&lost, least);
		unmet -= least;
		unmet_before[0] -= least;
	}
	unmet_before[1] = unmet_before[0];
	unmet_before[0] = unmet;
}

/* flow_walk folds one socket of whatever network namespace, without its lock. */
SEC("iter/bpf_sk_storage_map")
int flow_walk(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct flow_key k = {};
	struct delta d = {};
	struct tcp_sock *tp;
	bool again, unflagged;
	struct flow *f;
	struct conn *c;

	begin_walk();
	if (!sk) {
		recount();
		clock_jiffies = bpf_jiffies64();
		clock_ns = bpf_ktime_get_ns();
		return 0;
	}
	if (walked++ == PASS) {
		walked = 0;
		return 1;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	ask_for((struct sock *)tp, tp);
	c = bpf_sk_storage_get(&conns, sk, NULL, 0); /* ctx->value cannot be locked */
	if (!c || !(READ(c->flags) & CONN_LIVE))
		return 0;
	unflagged = !(tp->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG);
	begin(&d);
	bpf_spin_lock(&c->lock);
	if (!(c->flags & CONN_LIVE)) {
		bpf_spin_unlock(&c->lock);
		return 0;
	}
	unflagged = trace(c, unflagged);
	/* A pass that goes on where the last one ended may meet a socket again. */
	again = c->walked == d.round;
	if (c->walked && !again)
		c->flags |= CONN_SETTLED;
	c->walked = d.round;
	if (c->role == ROLE_LISTENER)
		fold_drops(c, (struct sock *)tp, &d);
	else
		take_walking(c, (struct sock *)tp, tp, &d);
	key_of(&k, &d, c, (struct sock *)tp);
	c->flags |= CONN_WALKED; /* from here on, not yet for this fold */
	bpf_spin_unlock(&c->lock);
	met += !again;
	if (unflagged)
		__sync_fetch_and_add(&traced_sockets, 1);

	if (d.role == ROLE_LISTENER && !d.drops)
		return 0;
	f = flow_of(&k, &d, (struct sock *)tp);
	if (!f)
		return 0;
	add(f, &d);
	if (!again && d.role != ROLE_LISTENER && d.phase < PHASES)
		__sync_fetch_and_add(&f->open[d.phase], 1);
	return 0;
}

#endif
