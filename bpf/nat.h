/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * Network address translation: user space follows conntrack, and tells here what becomes
 * of the addresses of open connections. A connection that it may not have heard of yet is
 * a flow of its own, which user space translates when it reads it.
 */
#ifndef NAT_H
#define NAT_H

#include "kernel.h"
#include "conn.h"

/* The ends of a socket: addresses as in flow_key, ports in host order. */
struct tuple {
	__u8 local[16];
	__u8 peer[16];
	__u16 local_port;
	__u16 peer_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144); /* as many as conntrack holds on a host with 16 GiB */
	__type(key, struct tuple);
	__type(value, __u32);
} translations SEC(".maps");

#define TRANSLATION_ASK 0xffffffff /* it depends on more than the tuple: user space has to say */

bool translations_complete; /* what is not in the map is not translated */

static __always_inline void translate(struct flow_key *k, const struct delta *d)
{
	struct tuple t = {.local_port = d->local_port, .peer_port = d->peer_port};
	__u32 *id;

	if (k->role == ROLE_LISTENER)
		return;
	__builtin_memcpy(t.local, k->local, sizeof(t.local));
	__builtin_memcpy(t.peer, k->peer, sizeof(t.peer));
	id = bpf_map_lookup_elem(&translations, &t);
	if (id && *id != TRANSLATION_ASK && d->flags & CONN_WALKED) {
		k->translation = *id;
	} else if (id || !(d->flags & CONN_SETTLED) || !*(volatile bool *)&translations_complete) {
		k->kind = KIND_CONNECTION;
		k->ports = (k->local_port ? PORT_LOCAL : 0) | (k->peer_port ? PORT_PEER : 0);
		k->local_port = d->local_port;
		k->peer_port = d->peer_port;
	}
	/* Whoever has these ports next is another connection. */
	if (id && d->flags & CONN_ENDED)
		bpf_map_delete_elem(&translations, &t);
}

#endif
