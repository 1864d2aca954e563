// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Filters and targets in words. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mirrors.h"

const char *const mirror_encap_words[] = { [MIRROR_GUE] = "gue", [MIRROR_VXLAN] = "vxlan", NULL };
const char *const mirror_action_words[] = { [MIRROR_ACCEPT] = "accept", [MIRROR_REJECT] = "reject", NULL };
const char *const mirror_sample_words[] = { [MIRROR_BY_PACKET] = "packet", [MIRROR_BY_FLOW] = "flow", NULL };
const char *const mirror_direction_words[] = { "ingress", "egress", "both", NULL };
const char *const mirror_cause_words[] = {
	[MIRROR_SAMPLED_OUT] = "sampled_out", [MIRROR_CAPPED] = "capped", [MIRROR_LOOP] = "loop",
	[MIRROR_NOT_IP] = "not_ip", [MIRROR_NO_MEMORY] = "no_memory", [MIRROR_NO_NEXT_HOP] = "no_next_hop",
	[MIRROR_DOWN] = "down", [MIRROR_QUEUE_FULL] = "queue_full", [MIRROR_STRAY] = "stray",
	[MIRROR_ERROR] = "error", [MIRROR_CAUSES] = NULL,
};

static const char *text(char buf[MIRROR_TEXT], const char *s)
{
	snprintf(buf, MIRROR_TEXT, "%s", s);
	return buf;
}

static const char *prefix(const __u32 addr[4], __u8 len, char buf[MIRROR_TEXT])
{
	struct prefix p = { .len = len };

	memcpy(p.addr.b, addr, sizeof(p.addr.b));
	return format_prefix(&p, buf, MIRROR_TEXT);
}

/* All of IPv6 has length 0, as what is not asked for: it is the version that is asked for. */
const char *mirror_format_src(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	if (r->src_len || (r->version == 6 && !r->dst_len))
		return prefix(r->src, r->src_len, buf);
	return text(buf, "any");
}

const char *mirror_format_dst(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return r->dst_len ? prefix(r->dst, r->dst_len, buf) : text(buf, "any");
}

static const char *ports(const __u16 range[2], char buf[MIRROR_TEXT])
{
	const struct ports p = { range[0], range[1] };

	return format_ports(&p, buf, MIRROR_TEXT);
}

const char *mirror_format_sport(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return ports(r->sport, buf);
}

const char *mirror_format_dport(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return ports(r->dport, buf);
}

const char *mirror_format_flags(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return r->flags_mask ? format_tcp_flags(r->flags, r->flags_mask, buf, MIRROR_TEXT) : text(buf, "any");
}

const char *mirror_format_proto(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return r->has_proto ? format_proto(r->proto, buf, MIRROR_TEXT) : text(buf, "any");
}

const char *mirror_format_vlan(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	if (!r->has_vlan || r->vlan == MATCH_NO_VLAN)
		return text(buf, r->has_vlan ? "none" : "any");
	snprintf(buf, MIRROR_TEXT, "%u", r->vlan);
	return buf;
}

const char *mirror_format_direction(const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return text(buf, mirror_direction_words[(r->directions - 1) % 3]);
}

const char *mirror_format_snaplen(const struct mirror_filter *f, char buf[MIRROR_TEXT])
{
	if (!f->snaplen || f->snaplen == MIRROR_HEADERS)
		return text(buf, f->snaplen ? "headers" : "all");
	snprintf(buf, MIRROR_TEXT, "%u", f->snaplen);
	return buf;
}

const char *mirror_format_sample(const struct mirror_filter *f, char buf[MIRROR_TEXT])
{
	snprintf(buf, MIRROR_TEXT, "1/%u", f->sample ? f->sample : 1);
	return buf;
}

const char *mirror_format_to(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	struct addr a;

	memcpy(a.b, t->to, sizeof(a.b));
	return format_addr_port(&a, t->port, buf, MIRROR_TEXT);
}

const char *mirror_format_source(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	struct addr a;

	memcpy(a.b, t->source, sizeof(a.b));
	return format_addr(&a, buf, MIRROR_TEXT);
}

const char *mirror_format_gateway(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	return t->has_gateway ? format_mac(t->gateway, buf, MIRROR_TEXT) : text(buf, "auto");
}

const char *mirror_format_cap(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	return format_bits(t->cap, buf, MIRROR_TEXT);
}

const char *mirror_format_dev(const struct netns *here, __u64 netns, __u32 ifindex, const char *name,
			      char buf[MIRROR_TEXT])
{
	struct iface dev;
	int err;

	if (netns != here->id) {
		snprintf(buf, MIRROR_TEXT, "%.15s@%llu", name, netns);
		return buf;
	}
	err = iface_by_index((int)ifindex, &dev);
	snprintf(buf, MIRROR_TEXT, "%.15s%s", err ? name : dev.name, err == -ENODEV ? "(gone)" : "");
	return buf;
}
