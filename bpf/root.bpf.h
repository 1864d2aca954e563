/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ROOT_BPF_H
#define L3AF_ROOT_BPF_H

/*
 * The root program, one text for XDP and TC. A tail call made in a subprogram
 * returns to the subprogram's caller, so calling slotN() runs an unmodified member
 * and yields its verdict (x86-64 >= 5.10, arm64 >= 6.0).
 *
 * The including file defines ROOT_CTX (the context type), ROOT_SHIFT (verdict ->
 * bit), ROOT_END (the verdict at the end of the chain), ROOT_FINAL(verdict) (what a
 * member's final verdict becomes for the hook) and then uses ROOT_PROGRAM.
 *
 * What must stay so: slot functions global and their indices constant (direct
 * jumps; the verifier must not know what they return), no stack use here (5.10 to
 * 5.18 misplace the tail-call counter otherwise).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "root.h"

#define ROOT_NONE (ROOT_NONE_BIT - ROOT_SHIFT) /* what a slot function returns when its slot is empty */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, ROOT_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} slots SEC(".maps");

/* Direct access to these costs neither a helper call nor stack. */
volatile __u64 gen SEC(".data.gen");
volatile struct root_bank bank0 SEC(".data.bank0");
volatile struct root_bank bank1 SEC(".data.bank1");
struct root_stat stat[ROOT_CPUS]; /* in .bss; as many as there may be CPUs at load */
const volatile __u32 cpus = 1;

#define SLOT(n)                                                   \
	__attribute__((noinline)) int slot##n(ROOT_CTX *ctx)      \
	{                                                         \
		int verdict = ROOT_NONE;                          \
                                                                  \
		bpf_tail_call(ctx, &slots, n);                    \
		asm volatile("" : "+r"(verdict));                 \
		return verdict;                                   \
	}

/* The clamp is written out so that the register that is compared is the one that
 * indexes: older verifiers do not follow a copy. */
#define STEP(b, i, n)                                                                    \
	if (!(b)->member[i].mask)                                                        \
		return ROOT_END;                                                         \
	verdict = slot##n(ctx);                                                          \
	bit = (__u32)(verdict + ROOT_SHIFT);                                             \
	counter = bit;                                                                   \
	asm volatile("if %0 < " ROOT_STR(ROOT_VERDICTS) " goto +1; %0 = " ROOT_STR(ROOT_OTHER) \
		     : "+r"(counter));                                                   \
	st->member[(b)->member[i].stat & (ROOT_SLOTS - 1)][counter]++;                   \
	if (bit > ROOT_NONE_BIT || !((b)->member[i].mask & 1u << bit))                   \
		goto final;

#define ROOT_STR(x) ROOT_STR2(x)
#define ROOT_STR2(x) #x

/* 32 lines (i, slot of bank 0, slot of bank 1) */
#define EACH_MEMBER(m)                                                                    \
	m(0, 0, 32) m(1, 1, 33) m(2, 2, 34) m(3, 3, 35) m(4, 4, 36) m(5, 5, 37)           \
	m(6, 6, 38) m(7, 7, 39) m(8, 8, 40) m(9, 9, 41) m(10, 10, 42) m(11, 11, 43)       \
	m(12, 12, 44) m(13, 13, 45) m(14, 14, 46) m(15, 15, 47) m(16, 16, 48)             \
	m(17, 17, 49) m(18, 18, 50) m(19, 19, 51) m(20, 20, 52) m(21, 21, 53)             \
	m(22, 22, 54) m(23, 23, 55) m(24, 24, 56) m(25, 25, 57) m(26, 26, 58)             \
	m(27, 27, 59) m(28, 28, 60) m(29, 29, 61) m(30, 30, 62) m(31, 31, 63)

#define SLOT_PAIR(i, n0, n1) SLOT(n0) SLOT(n1)
#define STEP_BANK0(i, n0, n1) STEP(&bank0, i, n0)
#define STEP_BANK1(i, n0, n1) STEP(&bank1, i, n1)

#define ROOT_PROGRAM(section, name)                                           \
	EACH_MEMBER(SLOT_PAIR)                                                \
	SEC(section) int name(ROOT_CTX *ctx)                                  \
	{                                                                     \
		__u32 cpu = bpf_get_smp_processor_id(), bit;                  \
		__u64 counter;                                                \
		struct root_stat *st = stat;                                  \
		int verdict;                                                  \
                                                                              \
		if (cpu >= cpus)                                              \
			cpu = 0;                                              \
		asm volatile("" : "+r"(cpu)); /* bounded before it is used */ \
		st += cpu;                                                    \
		asm volatile("" : "+r"(st)); /* one register for it, not two */ \
		if (gen & 1) {                                                \
			EACH_MEMBER(STEP_BANK1)                               \
		} else {                                                      \
			EACH_MEMBER(STEP_BANK0)                               \
		}                                                             \
		return ROOT_END;                                              \
	final:                                                                \
		return ROOT_FINAL(verdict);                                   \
	}                                                                     \
	char _license[] SEC("license") = "Dual BSD/GPL"

#endif
