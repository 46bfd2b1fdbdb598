//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
#include "kernel.h"
#include "rtt.h"

SEC("raw_tp/test")
int bucket_of(__u64 *ctx)
{
	return rtt_bucket(ctx[0]);
}

char _license[] SEC("license") = "GPL";
