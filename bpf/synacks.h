/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * SYN-ACKs that were sent again for handshakes that are not complete. Such a handshake is
 * a request socket, which no callback sees; once it is complete its connection has what
 * was retransmitted among its own (phase connect), and it is taken off here.
 */
#ifndef SYNACKS_H
#define SYNACKS_H

#include "kernel.h"
#include "cgroups.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384); /* namespaces in which it ever happened */
	__type(key, __u32); /* inode of the network namespace */
	__type(value, __s64);
} synacks SEC(".maps");

__u64 synacks_untold; /* of namespaces for which the map had no room */

static __always_inline void synacks_add(struct sock *sk, __s64 n)
{
	__u32 netns = sk->__sk_common.skc_net.net->ns.inum;
	__s64 *count, none = 0;

	count = bpf_map_lookup_elem(&synacks, &netns);
	if (!count) {
		bpf_map_update_elem(&synacks, &netns, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&synacks, &netns);
	}
	if (count)
		__sync_fetch_and_add(count, n);
	else
		__sync_fetch_and_add(&synacks_untold, 1);
}

/* A Fast Open server has its socket before the handshake is complete, and counts there. */
SEC("tp_btf/tcp_retransmit_synack")
int flow_synack(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	if (sk->__sk_common.skc_state == TCP_LISTEN && below_cgroup(sk))
		synacks_add(sk, 1);
	return 0;
}

#endif
