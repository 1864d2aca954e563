/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach.h"
#include "cleanup.h"

/* TCX (Linux 6.6) as libbpf 1.1.2 does not know it: attach types and the two shapes
 * of union bpf_attr that are used here, from include/uapi/linux/bpf.h. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };

struct tcx_query_attr {
	__u32 ifindex, attach_type, query_flags, attach_flags;
	__u64 prog_ids;
	__u32 count, pad;
	__u64 prog_attach_flags, link_ids, link_attach_flags, revision;
};

struct tcx_create_attr {
	__u32 prog_fd, ifindex, attach_type, flags;
	__u32 relative_fd, pad;
	__u64 expected_revision;
	__u8 rest[64];
};

/* Our clsact filter: one fixed place, early, so that foreign filters run after it. */
enum { CLSACT_PRIORITY = 1, CLSACT_HANDLE = 0x13af };

static __u32 tcx_type(const struct chain_id *id)
{
	return id->hook == HOOK_TC_EGRESS ? TCX_EGRESS : TCX_INGRESS;
}

/* The ids of the TCX programs, in order; -EINVAL where the kernel has no TCX. */
static int tcx_list(const struct chain_id *id, __u32 *ids, __u32 *n)
{
	struct tcx_query_attr attr = {
		.ifindex = (__u32)id->iface.index,
		.attach_type = tcx_type(id),
		.prog_ids = (__u64)(uintptr_t)ids,
		.count = *n,
	};

	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)))
		return -errno;
	*n = attr.count;
	return 0;
}

static int add_filter(const struct tc_filter *f, void *arg)
{
	char how[32];

	snprintf(how, sizeof(how), "clsact pref %u", f->priority);
	return hook_progs_add(arg, f->prog_id, how);
}

int tc_query(const struct chain_id *id, struct hook_progs *out)
{
	__u32 ids[64], n = 64;
	int err = tcx_list(id, ids, &n);

	if (err == -EINVAL)
		err = n = 0;
	for (__u32 i = 0; !err && i < n; i++)
		err = hook_progs_add(out, ids[i], "tcx");
	return err ? err : tc_filters(&id->iface, id->hook == HOOK_TC_EGRESS, add_filter, out);
}

int tc_choose(const struct chain_id *id, enum engine engine, __u32 replace, struct attachment *out)
{
	__u32 n = 0;
	int err = tcx_list(id, NULL, &n);

	if (replace)
		return fail(-E_USAGE, "a tc program is adopted into an existing chain; it is not replaced");
	if (err && err != -EINVAL)
		return fail_errno(err, "%s: cannot query tcx", id->iface.name);
	if (err && engine == ENGINE_TCX)
		return fail(-EOPNOTSUPP, "%s: this kernel has no tcx (it came with Linux 6.6); use engine clsact",
			    id->iface.name);
	if (engine == ENGINE_AUTO) {
		out->engine = err ? ENGINE_CLSACT : ENGINE_TCX;
		snprintf(out->why, sizeof(out->why), err ? "this kernel has no tcx" : "this kernel has tcx");
	}
	return 0;
}

static int tcx_attach(const struct chain_id *id, int prog, int *link)
{
	struct tcx_create_attr attr = {
		.prog_fd = (__u32)prog,
		.ifindex = (__u32)id->iface.index,
		.attach_type = tcx_type(id),
	};
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	if (fd < 0)
		return -errno;
	*link = (int)fd;
	return 0;
}

static enum bpf_tc_attach_point clsact_point(const struct chain_id *id)
{
	return id->hook == HOOK_TC_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int clsact_attach(const struct chain_id *id, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = id->iface.index, .attach_point = clsact_point(id));
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog, .priority = CLSACT_PRIORITY, .handle = CLSACT_HANDLE);
	int err = bpf_tc_hook_create(&hook);

	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts); /* without REPLACE: a foreign filter there is EEXIST */
}

int tc_attach(const struct chain_id *id, struct attachment *a, int prog, int *link)
{
	int err = a->engine == ENGINE_TCX ? tcx_attach(id, prog, link) : clsact_attach(id, prog);

	if (err == -EEXIST)
		return fail(err, "%s: a foreign filter has pref %d handle %#x at %s", id->iface.name,
			    CLSACT_PRIORITY, CLSACT_HANDLE, hook_words[id->hook]);
	if (err)
		return fail_errno(err, "%s: cannot attach to %s by %s", id->iface.name, hook_words[id->hook],
				  engine_words[a->engine]);
	return 0;
}

int tc_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = id->iface.index, .attach_point = clsact_point(id));
	LIBBPF_OPTS(bpf_tc_opts, opts, .priority = CLSACT_PRIORITY, .handle = CLSACT_HANDLE);
	int err = bpf_tc_query(&hook, &opts);

	if (a->engine != ENGINE_CLSACT || err == -ENOENT || err == -EINVAL)
		return 0; /* a link: gone with its last fd and pin */
	if (err)
		return err;
	if (opts.prog_id != prog_id)
		return 0;
	opts.prog_fd = 0;
	opts.prog_id = 0;
	opts.flags = 0;
	return bpf_tc_detach(&hook, &opts);
}
