/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * The little of the kernel that the programs touch: no vmlinux.h, no system headers, so
 * that the objects come out the same on every build machine. Structs marked CO_RE are
 * found in the running kernel's BTF by field name; order and size here mean nothing.
 */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#include <bpf_helpers.h>
#include <bpf_core_read.h>

#define CO_RE __attribute__((preserve_access_index))

/* Their layout is the running kernel's, not ours. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"

/* UAPI of BPF: include/uapi/linux/bpf.h */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY_OF_MAPS 12
#define BPF_MAP_TYPE_SK_STORAGE 24
#define BPF_F_RDONLY_PROG (1 << 7)
#define BPF_F_NO_PREALLOC 1
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_SK_STORAGE_GET_F_CREATE 1

#define BPF_SOCK_OPS_TCP_CONNECT_CB 3
#define BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB 4
#define BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB 5
#define BPF_SOCK_OPS_RTO_CB 8
#define BPF_SOCK_OPS_RETRANS_CB 9
#define BPF_SOCK_OPS_STATE_CB 10
#define BPF_SOCK_OPS_TCP_LISTEN_CB 11
#define BPF_SOCK_OPS_RTT_CB 12

#define BPF_SOCK_OPS_RTO_CB_FLAG (1 << 0)
#define BPF_SOCK_OPS_RETRANS_CB_FLAG (1 << 1)
#define BPF_SOCK_OPS_STATE_CB_FLAG (1 << 2)
#define BPF_SOCK_OPS_RTT_CB_FLAG (1 << 3)

#define SOL_TCP 6
#define RCV_SHUTDOWN 1
#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008

struct bpf_spin_lock {
	__u32 val;
};

struct bpf_sock;
struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us;
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 sk_txhash;
	__u64 bytes_received;
	__u64 bytes_acked;
	struct bpf_sock *sk;
};

/* Constants of the socket API and of include/net/tcp_states.h */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262

enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

enum {
	EACCES = 13,
	EEXIST = 17,
	EPIPE = 32,
	ENONET = 64,
	EPROTO = 71,
	ENOPROTOOPT = 92,
	EOPNOTSUPP = 95,
	ENETDOWN = 100,
	ENETUNREACH = 101,
	ECONNABORTED = 103,
	ECONNRESET = 104,
	ETIMEDOUT = 110,
	ECONNREFUSED = 111,
	EHOSTDOWN = 112,
	EHOSTUNREACH = 113,
};

#define TCP_FLAG_RST 0x04

/* RFC 9293, 3.1 */
struct tcphdr {
	__be16 source;
	__be16 dest;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__u16 checksum;
	__be16 urgent;
};

enum sock_flags___found {
	SOCK_DONE___found = 1,
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__u32 u6_addr32[4];
	} in6_u;
} CO_RE;

struct ns_common {
	__u32 inum;
} CO_RE;

/* Until 6.7 two ints, since then one word, high port in the upper half. */
struct local_ports {
	__u32 range;
} CO_RE;

struct local_ports___pair {
	int range[2];
} CO_RE;

struct netns_ipv4 {
	struct local_ports ip_local_ports;
} CO_RE;

struct netns_ipv4___pair {
	struct local_ports___pair ip_local_ports;
} CO_RE;

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
} CO_RE;

struct net___pair {
	struct netns_ipv4___pair ipv4;
} CO_RE;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
	unsigned long skc_flags;
} CO_RE;

typedef struct {
	int counter;
} atomic_t;

struct qspinlock {
	atomic_t val;
} CO_RE;

struct raw_spinlock {
	struct qspinlock raw_lock;
} CO_RE;

typedef struct {
	struct raw_spinlock rlock;
} CO_RE spinlock_t;

typedef struct {
	spinlock_t slock;
	int owned;
} CO_RE socket_lock_t;

struct kernfs_node {
	const char *name;
	__u64 id;
} CO_RE;

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} CO_RE;

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
} CO_RE;

struct sock_cgroup_data {
	struct cgroup *cgroup;
} CO_RE;

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	atomic_t sk_drops;
	__u8 sk_shutdown;
	__u16 sk_protocol;
	int sk_err;
	__u32 sk_max_ack_backlog;
	struct sock_cgroup_data sk_cgrp_data;
} CO_RE;

/* Under PREEMPT_RT a spin lock is a mutex that knows its owner. */
struct rt_mutex_base {
	struct task_struct *owner;
} CO_RE;

struct spinlock___rt {
	struct rt_mutex_base lock;
} CO_RE;

struct socket_lock___rt {
	struct spinlock___rt slock;
} CO_RE;

struct sock___rt {
	struct socket_lock___rt sk_lock;
} CO_RE;

enum {
	TCP_CA_Recovery = 3,
	TCP_CA_Loss = 4,
};

struct inet_connection_sock {
	__u8 icsk_ca_state : 5;
} CO_RE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 segs_out;
	__u32 snd_wnd;
	__u32 mdev_us;
	__u32 dsack_dups;
	__u32 delivered_ce;
	__u32 chrono_start;
	__u32 chrono_stat[3];
	__u8 chrono_type : 2; /* since 6.19 a byte of its own: the relocation finds out */
	__u32 data_segs_in;
	__u32 data_segs_out;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u32 snd_una;
	__u32 write_seq;
	__u32 total_retrans;
	__u16 total_rto; /* since 6.7 (3868ab0f1925, "tcp: new TCP_INFO stats for RTO events") */
	__u8 bpf_sock_ops_cb_flags;
} CO_RE;

struct sk_buff {
	unsigned char *data;
} CO_RE;

struct request_sock;

struct socket {
	struct sock *sk;
} CO_RE;

struct task_struct {
	int pid;
	int tgid;
} CO_RE;

struct file;
struct bpf_map;
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} CO_RE;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} CO_RE;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} CO_RE;

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
} CO_RE;

#pragma clang diagnostic pop

#endif
