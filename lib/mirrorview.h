/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORVIEW_H
#define L3AF_MIRRORVIEW_H

/*
 * Looking at mirroring: a copy of everything that listings tell of this network namespace,
 * made under the lock of readers, and let go of before anything is printed or waited for.
 * What runs is asked of the kernel.
 */
#include "mirrors.h"

enum mirror_look {
	MIRROR_IS_ON,
	MIRROR_IS_DETACHED, /* the kernel function is not in the chain, or on other maps, or of another place */
	MIRROR_IS_STRAY,    /* of a target: mirror_state.is_stray, though mirrortarget is there */
	MIRROR_IS_DOWN,     /* the interface, or its link */
	MIRROR_IS_GONE,     /* the interface is no more */
};
extern const char *const mirror_look_words[]; /* "on", "detached", "stray", "down", "gone" */

struct mirror_look_target {
	struct mirror_target rec;
	char dev[MIRROR_TEXT];     /* as listings name it */
	char iface[16];            /* its name: as it is now, or was */
	enum mirror_look look;
	int filters;               /* that send to it, of all interfaces */
	struct mirror_stat stat;
};

/* An interface that has filters. */
struct mirror_look_place {
	__u64 since;
	char dev[MIRROR_TEXT], iface[16];
	enum mirror_look look[2];  /* by enum flow_direction; of one that no filter has: on */
	int found[2];              /* mirror_look_probe: index in mirror_look_all.filter of the one that
				    * packets use now; -1: none */
};

struct mirror_look_filter {
	struct mirror_filter rec;
	int place;                 /* mirror_look_all.place */
	int target;                /* mirror_look_all.target; -1: it sends to none */
	enum mirror_look look;     /* on: in all directions that it has; else the worst of them */
	struct mirror_stat stat;
};

struct mirror_look_all {
	struct mirror_look_target *target; /* in the order of their names */
	struct mirror_look_place *place;   /* in the order of their names */
	struct mirror_look_filter *filter; /* of each place, in the order of their numbers */
	int targets, places, filters;
	char blind[16];            /* an interface whose filters may not be read (-EPERM); "": none */
	char collector[NAME_LEN];          /* mirror_look_probe: the target whose collector it is from or to; "" */
	__u64 read_us;             /* run_now_us() */
};
#define MIRROR_LOOK_INIT { 0 }
void mirror_look_free(struct mirror_look_all *v);
#define auto_mirror_look __attribute__((cleanup(mirror_look_free)))

/* dev NULL: of all interfaces, else those with this name: the interface that has it, and what
 * is left of one that had it; one of them has to be there. target NULL: all targets, else it
 * has to be there, and filters are those that send to it. With dev, targets are those that its
 * filters send to. Prints its errors, but of filters that may not be read. */
must_use int mirror_look_read(const struct run *run, const char *dev, const char *target, struct mirror_look_all *v);
/* The same for an interface, or all, and what becomes of a packet there in both directions. */
must_use int mirror_look_probe(const struct run *run, const char *dev, const struct match_key *key,
			       struct mirror_look_all *v);
must_use int mirror_look_copy(const struct mirror_look_all *v, struct mirror_look_all *to);
/* What v counted since before: what is not there before counts from 0. */
void mirror_look_subtract(struct mirror_look_all *v, const struct mirror_look_all *before);

/* What a filter compares: the word, and how its value is written. */
struct mirror_look_part {
	const char *word;          /* ends with NULL */
	const char *(*format)(const struct match_rule *r, char buf[MIRROR_TEXT]);
};
extern const struct mirror_look_part mirror_look_parts[];
/* Into buf, which it returns; NULL: any will do. */
const char *mirror_look_part(const struct mirror_look_part *part, const struct match_rule *r, char buf[MIRROR_TEXT]);

/* The words behind "mirror filter add" and "mirror target add" that make the same; into buf,
 * which they return. */
#define MIRROR_WORDS 512
const char *mirror_look_filter_words(const struct mirror_look_all *v, const struct mirror_look_filter *f,
				     char buf[MIRROR_WORDS]);
const char *mirror_look_target_words(const struct mirror_look_target *t, char buf[MIRROR_WORDS]);

/* The command that makes it work again, into buf; NULL: there is none, or it works. */
const char *mirror_look_repair_filter(const struct mirror_look_all *v, const struct mirror_look_filter *f,
				      char buf[MIRROR_WORDS]);
const char *mirror_look_repair_target(const struct mirror_look_target *t, char buf[MIRROR_WORDS]);

#endif
