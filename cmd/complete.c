// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "cmd.h"
#include "nl.h"

static void ifaces_print(void)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_name; i++)
		puts(i->if_name);
	if (all)
		if_freenameindex(all);
}

static void value_print(const struct arg *a)
{
	if (a->complete)
		a->complete();
	else if (a->type == ARG_IFACE)
		ifaces_print();
	else if (a->type == ARG_FILE)
		puts(":file");
	for (int i = 0; a->type == ARG_ENUM && a->words[i]; i++)
		puts(a->words[i]);
}

static void options_print(const struct cmd *c)
{
	for (const struct option *o = options; o->arg.word; o++)
		if (!o->flags || (c && c->flags & o->flags))
			puts(o->arg.word);
}

/* Is its first word a keyword that is printed for itself? */
static bool is_first_of_another(const struct arg *table, const struct arg *a)
{
	for (; table->word; table++)
		if (!table->positional && arg_second(a, table->word))
			return true;
	return false;
}

static void keywords_print(const struct arg *table, __u64 given)
{
	int next = args_positional(table, given);

	if (next >= 0)
		value_print(&table[next]);
	if (next >= 0 && table[next].required)
		return;
	for (int i = 0; table[i].word; i++)
		if (!table[i].positional && (table[i].many || !ARG_GIVEN(given, table, i)) &&
		    args_rival(table, given, i) < 0 && !is_first_of_another(table, &table[i]))
			printf("%.*s\n", (int)strcspn(table[i].word, " "), table[i].word);
}

/* The second words of keywords that begin with this one. */
static void seconds_print(const struct arg *table, const char *first)
{
	for (; table->word; table++)
		if (arg_second(table, first))
			puts(arg_second(table, first));
}

/* What may follow a keyword: its value, or the second word of a longer one. */
static void after_keyword(const struct arg *table, int i)
{
	value_print(&table[i]);
	seconds_print(table, table[i].word);
}

/* After the words of argv, the last of which is not complete. */
static void args_complete(const struct arg *table, int argc, char **argv)
{
	__u64 given = 0;

	argv[argc - 1] = NULL;
	while (*argv) {
		int words, i = args_find(table, given, argv, &words);

		if (i < 0 && !argv[1])
			seconds_print(table, argv[0]);
		if (i < 0)
			return;
		given |= 1ULL << i;
		argv += words;
		if (table[i].type == ARG_FLAG)
			continue;
		if (!*argv) {
			after_keyword(table, i);
			return;
		}
		argv++;
	}
	keywords_print(table, given);
}

/* Is the last word the value of an option? Then it is completed here. */
static bool option_complete(int argc, char **argv)
{
	const char *value;
	const struct option *o = argc > 1 ? option_find(argv[argc - 2], &value) : NULL;

	if (!o || value || o->arg.type == ARG_FLAG)
		return false;
	value_print(&o->arg);
	return true;
}

void complete_print(struct place *p, int argc, char **argv)
{
	struct settings s = { 0 };
	char *last = argc ? argv[--argc] : NULL;

	if (!last || option_complete(argc + 1, argv))
		return;
	argv[argc] = NULL;
	if (options_parse(&argc, argv, &s) || (s.netns && netns_enter(s.netns)))
		return;
	int used = place_walk(p, argc, argv);
	if (*last == '-') {
		options_print(p->cmd);
	} else if (!p->sub) {
		argv[argc] = last;
		args_complete(p->args, argc - used + 1, argv + used);
	} else if (used == argc) {
		for (const struct cmd *c = p->sub; c->word; c++)
			puts(c->word);
	}
}
