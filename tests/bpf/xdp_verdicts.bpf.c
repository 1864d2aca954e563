// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Several XDP programs in one object: each gives its verdict to UDP port 7001 and
 * passes the rest. */
#include "udp.h"

#define VERDICT(name, verdict)                                  \
	SEC("xdp")                                              \
	int name(struct xdp_md *ctx)                            \
	{                                                       \
		return UDP_PORT(ctx) == 7001 ? verdict : XDP_PASS; \
	}

VERDICT(give_aborted, XDP_ABORTED)
VERDICT(give_drop, XDP_DROP)
VERDICT(give_pass, XDP_PASS)
VERDICT(give_tx, XDP_TX)
VERDICT(give_odd, 77)

char _license[] SEC("license") = "GPL";
