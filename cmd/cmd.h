/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CMD_H
#define L3AF_CMD_H

#include "args.h"
#include "out.h"
#include "run.h"

enum {
	CMD_MUTATES = 1, /* takes --dry-run, prints changes */
	CMD_JSON = 2,    /* takes --json */
};

/* A word of the grammar: either it has sub-words, or it runs. Tables end with
 * .word = NULL. */
struct cmd {
	const char *word;
	const char *help;      /* one phrase, lower case, no full stop */
	const struct cmd *sub;
	const struct arg *args;
	size_t params_size;    /* of the struct that args describes */
	int (*fn)(struct run *run, const void *params, __u64 given);
	unsigned flags;
	const char *example;   /* one command line for --help; optional */
};

extern const struct cmd chain_cmds[];
extern const struct cmd limit_cmds[];

#endif
