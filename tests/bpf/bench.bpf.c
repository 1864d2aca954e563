// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What `make bench` measures a chain against: plain_N is a chain of N empty members that
 * somebody wrote by hand, as functions of one program: real calls, and after each the
 * same test of a mask that is read from a map. counted_N keeps the root's counters too. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "root.h"

volatile struct root_bank bank SEC(".data.bank");
struct root_stat stat SEC(".data.stat");

#define MEMBER(n)                                                        \
	static __attribute__((noinline)) int member##n(struct xdp_md *ctx) \
	{                                                                \
		int verdict = XDP_PASS;                                  \
                                                                         \
		asm volatile("" : "+r"(verdict) : "r"(ctx));             \
		return verdict;                                          \
	}

#define STEP(n)                                                          \
	verdict = member##n(ctx);                                        \
	bit = verdict;                                                   \
	COUNT(n)                                                         \
	if (bit > ROOT_NONE_BIT || !(bank.member[n].mask & 1u << bit))   \
		return verdict;

#define EACH_1(m) m(0)
#define EACH_5(m) EACH_1(m) m(1) m(2) m(3) m(4)
#define EACH_10(m) EACH_5(m) m(5) m(6) m(7) m(8) m(9)
#define EACH_32(m) EACH_10(m) m(10) m(11) m(12) m(13) m(14) m(15) m(16) m(17) m(18) m(19) \
	m(20) m(21) m(22) m(23) m(24) m(25) m(26) m(27) m(28) m(29) m(30) m(31)

EACH_32(MEMBER)

#define CHAIN(name, each)                                                \
	SEC("xdp")                                                       \
	int name(struct xdp_md *ctx)                                     \
	{                                                                \
		__u32 bit;                                               \
		int verdict;                                             \
                                                                         \
		each(STEP)                                               \
		return XDP_PASS;                                         \
	}

#define COUNT(n)
CHAIN(plain_1, EACH_1)
CHAIN(plain_5, EACH_5)
CHAIN(plain_10, EACH_10)
CHAIN(plain_32, EACH_32)

#undef COUNT
#define COUNT(n)                                                         \
	stat.member[bank.member[n].stat & (ROOT_SLOTS - 1)]              \
		   [bit < ROOT_VERDICTS ? bit : ROOT_OTHER]++;
CHAIN(counted_1, EACH_1)
CHAIN(counted_5, EACH_5)
CHAIN(counted_10, EACH_10)
CHAIN(counted_32, EACH_32)

char _license[] SEC("license") = "GPL";
