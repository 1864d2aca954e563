/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CHAINSTATE_H
#define L3AF_CHAINSTATE_H

/* Where chains are pinned, and how one is found again whatever happened to its pins or
 * its interface. These print their errors unless they say otherwise. */
#include "attach.h"
#include "rootmaps.h"

#define CHAIN_DIR_LEN 96

struct chain {
	struct chain_id id;
	char dir[CHAIN_DIR_LEN]; /* where it is pinned, or will be */
	bool exists;             /* its root is attached: the fields below are valid */
	__u32 root_id;
	struct root root;
	struct root_view view;
	struct hook_progs hook;  /* everything on the hook, ours included; valid always */
};
void chain_close(struct chain *c);
static inline void chain_init(struct chain *c) { root_init(&c->root); }
#define auto_chain __attribute__((cleanup(chain_close)))

/*
 * Read the chain of a hook from the kernel. A chain lives as long as its root is
 * attached: pins without an attachment are what a killed run or a deleted interface
 * left. With access BPFFS_CHANGE those are removed, and missing pins are made again;
 * with BPFFS_READ nothing is touched and a warning says so.
 */
must_use int chain_open(const struct bpffs *b, enum bpffs_access access, const struct chain_id *id,
			struct chain *c);

/* Remove what no interface and no chain holds any more: chains of deleted interfaces
 * in this network namespace, instances of third-party objects without a member.
 * Prints nothing. */
must_use int chain_sweep(const struct bpffs *b, const struct netns *ns);

/* How many members of chains, in whatever network namespace, run on the maps of this
 * instance. -ENOENT: a chain's pins were removed by hand, so nobody knows. Prints nothing. */
must_use int chain_instance_members(const struct bpffs *b, const char *instance);

/* A chain's directory and the empty ones above it. Prints nothing. */
must_use int chain_unpin(const struct bpffs *b, const char *dir);
void chain_dir(const struct chain_id *id, char dir[CHAIN_DIR_LEN]);

#endif
