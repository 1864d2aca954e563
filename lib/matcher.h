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
 * Time: of N rules, each dimension sorts N or 2 N ends, and makes as many bitmaps at most; each is
 * compared with an equal one at most, N / 64 words: N log N + N^2 / 64. 1000 rules take about 1 ms. */
must_use int match_compile(const struct match_rule *(*rule)(int i, void *arg), void *arg, int n, struct match_set *set);

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
