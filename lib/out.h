/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_OUT_H
#define L3AF_OUT_H

/*
 * What a command answers: a listing is rows under columns, a mutation is changes.
 * Each is described once and rendered as text or as JSON from that description.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include "err.h"

enum col_type {
	COL_STR,
	COL_U64,    /* JSON number, printed with all 64 bits */
	COL_BOOL,   /* JSON true/false, text yes/no */
	COL_LIST,   /* strings: JSON array, text joined by commas */
	COL_COUNTS, /* name -> u64: JSON object, text "pass 12 drop 3" without zeroes */
};

struct column {
	const char *key;   /* JSON key, unit included: rate_per_second */
	const char *head;  /* text heading; NULL: only in JSON */
	enum col_type type;
	bool wide;         /* in text only with -v */
	int width;         /* of a stream's text; a longer cell shifts what follows */
};

struct table;

/* cols ends with .key = NULL and must outlive the table. */
struct table *table_new(const struct column *cols);
void table_free(struct table *t);
static inline void cleanup_table(struct table **t) { if (*t) table_free(*t); }
#define auto_table __attribute__((cleanup(cleanup_table)))

struct run;
/* The same for any number of rows at constant memory: each is printed to f when the next
 * one is started, the last one by table_print. */
struct table *table_stream(const struct run *run, const struct column *cols, FILE *f);

/* Start a row; then set its cells by key. Strings are copied. A cell not set is
 * null in JSON and "-" in text. */
void table_row(struct table *t);
__attribute__((format(printf, 3, 4)))
void table_str(struct table *t, const char *key, const char *fmt, ...);
void table_u64(struct table *t, const char *key, __u64 v);
void table_bool(struct table *t, const char *key, bool v);
void table_item(struct table *t, const char *key, const char *s);           /* COL_LIST: append */
void table_count(struct table *t, const char *key, const char *name, __u64 v); /* COL_COUNTS */

/* The rows on stdout: aligned text with a heading (nothing when there are no rows),
 * or a JSON array, also when empty. table_print_one: a "show": lines of
 * "heading: value", or one JSON object. */
must_use int table_print(const struct run *run, struct table *t);
must_use int table_print_one(const struct run *run, const struct table *t);
/* The same of each row: such lines with empty ones between, or a JSON array. */
must_use int table_print_each(const struct run *run, const struct table *t);
/* Several listings in one answer: {"KEY":[...],...}, or text with an empty line between
 * those that have rows. parts ends with .key = NULL. */
struct table_part {
	const char *key;
	const struct table *table;
};
must_use int tables_print(const struct run *run, const struct table_part *parts);

/*
 * Changes. op is '+', '-' or '~'. Text: "+ chain ratelimit dev eth0 hook xdp"; a
 * field with a from: "weight 5 -> 10". JSON: {"op":"add","object":"chain",
 * "name":"ratelimit","dev":"eth0","hook":"xdp","weight":{"from":5,"to":10}}. Keys are
 * written with '_', which text shows as '-', as keywords have it.
 */
struct changes;
struct changes *changes_new(void);
void changes_free(struct changes *c);
static inline void cleanup_changes(struct changes **c) { if (*c) changes_free(*c); }
#define auto_changes __attribute__((cleanup(cleanup_changes)))
int changes_count(const struct changes *c);
void change_add(struct changes *c, char op, const char *object, const char *name /* or NULL */);
__attribute__((format(printf, 3, 4)))
void change_str(struct changes *c, const char *key, const char *fmt, ...);
void change_u64(struct changes *c, const char *key, __u64 v);
void change_from_str(struct changes *c, const char *key, const char *from, const char *to);
void change_from_u64(struct changes *c, const char *key, __u64 from, __u64 to);
must_use int changes_print(const struct run *run, const struct changes *c);

#endif
