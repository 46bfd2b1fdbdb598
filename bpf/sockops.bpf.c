//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * flow_sockops sees every TCP connection below a cgroup from its first SYN to its end,
 * and flow_walk visits all of them at each harvest. Connections are only watched:
 * flags of other programs stay, and every callback returns 1.
 */
#include "kernel.h"
#include "flow.h"
#include "conn.h"
#include "table.h"
#include "adopt.h"
#include "namespaces.h"
#include "synacks.h"
#include "ends.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct conn);
} conns SEC(".maps");

const volatile __u32 max_sockets;

__u64 sockets;	    /* that are watched now */
__u64 unseen;	    /* connections for which no storage could be made */
__u64 refused;	    /* because max_sockets were watched */
__u64 traced_sockets; /* sockets without callbacks: adopted before 6.12, or their flags were taken away */
__u64 smoothed_rtt; /* RTT samples that were the smoothed one: kernels before 6.10 */

/* before 6.7 nothing but the RTO callback counts time-outs */
static __always_inline __u32 callbacks_wanted(struct tcp_sock *tp)
{
	__u32 flags = BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG;

	if (detail_groups & DETAIL_RETRANSMIT_TYPE)
		flags |= BPF_SOCK_OPS_RETRANS_CB_FLAG;
	if (!bpf_core_field_exists(tp->total_rto))
		flags |= BPF_SOCK_OPS_RTO_CB_FLAG;
	return flags;
}

static __always_inline __u32 now_us(void)
{
	return bpf_ktime_get_ns() / 1000;
}

/* room says whether one more socket may be watched. The bound is not strict: CPUs may pass it together. */
static __always_inline bool room(void)
{
	return *(volatile __u64 *)&sockets < max_sockets;
}

/* not_watched counts a connection for which there is no storage. */
static __always_inline void not_watched(bool is_room)
{
	if (is_room)
		__sync_fetch_and_add(&unseen, 1);
	else
		__sync_fetch_and_add(&refused, 1);
}

/* watch makes the storage of a socket and asks for its callbacks. A socket that is used again starts anew. */
static __always_inline void watch(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u8 role, __u8 phase, __u16 flags)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u32 wanted = BPF_SOCK_OPS_STATE_CB_FLAG, now, jiffies = 0;
	bool again, is_room;
	struct conn *c;

	if (!tp)
		return;
	is_room = room();
	c = bpf_sk_storage_get(&conns, sk, NULL, is_room ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!c) {
		if (phase != PHASE_ESTABLISHED) /* it was counted at its SYN */
			not_watched(is_room);
		return;
	}
	if (role != ROLE_LISTENER)
		wanted = callbacks_wanted(tp);
	if (detail_groups & DETAIL_LIMITS)
		jiffies = bpf_jiffies64();
	now = now_us();
	bpf_spin_lock(&c->lock);
	if (role == ROLE_SERVER && c->role == ROLE_CLIENT && c->flags & CONN_LIVE) {
		/* Two active opens met (RFC 9293, 3.5): it stays the connection that it was. */
		bpf_spin_unlock(&c->lock);
		return;
	}
	again = c->flags & CONN_LIVE;
	c->role = role;
	c->phase = phase;
	c->flags = flags | CONN_LIVE;
	c->connect_us = phase == PHASE_CONNECT ? now : 0;
	c->sent = c->received = 0;
	/* A listener's drops live on when it listens again. */
	c->segments_sent = role == ROLE_LISTENER ? ((struct sock *)tp)->sk_drops.counter : 0;
	c->segments_received = 0;
	c->segments_out = 0;
	/* What the SYN took belongs to a phase that was not seen. */
	c->retransmissions = phase == PHASE_ESTABLISHED ? tp->total_retrans : 0;
	c->timer_calls = 0;
	c->timeouts = phase == PHASE_ESTABLISHED ? timeouts_of(c, tp) : 0;
	c->round = 0;
	c->walked = 0;
	if (role != ROLE_LISTENER)
		detail_from(c, tp, jiffies);
	bpf_spin_unlock(&c->lock);
	if (!again)
		__sync_fetch_and_add(&sockets, 1);
	if (role == ROLE_SERVER && tp->total_retrans)
		synacks_add((struct sock *)tp, -(__s64)tp->total_retrans);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | wanted);
}

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

/* rtt_spill empties the cache of a socket into its flow, to make room for a sample. */
static __noinline void rtt_spill(struct conn *c, struct bpf_sock *bsk, __u32 us, __u32 bucket)
{
	struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(bsk);
	struct flow_key k = {};
	struct delta d = {};
	struct flow *f;

	if (!sk)
		return;
	d.round = READ(this_round);
	bpf_spin_lock(&c->lock);
	take_rtt(c, &d);
	rtt_cache_add(&c->rtt, us, bucket);
	key_of(&k, &d, c, sk);
	bpf_spin_unlock(&c->lock);
	f = flow_of(&k, &d, sk);
	if (f)
		histogram_add_cache(&f->rtt, &d.rtt);
}

/*
 * rtt_before_arguments gives the round-trip time before 6.10, when the callback has none.
 * tcp_rtt_estimator() calls it before it stores the smoothed value: there is none yet at
 * the first sample, of which the deviation is then twice the sample, exactly.
 */
static __always_inline bool rtt_before_arguments(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u32 *us)
{
	struct tcp_sock *tp;

	*us = ctx->srtt_us >> 3;
	if (*us) {
		__sync_fetch_and_add(&smoothed_rtt, 1);
		return true;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return false;
	*us = tp->mdev_us >> 1;
	return true;
}

static __always_inline void rtt_sampled(struct bpf_sock_ops *ctx, struct conn *c, struct bpf_sock *sk)
{
	__u32 us = ctx->args[0], bucket;
	bool full;

	if (!ctx->args[1] && !rtt_before_arguments(ctx, sk, &us))
		return;
	bucket = rtt_bucket(us);
	bpf_spin_lock(&c->lock);
	full = !rtt_cache_add(&c->rtt, us, bucket);
	bpf_spin_unlock(&c->lock);
	if (full)
		rtt_spill(c, sk, us, bucket);
}

SEC("sockops")
int flow_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;
	struct bpf_sock *sk;
	struct tcp_sock *tp;
	struct conn *c;

	switch (op) {
	case BPF_SOCK_OPS_STATE_CB:
	case BPF_SOCK_OPS_RTT_CB:
	case BPF_SOCK_OPS_RTO_CB:
	case BPF_SOCK_OPS_RETRANS_CB:
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		break;
	default:
		return 1;
	}
	if (op == BPF_SOCK_OPS_STATE_CB && !matters(ctx->args[0], ctx->args[1]))
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;

	switch (op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		watch(ctx, sk, ROLE_CLIENT, PHASE_CONNECT, CONN_ATTEMPTED | CONN_SYN_COUNTED);
		return 1;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		watch(ctx, sk, ROLE_SERVER, PHASE_CONNECT, 0);
		return 1;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		watch(ctx, sk, ROLE_LISTENER, PHASE_CLOSE, 0);
		return 1;
	}

	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c) {
		/* In SYN_SENT when flow_sockops was attached, and flow_adopt has not come by. */
		if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
			watch(ctx, sk, ROLE_CLIENT, PHASE_ESTABLISHED, CONN_SYN_COUNTED | CONN_OPENED);
		return 1;
	}
	if (op == BPF_SOCK_OPS_RTT_CB) {
		rtt_sampled(ctx, c, sk);
		return 1;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 1;
	switch (op) {
	case BPF_SOCK_OPS_STATE_CB:
		state_changed(c, (struct sock *)tp, tp, ctx->args[0], ctx->args[1]);
		break;
	case BPF_SOCK_OPS_RTO_CB:
		if (ctx->args[2]) /* the kernel gives up instead of retransmitting */
			break;
		bpf_spin_lock(&c->lock);
		c->timer_calls++;
		bpf_spin_unlock(&c->lock);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		if (!(detail_groups & DETAIL_RETRANSMIT_TYPE))
			break;
		bpf_spin_lock(&c->lock);
		retransmitted(c, tp, ctx->args[1]);
		bpf_spin_unlock(&c->lock);
		break;
	}
	return 1;
}

/*
 * A long walk holds RCU: after so many sockets the pass ends (read() says EAGAIN and
 * goes on where it was). 16,384 take 17 ms at the measured 1 us a socket.
 */
#define PASS 16384

__u32 walked;

/* When the last walk ended, in jiffies and by CLOCK_MONOTONIC: from both follows how long a jiffy is. */
__u64 clock_jiffies;
__u64 clock_ns;

/* trace has a socket without callbacks folded by flow_state: another program assigned its flags where it should have added them. It says whether that is new. */
static __always_inline bool trace(struct conn *c, bool unflagged)
{
	if (!unflagged || c->flags & CONN_TRACED)
		return false;
	c->flags |= CONN_TRACED;
	return true;
}

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

	if (!sk) {
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

__u64 adopted_sockets;

/* callback_flags sets the callback flags of a socket that the iterator holds locked. */
static __always_inline long callback_flags(struct tcp_sock *tp, int flags)
{
	return bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

/* flow_adopt takes over the sockets that were open before flow_sockops was attached, of the namespace it is opened in. */
SEC("iter/tcp")
int flow_adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct conn fresh = {};
	struct tcp_sock *tp;
	struct sock *sk;
	__u32 wanted;

	if (!skc)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc); /* neither TIME_WAIT nor request sockets */
	if (!tp)
		return 0;
	sk = (struct sock *)tp;
	if (sk->__sk_common.skc_state == TCP_CLOSE || !below_cgroup(sk))
		return 0;
	if (bpf_sk_storage_get(&conns, tp, NULL, 0))
		return 0;
	if (!room()) {
		not_watched(false);
		return 0;
	}
	adopted(&fresh, sk, tp);
	wanted = fresh.role == ROLE_LISTENER ? BPF_SOCK_OPS_STATE_CB_FLAG : callbacks_wanted(tp);
	if (callback_flags(tp, tp->bpf_sock_ops_cb_flags | wanted)) {
		fresh.flags |= CONN_TRACED;
		__sync_fetch_and_add(&traced_sockets, 1);
	}
	if (bpf_sk_storage_get(&conns, tp, &fresh, BPF_SK_STORAGE_GET_F_CREATE)) {
		__sync_fetch_and_add(&adopted_sockets, 1);
		__sync_fetch_and_add(&sockets, 1);
	} else {
		not_watched(true);
	}
	return 0;
}

/* flow_release takes back the callback flags. It is for when no other sockops program is left: flags do not say whose they are. */
SEC("iter/tcp")
int flow_release(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp;
	struct conn *c;

	if (!skc)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	c = bpf_sk_storage_get(&conns, tp, NULL, 0);
	if (c && !(c->flags & CONN_TRACED))
		callback_flags(tp, tp->bpf_sock_ops_cb_flags & ~callbacks_wanted(tp));
	return 0;
}

/* flow_state folds sockets at their end that have no callbacks: the kernel refuses flags from an iterator (before 6.12), or another program took them. */
SEC("tp_btf/inet_sock_set_state")
int flow_state(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_sock *tp;
	struct conn *c;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c || !(READ(c->flags) & CONN_LIVE))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	if (!(READ(c->flags) & CONN_TRACED)) {
		bool unflagged = !(tp->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG);

		bpf_spin_lock(&c->lock);
		unflagged = trace(c, unflagged);
		bpf_spin_unlock(&c->lock);
		if (!unflagged)
			return 0; /* its callback has come before */
		__sync_fetch_and_add(&traced_sockets, 1);
	}
	state_changed(c, (struct sock *)tp, tp, (int)ctx[1], (int)ctx[2]);
	return 0;
}

/*
 * flow_window counts the segments by which a peer closed its window. It runs for every
 * segment that an established connection receives, but looks no further than the window:
 * it is attached only for the group that wants it.
 */
SEC("tp_btf/tcp_probe")
int flow_window(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct tcphdr header;
	struct tcp_sock *tp;
	struct conn *c;

	if (!(detail_groups & DETAIL_ZERO_WINDOWS))
		return 0; /* nor does a socket's storage have the counter */
	if (bpf_probe_read_kernel(&header, sizeof(header), skb->data) || header.window || header.flags & TCP_FLAG_RST)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !tp->snd_wnd) /* it was closed before */
		return 0;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	c->detail.zero_windows++;
	bpf_spin_unlock(&c->lock);
	return 0;
}

char _license[] SEC("license") = "GPL";
