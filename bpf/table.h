/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * The flow table: of two hash tables the one of the round's parity. User space begins a
 * round, and waits until no program is left that saw the round before; then that one's
 * table can be drained without losing an addition. (Reading and deleting entries of a
 * live table lost one count in 10^5.)
 */
#ifndef TABLE_H
#define TABLE_H

#include "kernel.h"
#include "conn.h"
#include "cgroups.h"
#include "nat.h"

/* Set to max_flows and the overflow flows, which user space inserts beforehand. */
#define TABLE_ENTRIES 16392

struct table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* 1 kB an entry, made when first used */
	__uint(max_entries, TABLE_ENTRIES);
	__type(key, struct flow_key);
	__type(value, struct detailed_flow); /* a struct flow while no group of detail is on */
} flows_a SEC(".maps"), flows_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct table);
} flows SEC(".maps") = {
	.values = { &flows_a, &flows_b },
};

__u64 overflowed; /* additions that went to an overflow flow */

static const struct detailed_flow no_flow;

/* flow_of finds the flow of a key, makes it, or gives the overflow flow. NULL never happens with a drained table. */
static __noinline struct flow *flow_of(struct flow_key *k, const struct delta *d, struct sock *sk)
{
	__u32 slot = d->round & 1;
	void *table = bpf_map_lookup_elem(&flows, &slot);
	struct cgroup *cgroup = NULL;
	struct flow *f;
	bool ipv4;

	if (!table)
		return NULL;
	if (containers) {
		cgroup = sk->sk_cgrp_data.cgroup;
		k->cgroup = cgroup_id_of(cgroup);
	}
	if (nat)
		translate(k, d);
	f = bpf_map_lookup_elem(table, k);
	if (f)
		return f;
	bpf_map_update_elem(table, k, &no_flow, BPF_NOEXIST);
	f = bpf_map_lookup_elem(table, k);
	if (f) {
		if (containers)
			name_cgroup(cgroup);
		return f;
	}

	__sync_fetch_and_add(&overflowed, 1);
	ipv4 = !*(__u64 *)k->local && *(__u32 *)&k->local[8] == 0xffff0000;
	__builtin_memset(k, 0, __builtin_offsetof(struct flow_key, role));
	k->kind = ipv4 ? KIND_OVERFLOW_IPV4 : KIND_OVERFLOW_IPV6;
	return bpf_map_lookup_elem(table, k);
}

#endif
