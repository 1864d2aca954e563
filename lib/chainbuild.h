/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CHAINBUILD_H
#define L3AF_CHAINBUILD_H

#include "chainstate.h"
#include "cleanup.h"
#include "object.h"

static inline void member_close(struct member *m) { cleanup_fd(&m->prog); }
#define auto_member __attribute__((cleanup(member_close)))

/* What a new chain starts with. */
struct first_member {
	const struct chain_request *req;
	const struct object *o;        /* NULL: adopted */
	const struct member *adopted;
	bool has_frags;                /* the object's program can do multi-buffer frames */
	__u32 replace;                 /* program on the hook that the root takes over; 0: none */
};

/* Make a root with its first member and put it on the hook, complete and pinned before
 * it is attached; after an error nothing of it is left. Prints its errors. */
must_use int chain_build(const struct bpffs *b, struct chain *c, struct attachment *a,
			 const struct first_member *f);

#endif
