/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CHAIN_H
#define L3AF_CHAIN_H

/*
 * A chain: the ordered members of one hook of one interface. The root program is
 * attached once and calls the members out of one of two banks of slots; every edit
 * fills the idle bank and switches with one 8-byte store (DESIGN "flip root").
 */
#include <linux/types.h>
#include <stdbool.h>
#include "args.h"
#include "bpffs.h"
#include "nl.h"
#include "out.h"
#include "parse.h"
#include "run.h"

#define CHAIN_MAX 32 /* members: the kernel counts 33 tail calls per packet since 6.12 */

enum hook { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS, HOOK_COUNT };
extern const char *const hook_words[]; /* "xdp", "tc-ingress", "tc-egress", NULL */

enum engine { ENGINE_AUTO, ENGINE_LIBXDP, ENGINE_LINK, ENGINE_NETLINK, ENGINE_TCX, ENGINE_CLSACT };
extern const char *const engine_words[];

enum xdp_mode { MODE_AUTO, MODE_NATIVE, MODE_GENERIC };
extern const char *const mode_words[];

/* Where a chain is. */
struct chain_id {
	struct netns netns;
	struct iface iface;
	enum hook hook;
};
must_use int chain_id_init(struct chain_id *id, const struct iface *iface, enum hook hook);

/* What to put in. */
struct chain_request {
	char name[NAME_LEN];
	const char *object;      /* a file; NULL: the built-in kernel function called name */
	const char *program;     /* in the object; NULL: the only one of the hook's type */
	const char *instance;    /* NULL: name */
	int position;            /* from 1; 0: at the end, or before/after */
	const char *before, *after;
	__u32 continue_mask;     /* bit per verdict as in bpf/root.h; 0: default */
	enum xdp_mode mode;      /* of the attachment, where the chain does not exist yet */
	enum engine engine;
};

/*
 * Each of these reads the chain from the kernel, compares, records the difference
 * in run->changes and, unless run->dry_run, makes it in one atomic step. Nothing to
 * do is no change and no error. The lock is held by the caller (bpffs_open with
 * BPFFS_CHANGE). They print their errors.
 */

/* Put a member in, and the root on the hook where there is none yet. A member that is
 * there already gets the position and continue mask asked for, if any were. */
must_use int chain_add(const struct run *run, const struct bpffs *b, const struct chain_id *id,
		       const struct chain_request *req);
must_use int chain_remove(const struct run *run, const struct bpffs *b, const struct chain_id *id,
			  const char *name);
must_use int chain_reorder(const struct run *run, const struct bpffs *b, const struct chain_id *id,
			   const struct names *order);
/* New code for a member: same place, same maps, same counters. req->object NULL: what it
 * was loaded from. */
must_use int chain_replace(const struct run *run, const struct bpffs *b, const struct chain_id *id,
			   const struct chain_request *req);
/* A running program becomes a member: by id, or by pin if that is not NULL. If it is
 * what is attached to the hook, the root takes its place in one step. */
must_use int chain_adopt(const struct run *run, const struct bpffs *b, const struct chain_id *id,
			 const struct chain_request *req, __u32 prog_id, const char *pin);
/* All members out; the empty root stays on the hook. */
must_use int chain_flush(const struct run *run, const struct bpffs *b, const struct chain_id *id);
/* The root off the hook, and everything of it out of bpffs. */
must_use int chain_detach(const struct run *run, const struct bpffs *b, const struct chain_id *id);

/* 1: name is a member; 0: it is not; or an error, printed. */
must_use int chain_has(const struct bpffs *b, const struct chain_id *id, const char *name);

/* "pass,tx" -> bits of bpf/root.h, for the hook's verdicts. */
struct why;
must_use int chain_parse_verdicts(const char *s, enum hook hook, __u32 *mask, struct why *why);
/* The word of a verdict's bit, NULL where the hook has none. */
const char *chain_verdict(enum hook hook, int bit);

/* One line of a listing: a member, an empty chain (no member, no foreign program), or
 * a foreign program on the same hook. */
struct root_head;
struct root_desc;
struct hook_prog;
struct chain_row {
	struct chain_id id;
	int position;                   /* of a member, from 1 */
	const struct root_head *head;   /* NULL: a foreign program */
	const struct root_desc *member; /* NULL: none; prog_id 0: no longer in its slot */
	const struct hook_prog *foreign;
	__u64 verdicts[16];             /* of a member, by bit; the last: other verdicts */
};
/* Calls fn for each row of every hook of every interface of this network namespace, in
 * the order packets meet them; iface NULL: all interfaces; hook HOOK_COUNT: all hooks. */
must_use int chain_walk(const struct bpffs *b, const struct iface *iface, enum hook hook,
			int (*fn)(const struct chain_row *row, void *arg), void *arg);

#endif
