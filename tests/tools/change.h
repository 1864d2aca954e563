/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_CHANGE_H
#define TESTS_CHANGE_H

/* Orders of members, their fingerprints, and the commands that change one into another. */
#include <linux/types.h>
#include <stdbool.h>
#include "command.h"

#define MAX_MEMBERS 8
#define IDS 9 /* fp1 .. fp9 */

extern struct options {
	const char *l3afctl, *bpffs, *objects, *dev, *hook, *engine, *mode, *from, *breaking;
	unsigned n, processes, rate, step, seed;
} opt;

struct order { /* without fpcount, which is always last */
	int n;
	struct {
		char name[16];
		int id;
	} at[MAX_MEMBERS + 1];
};

struct change {
	struct command command;
	struct order after;
	const char *verb;
};

extern __u64 seed;
unsigned random_below(unsigned n);

__u64 order_print(const struct order *o);
const char *print_text(__u64 print); /* "1,2,3" */
bool same_names(const struct order *a, const struct order *b);
void order_insert(struct order *o, int at, const char *name, int id);
void order_swap(struct order *o, int i, int j);

struct change change_reorder(const struct order *to);
struct change change_add(const struct order *from, const char *name, int id, int at);
struct change change_remove(const struct order *from, int at);
struct change change_replace(const struct order *from, int at, int id);
struct change change_random(const struct order *o);

/* Words of a command: "l3afctl --bpffs DIR chain VERB", "dev IF hook H", "engine E
 * mode M", "object FILE" (id 0: the counter's). */
void begin(struct command *c, const char *verb);
void where(struct command *c);
void engine(struct command *c);
void object(struct command *c, int id);

#endif
