/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPTABLE_H
#define L3AF_L2TPTABLE_H

/* The maps of the kernel function l2tp. These print nothing unless they say so. */
#include "bpffs.h"
#include "chain.h"
#include "l2tp.h"

#define L2TP_KF "l2tp"

struct l2tps {
	int config, places, received, access, endpoints, stats, sequences, errors;
	struct l2tp_config conf;
	struct l2tp_place *place;     /* L2TP_PLACES of them */
	struct l2tp_session *session; /* all there are, n of them, in the order of their names */
	int n;
};
#define L2TPS_INIT { .config = -1, .places = -1, .received = -1, .access = -1, .endpoints = -1, .stats = -1, \
		     .sequences = -1, .errors = -1 }
void l2tps_close(struct l2tps *t);
#define auto_l2tps __attribute__((cleanup(l2tps_close)))

/* 1: it is open, and read; 0: there is none; or an error, printed. */
must_use int l2tps_open(const struct bpffs *b, struct l2tps *t);
/* Make what is missing, and open it. Prints its errors. */
must_use int l2tps_make(const struct bpffs *b, struct l2tps *t);
/* Unpin it. Prints its errors. */
must_use int l2tps_remove(const struct bpffs *b);
must_use int l2tps_config_write(struct l2tps *t);

/* The session's index, or -ENOENT. */
must_use int l2tps_find(const struct l2tps *t, const char *name);
/* A number that no session has, or -E2BIG. */
must_use int l2tps_number(const struct l2tps *t);

/* The place of an interface, or -ENOENT. */
must_use int l2tps_place(const struct l2tps *t, const struct netns *netns, int ifindex);
/* One that is not used, or -E2BIG. */
must_use int l2tps_place_free(const struct l2tps *t);
/* Its counters are zero where it was not used. */
must_use int l2tps_place_write(struct l2tps *t, int place, const struct l2tp_place *what);

/* A session comes, or changes: it is there when this is done, or as it was before. */
must_use int l2tps_session_write(struct l2tps *t, const struct l2tp_session *s);
/* It goes. */
must_use int l2tps_session_remove(struct l2tps *t, int i);
/* What a killed run left: of sessions in part only, of others without a session. */
must_use int l2tps_complete(const struct l2tps *t);

/* Sums over CPUs. */
must_use int l2tps_stat(const struct l2tps *t, __u32 number, struct l2tp_stat *sum);
must_use int l2tps_errors(const struct l2tps *t, __u32 place, struct l2tp_error *sum);

#endif
