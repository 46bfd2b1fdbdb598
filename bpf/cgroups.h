/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * The cgroup of a socket: whether it is below the one that is watched, and its names, from
 * which user space reads the container. They are noted when a flow is made, while the socket keeps its cgroup alive: a container
 * that ended before anybody looked into the file system is named too.
 */
#ifndef CGROUPS_H
#define CGROUPS_H

#include "kernel.h"

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

#define CGROUP_LEVELS 8 /* a pod's container is at the fifth, with a systemd in it at the seventh */
#define CGROUP_NAME 96 /* cri-containerd-<64 digits>.scope has 85 */

struct cgroup_names {
	char level[CGROUP_LEVELS][CGROUP_NAME]; /* innermost first; the root's is empty */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096); /* 3 MB; user space takes out what it has read */
	__type(key, __u64);
	__type(value, struct cgroup_names);
} cgroups SEC(".maps");

const volatile bool containers;

__u64 cgroups_unnamed; /* for which the map had no room */

static const struct cgroup_names no_names;

static __always_inline __u64 cgroup_id_of(struct cgroup *cgroup)
{
	return cgroup ? cgroup->kn->id : 0;
}

static __noinline void name_cgroup(struct cgroup *cgroup)
{
	struct cgroup_names *names;
	__u64 id = cgroup_id_of(cgroup);

	if (!cgroup || bpf_map_lookup_elem(&cgroups, &id))
		return;
	bpf_map_update_elem(&cgroups, &id, &no_names, BPF_NOEXIST);
	names = bpf_map_lookup_elem(&cgroups, &id);
	if (!names) {
		__sync_fetch_and_add(&cgroups_unnamed, 1);
		return;
	}
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		struct cgroup_subsys_state *parent;

		bpf_probe_read_kernel_str(names->level[i], CGROUP_NAME, cgroup->kn->name);
		parent = cgroup->self.parent;
		if (!parent)
			break;
		cgroup = parent->cgroup;
	}
}

#endif
