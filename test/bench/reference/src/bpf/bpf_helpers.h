/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* libbpf's header under the name by which reference.bpf.c includes it. */
#include <bpf_helpers.h>
