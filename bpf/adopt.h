/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * What can be said of a socket whose beginning was not seen: whether it is ours, who
 * opened it, and from where to count.
 */
#ifndef ADOPT_H
#define ADOPT_H

#include "kernel.h"
#include "conn.h"

#define CGROUP_DEPTH 64 /* deeper than any that a container runtime makes (about ten) */

const volatile __u64 cgroup_id; /* sockets below it are watched; 0: all */

static __always_inline bool below_cgroup(struct sock *sk)
{
	struct cgroup_subsys_state *css;

	if (!cgroup_id)
		return true;
	css = &sk->sk_cgrp_data.cgroup->self;
	for (int i = 0; i < CGROUP_DEPTH && css; i++) {
		if (css->cgroup->kn->id == cgroup_id)
			return true;
		css = css->parent;
	}
	return false;
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
 * of listen(fd, 0), which then differs by a local port outside the ephemeral range.
 */
static __always_inline void opener(struct conn *c, struct sock *sk)
{
	__u32 local = sk->__sk_common.skc_num, peer = __builtin_bswap16(sk->__sk_common.skc_dport);
	__u32 low, high;

	if (sk->sk_max_ack_backlog) {
		c->role = ROLE_SERVER;
		return;
	}
	ephemeral_range(sk->__sk_common.skc_net.net, &low, &high);
	if (local >= low && local <= high) {
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

#endif
