/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * Sockets whose beginning was not seen: who opened them, from where to count, and the
 * programs that take them over and let them go.
 */
#ifndef ADOPT_H
#define ADOPT_H

#include "kernel.h"
#include "conn.h"
#include "watch.h"

struct listener {
	__u32 netns;
	__u32 port;
};

enum {
	LISTENER_MARKS = 1, /* what it accepts has its backlog: sk_max_ack_backlog */
	LISTENER_MARKS_NOT = 2, /* listen(fd, 0) */
};

/* Ports that are listened on: the iterator over tcp shows listeners before connections. User space empties it after an adoption. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536); /* every port of one namespace, or four of each of 16,384; without an entry the port's number has to do */
	__type(key, struct listener);
	__type(value, __u8);
} listeners SEC(".maps");

static __always_inline __u8 listener_on(struct sock *sk, __u32 port)
{
	struct listener l = {.netns = sk->__sk_common.skc_net.net->ns.inum, .port = port};
	__u8 *found = bpf_map_lookup_elem(&listeners, &l);

	return found ? *found : 0;
}

static __always_inline void note_listener(struct sock *sk)
{
	struct listener l = {.netns = sk->__sk_common.skc_net.net->ns.inum, .port = sk->__sk_common.skc_num};
	__u8 marks = sk->sk_max_ack_backlog ? LISTENER_MARKS : LISTENER_MARKS_NOT;

	bpf_map_update_elem(&listeners, &l, &marks, BPF_ANY);
}

static __always_inline void ephemeral_range(struct net *net, __u32 *low, __u32 *high)
{
	if (bpf_core_field_exists(net->ipv4.ip_local_ports.range)) {
		*low = net->ipv4.ip_local_ports.range & 0xffff;
		*high = net->ipv4.ip_local_ports.range >> 16;
	} else {
		struct net___pair *pair = (void *)net;

		*low = pair->ipv4.ip_local_ports.range[0];
		*high = pair->ipv4.ip_local_ports.range[1];
	}
}

/*
 * opener sets role and, if it is unknown, which port is the server's. A socket made by
 * accept() has its listener's backlog, one made by connect() has 0; but so does a server
 * of listen(fd, 0), which is told by such a listener on its port, and a client by a
 * listener of its own namespace on the peer's. (A client may be bound to a port that is
 * listened on, as peers of one another do.) Where all listeners are closed or elsewhere,
 * who has an ephemeral port is taken for the client: a server that had listen(fd, 0) on
 * such a port is rarer than a client of a server on one.
 */
static __always_inline void opener(struct conn *c, struct sock *sk)
{
	__u32 local = sk->__sk_common.skc_num, peer = __builtin_bswap16(sk->__sk_common.skc_dport);
	__u32 low, high;

	if (sk->sk_max_ack_backlog || listener_on(sk, local) == LISTENER_MARKS_NOT) {
		c->role = ROLE_SERVER;
		return;
	}
	ephemeral_range(sk->__sk_common.skc_net.net, &low, &high);
	if ((local >= low && local <= high) || listener_on(sk, peer)) {
		c->role = ROLE_CLIENT;
		return;
	}
	c->role = ROLE_UNKNOWN;
	if (local < low && peer >= low)
		c->flags |= CONN_PORT_LOCAL;
	else if (peer < low && local >= low)
		c->flags |= CONN_PORT_PEER;
}

/* adopted describes a socket as it is now: what it has counted so far is not ours. */
static __always_inline void adopted(struct conn *c, struct sock *sk, struct tcp_sock *tp)
{
	int state = sk->__sk_common.skc_state;
	__u32 jiffies = detail_groups & DETAIL_LIMITS ? bpf_jiffies64() : 0;

	c->flags = CONN_LIVE;
	if (state == TCP_LISTEN) {
		c->role = ROLE_LISTENER;
		c->phase = PHASE_CLOSE;
		c->segments_sent = sk->sk_drops.counter;
		return;
	}
	c->phase = phase_of(state);
	if (state == TCP_SYN_SENT) {
		c->role = ROLE_CLIENT;
		c->flags |= CONN_SYN_COUNTED;
	} else {
		opener(c, sk);
		c->sent = tp->bytes_acked - fin_acked(tp, state);
		c->received = tp->bytes_received - fin_received(sk);
	}
	c->segments_sent = tp->data_segs_out;
	c->segments_received = tp->data_segs_in;
	c->segments_out = tp->segs_out;
	c->retransmissions = tp->total_retrans;
	c->timeouts = timeouts_of(c, tp);
	detail_from(c, tp, jiffies);
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
	if (sk->__sk_common.skc_state == TCP_LISTEN)
		note_listener(sk);
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

#endif
