// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls a helper that the kernel keeps for GPL programs, under another licence. */
#include "udp.h"

SEC("xdp")
int proprietary(struct xdp_md *ctx)
{
	bpf_printk("x");
	return XDP_PASS;
}

char _license[] SEC("license") = "Proprietary";
