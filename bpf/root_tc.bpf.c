/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define ROOT_CTX struct __sk_buff
#define ROOT_SHIFT 1
#define ROOT_END TC_ACT_UNSPEC /* foreign programs after ours still run */
/* STOLEN, QUEUED and TRAP end a packet's way in clsact, but tcx takes them for "go on";
 * as SHOT they mean the same in both. */
#define ROOT_FINAL(verdict)                                                             \
	((verdict) == TC_ACT_STOLEN || (verdict) == TC_ACT_QUEUED || (verdict) == TC_ACT_TRAP ? \
		 TC_ACT_SHOT : (verdict))
#include "root.bpf.h"

ROOT_PROGRAM("tc", l3af_tc);
