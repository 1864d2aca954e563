/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_KF_H
#define L3AF_KF_H

/* The kernel functions built into the binary. */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "chain.h"

struct bpf_object;

struct kf {
	const char *name; /* of the chain member, and of its default instance */
	const char *help;
	unsigned hooks;   /* 1 << enum hook */
	/* The BPF object: exactly one program per hook, of the hook's program type;
	 * programs of other types are loaded by instance_up. */
	const void *(*bytes)(size_t *size);
	/* After open, before load: constants of this attachment. Prints. Optional. */
	int (*prepare)(const struct bpffs *b, const char *instance, struct bpf_object *obj,
		       const struct chain_id *at);
	/* State beside the maps that the instance needs while any chain holds it (a
	 * tracepoint link pinned at kf/INSTANCE/...); called with the lock held, before the
	 * member is put into the chain; idempotent; prints its errors. Optional. */
	int (*instance_up)(const struct bpffs *b, const char *instance);
	/* Before the member leaves a chain: what must not happen once it is out is stopped.
	 * Prints its errors. Optional. */
	int (*leave)(const struct bpffs *b, const char *instance, const struct chain_id *at);
	/* 1: the instance holds what an operator would miss, and outlives its last member; 0:
	 * it does not, or is none of this function's; or an error. Prints nothing. Optional. */
	int (*keeps)(const struct bpffs *b, const char *instance);
};

extern const struct kf *const kf_all[]; /* NULL-terminated */
const struct kf *kf_find(const char *name);

/* Without compare-and-swap no count is exact: ask the kernel by loading one. what needs
 * it, plural, for the message. Prints its errors. */
must_use int kf_probe_atomics(const char *what);

/* kf/INSTANCE/MAP; an fd, -ENOENT where the instance is not loaded. Prints nothing. */
must_use int kf_map(const struct bpffs *b, const char *instance, const char *map);

/* 1: kf/INSTANCE/DIR is there, and a directory; 0: it is not; or an error. Prints nothing. */
must_use int kf_has_dir(const struct bpffs *b, const char *instance, const char *dir);

/* Does the program use this map (an fd)? Yes where the kernel does not tell. */
bool kf_runs_on(int map, __u32 prog_id);

/* Load these programs (NULL-terminated) of a built-in function on the maps of an
 * instance, which are made and pinned where they are not there yet. The caller closes
 * *obj. Prints nothing. */
must_use int kf_instance(const struct bpffs *b, const struct kf *kf, const char *instance,
			 const char *const *programs, struct bpf_object **obj);

#endif
