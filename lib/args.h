/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ARGS_H
#define L3AF_ARGS_H

/*
 * One const table per command says which words it takes. The parser, --help, the
 * usage line, completion and the man-page check all read it; no other list exists.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "err.h"

enum arg_type {      /* kind of value             field it is stored in */
	ARG_FLAG,    /* a bare keyword            bool                  */
	ARG_NAME,    /* [A-Za-z0-9_-]{1,15}       char[NAME_LEN]        */
	ARG_NAMES,   /* NAME,NAME,...             struct names          */
	ARG_STRING,  /* any text                  const char *          */
	ARG_FILE,    /* a path                    const char *          */
	ARG_IFACE,   /* an existing interface     struct iface          */
	ARG_ENUM,    /* one of arg.words          int, the index        */
	ARG_U32,     /* number in min..max        __u32                 */
	ARG_U64,     /* number in min..max        __u64                 */
	ARG_ADDR,    /* IPv4 or IPv6 address      struct addr           */
	ARG_PREFIX,  /* ADDR[/LEN]                struct prefix         */
	ARG_PORTS,   /* P or P-Q                  struct ports          */
	ARG_RATE,    /* N[/s|/m|/h]               struct rate           */
	ARG_DURATION,/* N[ms|s|m|h]               __u64 microseconds    */
	ARG_CUSTOM,  /* arg.parse                 what arg.parse says   */
};

struct names {
	int n;
	char name[32][16];
};

/* An interface of the network namespace the command runs in. */
struct iface {
	int index;
	char name[16];
};

struct why;

struct arg {
	const char *word;   /* keyword, of one or two words ("to file"), or for a positional
			     * argument its metavariable ("NAME") */
	enum arg_type type;
	size_t offset;      /* of the field in the command's parameter struct */
	const char *meta;   /* metavariable of the value ("IF"); ARG_ENUM derives it from words */
	const char *help;   /* a phrase */
	const char *const *words;  /* ARG_ENUM: NULL-terminated */
	__u64 min, max;     /* ARG_U32, ARG_U64, ARG_DURATION (microseconds); max 0: of the type */
	int (*parse)(const char *s, void *field, struct why *why); /* ARG_CUSTOM */
	void (*complete)(void); /* prints candidates, one a line; optional */
	bool positional;    /* taken by position, before any keyword; an optional one gives
			     * way to a keyword */
	bool required;      /* in a group: one of the group is */
	bool many;          /* may be given any number of times: ARG_CUSTOM, whose parser is
			     * called for each */
	int group;          /* >0: at most one argument of the same group may be given */
};

/* Which arguments were given: bit i is table entry i. Tables have at most 64 entries
 * and end with .word = NULL. */
#define ARG_GIVEN(given, table, i) (((given) >> (i)) & 1)

/*
 * Parse argv (the words after the verb) into params, which the caller zeroed; *given
 * gets the presence bits. of names the command in messages ("chain add"). Every error
 * is printed, with what would have been right: unknown, duplicate and left-over words,
 * missing values, missing required words, two of one group. Returns 0 or -E_USAGE, or
 * what went wrong on the way to an interface.
 */
must_use int args_parse(const char *of, const struct arg *table, int argc, char **argv, void *params,
			__u64 *given);

/* Store one value; of may be "". Prints its errors. */
must_use int arg_set(const char *of, const struct arg *a, const char *value, void *params);

/* The index of the argument that the words, ended by NULL, begin with (a keyword) or that
 * the first of them is (a positional one) where those in given came before, or -1; *words
 * of them are the keyword, 0 for a positional argument. */
int args_find(const struct arg *table, __u64 given, char *const *argv, int *words);
/* The second word of keyword a where first is the first of its two, or NULL. */
const char *arg_second(const struct arg *a, const char *first);
/* The index of the positional argument that may come next, or -1. */
int args_positional(const struct arg *table, __u64 given);
/* The index of the argument given that excludes argument i, or -1. */
int args_rival(const struct arg *table, __u64 given, int i);

/* "dev IF", "hook xdp|tc-ingress|tc-egress", "NAME"; into buf, which it returns. */
#define ARG_TEXT_LEN 256
const char *arg_text(const struct arg *a, char *buf, size_t size);
/* "usage: l3afctl OF ...", folded to width columns; width 0: one line. */
void args_usage(FILE *f, const char *of, const struct arg *table, int width);

#endif
