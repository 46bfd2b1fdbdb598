/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* What the error of a socket and its last states say of how its connection ended. */
#ifndef ENDS_H
#define ENDS_H

#include "kernel.h"
#include "flow.h"

/* from_icmp: what icmp_err_convert() and icmpv6_err_convert() make of the messages, but for port unreachable. */
static __always_inline bool from_icmp(int err)
{
	switch (err) {
	case EACCES:
	case ENONET:
	case EPROTO:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return true;
	}
	return false;
}

static __always_inline int failure_of(int err)
{
	switch (err) {
	case 0:
	case ECONNABORTED:
		return FAILED_ABORTED;
	case ECONNREFUSED:
	case ECONNRESET:
		return FAILED_REFUSED;
	case ETIMEDOUT:
		return FAILED_TIMED_OUT;
	}
	return from_icmp(err) ? FAILED_UNREACHABLE : FAILED_OTHER;
}

/*
 * closure_of: an error tells; without one the end was orderly if our FIN was acknowledged
 * (with LAST_ACK or TIME_WAIT both), else this end gave up the connection with an RST.
 * unwanted: data came after this end had closed for good; the kernel answers it with an
 * RST and notes the same error as for one that it receives.
 */
static __always_inline int closure_of(int err, bool acked, bool unwanted)
{
	switch (err) {
	case 0:
		return acked ? CLOSED_ORDERLY : CLOSED_ABORTED;
	case ECONNRESET:
	case EPIPE: /* an RST in CLOSE_WAIT */
		return unwanted ? CLOSED_ABORTED : CLOSED_RESET;
	case ECONNABORTED:
		return CLOSED_ABORTED;
	case ETIMEDOUT:
		return CLOSED_TIMED_OUT;
	}
	if (acked) /* an ICMP error of before, that an application with IP_RECVERR did not fetch */
		return CLOSED_ORDERLY;
	/* A time-out reports the ICMP error that the connection had seen. */
	return err == ECONNREFUSED || from_icmp(err) ? CLOSED_TIMED_OUT : CLOSED_OTHER;
}

#endif
