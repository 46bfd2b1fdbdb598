/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* Which network namespaces hold TCP sockets. */
#ifndef NAMESPACES_H
#define NAMESPACES_H

#include "kernel.h"

struct namespace {
	__u32 inode;
	__u32 tgid; /* a process with a socket in it, */
	__u32 pid;  /* the thread of it that has it: descriptors need not be shared */
	__u32 fd;   /* and that socket's descriptor */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096); /* set by user space */
	__type(key, __u32);
	__type(value, __u32);
} namespaces SEC(".maps");

__u64 sockets_of_more_namespaces; /* than the map holds */

/* flow_namespaces names each network namespace that holds a TCP socket, once. */
SEC("iter/task_file")
int flow_namespaces(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct namespace found = {};
	struct socket *socket;
	struct sock *sk;
	int err; /* before 6.4 the upper half of what the helper returns is not set */

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	/* An MPTCP socket, as Go's listeners are, stands before TCP sockets that have no descriptor. */
	if (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_MPTCP)
		return 0;
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6)
		return 0;
	found.inode = sk->__sk_common.skc_net.net->ns.inum;
	found.tgid = task->tgid;
	found.pid = task->pid;
	found.fd = ctx->fd;
	err = bpf_map_update_elem(&namespaces, &found.inode, &found.tgid, BPF_NOEXIST);
	if (!err) {
		/* Where the buffer is full the kernel comes again with the same file. */
		err = bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
		if (err)
			bpf_map_delete_elem(&namespaces, &found.inode);
	} else if (err != -EEXIST) {
		__sync_fetch_and_add(&sockets_of_more_namespaces, 1);
	}
	return 0;
}

#endif
