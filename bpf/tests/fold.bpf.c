//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
#include "kernel.h"
#include "conn.h"

__u64 last_wide;
__u32 last;

struct rtt_cache cache;
struct histogram direct, cached;

SEC("raw_tp/test")
int grow_to(__u64 *ctx)
{
	return grow(&last, ctx[0]);
}

SEC("raw_tp/test")
int advance_to(__u64 *ctx)
{
	return advance(&last_wide, ctx[0]);
}

/* sample takes one round-trip time both ways: by the cache of a socket, and at once. */
SEC("raw_tp/test")
int sample(__u64 *ctx)
{
	__u32 us = ctx[0], bucket = rtt_bucket(us);

	histogram_add(&direct, us);
	if (rtt_cache_add(&cache, us, bucket))
		return 0;
	histogram_add_cache(&cached, &cache);
	__builtin_memset(&cache, 0, sizeof(cache));
	return !rtt_cache_add(&cache, us, bucket);
}

SEC("raw_tp/test")
int spill(__u64 *ctx)
{
	histogram_add_cache(&cached, &cache);
	__builtin_memset(&cache, 0, sizeof(cache));
	return 0;
}

char _license[] SEC("license") = "GPL";
