/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MATCHER_H
#define L3AF_MATCHER_H

/* Rules into what packets are compared with (bpf/match.h). Nothing here prints. */
#include "../bpf/match.h"
#include "err.h"

/* Fills *set, which may hold anything. rule(i, arg) gives rule i of n, the first has precedence.
 * -E2BIG: more than MATCH_RULES, or they need more nodes or bitmaps than there are; -ENOMEM. */
must_use int match_compile(const struct match_rule *(*rule)(int i, void *arg), void *arg, int n, struct match_set *set);

/* What of a rule a packet does not match. */
enum match_part {
	MATCH_ALL, /* it matches */
	MATCH_DIRECTION,
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
