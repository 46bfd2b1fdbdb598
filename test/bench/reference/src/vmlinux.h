/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/* What reference.bpf.c takes from a generated vmlinux.h, by the project's own header. */
#ifndef REFERENCE_VMLINUX_H
#define REFERENCE_VMLINUX_H

#include "kernel.h"

/* UAPI of BPF: include/uapi/linux/bpf.h; flow monitor's programs have no use for these. */
#define BPF_SOCK_OPS_TIMEOUT_INIT 1
#define BPF_SOCK_OPS_RWND_INIT 2
#define BPF_SOCK_OPS_NEEDS_ECN 6

#define BPF_SOCK_OPS_RETRANS_CB_FLAG (1 << 1)
#define BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG (1 << 4)
#define BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG (1 << 6)

#endif
