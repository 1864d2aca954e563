// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Several TC programs in one object: each gives its verdict to UDP port 7001 and
 * has no opinion on the rest. */
#include "udp.h"

#define VERDICT(name, verdict)                                  \
	SEC("tc")                                               \
	int name(struct __sk_buff *skb)                         \
	{                                                       \
		return UDP_PORT(skb) == 7001 ? verdict : TC_ACT_UNSPEC; \
	}

VERDICT(give_unspec, TC_ACT_UNSPEC)
VERDICT(give_ok, TC_ACT_OK)
VERDICT(give_reclassify, TC_ACT_RECLASSIFY)
VERDICT(give_shot, TC_ACT_SHOT)
VERDICT(give_pipe, TC_ACT_PIPE)
VERDICT(give_stolen, TC_ACT_STOLEN)
VERDICT(give_odd, 77)

char _license[] SEC("license") = "GPL";
