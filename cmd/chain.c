/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "bpffs.h"
#include "chain.h"
#include "cmd.h"
#include "kf.h"
#include "parse.h"
#include "root.h"

struct params {
	char name[NAME_LEN];
	struct names order;
	struct iface dev;
	int hook, engine, mode;
	const char *object, *verdicts, *pin;
	char program[64];
	char instance[NAME_LEN], before[NAME_LEN], after[NAME_LEN];
	__u32 position, id;
};

static int parse_symbol(const char *s, void *field, struct why *why)
{
	size_t ok = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	if (s[ok] || !ok || ok >= sizeof(((struct params *)0)->program)) {
		snprintf(why->text, sizeof(why->text), "is not the name of a function");
		return -E_USAGE;
	}
	strcpy(field, s);
	return 0;
}

static void complete_kf(void)
{
	for (const struct kf *const *kf = kf_all; *kf; kf++)
		puts((*kf)->name);
}

static int print_member(const struct chain_row *row, void *arg)
{
	(void)arg;
	if (row->member)
		puts(row->member->name);
	return 0;
}

/* The members of every chain here; nothing where they cannot be read. */
static void complete_member(void)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	const char *dir = getenv("L3AF_BPFFS");
	const struct run run = { .bpffs = dir ? dir : "/sys/fs/bpf" };

	if (!bpffs_open(&run, BPFFS_READ, &b) && chain_walk(&b, NULL, HOOK_COUNT, print_member, NULL))
		return;
}

#define FIELD(f) offsetof(struct params, f)
#define NAME_OF(what, completion) \
	{ .word = "NAME", .type = ARG_NAME, .offset = FIELD(name), .positional = true, .required = true, \
	  .help = what, .complete = completion }
#define MEMBER NAME_OF("the member", complete_member)
#define DEV { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true, \
	      .help = "the interface" }
#define HOOK { .word = "hook", .type = ARG_ENUM, .offset = FIELD(hook), .words = hook_words, .required = true, \
	       .help = "where in the packet's path" }
#define OBJECT { .word = "object", .type = ARG_FILE, .offset = FIELD(object), .meta = "FILE", \
		 .help = "a BPF object file; without it NAME is a built-in kernel function" }
#define PROGRAM { .word = "program", .type = ARG_CUSTOM, .offset = FIELD(program), .meta = "SYMBOL", \
		  .parse = parse_symbol, .help = "which program of the object, if it has several" }
#define INSTANCE { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "INSTANCE", \
		   .help = "whose maps it uses; default: the one called NAME" }
#define POSITION \
	{ .word = "position", .type = ARG_U32, .offset = FIELD(position), .meta = "N", .min = 1, \
	  .max = CHAIN_MAX, .group = 1, .help = "place in the chain, from 1; default: the end" }, \
	{ .word = "before", .type = ARG_NAME, .offset = FIELD(before), .meta = "MEMBER", .group = 1, \
	  .complete = complete_member, .help = "place it before this member" }, \
	{ .word = "after", .type = ARG_NAME, .offset = FIELD(after), .meta = "MEMBER", .group = 1, \
	  .complete = complete_member, .help = "place it after this member" }
#define CONTINUE { .word = "continue", .type = ARG_STRING, .offset = FIELD(verdicts), .meta = "VERDICT,...", \
		   .help = "verdicts after which the next member runs; default: pass (xdp), ok,pipe,unspec (tc)" }
#define MODE { .word = "mode", .type = ARG_ENUM, .offset = FIELD(mode), .words = mode_words, \
	       .help = "of xdp: in the driver or in the stack" }
#define ENGINE { .word = "engine", .type = ARG_ENUM, .offset = FIELD(engine), .words = engine_words, \
		 .help = "how a new chain is attached; auto probes" }
#define END { .word = NULL }

static const struct arg add_args[] = {
	NAME_OF("a built-in kernel function, or any name with an object", complete_kf), DEV, HOOK, OBJECT, PROGRAM, INSTANCE,
	POSITION, CONTINUE, MODE, ENGINE, END
};
static const struct arg remove_args[] = { MEMBER, DEV, HOOK, END };
static const struct arg replace_args[] = {
	MEMBER, DEV, HOOK, OBJECT, PROGRAM, INSTANCE, CONTINUE, END
};
static const struct arg reorder_args[] = {
	{ .word = "NAME,...", .type = ARG_NAMES, .offset = FIELD(order), .positional = true, .required = true,
	  .help = "all members, in their new order", .complete = complete_member }, DEV, HOOK, END
};
static const struct arg hook_args[] = { DEV, HOOK, END };
static const struct arg list_args[] = {
	{ .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .help = "only this interface" },
	{ .word = "hook", .type = ARG_ENUM, .offset = FIELD(hook), .words = hook_words, .help = "only this hook" },
	END
};
static const struct arg adopt_args[] = {
	NAME_OF("what the member will be called", NULL), DEV, HOOK,
	{ .word = "id", .type = ARG_U32, .offset = FIELD(id), .meta = "N", .min = 1, .max = 0xffffffff, .group = 2,
	  .required = true, .help = "the program's id (bpftool prog)" },
	{ .word = "pin", .type = ARG_FILE, .offset = FIELD(pin), .meta = "PATH", .group = 2,
	  .required = true, .help = "or where it is pinned" },
	POSITION, CONTINUE, MODE, ENGINE, END
};

static const char *given_or_null(const char *s)
{
	return s[0] ? s : NULL;
}

/* The place a command is about, under the lock. */
static int begin(const struct run *run, const struct params *p, enum bpffs_access access, struct bpffs *b,
		 struct chain_id *id)
{
	int err = chain_id_init(id, &p->dev, (enum hook)p->hook);

	return err ? err : bpffs_open(run, access, b);
}

static int make_request(const struct params *p, const char *command, struct chain_request *req)
{
	struct why why;

	*req = (struct chain_request){
		.object = p->object,
		.program = given_or_null(p->program),
		.instance = given_or_null(p->instance),
		.position = (int)p->position,
		.before = given_or_null(p->before),
		.after = given_or_null(p->after),
		.mode = (enum xdp_mode)p->mode,
		.engine = (enum engine)p->engine,
	};
	memcpy(req->name, p->name, sizeof(req->name));
	if (p->verdicts && chain_parse_verdicts(p->verdicts, (enum hook)p->hook, &req->continue_mask, &why))
		return fail(-E_USAGE, "%s: continue: %s %s", command, p->verdicts, why.text);
	return 0;
}

static int add(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_request req;
	struct chain_id id;
	int err = make_request(params, "chain add", &req);

	(void)given;
	if (!err)
		err = begin(run, params, BPFFS_CHANGE, &b, &id);
	return err ? err : chain_add(run, &b, &id, &req);
}

static int replace(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_request req;
	struct chain_id id;
	int err = make_request(params, "chain replace", &req);

	(void)given;
	if (!err)
		err = begin(run, params, BPFFS_CHANGE, &b, &id);
	return err ? err : chain_replace(run, &b, &id, &req);
}

static int adopt(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_request req;
	struct chain_id id;
	int err = make_request(p, "chain adopt", &req);

	(void)given;
	if (!err)
		err = begin(run, p, BPFFS_CHANGE, &b, &id);
	return err ? err : chain_adopt(run, &b, &id, &req, p->id, p->pin);
}

static int remove_member(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id id;
	int err = begin(run, p, BPFFS_CHANGE, &b, &id);

	(void)given;
	return err ? err : chain_remove(run, &b, &id, p->name);
}

static int reorder(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id id;
	int err = begin(run, p, BPFFS_CHANGE, &b, &id);

	(void)given;
	return err ? err : chain_reorder(run, &b, &id, &p->order);
}

static int flush(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id id;
	int err = begin(run, params, BPFFS_CHANGE, &b, &id);

	(void)given;
	return err ? err : chain_flush(run, &b, &id);
}

static int detach(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id id;
	int err = begin(run, params, BPFFS_CHANGE, &b, &id);

	(void)given;
	return err ? err : chain_detach(run, &b, &id);
}

static const struct column columns[] = {
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "hook", .head = "HOOK", .type = COL_STR },
	{ .key = "position", .head = "POS", .type = COL_U64 },
	{ .key = "name", .head = "NAME", .type = COL_STR },
	{ .key = "state", .head = "STATE", .type = COL_STR },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "verdicts", .head = "VERDICTS", .type = COL_COUNTS },
	{ .key = "engine", .head = "ENGINE", .type = COL_STR },
	{ .key = "mode", .head = "MODE", .type = COL_STR },
	{ .key = "program_id", .head = "PROG", .type = COL_U64 },
	{ .key = "since", .head = "SINCE", .type = COL_STR },
	{ .key = "continue", .head = "CONTINUE", .type = COL_LIST, .wide = true },
	{ .key = "tag", .head = "TAG", .type = COL_STR, .wide = true },
	{ .key = "program", .head = "PROGRAM", .type = COL_STR, .wide = true },
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR, .wide = true },
	{ .key = "object", .head = "OBJECT", .type = COL_STR, .wide = true },
	{ .key = "sha256", .head = NULL, .type = COL_STR },
	{ .key = "engine_reason", .head = "WHY THIS ENGINE", .type = COL_STR, .wide = true },
	{ .key = NULL },
};

static void hex_cell(struct table *t, const char *key, const __u8 *bytes, int n)
{
	char text[65] = "";

	for (int i = 0; i < n; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	table_str(t, key, "%s", text);
}

static void time_cell(struct table *t, const char *key, __u64 seconds)
{
	char text[32];

	table_str(t, key, "%s", format_time(seconds, text, sizeof(text)));
}

static void member_cells(struct table *t, const struct chain_row *row)
{
	const struct root_desc *d = row->member;
	__u64 packets = 0;

	table_u64(t, "position", (__u64)row->position);
	table_str(t, "name", "%s", d->name);
	for (int bit = 0; bit <= ROOT_VERDICTS; bit++) {
		const char *word = bit < ROOT_VERDICTS ? chain_verdict(row->id.hook, bit) : "other";

		packets += row->verdicts[bit];
		if (word)
			table_count(t, "verdicts", word, row->verdicts[bit]);
		if (word && bit < ROOT_VERDICTS && d->mask & 1u << bit)
			table_item(t, "continue", word);
	}
	table_u64(t, "packets", packets);
	if (d->prog_id)
		table_u64(t, "program_id", d->prog_id);
	time_cell(t, "since", d->loaded_at);
	hex_cell(t, "tag", d->tag, sizeof(d->tag));
	table_str(t, "program", "%s", d->program);
	if (d->instance[0])
		table_str(t, "instance", "%s", d->instance);
	if (d->flags & ROOT_F_ADOPTED)
		return;
	table_str(t, "object", "%s", d->flags & ROOT_F_BUILTIN ? "built-in" : d->object);
	hex_cell(t, "sha256", d->sha256, sizeof(d->sha256));
}

static const char *state_of(const struct chain_row *row)
{
	if (row->foreign)
		return "foreign";
	if (!row->member)
		return "empty";
	return row->member->prog_id ? "running" : "missing";
}

static int fill_row(const struct chain_row *row, void *arg)
{
	struct table *t = arg;

	table_row(t);
	table_str(t, "dev", "%s", row->id.iface.name);
	table_str(t, "hook", "%s", hook_words[row->id.hook]);
	table_str(t, "state", "%s", state_of(row));
	if (row->foreign) {
		table_str(t, "name", "%s", row->foreign->name);
		table_str(t, "mode", "%s", row->foreign->how);
		table_u64(t, "program_id", row->foreign->prog_id);
		return 0;
	}
	table_str(t, "engine", "%s", engine_words[row->head->engine]);
	table_str(t, "engine_reason", "%s", row->head->why);
	if (row->id.hook == HOOK_XDP)
		table_str(t, "mode", "%s", mode_words[row->head->mode]);
	if (row->member)
		member_cells(t, row);
	else
		time_cell(t, "since", row->head->attached_at);
	return 0;
}

static int list(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *t = table_new(columns);
	int printed, err = bpffs_open(run, BPFFS_READ, &b);

	if (err)
		return err;
	err = chain_walk(&b, ARG_GIVEN(given, list_args, 0) ? &p->dev : NULL,
			 ARG_GIVEN(given, list_args, 1) ? (enum hook)p->hook : HOOK_COUNT, fill_row, t);
	printed = table_print(run, t);
	return err ? err : printed;
}

struct wanted {
	struct table *t;
	const char *name;
	int found;
};

static int fill_wanted(const struct chain_row *row, void *arg)
{
	struct wanted *w = arg;

	if (!row->member || strcmp(row->member->name, w->name))
		return 0;
	w->found = 1;
	return fill_row(row, w->t);
}

static int show(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *t = table_new(columns);
	struct wanted w = { .t = t, .name = p->name };
	int err = bpffs_open(run, BPFFS_READ, &b);

	(void)given;
	if (!err)
		err = chain_walk(&b, &p->dev, (enum hook)p->hook, fill_wanted, &w);
	if (err)
		return err;
	return w.found ? table_print_one(run, t) :
		fail(-1, "%s: is no member of the %s chain of %s", p->name, hook_words[p->hook], p->dev.name);
}

#define MUTATES (CMD_MUTATES | CMD_JSON)

const struct cmd chain_cmds[] = {
	{ .word = "add", .help = "put a member in, in one atomic step", .args = add_args,
	  .params_size = sizeof(struct params), .fn = add, .flags = MUTATES,
	  .example = "l3afctl chain add fw dev eth0 hook xdp object fw.bpf.o position 1" },
	{ .word = "remove", .help = "take a member out", .args = remove_args,
	  .params_size = sizeof(struct params), .fn = remove_member, .flags = MUTATES,
	  .example = "l3afctl chain remove fw dev eth0 hook xdp" },
	{ .word = "reorder", .help = "give the members a new order, for all packets at once", .args = reorder_args,
	  .params_size = sizeof(struct params), .fn = reorder, .flags = MUTATES,
	  .example = "l3afctl chain reorder connlimit,ratelimit,fw dev eth0 hook xdp" },
	{ .word = "replace", .help = "new code for a member, same maps and place", .args = replace_args,
	  .params_size = sizeof(struct params), .fn = replace, .flags = MUTATES,
	  .example = "l3afctl chain replace fw dev eth0 hook xdp object fw2.bpf.o" },
	{ .word = "list", .help = "what runs, in order, with its verdicts", .args = list_args,
	  .params_size = sizeof(struct params), .fn = list, .flags = CMD_JSON,
	  .example = "l3afctl chain list dev eth0" },
	{ .word = "show", .help = "one member in full", .args = remove_args,
	  .params_size = sizeof(struct params), .fn = show, .flags = CMD_JSON,
	  .example = "l3afctl chain show fw dev eth0 hook xdp" },
	{ .word = "flush", .help = "take all members out; the empty chain stays attached", .args = hook_args,
	  .params_size = sizeof(struct params), .fn = flush, .flags = MUTATES },
	{ .word = "detach", .help = "take the whole chain off the interface", .args = hook_args,
	  .params_size = sizeof(struct params), .fn = detach, .flags = MUTATES },
	{ .word = "adopt", .help = "make a running program a member", .args = adopt_args,
	  .params_size = sizeof(struct params), .fn = adopt, .flags = MUTATES,
	  .example = "l3afctl chain adopt old dev eth0 hook xdp id 42" },
	{ .word = NULL },
};
