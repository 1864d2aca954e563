// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "chain.h"
#include "cleanup.h"
#include "cmd.h"
#include "kf.h"
#include "nl.h"
#include "parse.h"

#define DEFAULT_WAIT_US 10000000

static int version_run(struct run *run, const void *params, __u64 given)
{
	static const struct column columns[] = {
		{ .key = "version", .head = "l3afctl", .type = COL_STR },
		{ .key = "libbpf", .head = "libbpf", .type = COL_STR },
		{ .key = "hooks", .head = "hooks", .type = COL_LIST },
		{ .key = "engines", .head = "engines", .type = COL_LIST },
		{ .key = "kernel_functions", .head = "kernel functions", .type = COL_LIST },
		{ 0 },
	};
	auto_table struct table *t = table_new(columns);

	(void)params;
	(void)given;
	table_row(t);
	table_str(t, "version", "%s", VERSION);
	table_str(t, "libbpf", "%s", libbpf_version_string());
	for (int i = 0; hook_words[i]; i++)
		table_item(t, "hooks", hook_words[i]);
	for (int i = ENGINE_AUTO + 1; engine_words[i]; i++)
		table_item(t, "engines", engine_words[i]);
	for (int i = 0; kf_all[i]; i++)
		table_item(t, "kernel_functions", kf_all[i]->name);
	return table_print_one(run, t);
}

const struct cmd objects[] = {
	{ .word = "chain", .help = "kernel functions in order on a hook of an interface", .sub = chain_cmds },
	{ .word = "limit", .help = "limits on new and on open TCP connections", .sub = limit_cmds },
	{ .word = "flows", .help = "packets counted by flow, exported by IPFIX", .sub = flows_cmds },
	{ .word = "lb", .help = "connections to VIPs balanced over backends", .sub = lb_cmds },
	{ .word = "agent", .help = "a load balancer's packets out of their tunnels, on backends", .sub = agent_cmds },
	{ .word = "mirror", .help = "copies of packets to a collector, without harm to the packets", .sub = mirror_cmds },
	{ .word = "l2tp", .help = "Ethernet pseudowires by L2TPv3", .sub = l2tp_cmds },
	{ .word = "version", .help = "version and built-in features", .fn = version_run, .flags = CMD_JSON },
	{ .word = "help", .help = "explain an object or a command", .sub = objects },
	{ 0 },
};

static const struct cmd *cmd_find(const struct cmd *table, const char *word)
{
	for (; table->word; table++)
		if (!strcmp(table->word, word))
			return table;
	return NULL;
}

static void place_enter(struct place *p, const struct cmd *c)
{
	static const struct arg none[] = { { 0 } };
	size_t used = strlen(p->name);

	p->sub = c->sub;
	p->args = c->args ? c->args : none;
	if (c->sub == objects) {
		p->is_help = true;
		p->cmd = NULL;
		return;
	}
	p->cmd = c;
	snprintf(p->name + used, sizeof(p->name) - used, "%s%s", used ? " " : "", c->word);
}

int place_walk(struct place *p, int argc, char **argv)
{
	int n;

	for (n = 0; n < argc && p->sub; n++) {
		const struct cmd *c = cmd_find(p->sub, argv[n]);

		if (!c)
			break;
		place_enter(p, c);
	}
	return n;
}

/* p is a group of commands; word, which may be NULL, is none of them. */
static int not_a_command(const struct place *p, const char *word)
{
	const char *colon = p->cmd ? ": " : "";
	struct nearest near = { .typed = word };
	char list[256] = "";

	for (const struct cmd *c = p->sub; c->word; c++) {
		size_t used = strlen(list);

		snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", c->word);
		if (word)
			nearest_try(&near, c->word);
	}
	if (!word)
		return fail(-E_USAGE, "%s%sa word is missing; one of %s", p->name, colon, list);
	if (near.word)
		return fail(-E_USAGE, "%s%s'%.60s' is not a command; did you mean '%s'?", p->name, colon, word,
			    near.word);
	return fail(-E_USAGE, "%s%s'%.60s' is not one of %s", p->name, colon, word, list);
}

/* Options that the command does not take are refused, not ignored. */
static int options_check(const struct place *p, const struct settings *s)
{
	for (const struct option *o = options; o->arg.word; o++) {
		bool is_given = o->flags && *(const bool *)((const char *)s + o->arg.offset);

		if (is_given && !(p->cmd->flags & o->flags))
			return fail(-E_USAGE, "%s takes no %s", p->name, o->arg.word);
	}
	return 0;
}

static int command_run(struct settings *s, const struct place *p, int argc, char **argv)
{
	const struct cmd *c = p->cmd;
	auto_free void *params = calloc(1, c->params_size + 1);
	auto_changes struct changes *changes = changes_new();
	__u64 given;

	if (!params || !changes)
		return fail_errno(-ENOMEM, "%s", p->name);
	int err = options_check(p, s);
	if (!err && s->netns)
		err = netns_enter(s->netns);
	if (!err)
		err = args_parse(p->name, p->args, argc, argv, params, &given);
	if (err)
		return err;
	s->run.changes = changes;
	err = c->fn(&s->run, params, given);
	if (c->flags & CMD_MUTATES && (!err || s->run.has_changed)) {
		int unprinted = changes_print(&s->run, changes);

		return err ? err : unprinted;
	}
	return err;
}

/* Words without options, from p on. */
static int words_run(struct settings *s, struct place *p, int argc, char **argv)
{
	int used = place_walk(p, argc, argv);

	argc -= used;
	argv += used;
	if ((s->help || p->is_help) && (!argc || !p->sub)) {
		help_print(p);
		return 0;
	}
	if (p->sub)
		return not_a_command(p, argv[0]);
	return command_run(s, p, argc, argv);
}

/* A link called l3af-OBJECT stands for "l3afctl OBJECT". */
static int place_start(struct place *p, const char *self)
{
	const char *slash = strrchr(self, '/'), *name = slash ? slash + 1 : self;
	char *object = strncmp(name, "l3af-", 5) ? NULL : (char *)name + 5;

	*p = (struct place){ .sub = objects };
	if (object && !place_walk(p, 1, &object))
		return not_a_command(p, object);
	return 0;
}

static int line_run(int argc, char **argv)
{
	const char *bpffs = getenv("L3AF_BPFFS");
	struct settings s = {
		.run = {
			.started_us = run_now_us(),
			.wait_us = DEFAULT_WAIT_US,
			.bpffs = bpffs && *bpffs ? bpffs : "/sys/fs/bpf",
		},
	};
	struct place p;
	int err = place_start(&p, argv[0]);

	argc--;
	argv++;
	if (!err && argc && !strcmp(argv[0], "--complete")) {
		complete_print(&p, argc - 1, argv + 1);
		return 0;
	}
	if (!err && argc == 1 && !strcmp(argv[0], "--grammar")) {
		grammar_print();
		return 0;
	}
	if (!err)
		err = options_parse(&argc, argv, &s);
	if (err)
		return err;
	err_set_quiet(s.run.quiet);
	if (s.version && !s.help)
		return version_run(&s.run, NULL, 0);
	return words_run(&s, &p, argc, argv);
}

/* A descriptor opened later must not become the standard output of a caller that had
 * closed his; writing to what is put there fails. */
static int std_fds_open(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			return -errno;
	return 0;
}

static int stdout_close(int err)
{
	bool is_bad = ferror(stdout);

	errno = 0;
	if (!fclose(stdout) && !is_bad)
		return err;
	return fail_errno(errno ? -errno : -EIO, "standard output");
}

static int exit_code(int err)
{
	switch (err) {
	case 0:
		return 0;
	case -E_USAGE:
		return 2;
	case -E_DIFFERS:
		return 3;
	case -E_LOCKED:
		return 4;
	default:
		return 1;
	}
}

int main(int argc, char **argv)
{
	char *no_words[] = { (char *)"l3afctl", NULL };
	int err = std_fds_open();

	setvbuf(stderr, NULL, _IOLBF, 0);
	if (err)
		return exit_code(err);
	if (getauxval(AT_SECURE))
		return exit_code(fail(-EPERM, "refuses to run set-uid or with file capabilities; run it as root"));
	err = argc ? line_run(argc, argv) : line_run(1, no_words);
	return exit_code(stdout_close(err));
}
