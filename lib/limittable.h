/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LIMITTABLE_H
#define L3AF_LIMITTABLE_H

/* The maps of an instance of ratelimit or connlimit, and the table of rules in them. */
#include "bpffs.h"
#include "limit.h"
#include "limitrules.h"

struct limits {
	enum limit_kind kind;
	bool is_there;            /* the instance exists; if not, the table is empty */
	bool is_changed;          /* the table, since it was read */
	int rules, active, stats, shared, keyed;
	__u32 bank;               /* in use */
	struct limit_table table; /* rules that are being seeded are left out: a killed run left them */
};
#define LIMITS_INIT { .rules = -1, .active = -1, .stats = -1, .shared = -1, .keyed = -1 }

extern const char *const limit_kf_words[];   /* by kind: the kernel function, its instance */
extern const char *const limit_kind_words[];

/* All but limits_stat and limits_use print their errors. */
must_use int limits_open(const struct bpffs *b, enum limit_kind kind, const struct netns *self, struct limits *l);
void limits_close(struct limits *l);
#define auto_limits __attribute__((cleanup(limits_close)))
/* Make the instance where it is not there. */
must_use int limits_make(const struct bpffs *b, struct limits *l);

/* Does the program use these maps? Yes where the kernel does not tell. */
bool limits_runs_on(const struct limits *l, __u32 prog_id);

int limits_count(const struct limits *l);
/* A free slot, empty in every map, its rule with a new id and the counters stat (-1:
 * new ones); or -E2BIG. */
must_use int limits_slot_new(struct limits *l, int stat);
/* Put the table into use, in one step. */
must_use int limits_commit(struct limits *l);

/* Count what is open for the rules in state LIMIT_COUNTS. */
must_use int limits_seed(const struct bpffs *b, const struct limits *l);
must_use int limits_is_watching(const struct bpffs *b); /* 1, 0 */

struct limits_sum {
	__u64 connections;
	__u64 differing; /* keys with another count than in the other slot */
};
/* The counts of two rules that should be the same. */
must_use int limits_compare(const struct limits *l, int old, int new, struct limits_sum *was,
			    struct limits_sum *is);

must_use int limits_stat(const struct limits *l, const struct limit_rule *rule, struct limit_stat *sum);
must_use int limits_use(const struct limits *l, int slot, struct limit_row *row);

#endif
