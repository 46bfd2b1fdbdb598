/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * Watching a socket: its storage, the bound on how many there may be, and the callbacks
 * that it is to make. Flags of other programs stay.
 */
#ifndef WATCH_H
#define WATCH_H

#include "kernel.h"
#include "conn.h"
#include "synacks.h"

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
__u64 lost;	    /* sockets that ended while nobody told of it: see recount() */
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
	return *(volatile __s64 *)&sockets < (__s64)max_sockets;
}

/* keep_callbacks asks again for the callbacks of a socket if another program has assigned its own where it should have added them. */
static __always_inline void keep_callbacks(struct bpf_sock_ops *ctx, struct conn *c)
{
	__u32 wanted = c->role == ROLE_LISTENER ? BPF_SOCK_OPS_STATE_CB_FLAG : callbacks_wanted(NULL), has = ctx->bpf_sock_ops_cb_flags;

	if ((has & wanted) != wanted)
		bpf_sock_ops_cb_flags_set(ctx, has | wanted);
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

/* trace has a socket without callbacks folded by flow_state: another program assigned its flags where it should have added them. It says whether that is new. */
static __always_inline bool trace(struct conn *c, bool unflagged)
{
	if (!unflagged || c->flags & CONN_TRACED)
		return false;
	c->flags |= CONN_TRACED;
	return true;
}

#endif
