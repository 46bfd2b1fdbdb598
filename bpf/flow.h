/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * What the kernel side hands to user space: a flow's identity and what was counted
 * for it since the table was last drained. Every hole is named (-Wpadded -Werror), so
 * that Go reads the same bytes without copying.
 */
#ifndef FLOW_H
#define FLOW_H

/* The state of the socket when something happened (contract: flow.phase). */
enum phase {
	PHASE_CONNECT, /* SYN_SENT, SYN_RECV */
	PHASE_ESTABLISHED,
	PHASE_CLOSE, /* every later state, data included */
	PHASES,
};

/* Who opened the connection. */
enum role {
	ROLE_UNKNOWN,
	ROLE_CLIENT,
	ROLE_SERVER,
	ROLE_LISTENER, /* no connection: counts listen_drops only */
	ROLES,
};

/* A flow that did not fit is counted in one flow per network type and role. */
enum kind {
	KIND_FLOW,
	KIND_OVERFLOW_IPV4,
	KIND_OVERFLOW_IPV6,
};

/* How a connection ended before ESTABLISHED, */
enum failure {
	FAILED_REFUSED,
	FAILED_TIMED_OUT,
	FAILED_UNREACHABLE,
	FAILED_ABORTED,
	FAILED_OTHER,
	FAILURES,
};

/* and how after it. */
enum closure {
	CLOSED_ORDERLY,
	CLOSED_RESET,
	CLOSED_ABORTED,
	CLOSED_TIMED_OUT,
	CLOSED_OTHER,
	CLOSURES,
};

struct flow_key {
	__u8 local[16]; /* IPv4 as IPv4-mapped IPv6, network order */
	__u8 peer[16];
	__u32 netns; /* inode of the network namespace, as in /proc/<pid>/ns/net */
	__u16 local_port; /* host order; 0 where the port is not part of the identity */
	__u16 peer_port;
	__u8 role;
	__u8 kind;
	__u8 unused[2];
};

/*
 * Four buckets an octave (OpenTelemetry scale 2) from 2^-16 s to 2^6 s; what lies
 * outside is in the first and the last. The minimum is kept inverted, so that zeroed
 * memory means "none yet" and both extremes are a maximum.
 */
#define BUCKETS_PER_OCTAVE 4
#define FIRST_OCTAVE 16 /* 2^-16 s */
#define OCTAVES 22
#define BUCKETS (OCTAVES * BUCKETS_PER_OCTAVE)

struct histogram {
	__u64 count;
	__u64 sum_us;
	__u32 max_us;
	__u32 min_us_inverted;
	__u32 buckets[BUCKETS];
};

struct flow {
	__u64 sent;
	__u64 received;
	__u64 segments_sent;
	__u64 segments_received;
	__u64 retransmissions[PHASES];
	__u64 timeouts[PHASES];
	__u32 attempted; /* connections of one round fit 32 bits */
	__u32 opened;
	__u32 failed[FAILURES];
	__u32 closed[CLOSURES];
	__u32 open[PHASES];
	__u32 active;
	__u32 retransmitting;
	__u32 listen_drops;
	struct histogram rtt;
	struct histogram connect;
};

_Static_assert(sizeof(struct flow_key) == 44, "flow_key is read by user space");
_Static_assert(sizeof(struct histogram) == 376, "histogram is read by user space");
/* With key, the hash table's header and the allocator's it has to fit the slab class of 1024. */
_Static_assert(sizeof(struct flow) <= 920, "an entry takes 1 kB");

#endif
