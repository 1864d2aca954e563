// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include "args.h"
#include "nl.h"
#include "parse.h"

#define SHOWN_MAX 60
#define USAGE_LEN (4 * ARG_TEXT_LEN)

struct shown {
	char text[SHOWN_MAX + 8];
};

/* An offending word as messages show it: never empty, never endless. */
static struct shown show(const char *s)
{
	const char *quote = !*s || strchr(s, ' ') ? "'" : "";
	struct shown shown;

	snprintf(shown.text, sizeof(shown.text), "%s%.*s%s%s", quote, SHOWN_MAX, s,
		 strlen(s) > SHOWN_MAX ? "..." : "", quote);
	return shown;
}

static int iface_parse(const char *s, struct iface *iface, struct why *why)
{
	int err = iface_by_name(s, iface);

	if (err != -ENODEV)
		return err;
	snprintf(why->text, sizeof(why->text), "is not an interface of this network namespace");
	return -E_USAGE;
}

static int text_parse(const struct arg *a, const char *s, const char **field, struct why *why)
{
	if (!*s && a->type == ARG_FILE) {
		snprintf(why->text, sizeof(why->text), "is not a file name");
		return -E_USAGE;
	}
	*field = s;
	return 0;
}

static int u32_parse(const char *s, __u64 min, __u64 max, __u32 *field, struct why *why)
{
	__u64 v;
	int err = parse_u64(s, min, max, &v, why);

	if (!err)
		*field = (__u32)v;
	return err;
}

static __u64 limit_of(const struct arg *a)
{
	if (a->max)
		return a->max;
	return a->type == ARG_U32 ? UINT32_MAX : UINT64_MAX;
}

static int value_parse(const struct arg *a, const char *s, void *field, struct why *why)
{
	struct names *names = field;

	switch (a->type) {
	case ARG_FLAG:
		*(bool *)field = true;
		return 0;
	case ARG_NAME:
		return parse_name(s, field, why);
	case ARG_NAMES:
		return parse_names(s, names->name, sizeof(names->name) / NAME_LEN, &names->n, why);
	case ARG_STRING:
	case ARG_FILE:
		return text_parse(a, s, field, why);
	case ARG_IFACE:
		return iface_parse(s, field, why);
	case ARG_ENUM:
		return parse_enum(s, a->words, field, why);
	case ARG_U32:
		return u32_parse(s, a->min, limit_of(a), field, why);
	case ARG_U64:
		return parse_u64(s, a->min, limit_of(a), field, why);
	case ARG_ADDR:
		return parse_addr(s, field, why);
	case ARG_PREFIX:
		return parse_prefix(s, field, why);
	case ARG_PORTS:
		return parse_ports(s, field, why);
	case ARG_RATE:
		return parse_rate(s, field, why);
	case ARG_DURATION:
		return parse_duration(s, a->min, limit_of(a), field, why);
	case ARG_CUSTOM:
		return a->parse(s, field, why);
	}
	return -EINVAL;
}

int arg_set(const char *of, const struct arg *a, const char *value, void *params)
{
	const char *colon = *of ? ": " : "";
	struct why why = { "is not right" };
	int err = value_parse(a, value, (char *)params + a->offset, &why);

	if (err == -E_USAGE)
		return fail(err, "%s%s%s: %s %s", of, colon, a->word, show(value).text, why.text);
	if (err)
		return fail_errno(err, "%s%s%s: %s", of, colon, a->word, show(value).text);
	return 0;
}

static bool any_keyword(const struct arg *table, __u64 given)
{
	for (int i = 0; table[i].word; i++)
		if (!table[i].positional && ARG_GIVEN(given, table, i))
			return true;
	return false;
}

int args_positional(const struct arg *table, __u64 given)
{
	if (any_keyword(table, given))
		return -1;
	for (int i = 0; table[i].word; i++)
		if (table[i].positional && !ARG_GIVEN(given, table, i))
			return i;
	return -1;
}

const char *arg_second(const struct arg *a, const char *first)
{
	size_t len = strlen(first);

	return !a->positional && !strncmp(a->word, first, len) && a->word[len] == ' ' ? a->word + len + 1 : NULL;
}

/* How many of the words the keyword is: 0 (it is not there), 1 or 2. */
static int keyword_words(const struct arg *a, char *const *argv)
{
	const char *second = arg_second(a, argv[0]);

	if (second)
		return argv[1] && !strcmp(second, argv[1]) ? 2 : 0;
	return !strcmp(a->word, argv[0]);
}

int args_find(const struct arg *table, __u64 given, char *const *argv, int *words)
{
	int next = args_positional(table, given), found = next, n;

	*words = 0;
	if (next >= 0 && table[next].required)
		return next;
	for (int i = 0; table[i].word; i++) {
		n = table[i].positional ? 0 : keyword_words(&table[i], argv);
		if (n > *words) {
			*words = n;
			found = i;
		}
	}
	return found;
}

int args_rival(const struct arg *table, __u64 given, int i)
{
	if (!table[i].group)
		return -1;
	for (int j = 0; table[j].word; j++)
		if (j != i && table[j].group == table[i].group && ARG_GIVEN(given, table, j))
			return j;
	return -1;
}

__attribute__((format(printf, 3, 4)))
static void append(char *buf, size_t size, const char *fmt, ...)
{
	size_t used = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + used, size - used, fmt, ap);
	va_end(ap);
}

const char *arg_text(const struct arg *a, char *buf, size_t size)
{
	bool is_bare = a->positional && a->type == ARG_ENUM;

	snprintf(buf, size, "%s", is_bare ? "" : a->word);
	if (a->type == ARG_ENUM)
		for (int i = 0; a->words[i]; i++)
			append(buf, size, "%s%s", i ? "|" : is_bare ? "" : " ", a->words[i]);
	else if (!a->positional && a->type != ARG_FLAG)
		append(buf, size, " %s", a->meta);
	return buf;
}

/* The text of one argument, or of those of one group; returns the entry behind them. */
static const struct arg *usage_item(const struct arg *a, char *buf, size_t size)
{
	const struct arg *first = a;
	char text[ARG_TEXT_LEN];
	bool is_choice = first->group && a[1].word && a[1].group == first->group, is_many = first->many;

	snprintf(buf, size, "%s%s", first->required ? is_choice || is_many ? "(" : "" : "[", arg_text(a, text, sizeof(text)));
	for (a++; a->word && first->group && a->group == first->group; a++) {
		append(buf, size, " | %s", arg_text(a, text, sizeof(text)));
		is_many |= a->many;
	}
	append(buf, size, "%s%s", first->required ? is_choice || is_many ? ")" : "" : "]", is_many ? "..." : "");
	return a;
}

static int unknown_word(const char *of, const struct arg *table, const char *word)
{
	struct nearest near = { .typed = word };
	bool has_keywords = false, is_first = false;
	const struct arg *a;

	for (a = table; a->word; a++) {
		if (a->positional)
			continue;
		has_keywords = true;
		nearest_try(&near, a->word);
		is_first = arg_second(a, word);
		if (is_first)
			break;
	}
	if (!has_keywords)
		fail(-E_USAGE, "%s: %s is one word too many", of, show(word).text);
	else if (is_first || near.word)
		fail(-E_USAGE, "%s: %s is not a keyword; did you mean '%s'?", of, show(word).text,
		     is_first ? a->word : near.word);
	else
		fail(-E_USAGE, "%s: %s is not a keyword", of, show(word).text);
	args_usage(stderr, of, table, 0);
	return -E_USAGE;
}

/* One keyword with its value, or one positional argument; returns the words used. */
static int arg_take(const char *of, const struct arg *table, char **argv, void *params, __u64 *given)
{
	int words, i = args_find(table, *given, argv, &words), rival, err;
	const struct arg *a = &table[i];
	char text[ARG_TEXT_LEN];

	if (i < 0)
		return unknown_word(of, table, argv[0]);
	if (ARG_GIVEN(*given, table, i) && !a->many)
		return fail(-E_USAGE, "%s: %s is given twice", of, a->word);
	rival = args_rival(table, *given, i);
	if (rival >= 0)
		return fail(-E_USAGE, "%s: %s and %s exclude each other", of, table[rival].word, a->word);
	bool has_value = !a->positional && a->type != ARG_FLAG;
	if (has_value && !argv[words])
		return fail(-E_USAGE, "%s: %s: the value is missing", of, arg_text(a, text, sizeof(text)));
	err = arg_set(of, a, a->type == ARG_FLAG ? "" : argv[words], params);
	if (err)
		return err;
	*given |= 1ULL << i;
	return words + (a->type != ARG_FLAG);
}

static int missing_word(const char *of, const struct arg *table, __u64 given)
{
	char item[USAGE_LEN];

	for (int i = 0; table[i].word; i++) {
		if (!table[i].required || ARG_GIVEN(given, table, i) || args_rival(table, given, i) >= 0)
			continue;
		usage_item(&table[i], item, sizeof(item));
		fail(-E_USAGE, "%s: %s is missing", of, item);
		args_usage(stderr, of, table, 0);
		return -E_USAGE;
	}
	return 0;
}

int args_parse(const char *of, const struct arg *table, int argc, char **argv, void *params, __u64 *given)
{
	int used;

	*given = 0;
	for (; argc; argc -= used, argv += used) {
		used = arg_take(of, table, argv, params, given);
		if (used < 0)
			return used;
	}
	return missing_word(of, table, *given);
}

void args_usage(FILE *f, const char *of, const struct arg *table, int width)
{
	char item[USAGE_LEN];
	int column = fprintf(f, "usage: l3afctl %s", of), indent = column;

	while (table->word) {
		table = usage_item(table, item, sizeof(item));
		int len = (int)strlen(item) + 1;
		if (width && column + len > width && column > indent)
			column = fprintf(f, "\n%*s", indent, "") - 1;
		fprintf(f, " %s", item);
		column += len;
	}
	putc('\n', f);
}
