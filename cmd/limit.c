/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "bpffs.h"
#include "chain.h"
#include "cmd.h"
#include "limitrules.h"

#define WINDOW_MIN_US 1000
#define WINDOW_MAX_US 3600000000ULL
#define CONNECTIONS_MAX 16777215

struct params {
	struct rate rate;
	__u32 connections;
	struct iface dev;
	struct ports ports;
	struct addr vip;
	struct limit_rule per; /* its per, len4 and len6 */
	__u64 window_us;
	int action;
};

static int parse_per(const char *s, void *field, struct why *why)
{
	return limit_parse_per(s, field, why);
}

static void complete_per(void)
{
	puts("interface\nport\nsource\nvip");
}

/* The unspecified address is nobody's. */
static int take_vip(const char *s, void *field, struct why *why)
{
	static const struct addr none;
	char text[64];

	if (parse_addr(s, field, why))
		return -E_USAGE;
	if (memcmp(field, &none, sizeof(none)) && strcmp(format_addr(field, text, sizeof(text)), "0.0.0.0"))
		return 0;
	snprintf(why->text, sizeof(why->text), "is no destination; leave vip away for any");
	return -E_USAGE;
}

#define FIELD(f) offsetof(struct params, f)
#define RATE { .word = "RATE", .type = ARG_RATE, .offset = FIELD(rate), .positional = true, .required = true, \
	       .help = "new connections per time: 100/s, 60/m, 10/h" }
#define COUNT { .word = "N", .type = ARG_U32, .offset = FIELD(connections), .positional = true, \
		.required = true, .max = CONNECTIONS_MAX, .help = "how many may be open" }
#define DEV { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true, \
	      .help = "the interface they come in through" }
#define PORT { .word = "port", .type = ARG_PORTS, .offset = FIELD(ports), .meta = "P[-Q]", \
	       .help = "only to these destination ports" }
#define VIP { .word = "vip", .type = ARG_CUSTOM, .parse = take_vip, .offset = FIELD(vip), .meta = "ADDR", \
	      .help = "only to this destination address" }
#define PER { .word = "per", .type = ARG_CUSTOM, .offset = FIELD(per), .meta = "WHAT", .parse = parse_per, \
	      .complete = complete_per, \
	      .help = "a limit for each port, source[/LEN] or vip; default interface: one for all" }
#define WINDOW { .word = "window", .type = ARG_DURATION, .offset = FIELD(window_us), .meta = "DUR", \
		 .min = WINDOW_MIN_US, .max = WINDOW_MAX_US, .help = "it slides; default: the rate's unit" }
#define ACTION { .word = "action", .type = ARG_ENUM, .offset = FIELD(action), .words = limit_action_words, \
		 .help = "what becomes of a SYN too many; default drop" }
#define ONLY { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .help = "only this interface" }
#define END { .word = NULL }

static const struct arg rate_args[] = { RATE, DEV, PORT, VIP, PER, WINDOW, ACTION, END };
static const struct arg connections_args[] = { COUNT, DEV, PORT, VIP, PER, ACTION, END };
static const struct arg remove_args[] = { DEV, PORT, VIP, PER, END };
static const struct arg only_args[] = { ONLY, END };

static bool is_addr_given(const struct addr *a)
{
	static const struct addr none;

	return memcmp(a, &none, sizeof(none));
}

static struct limit_rule rule_make(const struct params *p, const struct chain_id *at, enum limit_kind kind)
{
	struct limit_rule rule = limit_rule_at(at, kind, &p->ports, is_addr_given(&p->vip) ? &p->vip : NULL);

	rule.per = p->per.per;
	rule.len4 = p->per.len4;
	rule.len6 = p->per.len6;
	rule.action = (__u8)p->action;
	rule.threshold = p->connections;
	return rule;
}

static int set(struct run *run, const struct params *p, enum limit_kind kind)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct limit_rule rule;
	struct chain_id at;
	int err = chain_id_init(&at, &p->dev, HOOK_XDP);

	if (err)
		return err;
	rule = rule_make(p, &at, kind);
	if (kind == LIMIT_RATE)
		err = limit_rule_rate(&rule, &p->rate, p->window_us);
	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : limit_set(run, &b, &at, &rule);
}

static int set_rate(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return set(run, params, LIMIT_RATE);
}

static int set_connections(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return set(run, params, LIMIT_CONNECTIONS);
}

static int remove_kind(struct run *run, const struct params *p, enum limit_kind kind)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct limit_rule rule;
	struct chain_id at;
	int err = chain_id_init(&at, &p->dev, HOOK_XDP);

	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	if (err)
		return err;
	rule = rule_make(p, &at, kind);
	return limit_remove(run, &b, &at, &rule);
}

static int remove_rate(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return remove_kind(run, params, LIMIT_RATE);
}

static int remove_connections(struct run *run, const void *params, __u64 given)
{
	(void)given;
	return remove_kind(run, params, LIMIT_CONNECTIONS);
}

static const struct column columns[] = {
	{ .key = "kind", .type = COL_STR },
	{ .key = "limit", .head = "LIMIT", .type = COL_STR },
	{ .key = "connections", .type = COL_U64 },
	{ .key = "rate", .type = COL_U64 }, /* per rate_unit_us */
	{ .key = "rate_unit_us", .type = COL_U64 },
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "port", .head = "PORT", .type = COL_STR },
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "per", .head = "PER", .type = COL_STR },
	{ .key = "window_us", .type = COL_U64 },
	{ .key = "window", .head = "WINDOW", .type = COL_STR, .wide = true },
	{ .key = "action", .head = "ACTION", .type = COL_STR },
	{ .key = "use", .head = "USE", .type = COL_U64 },
	{ .key = "busiest", .head = "BUSIEST", .type = COL_STR, .wide = true },
	{ .key = "keys", .head = "KEYS", .type = COL_U64, .wide = true },
	{ .key = "accepted", .head = "ACCEPTED", .type = COL_U64 },
	{ .key = "dropped", .head = "DROPPED", .type = COL_U64 },
	{ .key = "reset", .head = "RESET", .type = COL_U64 },
	{ .key = "suppressed", .head = "SUPPRESSED", .type = COL_U64, .wide = true },
	{ .key = "enforced", .head = "ENFORCED", .type = COL_BOOL },
	{ .key = "since", .head = "SINCE", .type = COL_STR },
	{ 0 },
};

static void row_limit(struct table *t, const struct limit_rule *rule)
{
	const struct rate rate = { rule->count, rule->unit_us };
	char text[64];

	table_str(t, "kind", "%s", rule->kind == LIMIT_RATE ? "rate" : "connections");
	if (rule->kind == LIMIT_CONNECTIONS) {
		table_str(t, "limit", "connections %llu", rule->threshold);
		table_u64(t, "connections", rule->threshold);
		return;
	}
	table_str(t, "limit", "rate %s", format_rate(&rate, text, sizeof(text)));
	table_u64(t, "rate", rule->count);
	table_u64(t, "rate_unit_us", rule->unit_us);
	table_u64(t, "window_us", rule->window_us);
	table_str(t, "window", "%s", format_duration(rule->window_us, text, sizeof(text)));
}

static void row_counts(struct table *t, const struct limit_row *row)
{
	char text[64];

	table_u64(t, "use", row->use);
	if (row->busiest.id)
		table_str(t, "busiest", "%s", limit_format_key(row->rule, &row->busiest, text, sizeof(text)));
	table_u64(t, "keys", row->keys);
	table_u64(t, "accepted", row->stat.accepted);
	table_u64(t, "dropped", row->stat.dropped);
	table_u64(t, "reset", row->stat.reset);
	table_u64(t, "suppressed", row->stat.suppressed);
	table_bool(t, "enforced", row->is_enforced);
	table_str(t, "since", "%s", format_time(row->rule->since, text, sizeof(text)));
}

static int row_add(const struct limit_row *row, void *arg)
{
	struct table *t = arg;
	char text[64];

	table_row(t);
	row_limit(t, row->rule);
	if (row->iface.name[0])
		table_str(t, "dev", "%s", row->iface.name);
	else
		table_str(t, "dev", "%d(gone)", row->iface.index);
	table_str(t, "port", "%s", limit_format_ports(row->rule, text, sizeof(text)));
	table_str(t, "vip", "%s", limit_format_vip(row->rule, text, sizeof(text)));
	table_str(t, "per", "%s", limit_format_per(row->rule, text, sizeof(text)));
	table_str(t, "action", "%s", limit_action_words[row->rule->action]);
	row_counts(t, row);
	return 0;
}

static int list(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *t = table_new(columns);
	int err = bpffs_open(run, BPFFS_READ, &b);

	if (!err)
		err = limit_walk(&b, given ? &p->dev : NULL, row_add, t);
	return err ? err : table_print(run, t);
}

static int recount(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err;

	if (run->dry_run)
		return fail(-E_USAGE, "limit recount: has no --dry-run: counting is all it does");
	err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : limit_recount(run, &b, given ? &p->dev : NULL);
}

static const struct cmd set_cmds[] = {
	{ .word = "rate", .help = "limit new connections per time", .args = rate_args,
	  .params_size = sizeof(struct params), .fn = set_rate, .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl limit set rate 100/s dev eth0 port 443 per source" },
	{ .word = "connections", .help = "limit open connections", .args = connections_args,
	  .params_size = sizeof(struct params), .fn = set_connections, .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl limit set connections 5000 dev eth0 port 443" },
	{ .word = NULL },
};

static const struct cmd remove_cmds[] = {
	{ .word = "rate", .help = "no longer limit new connections", .args = remove_args,
	  .params_size = sizeof(struct params), .fn = remove_rate, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = "connections", .help = "no longer limit open connections", .args = remove_args,
	  .params_size = sizeof(struct params), .fn = remove_connections, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = NULL },
};

const struct cmd limit_cmds[] = {
	{ .word = "set", .help = "make or change a limit, enforced at once", .sub = set_cmds },
	{ .word = "remove", .help = "remove a limit; the chain stays as it is", .sub = remove_cmds },
	{ .word = "list", .help = "limits, their use and what they refused", .args = only_args,
	  .params_size = sizeof(struct params), .fn = list, .flags = CMD_JSON,
	  .example = "l3afctl limit list dev eth0" },
	{ .word = "recount", .help = "count open connections anew, repair what drifted", .args = only_args,
	  .params_size = sizeof(struct params), .fn = recount, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = NULL },
};
