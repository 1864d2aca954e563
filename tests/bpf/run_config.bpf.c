// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Tells libxdp which verdicts continue a chain: drop and pass, not tx. */
#include "udp.h"
#include <xdp/xdp_helpers.h>

struct {
	__uint(priority, 10);
	__uint(XDP_PASS, 1);
	__uint(XDP_DROP, 1);
} XDP_RUN_CONFIG(drop_and_go_on);

SEC("xdp")
int drop_and_go_on(struct xdp_md *ctx)
{
	return UDP_PORT(ctx) == 7001 ? XDP_DROP : UDP_PORT(ctx) == 7002 ? XDP_ABORTED : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
