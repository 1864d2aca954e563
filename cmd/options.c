// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <string.h>
#include "cmd.h"
#include "parse.h"

#define AT(field) offsetof(struct settings, field)
#define DAY_US 86400000000ULL

const struct option options[] = {
	{ 'j', { .word = "--json", .type = ARG_FLAG, .offset = AT(run.json),
		 .help = "answer in JSON" }, CMD_JSON },
	{ 0, { .word = "--dry-run", .type = ARG_FLAG, .offset = AT(run.dry_run),
	       .help = "print the changes, make none" }, CMD_MUTATES | CMD_DRY_RUN },
	{ 'q', { .word = "--quiet", .type = ARG_FLAG, .offset = AT(run.quiet),
		 .help = "no warnings" }, 0 },
	{ 'v', { .word = "--verbose", .type = ARG_FLAG, .offset = AT(run.verbose),
		 .help = "all columns; say when nothing changed" }, 0 },
	{ 0, { .word = "--wait", .type = ARG_DURATION, .offset = AT(run.wait_us), .meta = "TIME",
	       .max = DAY_US, .help = "for the lock, 0: do not wait; default 10s" }, 0 },
	{ 0, { .word = "--bpffs", .type = ARG_FILE, .offset = AT(run.bpffs), .meta = "DIR",
	       .help = "the bpffs; default $L3AF_BPFFS or /sys/fs/bpf" }, 0 },
	{ 'n', { .word = "--netns", .type = ARG_STRING, .offset = AT(netns), .meta = "NETNS",
		 .help = "work in this network namespace: name, path or pid" }, 0 },
	{ 'h', { .word = "--help", .type = ARG_FLAG, .offset = AT(help),
		 .help = "explain the command" }, 0 },
	{ 'V', { .word = "--version", .type = ARG_FLAG, .offset = AT(version),
		 .help = "version and built-in features" }, 0 },
	{ 0 },
};

static const struct option *long_find(const char *word, const char **value)
{
	size_t len = strcspn(word, "=");

	*value = word[len] ? word + len + 1 : NULL;
	for (const struct option *o = options; o->arg.word; o++)
		if (strlen(o->arg.word) == len && !strncmp(o->arg.word, word, len))
			return o;
	return NULL;
}

const struct option *option_find(const char *word, const char **value)
{
	*value = NULL;
	if (word[0] != '-' || !word[1])
		return NULL;
	if (word[1] == '-')
		return long_find(word, value);
	*value = word[2] ? word + 2 : NULL;
	for (const struct option *o = options; o->arg.word; o++)
		if (o->letter == word[1])
			return o;
	return NULL;
}

static int unknown_option(const char *word)
{
	struct nearest near = { .typed = word };

	for (const struct option *o = options; o->arg.word; o++)
		nearest_try(&near, o->arg.word);
	if (near.word)
		return fail(-E_USAGE, "%.60s is not an option; did you mean '%s'?", word, near.word);
	return fail(-E_USAGE, "%.60s is not an option; l3afctl --help lists them", word);
}

static int flag_take(char **argv, const struct option *o, const char *more, struct settings *s)
{
	bool is_long = argv[0][1] == '-';

	if (more && is_long)
		return fail(-E_USAGE, "%s takes no value", o->arg.word);
	if (more && *more == '-')
		return unknown_option(argv[0]);
	int err = arg_set("", &o->arg, "", s);
	if (err || !more)
		return err ? err : 1;
	*++argv[0] = '-'; /* "-jv": go on with "-v" */
	return 0;
}

/* Returns the words used, of which there are none while argv[0] holds more letters. */
static int option_take(char **argv, struct settings *s)
{
	const char *value;
	const struct option *o = option_find(argv[0], &value);

	if (!o)
		return unknown_option(argv[0]);
	if (o->arg.type == ARG_FLAG)
		return flag_take(argv, o, value, s);
	bool is_separate = !value;
	if (is_separate)
		value = argv[1];
	if (!value)
		return fail(-E_USAGE, "%s %s: the value is missing", o->arg.word, o->arg.meta);
	int err = arg_set("", &o->arg, value, s);
	return err ? err : 1 + is_separate;
}

int options_parse(int *argc, char **argv, struct settings *s)
{
	char **from = argv, **to = argv;

	while (*from) {
		if (from[0][0] != '-' || !from[0][1]) {
			*to++ = *from++;
			continue;
		}
		if (!strcmp(*from, "--"))
			break;
		int used = option_take(from, s);
		if (used < 0)
			return used;
		from += used;
	}
	for (from += !!*from; *from;)
		*to++ = *from++;
	*to = NULL;
	*argc = (int)(to - argv);
	return 0;
}
