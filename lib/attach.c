/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "attach.h"
#include "cleanup.h"

const char *const hook_words[] = { "xdp", "tc-ingress", "tc-egress", NULL };
const char *const engine_words[] = { "auto", "libxdp", "link", "netlink", "tcx", "clsact", NULL };
const char *const mode_words[] = { "auto", "native", "generic", NULL };

int hook_progs_add(struct hook_progs *p, __u32 prog_id, const char *how)
{
	struct hook_prog *h = &p->prog[p->n];
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	auto_fd int fd = bpf_prog_get_fd_by_id(prog_id);

	if (p->n == (int)(sizeof(p->prog) / sizeof(p->prog[0])))
		return -E2BIG;
	memset(h, 0, sizeof(*h));
	h->prog_id = prog_id;
	snprintf(h->how, sizeof(h->how), "%s", how);
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(h->name, sizeof(h->name), "%s", info.name);
	h->is_root = !strcmp(h->name, root_name(HOOK_XDP)) || !strcmp(h->name, root_name(HOOK_TC_INGRESS));
	p->n++;
	return 0;
}

int attach_query(const struct chain_id *id, struct hook_progs *out)
{
	int err;

	out->n = 0;
	err = id->hook == HOOK_XDP ? xdp_query(id, out) : tc_query(id, out);
	return err ? fail_errno(err, "%s: cannot ask which programs are on %s", id->iface.name,
				hook_words[id->hook]) : 0;
}

int attach_choose(const struct chain_id *id, enum engine engine, enum xdp_mode mode,
		  __u32 replace, struct attachment *out)
{
	bool is_xdp = id->hook == HOOK_XDP;
	bool is_xdp_engine = engine == ENGINE_LIBXDP || engine == ENGINE_LINK || engine == ENGINE_NETLINK;

	memset(out, 0, sizeof(*out));
	out->engine = engine;
	out->mode = mode;
	if (engine != ENGINE_AUTO && is_xdp != is_xdp_engine)
		return fail(-E_USAGE, "engine %s is not for hook %s; expected auto, %s", engine_words[engine],
			    hook_words[id->hook], is_xdp ? "libxdp, link or netlink" : "tcx or clsact");
	if (!is_xdp && mode != MODE_AUTO)
		return fail(-E_USAGE, "mode %s: hook %s has no modes, only xdp has", mode_words[mode],
			    hook_words[id->hook]);
	if (engine != ENGINE_AUTO)
		snprintf(out->why, sizeof(out->why), "asked for");
	return is_xdp ? xdp_choose(id, engine, mode, replace, out) : tc_choose(id, engine, replace, out);
}

int attach_root(const struct chain_id *id, struct attachment *a, struct bpf_object *obj,
		__u32 replace, int *link)
{
	*link = -1;
	if (id->hook == HOOK_XDP)
		return xdp_attach(id, a, obj, replace, link);
	return tc_attach(id, a, bpf_program__fd(bpf_object__find_program_by_name(obj, root_name(id->hook))), link);
}

int attach_detach(const struct chain_id *id, const struct attachment *a, __u32 prog_id, int link)
{
	int err = 0;

	if (link >= 0 && bpf_link_detach(link))
		err = -errno;
	else if (link < 0)
		err = id->hook == HOOK_XDP ? xdp_detach(id, a, prog_id) : tc_detach(id, a, prog_id);
	if (err == -ENOLINK || err == -ENODEV)
		return 0; /* the interface is gone, and the attachment with it */
	return err ? fail_errno(err, "%s: cannot detach the %s chain", id->iface.name, hook_words[id->hook]) : 0;
}

/* struct bpf_link_info as it is since 6.6; the headers of Debian 12 lack tcx. */
struct link_info {
	__u32 type, id, prog_id, pad;
	__u32 ifindex; /* of BPF_LINK_TYPE_XDP and BPF_LINK_TYPE_TCX */
	__u32 attach_type;
	__u64 rest[8];
};

int link_ifindex(int link, int *ifindex)
{
	struct link_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(link, &info, &len))
		return -errno;
	*ifindex = (int)info.ifindex;
	return 0;
}
