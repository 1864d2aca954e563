/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "attach.h"
#include "bpflog.h"
#include "cleanup.h"
#include "root.h"
#include "rootmaps.h"

#define DISPATCHER "xdp_dispatcher"

/* libxdp hands out NULL or an error in the pointer. */
static bool is_bad(const void *p)
{
	return !p || libxdp_get_error(p);
}

static void cleanup_multiprog(struct xdp_multiprog **mp)
{
	if (!is_bad(*mp))
		xdp_multiprog__close(*mp);
}
#define auto_multiprog __attribute__((cleanup(cleanup_multiprog)))

static void cleanup_program(struct xdp_program **p)
{
	if (!is_bad(*p))
		xdp_program__close(*p);
}
#define auto_program __attribute__((cleanup(cleanup_program)))

/* The components of libxdp's dispatcher, in order; the dispatcher alone where libxdp
 * cannot read it. */
static int add_dispatcher(const struct chain_id *id, __u32 dispatcher, struct hook_progs *out)
{
	auto_multiprog struct xdp_multiprog *mp = NULL;
	struct xdp_program *p = NULL;
	int err = 0;

	bpflog_begin();
	mp = xdp_multiprog__get_from_ifindex(id->iface.index);
	if (is_bad(mp) || xdp_multiprog__is_legacy(mp))
		return hook_progs_add(out, dispatcher, "dispatcher");
	while (!err && (p = xdp_multiprog__next_prog(p, mp)))
		err = hook_progs_add(out, xdp_program__id(p), "dispatcher");
	return err;
}

static int add_mode(const struct chain_id *id, __u32 prog_id, const char *how, struct hook_progs *out)
{
	int err = prog_id ? hook_progs_add(out, prog_id, how) : 0;

	if (err || !prog_id || strcmp(out->prog[out->n - 1].name, DISPATCHER))
		return err;
	out->n--;
	return add_dispatcher(id, prog_id, out);
}

int xdp_query(const struct chain_id *id, struct hook_progs *out)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	int err = bpf_xdp_query(id->iface.index, 0, &opts);

	if (!err)
		err = add_mode(id, opts.hw_prog_id, "offloaded", out);
	if (!err)
		err = add_mode(id, opts.drv_prog_id, "native", out);
	return err ? err : add_mode(id, opts.skb_prog_id, "generic", out);
}

static bool is_component(const struct hook_prog *p)
{
	return !strcmp(p->how, "dispatcher");
}

/* In a network and mount namespace that vanish with this process: put the real root
 * program into a real dispatcher on lo, and look whether it became a component. */
static int probe_libxdp_child(void)
{
	auto_program struct xdp_program *prog = NULL;
	auto_multiprog struct xdp_multiprog *mp = NULL;
	struct bpf_object *obj;
	int err;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		return errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		return errno;
	unsetenv("LIBXDP_BPFFS");
	bpflog_begin();
	obj = root_object_open(HOOK_XDP);
	if (!obj)
		return ENOMEM;
	prog = xdp_program__from_bpf_obj(obj, "xdp");
	if (is_bad(prog))
		return EINVAL;
	err = xdp_program__attach(prog, 1, XDP_MODE_SKB, 0);
	if (err)
		return -err;
	mp = xdp_multiprog__get_from_ifindex(1);
	return is_bad(mp) || xdp_multiprog__is_legacy(mp) ? EPERM : 0;
}

/* 0, or the errno with which libxdp's dispatcher cannot take our root here. */
static int probe_libxdp(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (!pid)
		_exit(probe_libxdp_child() & 127);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

static int refuse_foreign(const struct chain_id *id, const struct hook_prog *p)
{
	return fail(-EBUSY, "%s: program %u (%s) is attached to xdp (%s) and is not displaced; "
		    "chain adopt takes it into a chain, or detach it first",
		    id->iface.name, p->prog_id, p->name[0] ? p->name : "unnamed", p->how);
}

static const char *libxdp_reason(int err, char *buf, size_t size)
{
	if (err == EPERM)
		snprintf(buf, size, "this kernel or its privileges refuse freplace programs");
	else
		snprintf(buf, size, "its dispatcher does not take our root here (%s)", strerror(err));
	return buf;
}

int xdp_choose(const struct chain_id *id, enum engine engine, enum xdp_mode mode,
	       __u32 replace, struct attachment *out)
{
	struct hook_progs now;
	const struct hook_prog *there = NULL, *replaced = NULL;
	char reason[100];
	int probe, err = attach_query(id, &now);

	if (err)
		return err;
	for (int i = 0; i < now.n; i++)
		if (now.prog[i].prog_id == replace)
			replaced = &now.prog[i];
		else
			there = &now.prog[i];
	if (there && (!is_component(there) || replace))
		return refuse_foreign(id, there);
	if (there && engine != ENGINE_AUTO && engine != ENGINE_LIBXDP)
		return refuse_foreign(id, there);
	out->mode = mode;
	if (replaced) {
		out->engine = ENGINE_NETLINK;
		out->mode = strcmp(replaced->how, "generic") ? MODE_NATIVE : MODE_GENERIC;
		snprintf(out->why, sizeof(out->why), "replaced the adopted program in place");
		return engine == ENGINE_AUTO || engine == ENGINE_NETLINK ? 0 :
			fail(-E_USAGE, "engine %s cannot take over an attached program; expected netlink or auto",
			     engine_words[engine]);
	}
	if (engine == ENGINE_LINK || engine == ENGINE_NETLINK)
		return 0;
	probe = probe_libxdp();
	if (probe && there)
		return fail(-EBUSY, "%s: a libxdp dispatcher is there and cannot be joined: %s; "
			    "unload it first (xdp-loader unload %s --all)", id->iface.name,
			    libxdp_reason(probe, reason, sizeof(reason)), id->iface.name);
	if (probe && engine == ENGINE_LIBXDP)
		return fail(-probe, "%s: engine libxdp does not work here: %s", id->iface.name,
			    libxdp_reason(probe, reason, sizeof(reason)));
	if (engine == ENGINE_AUTO) {
		out->engine = probe ? ENGINE_LINK : ENGINE_LIBXDP;
		if (probe)
			snprintf(out->why, sizeof(out->why), "libxdp: %s",
				 libxdp_reason(probe, reason, sizeof(reason)));
		else
			snprintf(out->why, sizeof(out->why), there ? "joined the libxdp dispatcher that was there"
				 : "libxdp's dispatcher works here");
	}
	return 0;
}

static __u32 mode_flag(enum xdp_mode mode)
{
	return mode == MODE_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
}

static int link_attach(const struct chain_id *id, enum xdp_mode mode, int prog, int *link)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode_flag(mode));

	*link = bpf_link_create(prog, id->iface.index, BPF_XDP, &opts);
	return *link < 0 ? *link : 0;
}

static int netlink_attach(const struct chain_id *id, enum xdp_mode mode, int prog, __u32 replace)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts);
	auto_fd int old = -1;

	if (!replace)
		return bpf_xdp_attach(id->iface.index, prog, mode_flag(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	old = bpf_prog_get_fd_by_id(replace);
	if (old < 0)
		return old;
	opts.old_prog_fd = old;
	return bpf_xdp_attach(id->iface.index, prog, mode_flag(mode) | XDP_FLAGS_REPLACE, &opts);
}

static int plain_attach(const struct chain_id *id, const struct attachment *a, enum xdp_mode mode,
			int prog, __u32 replace, int *link)
{
	return a->engine == ENGINE_LINK ? link_attach(id, mode, prog, link)
					: netlink_attach(id, mode, prog, replace);
}

/* libxdp falls back to a plain attachment without a word: that is an error here. */
static int libxdp_attach(const struct chain_id *id, enum xdp_mode mode, struct bpf_object *obj)
{
	auto_program struct xdp_program *prog = NULL;
	auto_multiprog struct xdp_multiprog *mp = NULL;
	enum xdp_attach_mode m = mode == MODE_GENERIC ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	int err;

	bpflog_begin();
	prog = xdp_program__from_bpf_obj(obj, "xdp");
	if (is_bad(prog))
		return -EINVAL;
	err = xdp_program__attach(prog, id->iface.index, m, 0);
	if (err)
		return err;
	mp = xdp_multiprog__get_from_ifindex(id->iface.index);
	if (!is_bad(mp) && !xdp_multiprog__is_legacy(mp))
		return 0;
	err = xdp_program__detach(prog, id->iface.index, m, 0);
	return err ? err : -EPERM;
}

static int attach_mode(const struct chain_id *id, const struct attachment *a, enum xdp_mode mode,
		       struct bpf_object *obj, __u32 replace, int *link)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, root_name(HOOK_XDP));

	if (a->engine == ENGINE_LIBXDP)
		return libxdp_attach(id, mode, obj);
	return plain_attach(id, a, mode, bpf_program__fd(prog), replace, link);
}

/* Drivers say that they want multi-buffer programs at this MTU with ERANGE (veth) or
 * EINVAL (most). */
static bool wants_frags(const struct chain_id *id, struct bpf_object *obj, int err)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, root_name(HOOK_XDP));
	unsigned mtu = 0;

	if (bpf_program__flags(prog) & BPF_F_XDP_HAS_FRAGS)
		return false;
	return err == -ERANGE || (err == -EINVAL && !iface_mtu(&id->iface, &mtu) && mtu > 1500);
}

int xdp_attach(const struct chain_id *id, struct attachment *a, struct bpf_object *obj,
	       __u32 replace, int *link)
{
	enum xdp_mode mode = a->mode == MODE_GENERIC ? MODE_GENERIC : MODE_NATIVE;
	int err = attach_mode(id, a, mode, obj, replace, link);

	if (err == -EOPNOTSUPP && a->mode == MODE_AUTO) {
		mode = MODE_GENERIC;
		err = attach_mode(id, a, mode, obj, replace, link);
	}
	if (wants_frags(id, obj, err))
		return -ERANGE;
	if (err == -EOPNOTSUPP)
		return fail(err, "%s: the driver has no native XDP; use mode generic or auto", id->iface.name);
	if (err == -EBUSY && replace)
		return fail(err, "%s: program %u is held by a bpf_link; only the owner of the link can take it off",
			    id->iface.name, replace);
	if (err == -EBUSY || err == -EEXIST)
		return fail(-EBUSY, "%s: another XDP program was attached meanwhile; it is not displaced",
			    id->iface.name);
	if (err)
		return fail_errno(err, "%s: cannot attach to xdp by %s", id->iface.name, engine_words[a->engine]);
	a->mode = mode;
	return 0;
}

static int libxdp_detach(const struct chain_id *id, __u32 prog_id)
{
	auto_multiprog struct xdp_multiprog *mp = NULL;
	struct xdp_program *p = NULL;

	bpflog_begin();
	mp = xdp_multiprog__get_from_ifindex(id->iface.index);
	if (is_bad(mp))
		return 0;
	while ((p = xdp_multiprog__next_prog(p, mp)))
		if (xdp_program__id(p) == prog_id)
			return xdp_program__detach(p, id->iface.index, xdp_multiprog__attach_mode(mp), 0);
	return 0;
}

int xdp_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts);
	auto_fd int fd = -1;
	struct hook_progs now = { 0 };
	int err;

	if (a->engine == ENGINE_LIBXDP)
		return libxdp_detach(id, prog_id);
	err = xdp_query(id, &now);
	if (err || !now.n || now.prog[0].prog_id != prog_id)
		return err;
	fd = bpf_prog_get_fd_by_id(prog_id);
	if (fd < 0)
		return fd;
	opts.old_prog_fd = fd;
	return bpf_xdp_detach(id->iface.index, mode_flag(a->mode), &opts);
}
