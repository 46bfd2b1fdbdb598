/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * What is kept beside each socket, and how the growth of its counters becomes a delta.
 *
 * Two parties fold one socket: callbacks, which hold the socket's lock, and the walk at
 * each harvest, which holds none. The spin lock makes snapshot and delta one step, so
 * that nothing is counted twice. It does not stop the kernel from working on the socket
 * meanwhile: see payload_*() for what the walk may then believe.
 */
#ifndef CONN_H
#define CONN_H

#include "kernel.h"
#include "flow.h"
#include "rtt.h"

enum {
	CONN_LIVE = 1 << 0,         /* from its making to its last fold; the storage lives on with the descriptor */
	CONN_ATTEMPTED = 1 << 1,    /* not yet added to its flow: a SYN, */
	CONN_OPENED = 1 << 2,       /* an ESTABLISHED, */
	CONN_TIMED = 1 << 3,        /* and how long it took */
	CONN_SYN_COUNTED = 1 << 4,  /* bytes_acked counts the SYN of this active open */
	CONN_RETRANSMITTED = 1 << 5,/* counted as retransmitting in this round */
	CONN_PORT_LOCAL = 1 << 6,   /* role unknown: which port is the server's, if any */
	CONN_PORT_PEER = 1 << 7,
	CONN_TRACED = 1 << 8,       /* without callbacks: the state tracepoint folds it (see flow_state) */
	CONN_SETTLED = 1 << 9,      /* a whole round old: user space has told its translation, if it has one */
	CONN_WALKED = 1 << 10,      /* was met by a walk: what map translations says was said of it */
	CONN_ENDED = 1 << 11,       /* of a delta: the last one of its connection */
};

/* What the groups of detail need; the storage ends before it if there are none. */
struct conn_detail {
	__u32 limits[LIMITS]; /* as of the last fold */
	__u32 dsack_dups;
	__u32 delivered_ce;
	__u32 fast; /* retransmissions by type, not folded yet */
	__u32 tail_loss_probe;
	__u32 timeout;
	__u32 spurious;
	__u32 zero_windows;
};

/*
 * 104 bytes up to detail: with the kernel's header in the slab class of 384 (values up
 * to 120); 144 with it, in that of 448.
 */
struct conn {
	struct bpf_spin_lock lock;
	__u8 role;
	__u8 phase;
	__u16 flags;
	__u64 sent; /* as of the last fold, from here on */
	__u64 received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 segments_out;
	__u32 retransmissions;
	__u16 timeouts;
	__u16 timer_calls; /* before 6.7: expirations seen by the RTO callback */
	__u32 connect_us; /* first the time of the SYN, then the duration */
	__u32 round; /* the last one in which it sent data, */
	__u32 walked; /* and in which it was counted as open */
	__u32 segments_at_fin; /* data segments received when this end closed */
	__u32 unused;
	struct rtt_cache rtt;
	struct conn_detail detail;
};

_Static_assert(__builtin_offsetof(struct conn, detail) <= 120, "slab class of 384 bytes");
_Static_assert(sizeof(struct conn) <= 184, "slab class of 448 bytes");

struct delta {
	__u64 sent;
	__u64 received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 segments_out;
	__u32 retransmissions;
	__u32 timeouts;
	__u32 connect_us;
	__u32 drops;
	__u32 round;
	__u32 jiffies;
	__u16 flags; /* CONN_ATTEMPTED, CONN_OPENED, CONN_TIMED, CONN_SETTLED, CONN_WALKED, CONN_ENDED */
	__u16 local_port; /* of the socket, whatever the flow's identity leaves out */
	__u16 peer_port;
	__u8 role;
	__u8 phase;
	__u8 active;
	__u8 retransmitting;
	__u8 unused[2];
	struct rtt_cache rtt;
	__u32 limits[LIMITS];
	__u32 types[RETRANSMIT_TYPES];
	__u32 zero_windows;
	__u32 ecn_marks;
	__u32 unused2[2];
};

/* Which of the two flow tables is in use: the one of the round's parity. Counted up by user space. */
__u32 this_round = 1;

const volatile __u32 detail_groups;
const volatile bool nat;

/* begin notes, before the socket is locked, what a fold needs from helpers: they may not be called under the lock. */
static __always_inline void begin(struct delta *d)
{
	d->round = *(volatile __u32 *)&this_round;
	if (detail_groups & DETAIL_LIMITS)
		d->jiffies = bpf_jiffies64();
}

static __always_inline enum phase phase_of(int state)
{
	switch (state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return PHASE_CONNECT;
	case TCP_ESTABLISHED:
		return PHASE_ESTABLISHED;
	}
	return PHASE_CLOSE;
}

/* A load that the compiler neither drops nor moves; x86 keeps the order of loads. */
#define READ(x) (*(volatile typeof(x) *)&(x))

/*
 * Counted sequence numbers that are no payload: the SYN of an active open, our FIN once
 * acknowledged, the peer's FIN. The kernel adds such a number to bytes_acked or
 * bytes_received a moment before it moves the state or sets SOCK_DONE.
 */
struct payload {
	__u64 acked;
	__u64 received;
	__u64 busy; /* somebody works on the socket: its state may lag behind its counters */
};

/* order keeps the loads before it before those after it, on CPUs weaker than x86. */
static __always_inline void order(struct conn *c)
{
	__sync_fetch_and_add(&c->round, 0);
}

static __always_inline bool working_on(struct sock *sk)
{
	struct sock___rt *rt = (void *)sk;

	if (READ(sk->sk_lock.owned))
		return true;
	if (bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock.val.counter))
		return READ(sk->sk_lock.slock.rlock.raw_lock.val.counter);
	if (bpf_core_field_exists(rt->sk_lock.slock.lock.owner))
		return READ(rt->sk_lock.slock.lock.owner);
	return true; /* without queued spin locks: take the careful way */
}

/*
 * payload_read is for the walk: counters first, then whether somebody is at work, then
 * (by the caller) the state. What counted before is then marked, or it is busy.
 */
static __always_inline void payload_read(struct payload *p, struct conn *c, struct sock *sk, struct tcp_sock *tp)
{
	p->acked = READ(tp->bytes_acked);
	p->received = READ(tp->bytes_received);
	order(c);
	p->busy = working_on(sk);
	order(c);
}

static __always_inline bool fin_received(struct sock *sk)
{
	return READ(sk->__sk_common.skc_flags) & (1UL << bpf_core_enum_value(enum sock_flags___found, SOCK_DONE___found));
}

/* fin_acked: state is the one before CLOSE if that is where the socket is. */
static __always_inline bool fin_acked(struct tcp_sock *tp, int state)
{
	switch (state) {
	case TCP_FIN_WAIT2:
	case TCP_TIME_WAIT:
		return true;
	case TCP_FIN_WAIT1:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		return tp->snd_una == tp->write_seq;
	}
	return false;
}

/*
 * advance moves *last to now and gives the growth. What the walk believes is never above
 * the truth but may have been below: then there is no growth yet.
 */
static __always_inline __u64 advance(__u64 *last, __u64 now)
{
	__s64 grown = now - *last;

	if (grown <= 0)
		return 0;
	*last = now;
	return grown;
}

/* grow is advance for a counter of 32 bits that is what it says, and wraps. */
static __always_inline __u32 grow(__u32 *last, __u32 now)
{
	__u32 grown = now - *last;

	*last = now;
	return grown;
}

static __always_inline __u16 timeouts_of(struct conn *c, struct tcp_sock *tp)
{
	if (bpf_core_field_exists(tp->total_rto))
		return tp->total_rto;
	return c->timer_calls;
}

/* take_rtt moves the cached samples into d. */
static __always_inline void take_rtt(struct conn *c, struct delta *d)
{
	d->rtt = c->rtt;
	__builtin_memset(&c->rtt, 0, sizeof(c->rtt));
}

/* An atomic only for what grew. */
#define ADD(counter, n)                                   \
	do {                                              \
		if (n)                                    \
			__sync_fetch_and_add(&(counter), n); \
	} while (0)

#include "detail.h"

/*
 * take moves into d what the socket counted since the last fold. Called with c->lock
 * held. Counters that wrap are differenced in their own width. held: so is the socket's.
 */
static __always_inline void take(struct conn *c, struct tcp_sock *tp, struct delta *d, __u64 sent, __u64 received, bool held)
{
	__u32 n;

	d->role = c->role;
	d->phase = c->phase;
	d->flags = c->flags & (CONN_ATTEMPTED | CONN_OPENED | CONN_TIMED);
	d->connect_us = c->connect_us;
	c->flags &= ~(CONN_ATTEMPTED | CONN_OPENED | CONN_TIMED);

	d->sent = advance(&c->sent, sent);
	d->received = advance(&c->received, received);

	d->segments_sent = grow(&c->segments_sent, READ(tp->data_segs_out));
	d->segments_received = grow(&c->segments_received, READ(tp->data_segs_in));
	d->segments_out = grow(&c->segments_out, READ(tp->segs_out));
	n = READ(tp->total_retrans) - c->retransmissions;
	if (detail_groups & DETAIL_RETRANSMIT_TYPE)
		n = take_types(c, tp, d, n, held);
	d->retransmissions = n;
	c->retransmissions += n;
	n = timeouts_of(c, tp);
	d->timeouts = (__u16)(n - c->timeouts);
	c->timeouts = n;

	if (d->segments_sent && c->round != d->round) {
		c->round = d->round;
		c->flags &= ~CONN_RETRANSMITTED;
		d->active = 1;
	}
	if (d->retransmissions && d->phase != PHASE_CONNECT && c->round == d->round &&
	    !(c->flags & CONN_RETRANSMITTED)) {
		c->flags |= CONN_RETRANSMITTED;
		d->retransmitting = 1;
	}
	take_rtt(c, d);
	take_detail(c, tp, d, held);
}

/* take_held is take for a caller that holds the socket's lock: state is the truth. */
static __always_inline void take_held(struct conn *c, struct sock *sk, struct tcp_sock *tp, struct delta *d, int state)
{
	__u64 syn = c->flags & CONN_SYN_COUNTED ? 1 : 0;

	take(c, tp, d, tp->bytes_acked - syn - fin_acked(tp, state), tp->bytes_received - fin_received(sk), true);
}

/*
 * take_walking is take for the walk. A socket that nobody works on is as it looks, or
 * newer than its counters, which errs to the low side. On a busy one each counter may be
 * one sequence number ahead of the state: it is held back until the next fold.
 */
static __always_inline void take_walking(struct conn *c, struct sock *sk, struct tcp_sock *tp, struct delta *d)
{
	__u64 syn = c->flags & CONN_SYN_COUNTED ? 1 : 0;
	struct payload p;
	int state;

	payload_read(&p, c, sk, tp);
	state = sk->__sk_common.skc_state;
	take(c, tp, d, p.acked - syn - (p.busy || fin_acked(tp, state)), p.received - (p.busy || fin_received(sk)), !p.busy);
}

/*
 * key_of names the flow of a socket: under c->lock, because its addresses hold until
 * CLOSE was folded. What needs a helper is left to flow_of.
 */
static __always_inline void key_of(struct flow_key *k, struct delta *d, struct conn *c, struct sock *sk)
{
	struct sock_common *s = &sk->__sk_common;

	if (s->skc_family == AF_INET6) {
		__u32 *local = (__u32 *)k->local, *peer = (__u32 *)k->peer;

		for (int i = 0; i < 4; i++) {
			local[i] = s->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			peer[i] = s->skc_v6_daddr.in6_u.u6_addr32[i];
		}
	} else {
		k->local[10] = k->local[11] = 0xff;
		k->peer[10] = k->peer[11] = 0xff;
		*(__u32 *)&k->local[12] = s->skc_rcv_saddr;
		*(__u32 *)&k->peer[12] = s->skc_daddr;
	}
	k->netns = s->skc_net.net->ns.inum;
	k->role = c->role;
	d->flags |= c->flags & (CONN_SETTLED | CONN_WALKED);
	d->local_port = s->skc_num;
	d->peer_port = __builtin_bswap16(s->skc_dport);
	switch (c->role) {
	case ROLE_CLIENT:
		k->peer_port = d->peer_port;
		break;
	case ROLE_UNKNOWN:
		if (c->flags & CONN_PORT_LOCAL)
			k->local_port = d->local_port;
		if (c->flags & CONN_PORT_PEER)
			k->peer_port = d->peer_port;
		break;
	default: /* server, listener */
		k->local_port = d->local_port;
	}
}

/* add puts a delta into its flow: one look-up, and an atomic only for what grew. */
static __always_inline void add(struct flow *f, const struct delta *d)
{
	__u32 phase = d->phase;

	if (phase >= PHASES)
		return;
	ADD(f->sent, d->sent);
	ADD(f->received, d->received);
	ADD(f->segments_sent, d->segments_sent);
	ADD(f->segments_received, d->segments_received);
	ADD(f->segments_out, d->segments_out);
	ADD(f->retransmissions[phase], d->retransmissions);
	ADD(f->timeouts[phase], d->timeouts);
	ADD(f->active, d->active);
	ADD(f->retransmitting, d->retransmitting);
	ADD(f->listen_drops, d->drops);
	if (d->flags & CONN_ATTEMPTED)
		__sync_fetch_and_add(&f->attempted, 1);
	if (d->flags & CONN_OPENED)
		__sync_fetch_and_add(&f->opened, 1);
	if (d->flags & CONN_TIMED)
		histogram_add(&f->connect, d->connect_us);
	if (d->rtt.max_us || d->rtt.min_us_inverted)
		histogram_add_cache(&f->rtt, &d->rtt);
	if (detail_groups)
		add_detail(&((struct detailed_flow *)f)->detail, d, phase);
}

#endif
