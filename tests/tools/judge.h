/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_JUDGE_H
#define TESTS_JUDGE_H

/* A chain under test packets, and what is wrong with it: by the packets, by the
 * listing, by the pins, by the kernel's slots. */
#include <linux/types.h>
#include <stdbool.h>
#include "change.h"
#include "root.h"
#include "traffic.h"

extern struct traffic *traffic;
extern struct prints last;      /* as of the last look */
extern __u64 illegal;           /* packets that ran an order never commanded */
extern unsigned faults;         /* all that went wrong */
extern struct outcome result;   /* of the last command */

__attribute__((format(printf, 1, 2)))
void fault(const char *fmt, ...);
double seconds(void);

/* A command that has to succeed. */
void must(const struct command *c);
void command_chain(const char *verb);
/* What the command says the chain is: names in order, "fpcount" left out; *is_there
 * says whether there is a chain. */
void listed(struct order *o, bool *is_there);

/* Fingerprints counted since the last look: only a and b may be among them. *a_seen
 * and *b_seen tell how many of each. */
void look(__u64 a, __u64 b, __u64 *a_seen, __u64 *b_seen);
/* Let all packets that are under way now arrive. */
void settle(void);
/* The packets of now: all run print. */
void steady(__u64 print);
/* Whichever of two orders packets run now; the other one must not be seen. */
bool is_changed(const struct order *old, const struct order *new);

void counter_add(struct change *ch);
void counter_open(void);
void chain_make(struct order *o, int n); /* of members a, b, ... with ids 1, 2, ... */
void chain_unmake(void);

/* The pins are those of reference, which is set where it is NULL. */
void tree_same(char **reference, const char *when);
/* A pin of the only chain there is; the programs of its live bank. */
int chain_pin(const char *name);
int live_programs(__u32 ids[ROOT_MEMBERS]);

/* Where, what (fmt), packets, missing, illegal, faults: one line on stdout. */
__attribute__((format(printf, 1, 2)))
void report(const char *fmt, ...);

/* assail.c */
void mode_sweep(void);
void mode_errors(void);

#endif
