// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "cmd.h"
#include "parse.h"

#define WIDTH 79
#define INDENT 26

/* From column INDENT on, folded to WIDTH. */
static void fold_print(const char *help)
{
	int column = INDENT;

	while (*help) {
		int len = (int)strcspn(help, " "), space = column > INDENT;

		if (space && column + 1 + len > WIDTH) {
			printf("\n%*s", INDENT, "");
			column = INDENT;
			space = 0;
		}
		printf("%*s%.*s", space, "", len, help);
		column += space + len;
		help += len + (help[len] == ' ');
	}
	putchar('\n');
}

static void entry_print(const char *left, const char *help)
{
	int len = printf("  %s", left);

	if (len + 1 < INDENT)
		printf("%*s", INDENT - len, "");
	else
		printf("\n%*s", INDENT, "");
	fold_print(help);
}

/* The range of a value, where the table gives one. */
static const char *range_text(const struct arg *a, char *buf, size_t size)
{
	char min[32], max[32];

	*buf = 0;
	if (a->max && a->type == ARG_DURATION)
		snprintf(buf, size, " (%s..%s)", format_duration(a->min, min, sizeof(min)),
			 format_duration(a->max, max, sizeof(max)));
	else if (a->max && a->max < UINT32_MAX)
		snprintf(buf, size, " (%llu..%llu)", (unsigned long long)a->min, (unsigned long long)a->max);
	return buf;
}

static void arg_print(const struct arg *a)
{
	char left[ARG_TEXT_LEN], range[80], help[256];

	snprintf(help, sizeof(help), "%s%s", a->help, range_text(a, range, sizeof(range)));
	entry_print(arg_text(a, left, sizeof(left)), help);
}

static void options_print(void)
{
	char text[ARG_TEXT_LEN], line[ARG_TEXT_LEN + 8];

	puts("\noptions, anywhere on the line; -- ends them:");
	for (const struct option *o = options; o->arg.word; o++) {
		snprintf(line, sizeof(line), o->letter ? "-%c, %s" : "%c   %s", o->letter ? o->letter : ' ',
			 arg_text(&o->arg, text, sizeof(text)));
		entry_print(line, o->arg.help);
	}
}

static void flags_print(unsigned flags)
{
	fputs("\noptions:", stdout);
	for (const struct option *o = options; o->arg.word; o++)
		if (o->flags & flags)
			printf(" %s", o->arg.word);
	puts(flags ? ", and those of l3afctl --help" : " those of l3afctl --help");
}

static void command_print(const struct place *p)
{
	const struct cmd *c = p->cmd;

	args_usage(stdout, p->name, p->args, WIDTH);
	printf("%s\n", c->help);
	if (p->args->word)
		putchar('\n');
	for (const struct arg *a = p->args; a->word; a++)
		arg_print(a);
	flags_print(c->flags);
	if (c->example)
		printf("example: %s\n", c->example);
}

static void group_print(const struct place *p)
{
	if (p->cmd)
		printf("usage: l3afctl %s COMMAND ...\n%s\n\n", p->name, p->cmd->help);
	else
		puts("usage: l3afctl [OPTION]... OBJECT COMMAND [NAME] [KEYWORD VALUE]...\n"
		     "chains of eBPF kernel functions on network interfaces\n");
	for (const struct cmd *c = p->sub; c->word; c++)
		entry_print(c->word, c->help);
	if (!p->cmd)
		options_print();
	else
		printf("\nl3afctl %s COMMAND --help explains one\n", p->name);
}

void help_print(const struct place *p)
{
	if (p->sub)
		group_print(p);
	else
		command_print(p);
}

static void words_print(const char *of, const struct arg *a)
{
	const char *word = a->positional ? "" : a->word, *space = a->positional ? "" : " ";

	if (!a->positional)
		printf("%s %s\n", of, word);
	for (int i = 0; a->type == ARG_ENUM && a->words[i]; i++)
		printf("%s%s%s %s\n", of, space, word, a->words[i]);
}

static void branch_print(const struct place *p)
{
	if (!p->sub) {
		puts(p->name);
		for (const struct arg *a = p->args; a->word; a++)
			words_print(p->name, a);
		return;
	}
	for (const struct cmd *c = p->sub; c->word; c++) {
		struct place next = *p;
		char *word = (char *)c->word;

		if (c->sub != objects && place_walk(&next, 1, &word))
			branch_print(&next);
	}
}

void grammar_print(void)
{
	struct place start = { .sub = objects };

	branch_print(&start);
	for (const struct option *o = options; o->arg.word; o++)
		printf("%s\n", o->arg.word);
}
