// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A member that knows nothing of chains: appends ID to a test packet's fingerprint. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fp.h"

static __always_inline void append(void *data, void *end)
{
	struct fp *fp = data + FP_OFFSET;

	if (data + FP_FRAME > end || fp->magic != FP_MAGIC)
		return;
	/* some work, so that changes often meet a packet half-way through the chain */
	for (int i = 0; i < 64; i++)
		asm volatile("" ::: "memory");
	fp->print = fp->print << FP_BITS | ID;
}

SEC("xdp") int fp_xdp(struct xdp_md *ctx)
{
	append((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_PASS;
}

SEC("tc") int fp_tc(struct __sk_buff *ctx)
{
	append((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
