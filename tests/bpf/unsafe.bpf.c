// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads the packet without a bounds check: the verifier says no. */
#include "udp.h"

SEC("xdp")
int unsafe(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data == 0 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
