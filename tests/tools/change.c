// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "change.h"

#include <stdio.h>
#include <string.h>
#include "fp.h"

__u64 seed;

unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

/* Orders */

__u64 order_print(const struct order *o)
{
	__u64 print = 0;

	for (int i = 0; i < o->n; i++)
		print = print << FP_BITS | o->at[i].id;
	return print;
}

const char *print_text(__u64 print)
{
	static char text[4][64];
	static int turn;
	char *s = text[turn++ % 4], digits[16];
	int n = 0, len = 0;

	for (; print && n < 13; print >>= FP_BITS)
		digits[n++] = print & ((1 << FP_BITS) - 1);
	s[0] = 0;
	while (n--)
		len += sprintf(s + len, "%s%d", len ? "," : "", digits[n]);
	return len ? s : "none";
}

static int order_find(const struct order *o, const char *name)
{
	for (int i = 0; i < o->n; i++)
		if (!strcmp(o->at[i].name, name))
			return i;
	return -1;
}

void order_insert(struct order *o, int at, const char *name, int id)
{
	memmove(&o->at[at + 1], &o->at[at], (o->n - at) * sizeof(o->at[0]));
	snprintf(o->at[at].name, sizeof(o->at[at].name), "%s", name);
	o->at[at].id = id;
	o->n++;
}

static void order_drop(struct order *o, int at)
{
	o->n--;
	memmove(&o->at[at], &o->at[at + 1], (o->n - at) * sizeof(o->at[0]));
}

void order_swap(struct order *o, int i, int j)
{
	__typeof__(o->at[0]) t = o->at[i];

	o->at[i] = o->at[j];
	o->at[j] = t;
}

/* Commands */

void begin(struct command *c, const char *verb)
{
	c->argc = 0;
	command_word(c, "%s", opt.l3afctl);
	command_word(c, "--bpffs");
	command_word(c, "%s", opt.bpffs);
	command_word(c, "chain");
	command_word(c, "%s", verb);
}

void where(struct command *c)
{
	command_word(c, "dev");
	command_word(c, "%s", opt.dev);
	command_word(c, "hook");
	command_word(c, "%s", opt.hook);
}

void engine(struct command *c)
{
	command_word(c, "engine");
	command_word(c, "%s", opt.engine);
	if (!strcmp(opt.hook, "xdp")) {
		command_word(c, "mode");
		command_word(c, "%s", opt.mode);
	}
}

void object(struct command *c, int id)
{
	command_word(c, "object");
	if (id)
		command_word(c, "%s/fp%d.bpf.o", opt.objects, id);
	else
		command_word(c, "%s/fpcount.bpf.o", opt.objects);
}

struct change change_reorder(const struct order *to)
{
	struct change ch = { .after = *to, .verb = "reorder" };
	char list[160] = "";

	begin(&ch.command, "reorder");
	for (int i = 0; i < to->n; i++)
		strcat(strcat(list, to->at[i].name), ",");
	command_word(&ch.command, "%sfpcount", list);
	where(&ch.command);
	return ch;
}

struct change change_add(const struct order *from, const char *name, int id, int at)
{
	struct change ch = { .after = *from, .verb = "add" };
	struct command *c = &ch.command;

	order_insert(&ch.after, at, name, id);
	begin(c, "add");
	command_word(c, "%s", name);
	where(c);
	object(c, id);
	switch (random_below(3)) {
	case 0:
		command_word(c, "position");
		command_word(c, "%d", at + 1);
		break;
	case 1:
		command_word(c, "before");
		command_word(c, "%s", at < from->n ? from->at[at].name : "fpcount");
		break;
	default:
		command_word(c, at ? "after" : "before");
		command_word(c, "%s", at ? from->at[at - 1].name : from->n ? from->at[0].name : "fpcount");
	}
	return ch;
}

struct change change_remove(const struct order *from, int at)
{
	struct change ch = { .after = *from, .verb = "remove" };

	order_drop(&ch.after, at);
	begin(&ch.command, "remove");
	command_word(&ch.command, "%s", from->at[at].name);
	where(&ch.command);
	return ch;
}

struct change change_replace(const struct order *from, int at, int id)
{
	struct change ch = { .after = *from, .verb = "replace" };

	ch.after.at[at].id = id;
	begin(&ch.command, "replace");
	command_word(&ch.command, "%s", from->at[at].name);
	where(&ch.command);
	object(&ch.command, id);
	return ch;
}

/* An id that no member has, so that each order has its own fingerprint. */
static int id_free(const struct order *o)
{
	for (;;) {
		int id = 1 + random_below(IDS), i = 0;

		while (i < o->n && o->at[i].id != id)
			i++;
		if (i == o->n)
			return id;
	}
}

struct change change_random(const struct order *o)
{
	struct order to = *o;
	char name[2];

	for (;;) {
		switch (random_below(4)) {
		case 0:
			if (o->n < 2)
				continue;
			for (int i = to.n - 1; i > 0; i--)
				order_swap(&to, i, random_below(i + 1));
			return change_reorder(&to);
		case 1:
			sprintf(name, "%c", 'a' + random_below(8));
			if (o->n == 6 || order_find(o, name) >= 0)
				continue;
			return change_add(o, name, id_free(o), random_below(o->n + 1));
		case 2:
			if (!o->n)
				continue;
			return change_remove(o, random_below(o->n));
		default:
			if (!o->n)
				continue;
			return change_replace(o, random_below(o->n), id_free(o));
		}
	}
}

bool same_names(const struct order *a, const struct order *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (strcmp(a->at[i].name, b->at[i].name))
			return false;
	return true;
}

