/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LIMITRULES_H
#define L3AF_LIMITRULES_H

/*
 * Limits on new and on open TCP connections: the rules of the kernel functions
 * ratelimit and connlimit (bpf/limit.h). The lock is held by the caller. All print
 * their errors.
 */
#include "chain.h"
#include "limit.h"
#include "parse.h"

/* The rule of struct chain_id at that covers these packets, with nothing limited yet. */
struct limit_rule limit_rule_at(const struct chain_id *at, enum limit_kind kind, const struct ports *ports,
				const struct addr *vip /* or NULL */);
/* Give it a rate; window_us 0: the rate's unit. -E_USAGE where it cannot be kept. */
must_use int limit_rule_rate(struct limit_rule *rule, const struct rate *rate, __u64 window_us);
/* Is it the same limit, whatever its value? */
bool limit_rule_same(const struct limit_rule *a, const struct limit_rule *b);

/* Make the rule be there, enforced, and its kernel function in the chain. */
must_use int limit_set(const struct run *run, const struct bpffs *b, const struct chain_id *at,
		       const struct limit_rule *want);
/* Make it be gone. The chain stays as it is. */
must_use int limit_remove(const struct run *run, const struct bpffs *b, const struct chain_id *at,
			  const struct limit_rule *want);
/* Count the open connections of this namespace anew, of one interface or (NULL) all. */
must_use int limit_recount(const struct run *run, const struct bpffs *b, const struct iface *iface);

struct limit_row {
	const struct limit_rule *rule;
	struct iface iface;     /* name "": it is gone */
	struct limit_stat stat;
	__u64 use;              /* events in the window, or connections; of several keys the most */
	__u64 keys;             /* how many keys there are; 1 per interface */
	struct limit_key busiest; /* the key of use; id 0: none */
	bool is_enforced;       /* the kernel function is in the chain, and watches */
};
/* All of this namespace, or of one interface. */
must_use int limit_walk(const struct bpffs *b, const struct iface *iface,
			int (*fn)(const struct limit_row *row, void *arg), void *arg);

/* "any", "80", "interface", "source/24", ... into buf, which they return. */
const char *limit_format_ports(const struct limit_rule *rule, char *buf, size_t size);
const char *limit_format_vip(const struct limit_rule *rule, char *buf, size_t size);
const char *limit_format_per(const struct limit_rule *rule, char *buf, size_t size);
const char *limit_format_key(const struct limit_rule *rule, const struct limit_key *key, char *buf, size_t size);
extern const char *const limit_action_words[];
int limit_parse_per(const char *s, struct limit_rule *rule, struct why *why);

/* connlimit's kf.instance_up: the tracepoint program that counts. */
must_use int limits_watch(const struct bpffs *b, const char *instance);

#endif
