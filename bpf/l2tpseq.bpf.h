/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPSEQ_BPF_H
#define L3AF_L2TPSEQ_BPF_H

/* Sequence numbers: RFC 3931, section 4.6 and appendix C. */
#include "l2tpmaps.bpf.h"

#define SEQ_BITS 24
#define SEQ_MASK ((1U << SEQ_BITS) - 1)
#define SEQ_S 0x40000000U /* in the sublayer: there is a number */
#define SEQ_RESTART 16    /* so many old ones in a row, each next to the one before: the peer began anew */
#define SEQ_TRIES 4       /* other CPUs */

/* l2tp_sequence.received: the last number passed on, the latest old one, how many of those in
 * a row, and whether there was any at all. */
#define SEQ_STATE(last, old, run) (1ULL << 63 | (__u64)(run) << 48 | (__u64)(old) << SEQ_BITS | (last))

static __always_inline __u32 seq_next(__u32 number)
{
	struct l2tp_sequence *q = bpf_map_lookup_elem(&sequences, &number);

	return q ? __sync_fetch_and_add(&q->sent, 1) & SEQ_MASK : 0;
}

/* False: old, or a duplicate. */
__noinline int seq_take(__u32 number, __u32 seq, struct l2tp_stat *stat)
{
	struct l2tp_sequence *q = bpf_map_lookup_elem(&sequences, &number);
	__u32 last, old, run, ahead;
	__u64 is, new;

	if (!q || !stat)
		return true;
	seq &= SEQ_MASK;
	for (int i = 0; i < SEQ_TRIES; i++) {
		is = *(volatile __u64 *)&q->received;
		last = is & SEQ_MASK;
		old = is >> SEQ_BITS & SEQ_MASK;
		run = is >> 48 & 0xff;
		ahead = is ? (seq - last) & SEQ_MASK : 1;
		if (!ahead || ahead >> (SEQ_BITS - 1)) {
			run = run && seq == ((old + 1) & SEQ_MASK) ? run + 1 : 1;
			new = run < SEQ_RESTART ? SEQ_STATE(last, seq, run) : SEQ_STATE(seq, 0, 0);
		} else {
			run = 0;
			new = SEQ_STATE(seq, 0, 0);
		}
		if (__sync_val_compare_and_swap(&q->received, is, new) != is)
			continue;
		if (run && run < SEQ_RESTART)
			return false;
		if (run)
			stat->count[L2TP_RX_RESTARTED]++;
		else
			stat->count[L2TP_RX_LOST] += ahead - 1;
		return true;
	}
	return true;
}

#endif
