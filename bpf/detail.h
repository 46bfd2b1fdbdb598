/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * The groups of counters that are kept only when asked for: what limits a sender, why it
 * retransmits, when the peer closes its window, and congestion marks. detail_groups is a
 * constant when the programs are loaded: what belongs to a group that is off is not there.
 */
#ifndef DETAIL_H
#define DETAIL_H

#include "conn.h"

/* move takes at most n from *from. */
static __always_inline __u32 move(__u32 *from, __u32 n)
{
	__u32 m = *from < n ? *from : n;

	*from -= m;
	return m;
}

/*
 * take_types divides n new retransmissions among their types, and gives how many of them
 * may be counted now. The kernel adds to total_retrans a moment before the callback that
 * tells the type: without the socket's lock the rest waits for the next fold. A DSACK
 * comes about one round-trip after what it says was in vain; which retransmission it was
 * it does not say, so the guesses of the kernel come first: probes, then timers.
 */
static __always_inline __u32 take_types(struct conn *c, struct tcp_sock *tp, struct delta *d, __u32 n, bool held)
{
	struct conn_detail *x = &c->detail;
	__u32 rest = n;

	d->types[RETRANSMIT_FAST] = move(&x->fast, rest);
	rest -= d->types[RETRANSMIT_FAST];
	d->types[RETRANSMIT_TAIL_LOSS_PROBE] = move(&x->tail_loss_probe, rest);
	rest -= d->types[RETRANSMIT_TAIL_LOSS_PROBE];
	d->types[RETRANSMIT_TIMEOUT] = move(&x->timeout, rest);
	rest -= d->types[RETRANSMIT_TIMEOUT];
	if (!held && !(c->flags & CONN_TRACED))
		n -= rest;
	else if (d->phase == PHASE_CONNECT)
		d->types[RETRANSMIT_TIMEOUT] += rest; /* SYN-ACKs, counted before there was a socket */
	else
		d->types[RETRANSMIT_UNTOLD] = rest;

	x->spurious += grow(&x->dsack_dups, READ(tp->dsack_dups));
	if (x->spurious) {
		const int order[] = {RETRANSMIT_TAIL_LOSS_PROBE, RETRANSMIT_TIMEOUT, RETRANSMIT_FAST, RETRANSMIT_UNTOLD};

		for (int i = 0; i < 4; i++) {
			__u32 m = move(&d->types[order[i]], x->spurious);

			d->types[RETRANSMIT_SPURIOUS] += m;
			x->spurious -= m;
		}
	}
	return n;
}

/* retransmitted notes the type of a retransmission by the state of the congestion machine (tcp_ca_state). */
static __always_inline void retransmitted(struct conn *c, struct tcp_sock *tp, __u32 segments)
{
	__u8 congestion = BPF_CORE_READ_BITFIELD(&tp->inet_conn, icsk_ca_state);

	if (c->phase == PHASE_CONNECT || congestion == TCP_CA_Loss)
		c->detail.timeout += segments;
	else if (congestion == TCP_CA_Recovery)
		c->detail.fast += segments;
	else /* a probe is sent in Open and CWR only (tcp_schedule_loss_probe) */
		c->detail.tail_loss_probe += segments;
}

/* waited gives how many jiffies a sender has waited, as tcp_get_info_chrono_stats() does. */
static __always_inline __u32 waited(struct tcp_sock *tp, int limit, __u32 jiffies)
{
	__u32 sum = READ(tp->chrono_stat[limit]);

	if (BPF_CORE_READ_BITFIELD(tp, chrono_type) == limit + 1)
		sum += jiffies - READ(tp->chrono_start);
	return sum;
}

/* take_limits may, at the walk, stand between two stores of the kernel: what grew too much then comes out of the next fold. */
static __always_inline void take_limits(struct conn *c, struct tcp_sock *tp, struct delta *d)
{
	for (int i = 0; i < LIMITS; i++) {
		__u32 now = waited(tp, i, d->jiffies);
		__s32 grown = now - c->detail.limits[i];

		if (grown > 0) {
			d->limits[i] = grown;
			c->detail.limits[i] = now;
		}
	}
}

static __always_inline void take_detail(struct conn *c, struct tcp_sock *tp, struct delta *d, bool held)
{
	if (detail_groups & DETAIL_LIMITS && held)
		take_limits(c, tp, d);
	if (detail_groups & DETAIL_ZERO_WINDOWS) {
		d->zero_windows = c->detail.zero_windows;
		c->detail.zero_windows = 0;
	}
	if (detail_groups & DETAIL_ECN)
		d->ecn_marks = grow(&c->detail.delivered_ce, READ(tp->delivered_ce));
}

/* detail_from begins to count from where the socket is. */
static __always_inline void detail_from(struct conn *c, struct tcp_sock *tp, __u32 jiffies)
{
	if (!detail_groups)
		return;
	__builtin_memset(&c->detail, 0, sizeof(c->detail));
	if (detail_groups & DETAIL_LIMITS)
		for (int i = 0; i < LIMITS; i++)
			c->detail.limits[i] = waited(tp, i, jiffies);
	c->detail.dsack_dups = tp->dsack_dups;
	c->detail.delivered_ce = tp->delivered_ce;
}

static __always_inline void add_detail(struct detail *to, const struct delta *d, __u32 phase)
{
	if (detail_groups & DETAIL_LIMITS)
		for (int i = 0; i < LIMITS; i++)
			ADD(to->limits[i], d->limits[i]);
	if (detail_groups & DETAIL_RETRANSMIT_TYPE && d->retransmissions)
		for (int i = 0; i < RETRANSMIT_TYPES; i++)
			ADD(to->retransmissions[phase][i], d->types[i]);
	if (detail_groups & DETAIL_ZERO_WINDOWS)
		ADD(to->zero_windows, d->zero_windows);
	if (detail_groups & DETAIL_ECN)
		ADD(to->ecn_marks, d->ecn_marks);
}

#endif
