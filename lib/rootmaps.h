/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ROOTMAPS_H
#define L3AF_ROOTMAPS_H

/* The root program and its maps (bpf/root.h), and the flip. Nothing here prints. */
#include <stdbool.h>
#include "bpffs.h"
#include "chain.h"
#include "root.h"

struct bpf_object;

enum root_map { ROOT_MAP_SLOTS, ROOT_MAP_GEN, ROOT_MAP_BANK0, ROOT_MAP_BANK1, ROOT_MAP_STAT, ROOT_MAP_DESC,
		ROOT_MAPS };

struct root {
	int prog;
	int map[ROOT_MAPS];
	int link;                /* -1: the engine has none */
	volatile __u64 *gen;     /* mapped */
	struct root_stat *stat;  /* mapped, cpus of them */
	int cpus;
	const struct bpffs *b;
	char dir[96];            /* where it is pinned; "": nowhere */
};

void root_init(struct root *r);
void root_close(struct root *r);
#define auto_root __attribute__((cleanup(root_close)))

/* The name of a hook's root program. */
const char *root_name(enum hook hook);
/* The embedded object of a hook's root, opened, its program type and attach type set. */
struct bpf_object *root_object_open(enum hook hook);

/* Make the maps of a new root and pin them in dir. */
must_use int root_create(struct root *r, const struct bpffs *b, const char *dir);
/* The object that will run on these maps, ready to be loaded. */
must_use int root_object(const struct root *r, enum hook hook, __u32 attach_type, __u32 flags,
			 struct bpf_object **obj);
/* Make desc findable from the program as well (it does not use it). */
must_use int root_bind(const struct root *r);
/* The pinned maps of dir; -ENOENT where any of them is missing. prog stays -1 where
 * only the program is not pinned (a run was killed between attaching and pinning). */
must_use int root_open(struct root *r, const struct bpffs *b, const char *dir);
/* Take prog_id for prog if it runs on these maps: 1, else 0, or an error. */
must_use int root_claim(struct root *r, __u32 prog_id);
/* The same from the program alone, for pins that were removed: -ENOENT where the
 * program is not a root of this layout. */
must_use int root_open_id(struct root *r, __u32 prog_id);
/* Pin whatever of r is not pinned in dir; dir is its place from now on. */
must_use int root_pin(struct root *r, const struct bpffs *b, const char *dir);
/* Its pins have moved there. */
void root_moved(struct root *r, const char *dir);

must_use int root_prog_id(int prog, __u32 *id);

/* One consistent reading of the live bank. A desc whose slot does not hold its
 * program has prog_id 0. */
struct root_view {
	struct root_head head;
	int n;
	struct root_desc member[ROOT_MEMBERS];
};
must_use int root_read(const struct root *r, struct root_view *v);
/* The members before the last change (no head), as far as the idle bank still says. */
must_use int root_read_previous(const struct root *r, struct root_view *v);
must_use int root_write_head(const struct root *r, const struct root_head *head);

/* Members to run; prog is an fd or -1: the program already in a slot under prog_id. */
struct root_plan {
	int n;
	struct root_desc member[ROOT_MEMBERS];
	int prog[ROOT_MEMBERS];
};
/* Finish what a killed run has begun: let go of all programs but those of the view. */
must_use int root_settle(const struct root *r, const struct root_view *v);
/* Fill the idle bank and switch to it with one store. After it every packet sees the
 * plan, and nothing is an error any more: programs that are no longer members are let go
 * after a grace period; where that fails, root_settle does it in the next run.
 * -EINVAL from a slot: *bad is the member whose program does not fit the root. */
must_use int root_commit(const struct root *r, const struct root_plan *plan, int *bad);

/* Pin a program array of a member's own beside the member: it is code, not state, and
 * the kernel empties one that nothing but programs hold. */
must_use int root_pin_array(const struct root *r, __u32 prog_id, int array, const char *name);

/* Counters of a member, summed over CPUs. */
void root_stat_sum(const struct root *r, __u32 stat, __u64 sum[ROOT_VERDICTS + 1]);
void root_stat_zero(const struct root *r, __u32 stat);

/* After it no packet is inside what was live before. */
must_use int root_grace(void);

/* Load a root with two canned members and run it: 0, or why chains cannot work here. */
must_use int root_probe(enum hook hook);

#endif
