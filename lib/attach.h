/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ATTACH_H
#define L3AF_ATTACH_H

/* How a root program gets onto a hook: one engine each, behind one interface. */
#include "chain.h"
#include "rootmaps.h"

struct bpf_object;

/* A program that the kernel runs on a hook, in the order they run. */
struct hook_prog {
	__u32 prog_id;
	char name[64];
	char how[32];   /* "native", "generic", "dispatcher", "tcx", "clsact pref 1" */
	bool is_root;   /* by its name: one of our roots */
};
struct hook_progs {
	int n;
	struct hook_prog prog[256];
};

/* Ask the kernel what is on the hook. Prints its errors. */
must_use int attach_query(const struct chain_id *id, struct hook_progs *out);

struct attachment {
	enum engine engine;
	enum xdp_mode mode;  /* XDP: never MODE_AUTO once attached */
	char why[160];       /* why this engine */
};

/*
 * Turn the engine and mode asked for into the ones to use, by running probes; a
 * foreign program that would have to be displaced is an error that says what it is,
 * unless its id is replace. Prints its errors.
 */
must_use int attach_choose(const struct chain_id *id, enum engine engine, enum xdp_mode mode,
			   __u32 replace, struct attachment *out);

/*
 * Put the root of an object on the hook in one step, instead of the program replace
 * if that is not 0. The object is loaded, but for ENGINE_LIBXDP: libxdp loads it as a
 * component of its dispatcher. *link becomes the fd of the bpf_link or -1 and is the
 * caller's; a->mode the mode attached. Prints its errors, except -ERANGE: the driver
 * wants multi-buffer programs (MTU).
 */
must_use int attach_root(const struct chain_id *id, struct attachment *a, struct bpf_object *obj,
			 __u32 replace, int *link);

/* Take the root off. link is the pinned link's fd or -1. Prints its errors. */
must_use int attach_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id, int link);

/* The ifindex a bpf_link is attached to; 0: its interface is gone. */
must_use int link_ifindex(int link, int *ifindex);

/* The part of each hook family; called by attach.c only. */
must_use int xdp_query(const struct chain_id *id, struct hook_progs *out);
must_use int xdp_choose(const struct chain_id *id, enum engine engine, enum xdp_mode mode,
			__u32 replace, struct attachment *out);
must_use int xdp_attach(const struct chain_id *id, struct attachment *a, struct bpf_object *obj,
			__u32 replace, int *link);
must_use int xdp_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id);
must_use int tc_query(const struct chain_id *id, struct hook_progs *out);
must_use int tc_choose(const struct chain_id *id, enum engine engine, __u32 replace, struct attachment *out);
must_use int tc_attach(const struct chain_id *id, struct attachment *a, int prog, int *link);
must_use int tc_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id);
/* Append a program by id; one that is gone meanwhile has no name. */
must_use int hook_progs_add(struct hook_progs *p, __u32 prog_id, const char *how);

#endif
