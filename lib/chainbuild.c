/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "chainbuild.h"
#include "cleanup.h"

static void cleanup_bpf_object(struct bpf_object **obj) { bpf_object__close(*obj); }

/* Why one try to build a chain ended, where another may succeed; beyond every errno. */
enum {
	BUILD_NEEDS_FRAGS = 6001, /* the driver wants multi-buffer programs at this MTU */
	BUILD_OTHER_TYPE,         /* the first member has another expected attach type */
};

static int load_first(const struct bpffs *b, const struct chain_id *id, const struct first_member *f,
		      const struct root_head *head, const struct root *root, struct member *m)
{
	if (f->o)
		return object_load(b, id, f->req, f->o, head, root, m);
	*m = *f->adopted;
	m->prog = fcntl(f->adopted->prog, F_DUPFD_CLOEXEC, 0);
	return m->prog < 0 ? fail_errno(-errno, "%s", f->req->name) : 0;
}

static int pin_link(const struct bpffs *b, const struct chain *c, int link)
{
	char path[CHAIN_DIR_LEN + 8];
	int err;

	if (link < 0)
		return 0;
	snprintf(path, sizeof(path), "%s/link", c->dir);
	err = bpffs_pin(b, link, path);
	return err ? fail_errno(err, "cannot pin %s/%s", b->dir, path) : 0;
}

/* What attaching leaves to be written and pinned: nothing where it replaced a program,
 * so that there is no error after which that would be missing. */
static int finish_attached(const struct bpffs *b, struct chain *c, const struct attachment *a,
			   struct bpf_object *obj, int link)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, root_name(c->id.hook));
	int err = 0;

	if (c->view.head.mode != a->mode) {
		c->view.head.mode = a->mode;
		err = root_write_head(&c->root, &c->view.head);
	}
	if (!err && c->root.prog < 0) {
		c->root.prog = fcntl(bpf_program__fd(prog), F_DUPFD_CLOEXEC, 0);
		err = c->root.prog < 0 ? -errno : root_bind(&c->root);
		if (!err)
			err = root_pin(&c->root, b, c->dir);
	}
	if (err)
		return fail_errno(err, "cannot pin the root of the chain");
	return pin_link(b, c, link);
}

/* The root is complete and pinned; attaching it is the commit. For libxdp the program
 * exists only from then on, and is pinned after. */
static int attach_and_pin(const struct bpffs *b, struct chain *c, struct attachment *a, struct bpf_object *obj,
			  __u32 replace)
{
	auto_fd int link = -1;
	__u32 prog_id = 0;
	int err = attach_root(&c->id, a, obj, replace, &link), undo;

	if (err)
		return err == -ERANGE ? -BUILD_NEEDS_FRAGS : err;
	err = finish_attached(b, c, a, obj, link);
	if (!err)
		return 0;
	undo = root_prog_id(bpf_program__fd(bpf_object__find_program_by_name(obj, root_name(c->id.hook))), &prog_id);
	if (!undo)
		undo = attach_detach(&c->id, a, prog_id, link);
	return undo ? undo : err;
}

static int prepare_root(struct chain *c, const struct attachment *a, struct bpf_object **obj)
{
	const struct root_head *head = &c->view.head;
	int err = root_object(&c->root, c->id.hook, head->attach_type, head->flags, obj);

	if (err || a->engine == ENGINE_LIBXDP)
		return err;
	err = bpf_object__load(*obj);
	if (err)
		return err;
	c->root.prog = fcntl(bpf_program__fd(bpf_object__find_program_by_name(*obj, root_name(c->id.hook))),
			     F_DUPFD_CLOEXEC, 0);
	return c->root.prog < 0 ? -errno : root_bind(&c->root);
}

/* With libxdp the root is loaded only when it is attached: a plain one in its place makes
 * the slots refuse now what would not fit it then. */
static int load_plain(struct chain *c, struct bpf_object **obj)
{
	const struct root_head *head = &c->view.head;
	int err = root_object(&c->root, c->id.hook, head->attach_type, head->flags, obj);

	return err ? err : bpf_object__load(*obj);
}

static int move_in_place(const struct bpffs *b, const struct chain *c, const char *staging)
{
	char parent[CHAIN_DIR_LEN];
	int err;

	snprintf(parent, sizeof(parent), "%s", c->dir);
	*strrchr(parent, '/') = '\0';
	err = bpffs_mkdir(b, parent);
	if (!err)
		err = bpffs_remove_tree(b, c->dir);
	return err ? err : bpffs_rename(b, staging, c->dir);
}

#define STAGING_LEN 32

static void staging_dir(char dir[STAGING_LEN])
{
	snprintf(dir, STAGING_LEN, "new-%d", getpid());
}

/* One try to build a chain around its first member, with the attach type and flags in
 * c->view.head. Prints its errors but for -BUILD_*. */
static int build(const struct bpffs *b, struct chain *c, struct attachment *a, const struct first_member *f)
{
	__attribute__((cleanup(cleanup_bpf_object))) struct bpf_object *obj = NULL, *plain = NULL;
	auto_member struct member m = { .prog = -1 };
	struct root_plan plan = { 0 };
	char staging[STAGING_LEN];
	int bad = -1, err;

	staging_dir(staging);
	root_close(&c->root);
	err = bpffs_remove_tree(b, staging);
	if (!err)
		err = root_create(&c->root, b, staging);
	if (!err)
		err = root_write_head(&c->root, &c->view.head);
	if (err)
		return fail_errno(err, "cannot make the maps of a chain");
	err = load_first(b, &c->id, f, &c->view.head, &c->root, &m);
	if (err)
		return err;
	plan.member[0] = m.desc;
	plan.prog[0] = m.prog;
	plan.n = 1;
	err = prepare_root(c, a, &obj);
	if (!err && a->engine == ENGINE_LIBXDP)
		err = load_plain(c, &plain);
	if (!err)
		err = root_commit(&c->root, &plan, &bad);
	if (err == -EINVAL && bad == 0 && !f->o)
		return -BUILD_OTHER_TYPE;
	if (!err && c->root.prog >= 0)
		err = root_pin(&c->root, b, staging);
	if (!err)
		err = move_in_place(b, c, staging);
	if (!err)
		root_moved(&c->root, c->dir);
	if (err)
		return fail_errno(err, "cannot make the root of a chain");
	c->view.head.settled = *c->root.gen;
	return attach_and_pin(b, c, a, obj, f->replace);
}

static __u32 other_attach_type(enum hook hook)
{
	/* BPF_TCX_INGRESS, BPF_TCX_EGRESS since 6.6 */
	return hook == HOOK_XDP ? BPF_XDP : hook == HOOK_TC_EGRESS ? 47 : 46;
}

static void describe(struct chain *c, const struct attachment *a)
{
	struct root_head *head = &c->view.head;

	head->abi = ROOT_ABI;
	head->engine = a->engine;
	head->mode = a->mode;
	head->attached_at = (__u64)time(NULL);
	memcpy(head->why, a->why, sizeof(a->why));
	memcpy(head->ifname, c->id.iface.name, sizeof(c->id.iface.name));
}

/* A component of libxdp's dispatcher cannot be all that a program of its own can: where
 * nobody insists on libxdp, a link takes the chain. */
static int leave_libxdp(const struct bpffs *b, struct chain *c, struct attachment *a,
			const struct first_member *f, int reason)
{
	const char *what = reason == -BUILD_OTHER_TYPE ? "a program loaded with another expected attach type"
						       : "a multi-buffer program";
	int err;

	if (f->req->engine == ENGINE_LIBXDP || c->hook.n)
		return fail(-EINVAL, "%s: %s cannot run below libxdp's dispatcher; use engine link", f->req->name, what);
	a->engine = ENGINE_LINK;
	snprintf(a->why, sizeof(a->why), "libxdp: %s cannot run below its dispatcher", what);
	describe(c, a);
	err = bpffs_remove_tree(b, c->dir);
	return err ? fail_errno(err, "cannot clear %s/%s", b->dir, c->dir) : 0;
}

static int build_with_retry(const struct bpffs *b, struct chain *c, struct attachment *a,
			    const struct first_member *f)
{
	unsigned mtu = 0;
	int err = build(b, c, a, f);

	if (a->engine == ENGINE_LIBXDP && (err == -BUILD_OTHER_TYPE || (err == -BUILD_NEEDS_FRAGS && f->has_frags))) {
		int undo = leave_libxdp(b, c, a, f, err);

		if (undo)
			return undo;
	}
	if (err == -BUILD_OTHER_TYPE) {
		c->view.head.attach_type = other_attach_type(c->id.hook);
		err = build(b, c, a, f);
	}
	if (err == -BUILD_NEEDS_FRAGS && f->has_frags) {
		err = bpffs_remove_tree(b, c->dir);
		c->view.head.flags = BPF_F_XDP_HAS_FRAGS;
		if (!err)
			err = build(b, c, a, f);
	}
	if (err == -BUILD_OTHER_TYPE)
		return fail(-EINVAL, "%s: does not fit any root: the kernel refuses it in a program array", f->req->name);
	if (err == -BUILD_NEEDS_FRAGS && iface_mtu(&c->id.iface, &mtu) == 0)
		return fail(-ERANGE, "%s: at its MTU (%u here; on veth the peer's counts) the driver takes only "
			    "multi-buffer programs: compile %s with SEC(\"xdp.frags\"), lower the MTU, or use "
			    "mode generic", c->id.iface.name, mtu, f->req->name);
	return err;
}

int chain_build(const struct bpffs *b, struct chain *c, struct attachment *a, const struct first_member *f)
{
	char staging[STAGING_LEN];
	int undo, err = root_probe(c->id.hook);

	if (err == -EPERM)
		return fail_errno(err, "cannot load a root program");
	if (err)
		return fail_errno(err, "chains cannot work on this kernel (a tail call in a subprogram; Linux 5.10 "
				  "on x86-64, 6.0 on arm64, with net.core.bpf_jit_enable=1)");
	describe(c, a);
	err = build_with_retry(b, c, a, f);
	if (!err)
		return 0;
	root_close(&c->root);
	staging_dir(staging);
	undo = bpffs_remove_tree(b, staging);
	if (!undo)
		undo = chain_unpin(b, c->dir);
	return undo ? fail_errno(err, "and cannot remove %s/%s", b->dir, c->dir) : err;
}
