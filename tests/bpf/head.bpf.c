// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Moves the packet: takes 64 bytes of headroom and gives them back. */
#include "udp.h"

SEC("xdp")
int adjust(struct xdp_md *ctx)
{
	if (UDP_PORT(ctx) != 7001)
		return XDP_PASS;
	if (bpf_xdp_adjust_head(ctx, -64) || bpf_xdp_adjust_head(ctx, 64))
		return XDP_ABORTED;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
