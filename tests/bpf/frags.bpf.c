// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Declares that it copes with packets in fragments, and needs it: reads the length
 * of the whole packet by a helper. */
#include "udp.h"

SEC("xdp.frags")
int drop_frags(struct xdp_md *ctx)
{
	return UDP_PORT(ctx) == 7001 && bpf_xdp_get_buff_len(ctx) > 42 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
