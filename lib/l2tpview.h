/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPVIEW_H
#define L3AF_L2TPVIEW_H

/* What listings of pseudowires show. These print their errors. */
#include "l2tps.h"

enum l2tp_state {
	L2TP_ON,
	L2TP_DOWN,      /* an interface is */
	L2TP_DETACHED,  /* a program is not in its chain */
	L2TP_GONE,      /* an interface is */
	L2TP_ELSEWHERE, /* of another network namespace: nothing else is known */
};
extern const char *const l2tp_state_words[];

struct l2tp_row {
	struct l2tp_session s;
	char dev[40], underlay[40];   /* as they are called now; "eth0(gone)", "eth0@NETNS" */
	char helper[16];              /* the other end of netdev, "": none */
	enum l2tp_state state;
	struct l2tp_stat stat;        /* with L2TP_WALK_STATS */
};
enum { L2TP_WALK_STATS = 1 };
/* All in the order of their names, or the one of this name, which has to be there. */
must_use int l2tp_walk(const struct bpffs *b, const char *name, unsigned what,
		       int (*fn)(const struct l2tp_row *row, void *arg), void *arg);

struct l2tp_place_row {
	const struct l2tp_place *place;
	char dev[40];
	struct l2tp_error error;
};
/* Each interface but the helpers. */
must_use int l2tp_walk_places(const struct bpffs *b, int (*fn)(const struct l2tp_place_row *row, void *arg), void *arg);

extern const char *const l2tp_count_keys[];       /* by enum l2tp_count */
extern const char *const l2tp_count_groups[];     /* tx_errors, rx_errors, events */
extern const char *const l2tp_place_count_keys[]; /* by enum l2tp_place_count */

#endif
