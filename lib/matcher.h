/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MATCHER_H
#define L3AF_MATCHER_H

/* Rules into what packets are compared with (bpf/match.h). Nothing here prints. */
#include "../bpf/match.h"
#include "err.h"

/* Fills *set, which may hold anything; tables that no rule asks for are left as they are. rule(i, arg)
 * gives rule i of n, the first has precedence; it stays valid meanwhile. Any MATCH_RULES rules fit.
 * -E2BIG: more than that; -EINVAL: a prefix without its version, or no prefix of that, or ports of a
 * protocol that has none; -ENOMEM.
 *
 * Time, of N rules: N log N to sort the ends of ranges and prefixes; 257 N for flags; of addresses 16 N in
 * each of at most 33 levels; and N / 64 words of a bitmap for each interval, byte of flags and nibble of a
 * node, of which there are 4 N, 257 and 16 * 6 N at most. 1000 rules take 1 to 2 ms. */
must_use int match_compile(const struct match_rule *(*rule)(int i, void *arg), void *arg, int n,
			   struct match_set *set);

/* What of a rule a packet does not match. */
enum match_part {
	MATCH_ALL, /* it matches */
	MATCH_DIRECTION,
	MATCH_VERSION,
	MATCH_PROTO,
	MATCH_SRC,
	MATCH_DST,
	MATCH_SPORT,
	MATCH_DPORT,
	MATCH_TCP_FLAGS,
	MATCH_VLAN,
};
/* By definition, one rule at a time: the first part that differs. match_first() has to give
 * the first rule for which this is MATCH_ALL. */
enum match_part match_compare(const struct match_rule *rule, const struct match_key *key);

#endif
