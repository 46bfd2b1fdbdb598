/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* Tracepoints, for what no callback tells. */
#ifndef TRACED_H
#define TRACED_H

#include "kernel.h"
#include "states.h"

/*
 * Since 7.0 (0be08389c7f2, "bpf: Switch to bpf_selem_unlink_nofail") the storage of a socket
 * that is destroyed loses its owner while the iterator of flow_walk may still be at it, which
 * then follows a null pointer: a storage has to be gone before its socket is.
 */
const volatile bool storage_ends_at_close;

/* watched_no_more deletes the storage of a closed socket where it may not outlive that. */
static __always_inline void watched_no_more(struct sock *sk, int to)
{
	if (storage_ends_at_close && to == TCP_CLOSE)
		bpf_sk_storage_delete(&conns, sk);
}

/* fold_traced folds sockets that have no callbacks: the kernel refuses flags from an iterator (before 6.12), or another program took them. */
static __always_inline void fold_traced(struct sock *sk, int from, int to)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct tcp_sock *tp;

	if (!c || !(READ(c->flags) & CONN_LIVE))
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (!(READ(c->flags) & CONN_TRACED)) {
		bool unflagged = !(tp->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG);

		bpf_spin_lock(&c->lock);
		unflagged = trace(c, unflagged);
		bpf_spin_unlock(&c->lock);
		if (!unflagged)
			return; /* its callback has come before */
		__sync_fetch_and_add(&traced_sockets, 1);
	}
	state_changed(c, (struct sock *)tp, tp, from, to);
}

SEC("tp_btf/inet_sock_set_state")
int flow_state(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	fold_traced(sk, (int)ctx[1], (int)ctx[2]);
	watched_no_more(sk, (int)ctx[2]);
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

#endif
