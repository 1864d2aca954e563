/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <linux/bpf.h>

#define ROOT_CTX struct xdp_md
#define ROOT_SHIFT 0
#define ROOT_END XDP_PASS
#define ROOT_FINAL(verdict) (verdict)
#include "root.bpf.h"

ROOT_PROGRAM("xdp", l3af_xdp);
