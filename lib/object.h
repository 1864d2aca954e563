/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_OBJECT_H
#define L3AF_OBJECT_H

/* From a BPF object, built in or an operator's file, to a loaded chain member. */
#include "chain.h"
#include "root.h"
#include "rootmaps.h"

/* Bytes of an object and their hash; filled by object_read, freed by object_close. */
struct object {
	const void *bytes;
	size_t size;
	void *owned;         /* what bytes points to when it was read from a file */
	const struct kf *kf; /* built in; NULL: a file */
	const char *file;    /* as given, for messages */
	char path[128];      /* absolute, for the description; "": built in or too long */
	__u8 sha256[32];
};
static inline void cleanup_object(struct object *o);
#define auto_object __attribute__((cleanup(cleanup_object)))

/* The built-in kernel function req->name, or the file req->object. A file is parsed
 * once in a child without bpf(2) first. Prints its errors. */
must_use int object_read(const struct chain_request *req, struct object *o);
void object_close(struct object *o);

/* A program of the object, loaded to run under a root with this attach type and flags. */
struct member {
	int prog;
	bool has_frags;       /* its section says xdp.frags */
	struct root_desc desc; /* all but stat */
};

/* Its maps are those pinned below kf/<instance>/; maps that are not there yet are
 * made and pinned. Only program arrays are its own, pinned beside it in the root's
 * directory: to share them would change members that run. Prints its errors. */
must_use int object_load(const struct bpffs *b, const struct chain_id *id, const struct chain_request *req,
			 const struct object *o, const struct root_head *head, const struct root *root,
			 struct member *m);
/* Whether the program that would be loaded supports multi-buffer frames (its section
 * is xdp.frags), without loading it. Prints its errors. */
must_use int object_has_frags(const struct chain_id *id, const struct chain_request *req,
			      const struct object *o, bool *has_frags);
/* A program that already runs, from its id or pin: "id N" or a path. Prints its errors. */
must_use int object_adopt(const struct chain_id *id, const char *name, __u32 prog_id, const char *pin,
			  struct member *m);

__u32 default_mask(enum hook hook);

static inline void cleanup_object(struct object *o) { object_close(o); }

#endif
