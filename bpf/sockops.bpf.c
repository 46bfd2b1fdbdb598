//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * flow_sockops sees every TCP connection below a cgroup from its first SYN to its end,
 * and flow_walk visits all of them at each harvest. Connections are only watched:
 * flags of other programs stay, and every callback returns 1.
 */
#include "kernel.h"
#include "conn.h"
#include "table.h"
#include "watch.h"
#include "states.h"
#include "walk.h"
#include "adopt.h"
#include "traced.h"
#include "namespaces.h"
#include "synacks.h"

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

/*
 * watched_silently sees to it that a program below, which is called before this one, does
 * not take the callbacks of a socket at an event that is of no interest here.
 */
static __always_inline void watched_silently(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;
	struct conn *c;

	if (!ctx->is_fullsock || ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG)
		return;
	sk = ctx->sk;
	if (!sk)
		return;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (c && READ(c->flags) & CONN_LIVE)
		keep_callbacks(ctx, c);
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
		watched_silently(ctx);
		return 1;
	}
	if (op == BPF_SOCK_OPS_STATE_CB && !matters(ctx->args[0], ctx->args[1])) {
		watched_silently(ctx);
		return 1;
	}
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
	keep_callbacks(ctx, c);
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

char _license[] SEC("license") = "GPL";
