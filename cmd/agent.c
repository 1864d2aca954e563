/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "agents.h"
#include "bpffs.h"
#include "cmd.h"

#define VIPS_MAX 64
#define SOURCES_MAX 64

struct vips {
	int n;
	struct agent_vip_want vip[VIPS_MAX];
};

struct sources {
	int n;
	struct prefix source[SOURCES_MAX];
};

struct params {
	struct iface dev;
	char instance[NAME_LEN];
	struct vips vips;
	struct sources sources;
	bool local;
	__u32 port;
	int at, hook;
	struct addr vip; /* disable */
};

static int take_vip(const char *s, void *field, struct why *why)
{
	struct vips *v = field;
	struct addr addr = { 0 };
	int err = parse_host(s, &addr, why);

	if (err)
		return err;
	for (int i = 0; i < v->n; i++)
		if (!memcmp(&v->vip[i].addr, &addr, sizeof(addr)))
			return parse_wrong(why, "is given twice");
	if (v->n == VIPS_MAX)
		return parse_wrong(why, "is the %dth VIP; give the others in further runs", VIPS_MAX + 1);
	v->vip[v->n++] = (struct agent_vip_want){ .addr = addr };
	return 0;
}

static int take_to(const char *s, void *field, struct why *why)
{
	struct vips *v = field;
	struct agent_vip_want *last = v->n ? &v->vip[v->n - 1] : NULL;

	if (!last || last->has_to)
		return parse_wrong(why, "has no vip ADDR of its own before it");
	if (parse_host(s, &last->to, why))
		return -E_USAGE;
	if (addr_is_v4(&last->to) != addr_is_v4(&last->addr))
		return parse_wrong(why, "is of another family than its VIP: addresses are translated, not protocols");
	if (!memcmp(&last->to, &last->addr, sizeof(last->to)))
		return parse_wrong(why, "is the VIP itself; leave to away where the application owns the VIP");
	last->has_to = true;
	return 0;
}

static int take_source(const char *s, void *field, struct why *why)
{
	struct sources *all = field;
	struct prefix p;
	int err = parse_prefix(s, &p, why);

	if (err)
		return err;
	for (int i = 0; i < all->n; i++)
		if (all->source[i].len == p.len && !memcmp(&all->source[i].addr, &p.addr, sizeof(p.addr)))
			return parse_wrong(why, "is given twice");
	if (all->n == SOURCES_MAX)
		return parse_wrong(why, "is the %dth source; %d are the most", SOURCES_MAX + 1, SOURCES_MAX);
	all->source[all->n++] = p;
	return 0;
}

static int take_one(const char *s, void *field, struct why *why)
{
	return parse_host(s, field, why);
}

#define FIELD(f) offsetof(struct params, f)
#define DEV(text) { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true, \
		    .help = text }
#define ONLY_DEV { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .help = "only this interface" }
#define INSTANCE(text) { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME", .help = text }
#define END { .word = NULL }

static const struct arg enable_args[] = {
	DEV("where tunnelled packets come in, or the guest is behind"),
	{ .word = "vip", .type = ARG_CUSTOM, .parse = take_vip, .offset = FIELD(vips), .meta = "ADDR", .many = true,
	  .group = 1, .help = "packets for this address; the application has it, on lo for example" },
	{ .word = "local", .type = ARG_FLAG, .offset = FIELD(local), .group = 1,
	  .help = "packets for the addresses that this host has now" },
	{ .word = "to", .type = ARG_CUSTOM, .parse = take_to, .offset = FIELD(vips), .meta = "ADDR", .many = true,
	  .help = "behind vip ADDR: the application has this address instead; packets are translated, and back" },
	{ .word = "port", .type = ARG_U32, .offset = FIELD(port), .meta = "P", .min = 1, .max = 65535,
	  .help = "UDP port of the tunnels; default 6080" },
	{ .word = "strict source", .type = ARG_CUSTOM, .parse = take_source, .offset = FIELD(sources), .meta = "PREFIX",
	  .many = true, .help = "believe only load balancers with these addresses; default any" },
	{ .word = "at", .type = ARG_ENUM, .offset = FIELD(at), .words = agent_at_words,
	  .help = "what is at the other end; default guest for a tap, else nic" },
	{ .word = "hook", .type = ARG_ENUM, .offset = FIELD(hook), .words = agent_hook_words,
	  .help = "where packets are taken out of tunnels; default xdp at nic, tc at guest" },
	INSTANCE("whose settings and connections they are; default agent"), END
};
static const struct arg disable_args[] = {
	DEV("the interface"),
	{ .word = "vip", .type = ARG_CUSTOM, .parse = take_one, .offset = FIELD(vip), .meta = "ADDR",
	  .help = "only packets for this address" },
	INSTANCE("of this instance"), END
};
static const struct arg only_args[] = { ONLY_DEV, INSTANCE("only of this instance; default: of all"), END };

static bool is_given(const struct arg *table, __u64 given, const char *word)
{
	for (int i = 0; table[i].word; i++)
		if (!strcmp(table[i].word, word))
			return ARG_GIVEN(given, table, i);
	return false;
}

static const char *instance_of(const struct params *p)
{
	return p->instance[0] ? p->instance : NULL;
}

static int enable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	const struct agent_enable want = {
		.vip = p->vips.vip,
		.vips = p->vips.n,
		.is_local = p->local,
		.source = p->sources.source,
		.sources = p->sources.n,
		.port = (__u16)p->port,
		.at = is_given(enable_args, given, "at") ? p->at : -1,
		.hook = is_given(enable_args, given, "hook") ? p->hook : -1,
	};
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	return err ? err : agent_enable(run, &b, &p->dev, instance_of(p), &want);
}

static int disable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	return err ? err : agent_disable(run, &b, &p->dev, is_given(disable_args, given, "vip") ? &p->vip : NULL,
					 instance_of(p));
}

/*
 * Listings.
 */
static const struct column list_columns[] = {
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "to", .head = "TO", .type = COL_STR },
	{ .key = "at", .head = "AT", .type = COL_STR },
	{ .key = "hook", .head = "HOOK", .type = COL_STR },
	{ .key = "port", .head = "PORT", .type = COL_U64 },
	{ .key = "sources", .head = "SOURCES", .type = COL_LIST },
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR, .wide = true },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "bytes", .head = "BYTES", .type = COL_U64 },
	{ .key = "replies", .head = "REPLIES", .type = COL_U64 },
	{ .key = "reply_bytes", .head = "REPLY-BYTES", .type = COL_U64, .wide = true },
	{ .key = "connections", .head = "CONNECTIONS", .type = COL_U64 },
	{ .key = "overhead", .head = "OVERHEAD", .type = COL_U64, .wide = true },
	{ .key = "enabled", .head = "ENABLED", .type = COL_BOOL },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ 0 },
};

static const struct column stats_columns[] = {
	{ .key = "dev", .head = "dev", .type = COL_STR },
	{ .key = "instance", .head = "instance", .type = COL_STR },
	{ .key = "taken", .head = "taken", .type = COL_COUNTS },
	{ .key = "replies", .head = "replies", .type = COL_COUNTS },
	{ .key = "left_to_stack", .head = "left to the stack", .type = COL_COUNTS },
	{ .key = "dropped", .head = "dropped", .type = COL_COUNTS },
	{ .key = "enabled", .head = "enabled", .type = COL_BOOL },
	{ .key = "since", .head = "since", .type = COL_STR },
	{ 0 },
};

static void put_dev(struct table *t, const struct agent_row *row)
{
	if (!row->is_here)
		table_str(t, "dev", "%.15s@%llu", row->place->name, row->place->netns);
	else if (row->dev.name[0])
		table_str(t, "dev", "%s", row->dev.name);
	else
		table_str(t, "dev", "%.15s(gone)", row->place->name);
}

static void put_addr(struct table *t, const char *key, const __u32 addr[4])
{
	char text[64];
	struct addr a;

	memcpy(a.b, addr, sizeof(a.b));
	table_str(t, key, "%s", format_addr(&a, text, sizeof(text)));
}

struct listing {
	struct table *t;
	const struct bpffs *b;
	const struct agent_row *row;
};

static int put_source(const struct prefix *p, void *arg)
{
	char text[80];
	size_t used;

	format_addr(&p->addr, text, sizeof(text));
	used = strlen(text);
	if (p->len < 128)
		snprintf(text + used, sizeof(text) - used, "/%d",
			 prefix_is_v4(p) ? p->len - 96 : p->len);
	table_item(arg, "sources", text);
	return 0;
}

static int put_vip(const struct agent_vip_row *v, void *arg)
{
	static const __u32 none[4];
	struct listing *l = arg;
	const struct agent_row *row = l->row;
	char text[64];

	table_row(l->t);
	put_dev(l->t, row);
	put_addr(l->t, "vip", v->key.addr);
	if (memcmp(v->vip.to, none, sizeof(none)))
		put_addr(l->t, "to", v->vip.to);
	table_str(l->t, "at", "%s", agent_at_words[row->place->at]);
	table_str(l->t, "hook", "%s", agent_hook_words[row->place->hook]);
	table_u64(l->t, "port", be16toh(row->place->port));
	table_str(l->t, "instance", "%s", row->instance);
	table_u64(l->t, "packets", v->stat.packets);
	table_u64(l->t, "bytes", v->stat.bytes);
	table_u64(l->t, "replies", v->stat.replies);
	table_u64(l->t, "reply_bytes", v->stat.reply_bytes);
	table_u64(l->t, "connections", v->conns);
	table_u64(l->t, "overhead", v->vip.overhead);
	table_bool(l->t, "enabled", row->is_on);
	table_str(l->t, "since", "%s", format_time(v->vip.since, text, sizeof(text)));
	return agent_sources(l->b, row, put_source, l->t);
}

static int put_place(const struct bpffs *b, const struct agent_row *row, void *arg)
{
	struct listing l = { arg, b, row };

	return agent_vips(b, row, put_vip, &l);
}

static int put_stats(const struct bpffs *b, const struct agent_row *row, void *arg)
{
	struct table *t = arg;
	char text[64];

	(void)b;
	table_row(t);
	put_dev(t, row);
	table_str(t, "instance", "%s", row->instance);
	for (int i = 0; i < AGENT_COUNTS; i++) {
		bool is_reply = i == AGENT_REPLIES || i == AGENT_CLAMPED || i == AGENT_LOST_FRAGMENT;
		const char *key = is_reply ? "replies" : i < AGENT_NO_VIP || i == AGENT_DIRECT ? "taken" :
			i < AGENT_CONFLICT ? "left_to_stack" : "dropped";

		table_count(t, key, agent_count_keys[i], row->stat.count[i]);
	}
	table_bool(t, "enabled", row->is_on);
	table_str(t, "since", "%s", format_time(row->place->since, text, sizeof(text)));
	return 0;
}

static int walk(struct run *run, const struct params *p, __u64 given, struct table *t,
		int (*put)(const struct bpffs *b, const struct agent_row *row, void *arg))
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_READ, &b);

	return err ? err : agent_walk(&b, instance_of(p), is_given(only_args, given, "dev") ? &p->dev : NULL, put, t);
}

static int list(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(list_columns);
	int err = walk(run, params, given, t, put_place);

	return err ? err : table_print(run, t);
}

static int stats(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(stats_columns);
	int err = walk(run, params, given, t, put_stats);

	return err ? err : table_print_each(run, t);
}

#define PARAMS .params_size = sizeof(struct params)

const struct cmd agent_cmds[] = {
	{ .word = "enable", .help = "take a load balancer's packets out of their tunnels", .args = enable_args, PARAMS,
	  .fn = enable, .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl agent enable dev eth0 vip 192.0.2.1 strict source 10.0.0.0/24" },
	{ .word = "disable", .help = "leave them to the network stack again", .args = disable_args, PARAMS,
	  .fn = disable, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = "list", .help = "VIPs, and what came for them", .args = only_args, PARAMS, .fn = list,
	  .flags = CMD_JSON, .example = "l3afctl agent list dev eth0" },
	{ .word = "stats", .help = "what was taken, left alone and dropped, by cause", .args = only_args, PARAMS,
	  .fn = stats, .flags = CMD_JSON },
	{ .word = NULL },
};
