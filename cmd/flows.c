/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpffs.h"
#include "cmd.h"
#include "flowexport.h"
#include "flows.h"
#include "flowview.h"

#define DAY_US 86400000000ULL
#define PACE_DEFAULT { 300000, 1000000 }
#define TEMPLATE_DEFAULT_US 60000000

struct params {
	struct iface dev;
	int direction;
	char instance[NAME_LEN];
	/* enable */
	__u32 max;
	__u64 sample, active_us, idle_us;
	/* list, top, show */
	int by, proto, vlan;
	bool match;
	struct prefix src, dst;
	struct ports sport, dport;
	__u32 limit;
	struct flow_tuple tuple;
	/* export, collector */
	struct endpoint to;
	char name[ENDPOINT_LEN];
	const char *path;
	__u32 domain, mtu;
	__u64 template_us;
	struct rate pace;
	struct ipfix_fields fields;
	bool biflow, flush;
};

static const char *const direction_words[] = { "ingress", "egress", "both", NULL };
#define BOTH 2

static bool is_given(const struct arg *table, __u64 given, const char *word)
{
	for (int i = 0; table[i].word; i++)
		if (!strcmp(table[i].word, word))
			return ARG_GIVEN(given, table, i);
	return false;
}

static int take_sample(const char *s, void *field, struct why *why) { return parse_sample(s, field, why); }
static int take_proto(const char *s, void *field, struct why *why) { return parse_proto(s, field, why); }
static int take_vlan(const char *s, void *field, struct why *why) { return parse_vlan(s, field, why); }
static int take_tuple(const char *s, void *field, struct why *why) { return parse_flow(s, field, why); }
static int take_pace(const char *s, void *field, struct why *why) { return parse_pace(s, field, why); }

static int take_to(const char *s, void *field, struct why *why)
{
	if (strchr(s, '/'))
		return parse_endpoint(s, field, why);
	snprintf(why->text, sizeof(why->text), "is not HOST:PORT/udp, HOST:PORT/tcp or file PATH");
	return -E_USAGE;
}

/* A collector as collector list names it. */
static int take_name(const char *s, void *field, struct why *why)
{
	if (strncmp(s, "file ", 5) || strlen(s) >= ENDPOINT_LEN)
		return parse_endpoint_text(s, field, why);
	strcpy(field, s);
	return 0;
}

static void complete_proto(void)
{
	char name[16];

	for (int i = 0; i < 256; i++)
		if (format_proto(i, name, sizeof(name))[0] > '9')
			puts(name);
}

/* Nothing where they cannot be read. */
static void complete_collector(void)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	const char *dir = getenv("L3AF_BPFFS");
	const struct run run = { .bpffs = dir ? dir : "/sys/fs/bpf" };

	if (flows_open(&run, NULL, &b, &t) <= 0)
		return;
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		if (t.peer[i].state && strncmp(t.peer[i].state->name, "file ", 5))
			printf("%.255s\n", t.peer[i].state->name);
}

#define FIELD(f) offsetof(struct params, f)
#define DEV(is_required, text) { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", \
				 .required = is_required, .help = text }
#define DIRECTION(text) { .word = "direction", .type = ARG_ENUM, .offset = FIELD(direction), \
			  .words = direction_words, .help = text }
#define INSTANCE(text) { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME", \
			 .help = text "; default flows" }
#define OF_INSTANCE INSTANCE("of this instance")
#define MATCH \
	{ .word = "match", .type = ARG_FLAG, .offset = FIELD(match), .help = "may stand before what has to match:" }, \
	{ .word = "src", .type = ARG_PREFIX, .offset = FIELD(src), .meta = "PREFIX", .help = "source address" }, \
	{ .word = "dst", .type = ARG_PREFIX, .offset = FIELD(dst), .meta = "PREFIX", .help = "destination address" }, \
	{ .word = "proto", .type = ARG_CUSTOM, .offset = FIELD(proto), .meta = "PROTO", .parse = take_proto, \
	  .complete = complete_proto, .help = "IP protocol, name or number" }, \
	{ .word = "sport", .type = ARG_PORTS, .offset = FIELD(sport), .meta = "P[-Q]", .help = "source port" }, \
	{ .word = "dport", .type = ARG_PORTS, .offset = FIELD(dport), .meta = "P[-Q]", .help = "destination port" }, \
	{ .word = "vlan", .type = ARG_CUSTOM, .offset = FIELD(vlan), .meta = "VID", .parse = take_vlan, \
	  .help = "VLAN ID of the outer tag, or none" }, \
	DEV(false, "interface"), DIRECTION("in which direction of it")
#define LIMIT(text) { .word = "limit", .type = ARG_U32, .offset = FIELD(limit), .meta = "N", .min = 1, .help = text }
#define BY(text) { .word = "by", .type = ARG_ENUM, .offset = FIELD(by), .words = flow_by_words, .help = text }
#define END { .word = NULL }

static const struct arg enable_args[] = {
	DEV(true, "the interface"), DIRECTION("in which direction packets are counted; default both"),
	{ .word = "max", .type = ARG_U32, .offset = FIELD(max), .meta = "N", .min = FLOW_MAX_LEAST,
	  .max = FLOW_MAX_MOST, .help = "flows in the instance's table; default 262144" },
	{ .word = "sample", .type = ARG_CUSTOM, .offset = FIELD(sample), .meta = "1/N", .parse = take_sample,
	  .help = "count one packet of N there; default 1/1" },
	{ .word = "active", .type = ARG_DURATION, .offset = FIELD(active_us), .meta = "DUR", .max = DAY_US,
	  .help = "report a flow that goes on after this long; default 0: in each export" },
	{ .word = "idle", .type = ARG_DURATION, .offset = FIELD(idle_us), .meta = "DUR", .max = DAY_US,
	  .help = "a flow without packets for this long has ended, 0: never; default 15s" },
	INSTANCE("whose table it is"), END
};
static const struct arg disable_args[] = {
	DEV(false, "only this interface"), DIRECTION("only this direction"),
	{ .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME",
	  .help = "only what this instance counts" }, END
};
static const struct arg list_args[] = {
	BY("most first; rate: octets per second, of two readings a second apart"), MATCH,
	LIMIT("no more than this many"), OF_INSTANCE, END
};
static const struct arg top_args[] = {
	BY("most first; default rate"), MATCH, LIMIT("no more than this many; default 10, or what the screen holds"),
	OF_INSTANCE, END
};
static const struct arg show_args[] = {
	{ .word = "KEY", .type = ARG_CUSTOM, .offset = FIELD(tuple), .parse = take_tuple, .positional = true,
	  .required = true, .help = "the flow as list prints it" },
	DEV(false, "only on this interface"), DIRECTION("only this direction"), OF_INSTANCE, END
};
static const struct arg instance_args[] = { OF_INSTANCE, END };
static const struct arg only_args[] = {
	{ .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME",
	  .help = "only of this instance; default: of all" }, END
};
static const struct arg export_args[] = {
	{ .word = "to", .type = ARG_CUSTOM, .offset = FIELD(to), .meta = "HOST:PORT/udp|tcp", .parse = take_to,
	  .group = 1, .required = true, .help = "the collector; [ADDR]:PORT for an IPv6 address" },
	{ .word = "to file", .type = ARG_FILE, .offset = FIELD(path), .meta = "PATH", .group = 1, .required = true,
	  .help = "append to this file; %Y%m%d and such, as strftime(3) has them, start new ones" },
	{ .word = "domain", .type = ARG_U32, .offset = FIELD(domain), .meta = "N", .min = 1,
	  .help = "observation domain ID; default: of this host and instance, the same in each run" },
	{ .word = "template-interval", .type = ARG_DURATION, .offset = FIELD(template_us), .meta = "DUR",
	  .min = 1000000, .max = DAY_US,
	  .help = "send templates again after this long in one run; each run starts with them; default 60s" },
	{ .word = "pace", .type = ARG_CUSTOM, .offset = FIELD(pace), .meta = "RATE", .parse = take_pace,
	  .help = "UDP: records per second at most, or none; default 300000/s" },
	{ .word = "mtu", .type = ARG_U32, .offset = FIELD(mtu), .meta = "N", .min = 68, .max = 65535,
	  .help = "UDP: octets of an IP packet at most; default: what the path takes, but 1500 at most" },
	{ .word = "biflow", .type = ARG_FLAG, .offset = FIELD(biflow),
	  .help = "both directions of a conversation in one record (RFC 5103)" },
	{ .word = "fields", .type = ARG_CUSTOM, .offset = FIELD(fields), .meta = "FIELD,...",
	  .parse = ipfix_parse_fields, .complete = ipfix_complete_fields,
	  .help = "elements beside key, counts and times; -FIELD takes one away; all" },
	{ .word = "flush", .type = ARG_FLAG, .offset = FIELD(flush), .help = "all flows end with this export" },
	OF_INSTANCE, END
};
static const struct arg remove_args[] = {
	{ .word = "file", .type = ARG_FILE, .offset = FIELD(path), .meta = "PATH", .group = 1, .required = true,
	  .help = "a collector that is a file" },
	{ .word = "NAME", .type = ARG_CUSTOM, .offset = FIELD(name), .parse = take_name, .positional = true, .group = 1,
	  .complete = complete_collector, .help = "a collector as list prints it" },
	OF_INSTANCE, END
};

static const char *instance_of(const struct params *p)
{
	return p->instance[0] ? p->instance : NULL;
}

static int enable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int direction = is_given(enable_args, given, "direction") ? p->direction : BOTH;
	const struct flows_request r = {
		.dev = p->dev,
		.is_on = { direction != FLOW_EGRESS, direction != FLOW_INGRESS },
		.instance = instance_of(p),
		.max = is_given(enable_args, given, "max") ? &p->max : NULL,
		.sample = is_given(enable_args, given, "sample") ? &p->sample : NULL,
		.active_us = is_given(enable_args, given, "active") ? &p->active_us : NULL,
		.idle_us = is_given(enable_args, given, "idle") ? &p->idle_us : NULL,
	};
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	return err ? err : flows_enable(run, &b, &r);
}

static int disable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int direction = is_given(disable_args, given, "direction") ? p->direction : BOTH;
	const bool is_off[2] = { direction != FLOW_EGRESS, direction != FLOW_INGRESS };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	return err ? err : flows_disable(run, &b, is_given(disable_args, given, "dev") ? &p->dev : NULL, is_off,
					 instance_of(p));
}

static int flush(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)given;
	return err ? err : flows_flush(run, &b, p->instance[0] ? p->instance : FLOW_KF);
}

/* What the words after match, or without it, ask for. */
static int query_make(const char *command, const struct arg *table, const struct params *p, __u64 given,
		      enum flow_by by, struct flow_query *q)
{
	struct flow_match *m = &q->match;

	*q = (struct flow_query){
		.match = { .direction = -1, .proto = -1 },
		.by = is_given(table, given, "by") ? (enum flow_by)p->by : by,
		.limit = p->limit,
	};
	m->src = is_given(table, given, "src") ? &p->src : NULL;
	m->dst = is_given(table, given, "dst") ? &p->dst : NULL;
	m->sport = is_given(table, given, "sport") ? &p->sport : NULL;
	m->dport = is_given(table, given, "dport") ? &p->dport : NULL;
	m->vlan = is_given(table, given, "vlan") ? &p->vlan : NULL;
	m->dev = is_given(table, given, "dev") ? &p->dev : NULL;
	m->proto = is_given(table, given, "proto") ? p->proto : -1;
	if (is_given(table, given, "direction") && p->direction != BOTH)
		m->direction = p->direction;
	if (p->match && !m->src && !m->dst && !m->sport && !m->dport && !m->vlan && !m->dev && m->proto < 0 &&
	    !is_given(table, given, "direction"))
		return fail(-E_USAGE, "%s: match: what? one of src, dst, proto, sport, dport, vlan, dev, direction",
			    command);
	return 0;
}

static int list(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	struct flow_query q;
	int err = query_make("flows list", list_args, p, given, FLOW_BY_SLOT, &q);

	return err ? err : flows_list_print(run, instance_of(p), &q);
}

static int top(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	struct flow_query q;
	int err = query_make("flows top", top_args, p, given, FLOW_BY_RATE, &q);

	return err ? err : flows_top_run(run, instance_of(p), &q);
}

static int show(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	struct flow_query q;
	int err = query_make("flows show", show_args, p, given, FLOW_BY_SLOT, &q);

	q.match.tuple = &p->tuple;
	return err ? err : flows_show_print(run, instance_of(p), &q);
}

static int stats(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return flows_stats_print(run, instance_of(params));
}

static int collector_list(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return flows_collectors_print(run, instance_of(params));
}

/* "file PATH", the path absolute: cron's working directory is another one. */
static int file_name(const char *path, char name[ENDPOINT_LEN])
{
	char dir[ENDPOINT_LEN] = "";
	bool is_relative = path[0] != '/';
	int len;

	if (is_relative && !getcwd(dir, sizeof(dir)))
		return fail_errno(-errno, "the working directory");
	len = snprintf(name, ENDPOINT_LEN, "file %s%s%s", dir, is_relative ? "/" : "", path);
	return len < ENDPOINT_LEN ? 0 : fail(-E_USAGE, "file %.60s...: the path is longer than %d", path,
					     ENDPOINT_LEN - (int)sizeof("file "));
}

static int collector_remove(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	char name[ENDPOINT_LEN];
	int err = 0;

	(void)given;
	if (p->path)
		err = file_name(p->path, name);
	else
		memcpy(name, p->name, sizeof(name));
	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : flows_collector_remove(run, &b, p->instance[0] ? p->instance : FLOW_KF, name);
}

/* What only some transports have is refused for the others. */
static int check_transport(const struct params *p, __u64 given)
{
	static const char *const udp_only[] = { "pace", "mtu", "template-interval", NULL };
	bool is_udp = !p->path && !p->to.is_tcp;

	for (int i = 0; udp_only[i]; i++)
		if (!is_udp && is_given(export_args, given, udp_only[i]))
			return fail(-E_USAGE, "flows export: %s is for HOST:PORT/udp only", udp_only[i]);
	return 0;
}

static int export_make(const struct params *p, __u64 given, struct flow_export *what)
{
	*what = (struct flow_export){
		.instance = p->instance[0] ? p->instance : FLOW_KF,
		.target = {
			.kind = p->path ? SINK_FILE : p->to.is_tcp ? SINK_TCP : SINK_UDP,
			.at = p->to,
			.mtu = p->mtu,
			.pace = PACE_DEFAULT,
		},
		.domain = p->domain,
		.template_us = p->template_us ? p->template_us : TEMPLATE_DEFAULT_US,
		.fields = is_given(export_args, given, "fields") ? p->fields : ipfix_fields_default(),
		.is_biflow = p->biflow,
		.is_flush = p->flush,
	};
	if (is_given(export_args, given, "pace"))
		what->target.pace = p->pace;
	if (!p->path) {
		memcpy(what->collector, p->to.text, sizeof(what->collector));
		return 0;
	}
	what->target.path = what->collector + strlen("file ");
	return file_name(p->path, what->collector);
}

static const struct column export_columns[] = {
	{ .key = "collector", .head = "collector", .type = COL_STR },
	{ .key = "dry_run", .type = COL_BOOL },
	{ .key = "flows", .head = "flows", .type = COL_U64 },
	{ .key = "packets", .head = "packets", .type = COL_U64 },
	{ .key = "octets", .head = "octets", .type = COL_U64 },
	{ .key = "messages", .head = "messages", .type = COL_U64 },
	{ .key = "message_octets", .head = "octets of messages", .type = COL_U64 },
	{ .key = "records", .head = "records", .type = COL_U64 },
	{ 0 },
};

static int export(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(export_columns);
	struct flow_exported sent = { 0 };
	struct flow_export what;
	int err = check_transport(params, given);

	if (!err)
		err = export_make(params, given, &what);
	if (!err)
		err = flow_export(run, &what, &sent);
	if (err || !(run->json || run->dry_run || run->verbose))
		return err;
	table_row(t);
	table_str(t, "collector", "%s", what.collector);
	table_bool(t, "dry_run", run->dry_run);
	table_u64(t, "flows", sent.flows);
	table_u64(t, "packets", sent.packets);
	table_u64(t, "octets", sent.octets);
	table_u64(t, "messages", sent.messages);
	table_u64(t, "message_octets", sent.message_octets);
	table_u64(t, "records", sent.records);
	return table_print_one(run, t);
}

#define MUTATES (CMD_MUTATES | CMD_JSON)
#define PARAMS .params_size = sizeof(struct params)

static const struct cmd collector_cmds[] = {
	{ .word = "list", .help = "what the kernel remembers of each collector", .args = only_args, PARAMS,
	  .fn = collector_list, .flags = CMD_JSON },
	{ .word = "remove", .help = "forget a collector, and what it was not sent", .args = remove_args, PARAMS,
	  .fn = collector_remove, .flags = MUTATES,
	  .example = "l3afctl flows collector remove 192.0.2.1:4739/udp" },
	{ .word = NULL },
};

const struct cmd flows_cmds[] = {
	{ .word = "enable", .help = "count the packets of an interface by flow", .args = enable_args, PARAMS,
	  .fn = enable, .flags = MUTATES, .example = "l3afctl flows enable dev eth0 idle 30s" },
	{ .word = "disable", .help = "count no more", .args = disable_args, PARAMS, .fn = disable, .flags = MUTATES,
	  .example = "l3afctl flows disable dev eth0" },
	{ .word = "list", .help = "the flows in the table", .args = list_args, PARAMS, .fn = list, .flags = CMD_JSON,
	  .example = "l3afctl flows list by octets match proto tcp dport 443 limit 20" },
	{ .word = "top", .help = "the busiest flows, every second anew on a terminal", .args = top_args, PARAMS,
	  .fn = top, .flags = CMD_JSON },
	{ .word = "show", .help = "one flow in full", .args = show_args, PARAMS, .fn = show, .flags = CMD_JSON,
	  .example = "l3afctl flows show tcp/10.0.0.1:1000-10.0.0.2:80" },
	{ .word = "stats", .help = "what was seen where, counted and ignored", .args = only_args, PARAMS,
	  .fn = stats, .flags = CMD_JSON },
	{ .word = "export", .help = "send a collector what is new to it, by IPFIX", .args = export_args, PARAMS,
	  .fn = export, .flags = CMD_JSON | CMD_DRY_RUN,
	  .example = "l3afctl flows export to 192.0.2.1:4739/udp" },
	{ .word = "flush", .help = "drop all flows, unsent ones too", .args = instance_args, PARAMS, .fn = flush,
	  .flags = MUTATES },
	{ .word = "collector", .help = "those that exports go to", .sub = collector_cmds },
	{ .word = NULL },
};
