/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORTABLE_H
#define L3AF_MIRRORTABLE_H

/*
 * The maps of the instance "mirror", mapped into memory. bpf/mirror.h says who writes what.
 * Everything that changes them runs under bpffs_open's lock. These print nothing unless they
 * say so.
 *
 * A place is an interface that has filters, in whichever network namespace; a target belongs
 * to a network namespace as well, and its name is unique there.
 */
#include "bpffs.h"
#include "chain.h"
#include "mirror.h"
#include "parse.h"

struct bpf_object;
struct run;

#define MIRROR_KF "mirror"              /* the kernel functions; the instance is called */
#define MIRROR_TARGET_KF "mirrortarget" /* as the first of them */

struct mirror {
	const struct bpffs *b;
	int sets, stats, sent, targets; /* maps; -1: not open */
	bool is_writable;
	struct mirror_config *config;   /* NULL: there is no instance */
	struct mirror_place *place;     /* MIRROR_PLACES of them; of since 0: not used */
	struct mirror_target *target;   /* both copies; read them by mirror_target_get */
	struct mirror_state *state;     /* by target */
};
#define MIRROR_INIT { .sets = -1, .stats = -1, .sent = -1, .targets = -1 }
void mirror_close(struct mirror *m);
#define auto_mirror __attribute__((cleanup(mirror_close)))

/* Maps the instance; 1: done; 0: there is none (m->config is NULL, all below find nothing);
 * or an error, printed. To change it (not with --dry-run): also finishes what a killed run
 * began, in this network namespace. */
must_use int mirror_open(const struct run *run, const struct bpffs *b, bool is_writable, struct mirror *m);

/*
 * Targets, by number below MIRROR_TARGETS.
 */
/* What packets see, or NULL where there is no target of this number. */
const struct mirror_target *mirror_target_get(const struct mirror *m, int number);
/* The number of the target of this name in a network namespace, or -ENOENT. */
must_use int mirror_target_find(const struct mirror *m, const struct netns *ns, const char *name);
/* Sums over CPUs. */
must_use int mirror_target_stat(const struct mirror *m, int number, struct mirror_stat *sum);

/*
 * Places, by number below MIRROR_PLACES.
 */
/* The number of an interface's place, or -ENOENT. */
must_use int mirror_place_find(const struct mirror *m, const struct netns *ns, int ifindex);
/* The constants of a loaded copy of mirror; -ENOENT: it has none. An interface that comes from
 * another network namespace brings the copy of its place there along. */
must_use int mirror_here_of(__u32 prog_id, struct mirror_here *here);
/* Is it of an interface, or of a target, of this network namespace, which is no more? */
bool mirror_is_gone(const struct netns *here, __u64 netns, __u32 ifindex);

/* The filters that packets of a place are compared with now, mapped read-only: filter[0..n-1]
 * in their order, rule n of match is filter[n]. It stays as it is while others change the
 * place: it is what was true when it was opened. */
struct mirror_view {
	const struct mirror_set *set; /* NULL: there are no filters */
	int n;                        /* of filters */
	int map;                      /* that set is in; -1: none */
	int stats;                    /* their counters; -1: none */
};
#define MIRROR_VIEW_INIT { .map = -1, .stats = -1 }
/* -EPERM: maps are opened by their ids with CAP_SYS_ADMIN only; mirror_fail explains it. */
must_use int mirror_view_open(const struct mirror *m, int place, struct mirror_view *v);
void mirror_view_close(struct mirror_view *v);
#define auto_mirror_view __attribute__((cleanup(mirror_view_close)))
/* Counters of filter[i], summed over CPUs. */
must_use int mirror_filter_stat(const struct mirror_view *v, int i, struct mirror_stat *sum);

/* Prints why the filters of an interface cannot be read or changed; returns err. */
int mirror_fail(int err, const char *dev);

/*
 * How listings, changes and messages write it; into buf, which they return. They parse back.
 */
#define MIRROR_TEXT 64
const char *mirror_format_src(const struct match_rule *r, char buf[MIRROR_TEXT]);       /* "any", "10.0.0.0/8" */
const char *mirror_format_dst(const struct match_rule *r, char buf[MIRROR_TEXT]);
const char *mirror_format_sport(const struct match_rule *r, char buf[MIRROR_TEXT]);     /* "any", "80", "80-90" */
const char *mirror_format_dport(const struct match_rule *r, char buf[MIRROR_TEXT]);
const char *mirror_format_flags(const struct match_rule *r, char buf[MIRROR_TEXT]);     /* "any", "syn/syn,ack" */
const char *mirror_format_proto(const struct match_rule *r, char buf[MIRROR_TEXT]);     /* "any", "tcp" */
const char *mirror_format_vlan(const struct match_rule *r, char buf[MIRROR_TEXT]);      /* "any", "none", "7" */
const char *mirror_format_direction(const struct match_rule *r, char buf[MIRROR_TEXT]); /* "ingress", "both" */
const char *mirror_format_snaplen(const struct mirror_filter *f, char buf[MIRROR_TEXT]); /* "all", "headers" */
const char *mirror_format_sample(const struct mirror_filter *f, char buf[MIRROR_TEXT]);  /* "1/10" */
/* "192.0.2.9:4789", the gateway as MAC or "auto", "100mbit" or "none" */
const char *mirror_format_to(const struct mirror_target *t, char buf[MIRROR_TEXT]);
const char *mirror_format_source(const struct mirror_target *t, char buf[MIRROR_TEXT]);
const char *mirror_format_cap(const struct mirror_target *t, char buf[MIRROR_TEXT]);
const char *mirror_format_gateway(const struct mirror_target *t, char buf[MIRROR_TEXT]);
/* "eth0", "eth0(gone)", of another network namespace "eth0@ID" */
const char *mirror_format_dev(const struct netns *here, __u64 netns, __u32 ifindex, const char *name,
			      char buf[MIRROR_TEXT]);

/* What the kernel functions are given when they are loaded: kf.prepare. The interface's place has
 * to be there. They print. */
must_use int mirror_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			    const struct chain_id *at);
must_use int mirrortarget_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
				  const struct chain_id *at);
/* Nothing is sent to targets of the interface until l3afctl mirror target add has put mirrortarget
 * back: kf.leave. It prints. */
must_use int mirrortarget_leave(const struct bpffs *b, const char *instance, const struct chain_id *at);

#endif
