/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_LBSIM_H
#define TESTS_LBSIM_H

/* Which flow a packet is of, by its number; the same in the kernel and in tests/lbsim.c. */
#include "lbhash.h"

struct lbsim {
	__u64 next;      /* number of the next packet's flow */
	__u64 seed;
	__u32 dst[4];    /* the VIP */
	__be16 dport;
	__u8 proto, is_v4;
	__u32 reserved;
};

LB_INLINE void lbsim_flow(const struct lbsim *sim, __u64 number, struct lb_flow_id *f)
{
	__u64 x = lb_finish(sim->seed + number * 0x9e3779b97f4a7c15ULL), y = lb_finish(x + 1);

	f->src[0] = sim->is_v4 ? 0 : (__u32)(x >> 32);
	f->src[1] = sim->is_v4 ? 0 : (__u32)y;
	f->src[2] = sim->is_v4 ? 0xffff0000 : (__u32)(y >> 32); /* ::ffff:0:0, little endian */
	f->src[3] = (__u32)x;
	f->dst[0] = sim->dst[0];
	f->dst[1] = sim->dst[1];
	f->dst[2] = sim->dst[2];
	f->dst[3] = sim->dst[3];
	f->sport = (__be16)(y >> 16);
	f->dport = sim->dport;
	f->proto = sim->proto;
}

#endif
