// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "judge.h"

#include <bpf/bpf.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "fp.h"

#define SETTLE 120 /* packets: more than the sender lets be under way */

struct traffic *traffic;
struct prints last;
__u64 illegal;
unsigned faults;
struct outcome result;
static bool has_stalled;

void fault(const char *fmt, ...)
{
	va_list ap;

	faults++;
	va_start(ap, fmt);
	fputs("FAULT: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	if (faults > 20)
		die("too many faults");
}

void must(const struct command *c)
{
	command_run(c, &result);
	if (result.status) {
		command_print(c);
		fault("exit status %d: %s", result.status, result.err);
	}
}

void listed(struct order *o, bool *is_there)
{
	struct command c;
	cJSON *rows, *row;

	begin(&c, "list");
	where(&c);
	command_word(&c, "--json");
	must(&c);
	rows = cJSON_Parse(result.out);
	o->n = 0;
	*is_there = false;
	cJSON_ArrayForEach(row, rows) {
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(row, "name"));
		const char *state = cJSON_GetStringValue(cJSON_GetObjectItem(row, "state"));

		if (!name || !state || strcmp(state, "running"))
			continue;
		*is_there = true;
		if (strcmp(name, "fpcount") && o->n < MAX_MEMBERS)
			order_insert(o, o->n, name, 0);
	}
	cJSON_Delete(rows);
}

/* Packets */

void look(__u64 a, __u64 b, __u64 *a_seen, __u64 *b_seen)
{
	static struct prints now;
	struct prints old = last;

	traffic_prints(traffic, &now);
	*a_seen = *b_seen = 0;
	for (size_t i = 0; i < now.n; i++) {
		__u64 print = now.at[i].print;
		__u64 n = now.at[i].packets - prints_get(&old, print);

		if (print == a)
			*a_seen = n;
		if (print == b)
			*b_seen = n;
		if (n && print != a && print != b) {
			illegal += n;
			fault("%llu packets ran %s, which is neither %s nor %s", n,
			      print_text(print), print_text(a), print_text(b));
		}
	}
	last = now;
	now = old;
}

void settle(void)
{
	if (!has_stalled && !traffic_wait(traffic, SETTLE)) {
		has_stalled = true; /* once is enough: each time takes long */
		fault("no packet arrives any more");
	}
}

void steady(__u64 print)
{
	__u64 n, unused;

	settle();
	look(print, print, &n, &unused);
	if (!n)
		fault("no packet ran %s", print_text(print));
}

bool is_changed(const struct order *old, const struct order *new)
{
	__u64 a, b;

	settle(); /* packets that were under way when the command was killed */
	look(order_print(old), order_print(new), &a, &b);
	settle();
	look(order_print(old), order_print(new), &a, &b);
	if (order_print(old) != order_print(new) && !a == !b)
		fault("%llu packets ran the old order, %llu the new", a, b);
	return b;
}

/* Setting up and taking down */

void counter_add(struct change *ch)
{
	*ch = (struct change){ .verb = "first add" };
	begin(&ch->command, "add");
	command_word(&ch->command, "fpcount");
	where(&ch->command);
	object(&ch->command, 0);
	engine(&ch->command);
}

void counter_open(void)
{
	char dir[128], *ns = NULL, *dev = NULL;

	snprintf(dir, sizeof(dir), "%s/l3af/kf/fpcount", opt.bpffs);
	if (strcmp(opt.hook, "tc-egress")) {
		ns = strdup(opt.from);
		dev = strchr(ns, ':');
		if (!dev)
			die("from is NETNS:IF");
		*dev++ = 0;
	}
	traffic = traffic_open(dir, ns, dev ? dev : opt.dev);
	free(ns);
}

void chain_make(struct order *o, int n)
{
	unsigned before = faults;
	struct change ch;

	counter_add(&ch);
	must(&ch.command);
	o->n = 0;
	for (int i = 0; i < n; i++) {
		char name[2] = { 'a' + i, 0 };

		ch = change_add(o, name, 1 + i, i);
		must(&ch.command);
		*o = ch.after;
	}
	if (faults != before)
		die("the chain could not be made");
	counter_open();
	traffic_prints(traffic, &last);
}

void command_chain(const char *verb)
{
	struct command c;

	begin(&c, verb);
	where(&c);
	must(&c);
}

void chain_unmake(void)
{
	command_chain("flush");
	command_chain("detach");
	traffic_close(traffic);
}

/* What is pinned, to be compared: names, not contents. */
static char tree[65536];
static size_t tree_len;
static int tree_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *member = strstr(path, "/member/"); /* the rest is a program's id */
	int len = member ? (int)(member - path) + 8 : (int)strlen(path);

	(void)st, (void)ftw;
	if (type == FTW_D || type == FTW_DP)
		return 0;
	tree_len += snprintf(tree + tree_len, sizeof(tree) - tree_len, "%.*s\n", len, path);
	return tree_len < sizeof(tree) - 512 ? 0 : 1;
}
static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}
static char *tree_read(void)
{
	char path[128], *lines[1024], *text, *s;
	size_t n = 0, len = 0;

	snprintf(path, sizeof(path), "%s/l3af", opt.bpffs);
	tree_len = 0;
	tree[0] = 0;
	nftw(path, tree_entry, 16, FTW_PHYS);
	text = calloc(1, tree_len + 1);
	for (s = strtok(tree, "\n"); s && n < 1024; s = strtok(NULL, "\n"))
		lines[n++] = s;
	qsort(lines, n, sizeof(*lines), by_line);
	for (size_t i = 0; i < n; i++)
		len += sprintf(text + len, "%s\n", lines[i]);
	return text;
}

/* The lines of a that b, sorted as well, lacks. */
static void print_lacking(const char *sign, const char *a, const char *b)
{
	while (*a) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
		int order = *b ? strncmp(a, b, n > m ? n : m) : -1;

		if (order < 0)
			fprintf(stderr, "    %s %.*s\n", sign, (int)n, a);
		if (order <= 0)
			a += n + 1;
		if (order >= 0)
			b += m + 1;
	}
}

void tree_same(char **reference, const char *when)
{
	char *now = tree_read();

	if (!*reference) {
		*reference = now;
		return;
	}
	if (strcmp(*reference, now)) {
		fault("other pins %s:", when);
		print_lacking("+", now, *reference);
		print_lacking("-", *reference, now);
	}
	free(now);
}

/* The kernel's side */

/* One of the pins of the only chain there is. */
int chain_pin(const char *name)
{
	char pattern[192];
	glob_t g;
	int fd;

	snprintf(pattern, sizeof(pattern), "%s/l3af/chain/*/*/*/%s", opt.bpffs, name);
	if (glob(pattern, 0, NULL, &g) || g.gl_pathc != 1)
		die("%s: not exactly one", pattern);
	fd = bpf_obj_get(g.gl_pathv[0]);
	if (fd < 0)
		die("%s: %s", g.gl_pathv[0], strerror(errno));
	globfree(&g);
	return fd;
}

/* The programs in the live bank, by the kernel's word. */
int live_programs(__u32 ids[ROOT_MEMBERS])
{
	int gen = chain_pin("gen"), slots = chain_pin("slots"), n = 0, bank;
	struct root_bank members;
	__u32 zero = 0, first;
	__u64 which;

	if (bpf_map_lookup_elem(gen, &zero, &which))
		die("gen: %s", strerror(errno));
	bank = chain_pin(which & 1 ? "bank1" : "bank0");
	if (bpf_map_lookup_elem(bank, &zero, &members))
		die("bank: %s", strerror(errno));
	first = which & 1 ? ROOT_MEMBERS : 0;
	for (; n < ROOT_MEMBERS && members.member[n].mask; n++)
		if (bpf_map_lookup_elem(slots, &(__u32){ first + n }, &ids[n]))
			ids[n] = 0;
	close(bank);
	close(gen);
	close(slots);
	return n;
}

double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void report(const char *fmt, ...)
{
	__s64 missing = traffic_missing(traffic);
	va_list ap;

	printf("%s %s%s%s: ", opt.hook, opt.engine, strcmp(opt.hook, "xdp") ? "" : " ",
	       strcmp(opt.hook, "xdp") ? "" : opt.mode);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("; %llu packets, %lld missing, %llu illegal, %u faults\n", traffic_sent(traffic), missing,
	       illegal, faults);
	fflush(stdout);
	if (missing)
		faults++;
}

