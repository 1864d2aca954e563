// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Mirroring: targets and filters. */
#include <stdio.h>
#include <string.h>

#include "bpffs.h"
#include "cmd.h"
#include "mirrors.h"

struct params {
	char name[NAME_LEN];
	struct iface dev;
	char dev_name[16];    /* of one that may be gone; "": not given */
	/* target */
	struct mirror_to { struct addr addr; __u16 port; } to;
	int encap;
	__u32 variant, vni;
	struct addr source;
	struct mirror_gateway { bool is_auto; __u8 mac[6]; } gateway;
	__u64 cap;
	int checksum;
	/* filter */
	__u32 number;
	int direction, action, by;
	struct prefix src, dst;
	int proto, vlan;
	struct ports sport, dport;
	struct mirror_flags { __u8 flags, mask; } flags;
	__u16 snaplen;
	__u64 sample;
};

static const char *const on_words[] = { "off", "on", NULL };

static int take_to(const char *s, void *field, struct why *why)
{
	struct mirror_to *to = field;

	return parse_host_port(s, &to->addr, &to->port, why);
}

static int take_host(const char *s, void *field, struct why *why) { return parse_host(s, field, why); }
static int take_bits(const char *s, void *field, struct why *why) { return parse_bits(s, field, why); }
static int take_proto(const char *s, void *field, struct why *why) { return parse_proto(s, field, why); }
static int take_vlan(const char *s, void *field, struct why *why) { return parse_vlan(s, field, why); }
static int take_snaplen(const char *s, void *field, struct why *why) { return parse_snaplen(s, field, why); }
static int take_sample(const char *s, void *field, struct why *why) { return parse_sample(s, field, why); }

static int take_flags(const char *s, void *field, struct why *why)
{
	struct mirror_flags *f = field;

	return parse_tcp_flags(s, &f->flags, &f->mask, why);
}

static int take_gateway(const char *s, void *field, struct why *why)
{
	struct mirror_gateway *gateway = field;

	gateway->is_auto = !strcmp(s, "auto");
	return gateway->is_auto ? 0 : parse_mac(s, gateway->mac, why);
}

static void complete_gateway(void) { puts("auto"); }
static void complete_cap(void) { puts("none"); }
static void complete_vlan(void) { puts("none"); }
static void complete_snaplen(void) { puts("headers\nall"); }

#define FIELD(f) offsetof(struct params, f)
#define CUSTOM(kw, f, m, fn) .word = kw, .type = ARG_CUSTOM, .offset = FIELD(f), .meta = m, .parse = fn
#define END { .word = NULL }

enum { T_NAME, T_DEV, T_TO, T_ENCAP, T_VARIANT, T_VNI, T_SOURCE, T_GATEWAY, T_CAP, T_CHECKSUM };
static const struct arg target_add_args[] = {
	[T_NAME] = { .word = "NAME", .type = ARG_NAME, .offset = FIELD(name), .positional = true, .required = true,
		     .complete = mirror_complete_target, .help = "what filters call it" },
	[T_DEV] = { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF",
		    .help = "the interface that mirrored packets leave by" },
	[T_TO] = { CUSTOM("to", to, "ADDR[:PORT]", take_to),
		   .help = "the collector; default port 6080 of GUE, 4789 of VXLAN" },
	[T_ENCAP] = { .word = "encap", .type = ARG_ENUM, .offset = FIELD(encap), .words = mirror_encap_words,
		      .help = "gue carries IP packets, vxlan whole frames" },
	[T_VARIANT] = { .word = "variant", .type = ARG_U32, .offset = FIELD(variant), .meta = "0|1", .max = 1,
			.help = "of gue; 1: no GUE header between UDP and the packet; default 0" },
	[T_VNI] = { .word = "vni", .type = ARG_U32, .offset = FIELD(vni), .meta = "N", .max = 16777215,
		    .help = "of vxlan; default 1" },
	[T_SOURCE] = { CUSTOM("source", source, "ADDR", take_host),
		       .help = "of the tunnel; default what the kernel's route has" },
	[T_GATEWAY] = { CUSTOM("gateway", gateway, "MAC|auto", take_gateway), .complete = complete_gateway,
			.help = "next hop; default auto: by the kernel's routes and neighbours" },
	[T_CAP] = { CUSTOM("cap", cap, "RATE", take_bits), .complete = complete_cap,
		    .help = "send no more than this, as 100mbit; default none" },
	[T_CHECKSUM] = { .word = "udp-csum", .type = ARG_ENUM, .offset = FIELD(checksum), .words = on_words,
			 .help = "of the tunnel; default off over IPv4, on over IPv6" },
	END
};
static const struct arg target_remove_args[] = {
	{ .word = "NAME", .type = ARG_NAME, .offset = FIELD(name), .positional = true, .required = true,
	  .complete = mirror_complete_target, .help = "the target, which no filter sends to" },
	END
};

enum { F_NUMBER, F_DEV, F_DIRECTION, F_SRC, F_DST, F_PROTO, F_SPORT, F_DPORT, F_FLAGS, F_VLAN, F_ACTION, F_TO,
       F_SNAPLEN, F_SAMPLE, F_BY };
static const struct arg filter_add_args[] = {
	[F_NUMBER] = { .word = "NUMBER", .type = ARG_U32, .offset = FIELD(number), .min = 1, .max = 65535,
		       .positional = true, .help = "its place: the lowest that matches decides; default behind the last" },
	[F_DEV] = { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true,
		    .help = "the interface whose packets they are" },
	[F_DIRECTION] = { .word = "direction", .type = ARG_ENUM, .offset = FIELD(direction),
			  .words = mirror_direction_words, .help = "default both" },
	[F_SRC] = { .word = "src", .type = ARG_PREFIX, .offset = FIELD(src), .meta = "PREFIX", .help = "from there" },
	[F_DST] = { .word = "dst", .type = ARG_PREFIX, .offset = FIELD(dst), .meta = "PREFIX", .help = "to there" },
	[F_PROTO] = { CUSTOM("proto", proto, "P", take_proto), .help = "as tcp, udp, icmp, icmpv6 or a number" },
	[F_SPORT] = { .word = "sport", .type = ARG_PORTS, .offset = FIELD(sport), .meta = "A[-B]",
		      .help = "source port" },
	[F_DPORT] = { .word = "dport", .type = ARG_PORTS, .offset = FIELD(dport), .meta = "A[-B]",
		      .help = "destination port" },
	[F_FLAGS] = { CUSTOM("flags", flags, "FLAGS[/MASK]", take_flags),
		      .help = "of TCP, as syn/syn,ack: of syn and ack only syn is set" },
	[F_VLAN] = { CUSTOM("vlan", vlan, "ID|none", take_vlan), .complete = complete_vlan,
		     .help = "of the outer tag; none: untagged" },
	[F_ACTION] = { .word = "action", .type = ARG_ENUM, .offset = FIELD(action), .words = mirror_action_words,
		       .required = true, .help = "accept: mirror it; reject: do not, nor look further" },
	[F_TO] = { .word = "to", .type = ARG_NAME, .offset = FIELD(name), .meta = "TARGET",
		   .complete = mirror_complete_target, .help = "default the only target there is" },
	[F_SNAPLEN] = { CUSTOM("snaplen", snaplen, "N|headers|all", take_snaplen), .complete = complete_snaplen,
			.help = "send the first N octets, or up to the end of the transport header" },
	[F_SAMPLE] = { CUSTOM("sample", sample, "1/N", take_sample), .help = "send one of N" },
	[F_BY] = { .word = "by", .type = ARG_ENUM, .offset = FIELD(by), .words = mirror_sample_words,
		   .help = "with sample: one of N packets (default), or all of one of N flows" },
	END
};
static const struct arg filter_remove_args[] = {
	{ .word = "NUMBER", .type = ARG_U32, .offset = FIELD(number), .min = 1, .max = 65535, .positional = true,
	  .required = true, .help = "the filter" },
	{ .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true,
	  .help = "its interface" },
	END
};
static const struct arg filter_flush_args[] = {
	{ CUSTOM("dev", dev_name, "IF", mirror_take_dev), .complete = mirror_complete_dev,
		    .help = "of this interface, which may be gone; default of all" },
	END
};

static int target_add(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct mirror_target_want want = {
		.dev = p->dev,
		.to = p->to.addr,
		.has_dev = ARG_GIVEN(given, target_add_args, T_DEV),
		.has_to = ARG_GIVEN(given, target_add_args, T_TO),
		.has_port = p->to.port,
		.has_encap = ARG_GIVEN(given, target_add_args, T_ENCAP),
		.has_variant = ARG_GIVEN(given, target_add_args, T_VARIANT),
		.has_vni = ARG_GIVEN(given, target_add_args, T_VNI),
		.has_source = ARG_GIVEN(given, target_add_args, T_SOURCE),
		.has_gateway = ARG_GIVEN(given, target_add_args, T_GATEWAY),
		.has_cap = ARG_GIVEN(given, target_add_args, T_CAP),
		.has_checksum = ARG_GIVEN(given, target_add_args, T_CHECKSUM),
		.port = p->to.port,
		.encap = (enum mirror_encap)p->encap,
		.variant = (__u8)p->variant,
		.vni = p->vni,
		.source = p->source,
		.is_gateway_auto = p->gateway.is_auto,
		.cap = p->cap,
		.is_checksum = p->checksum,
	};
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	memcpy(want.name, p->name, sizeof(want.name));
	memcpy(want.gateway, p->gateway.mac, sizeof(want.gateway));
	return err ? err : mirror_target_add(run, &b, &want);
}

static int target_remove(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)given;
	return err ? err : mirror_target_remove(run, &b, p->name);
}

static int rule_of(const struct params *p, __u64 given, struct match_rule *r)
{
	bool has_src = ARG_GIVEN(given, filter_add_args, F_SRC), has_dst = ARG_GIVEN(given, filter_add_args, F_DST);

	if (has_src && has_dst && prefix_is_v4(&p->src) != prefix_is_v4(&p->dst))
		return fail(-E_USAGE, "mirror filter add: src and dst are of different IP versions");
	if (has_src || has_dst)
		r->version = prefix_is_v4(has_src ? &p->src : &p->dst) ? 4 : 6;
	memcpy(r->src, p->src.addr.b, sizeof(r->src));
	memcpy(r->dst, p->dst.addr.b, sizeof(r->dst));
	r->src_len = p->src.len;
	r->dst_len = p->dst.len;
	r->directions = (__u8)(ARG_GIVEN(given, filter_add_args, F_DIRECTION) ? p->direction + 1 : 3);
	r->flags = p->flags.flags;
	r->flags_mask = p->flags.mask;
	r->has_proto = ARG_GIVEN(given, filter_add_args, F_PROTO);
	r->proto = (__u8)p->proto;
	r->sport[0] = p->sport.lo;
	r->sport[1] = p->sport.hi;
	r->dport[0] = p->dport.lo;
	r->dport[1] = p->dport.hi;
	r->has_vlan = ARG_GIVEN(given, filter_add_args, F_VLAN);
	r->vlan = r->has_vlan ? (__u16)(p->vlan < 0 ? MATCH_NO_VLAN : p->vlan) : 0;
	return 0;
}

static int filter_add(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct mirror_filter_want want = {
		.filter = {
			.number = p->number,
			.sample = (__u32)p->sample,
			.snaplen = p->snaplen,
			.action = (__u8)p->action,
			.sample_by = (__u8)p->by,
		},
	};
	int err = rule_of(p, given, &want.filter.rule);

	memcpy(want.target, p->name, sizeof(want.target));
	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : mirror_filters_set(run, &b, &p->dev, &want, 1, false);
}

static int filter_remove(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)given;
	return err ? err : mirror_filter_remove(run, &b, &p->dev, p->number);
}

static int filter_flush(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)given;
	return err ? err : mirror_filters_flush(run, &b, p->dev_name[0] ? p->dev_name : NULL);
}

#define MUTATES (CMD_MUTATES | CMD_JSON)
#define PARAMS .params_size = sizeof(struct params)
#define LOOK .params_size = sizeof(struct mirror_view_params), .flags = CMD_JSON

static const struct cmd target_cmds[] = {
	{ .word = "add", .help = "a collector, or other settings for it", .args = target_add_args, PARAMS,
	  .fn = target_add, .flags = MUTATES,
	  .example = "l3afctl mirror target add ids dev eth1 to 192.0.2.9 encap vxlan vni 7 cap 1gbit" },
	{ .word = "remove", .help = "send there no more", .args = target_remove_args, PARAMS, .fn = target_remove,
	  .flags = MUTATES, .example = "l3afctl mirror target remove ids" },
	{ .word = "list", .help = "collectors, and whether copies get as far as the wire", LOOK,
	  .fn = mirror_target_list, .example = "l3afctl mirror target list" },
	{ .word = "show", .help = "one of them in full", .args = mirror_target_show_args, LOOK,
	  .fn = mirror_target_show, .example = "l3afctl mirror target show ids" },
	{ .word = NULL },
};

static const struct cmd filter_cmds[] = {
	{ .word = "add", .help = "mirror such packets, or do not", .args = filter_add_args, PARAMS, .fn = filter_add,
	  .flags = MUTATES,
	  .example = "l3afctl mirror filter add 10 dev eth0 proto tcp dport 443 action accept to ids snaplen headers" },
	{ .word = "remove", .help = "one filter less", .args = filter_remove_args, PARAMS, .fn = filter_remove,
	  .flags = MUTATES, .example = "l3afctl mirror filter remove 10 dev eth0" },
	{ .word = "flush", .help = "all filters away", .args = filter_flush_args, PARAMS, .fn = filter_flush,
	  .flags = MUTATES, .example = "l3afctl mirror filter flush dev eth0" },
	{ .word = "list", .help = "filters in their order, as they were given", .args = mirror_filter_list_args, LOOK,
	  .fn = mirror_filter_list, .example = "l3afctl mirror filter list dev eth0" },
	{ .word = NULL },
};

const struct cmd mirror_cmds[] = {
	{ .word = "target", .help = "collectors that packets are mirrored to", .sub = target_cmds },
	{ .word = "filter", .help = "which packets are mirrored", .sub = filter_cmds },
	{ .word = "stats", .help = "packets that matched, that were sent, and why not, with rates",
	  .args = mirror_stats_args, LOOK, .fn = mirror_stats, .example = "l3afctl mirror stats interval 5s" },
	{ .word = "test", .help = "which filter a packet would match, and why none before it",
	  .args = mirror_test_args, .params_size = sizeof(struct mirror_test_params), .flags = CMD_JSON,
	  .fn = mirror_test, .example = "l3afctl mirror test 192.0.2.7:40000 192.0.2.1:443 dev eth0 direction ingress" },
	{ .word = NULL },
};
