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

/*
 * A flow that did not fit is counted in one flow per network type and role. With nat, a
 * connection too young for its translation to be known here has a flow of its own, with
 * both ports: user space translates it and adds it to the flow that it belongs to.
 */
enum kind {
	KIND_FLOW,
	KIND_OVERFLOW_IPV4,
	KIND_OVERFLOW_IPV6,
	KIND_CONNECTION,
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

/* Bits of flow_key.ports. */
enum {
	PORT_LOCAL = 1 << 0,
	PORT_PEER = 1 << 1,
};

struct flow_key {
	__u8 local[16]; /* IPv4 as IPv4-mapped IPv6, network order */
	__u8 peer[16];
	__u64 cgroup; /* id of the socket's cgroup2 directory; 0 unless containers are told apart */
	__u32 netns; /* inode of the network namespace, as in /proc/<pid>/ns/net */
	__u32 translation; /* what NAT makes of it: a value of map translations; 0: nothing */
	__u16 local_port; /* host order; 0 where the port is not part of the identity */
	__u16 peer_port;
	__u8 ports; /* KIND_CONNECTION: which of the two are part of its flow's identity */
	__u8 role; /* an overflow flow has nothing before it */
	__u8 kind;
	__u8 unused;
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
	__u64 segments_out; /* with those without data */
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

/* Groups of counters that are kept only when asked for. */
enum detail_group {
	DETAIL_LIMITS = 1 << 0,
	DETAIL_RETRANSMIT_TYPE = 1 << 1,
	DETAIL_ZERO_WINDOWS = 1 << 2,
	DETAIL_ECN = 1 << 3,
};

/* What the sender waited for: enum tcp_chrono, without its "nothing". */
enum limit {
	LIMIT_BUSY, /* data in flight, and neither of the others */
	LIMIT_RECEIVER_WINDOW,
	LIMIT_SEND_BUFFER,
	LIMITS,
};

/* What made the kernel retransmit. */
enum retransmit_type {
	RETRANSMIT_FAST,
	RETRANSMIT_TAIL_LOSS_PROBE,
	RETRANSMIT_TIMEOUT,
	RETRANSMIT_SPURIOUS, /* the peer had it already (DSACK, RFC 2883) */
	RETRANSMIT_UNTOLD, /* of a connection without callbacks */
	RETRANSMIT_TYPES,
};

struct detail {
	__u64 limits[LIMITS]; /* in jiffies */
	__u32 retransmissions[PHASES][RETRANSMIT_TYPES]; /* together those of struct flow */
	__u32 zero_windows;
	__u32 ecn_marks;
	__u32 unused;
};

/* The value of a flow table while any group is on. */
struct detailed_flow {
	struct flow flow;
	struct detail detail;
};

_Static_assert(sizeof(struct flow_key) == 56, "flow_key is read by user space");
_Static_assert(sizeof(struct histogram) == 376, "histogram is read by user space");
/* With key, the hash table's header and the allocator's it has to fit the slab class of 1024. */
_Static_assert(sizeof(struct flow) <= 912, "an entry takes 1 kB");

#endif
