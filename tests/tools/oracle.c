// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * oracle MODE [KEY=VALUE...]: changes a chain by the command while test packets run
 * through it, and judges by the packets: none missing, none through an order that was
 * never commanded.
 *
 *   random      n= random changes
 *   kill        the same, each killed at a random moment
 *   sweep       add, remove, reorder, replace, first add and detach, killed at every step'th system call
 *   errors      add, remove, reorder, replace with an error in every step'th bpf(2)
 *   concurrent  processes= of them, n= random changes each
 *   watch       send until standard input ends, print the orders seen and what is missing
 *   probe       send 16 packets, print how many fpcount saw and the orders they took
 *
 * keys: l3afctl=PATH bpffs=DIR objects=DIR dev=IF hook=H engine=E mode=M seed=N rate=PPS
 *       from=NETNS:IF (where packets enter; on tc-egress: this one and dev)
 *       break=order|loss (for testing the test: the slots are changed behind the chain's back)
 * Exit status 0: nothing wrong. The last line on stdout tells the figures.
 */
#include <bpf/bpf.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "command.h"
#include "fp.h"
#include "root.h"
#include "traffic.h"

#define MAX_MEMBERS 8
#define IDS 9 /* fp1 .. fp9 */
#define SETTLE 120 /* packets: more than the sender lets be under way */

struct order { /* without fpcount, which is always last */
	int n;
	struct {
		char name[16];
		int id;
	} at[MAX_MEMBERS + 1];
};

struct change {
	struct command command;
	struct order after;
	const char *verb;
};

static struct {
	const char *l3afctl, *bpffs, *objects, *dev, *hook, *engine, *mode, *from, *breaking;
	unsigned n, processes, rate, step, seed;
} opt = { "build/l3afctl", "/run/bpf", "build/tests", "s0", "xdp", "auto", "auto", "cli:c0",
	  NULL, 1000, 50, 100000, 1, 0 };

static struct traffic *traffic;
static struct prints last;      /* as of the last look */
static __u64 illegal;
static unsigned faults;         /* of other kinds */
static bool has_stalled;
static struct outcome result;
static __u64 seed;

__attribute__((format(printf, 1, 2)))
static void fault(const char *fmt, ...)
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

static unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

/* Orders */

static __u64 order_print(const struct order *o)
{
	__u64 print = 0;

	for (int i = 0; i < o->n; i++)
		print = print << FP_BITS | o->at[i].id;
	return print;
}

static const char *print_text(__u64 print)
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

static void order_insert(struct order *o, int at, const char *name, int id)
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

static void order_swap(struct order *o, int i, int j)
{
	__typeof__(o->at[0]) t = o->at[i];

	o->at[i] = o->at[j];
	o->at[j] = t;
}

/* Commands */

static void begin(struct command *c, const char *verb)
{
	c->argc = 0;
	command_word(c, "%s", opt.l3afctl);
	command_word(c, "--bpffs");
	command_word(c, "%s", opt.bpffs);
	command_word(c, "chain");
	command_word(c, "%s", verb);
}

static void where(struct command *c)
{
	command_word(c, "dev");
	command_word(c, "%s", opt.dev);
	command_word(c, "hook");
	command_word(c, "%s", opt.hook);
}

static void engine(struct command *c)
{
	command_word(c, "engine");
	command_word(c, "%s", opt.engine);
	if (!strcmp(opt.hook, "xdp")) {
		command_word(c, "mode");
		command_word(c, "%s", opt.mode);
	}
}

static void object(struct command *c, int id)
{
	command_word(c, "object");
	if (id)
		command_word(c, "%s/fp%d.bpf.o", opt.objects, id);
	else
		command_word(c, "%s/fpcount.bpf.o", opt.objects);
}

static struct change change_reorder(const struct order *to)
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

static struct change change_add(const struct order *from, const char *name, int id, int at)
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

static struct change change_remove(const struct order *from, int at)
{
	struct change ch = { .after = *from, .verb = "remove" };

	order_drop(&ch.after, at);
	begin(&ch.command, "remove");
	command_word(&ch.command, "%s", from->at[at].name);
	where(&ch.command);
	return ch;
}

static struct change change_replace(const struct order *from, int at, int id)
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

static struct change change_random(const struct order *o)
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

/* A command that has to succeed. */
static void must(const struct command *c)
{
	command_run(c, &result);
	if (result.status) {
		command_print(c);
		fault("exit status %d: %s", result.status, result.err);
	}
}

/* What the command says the chain is: names in order, "fpcount" left out; *is_there
 * says whether there is a chain. */
static void listed(struct order *o, bool *is_there)
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

static bool same_names(const struct order *a, const struct order *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (strcmp(a->at[i].name, b->at[i].name))
			return false;
	return true;
}

/* Packets */

/* Fingerprints counted since the last look: only a and b may be among them. *a_seen
 * and *b_seen tell how many of each. */
static void look(__u64 a, __u64 b, __u64 *a_seen, __u64 *b_seen)
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

static void settle(void)
{
	if (!has_stalled && !traffic_wait(traffic, SETTLE)) {
		has_stalled = true; /* once is enough: each time takes long */
		fault("no packet arrives any more");
	}
}

/* The packets of now: all ran print. */
static void steady(__u64 print)
{
	__u64 n, unused;

	settle();
	look(print, print, &n, &unused);
	if (!n)
		fault("no packet ran %s", print_text(print));
}

/* Whichever of two orders packets run now; the other one must not be seen. */
static bool is_changed(const struct order *old, const struct order *new)
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

static void counter_add(struct change *ch)
{
	*ch = (struct change){ .verb = "first add" };
	begin(&ch->command, "add");
	command_word(&ch->command, "fpcount");
	where(&ch->command);
	object(&ch->command, 0);
	engine(&ch->command);
}

static void counter_open(void)
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

static void chain_make(struct order *o, int n)
{
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
	if (faults)
		die("the chain could not be made");
	counter_open();
	traffic_prints(traffic, &last);
}

static void command_chain(const char *verb)
{
	struct command c;

	begin(&c, verb);
	where(&c);
	must(&c);
}

static void chain_unmake(void)
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

/* The pins are those of reference, which is set where it is NULL. */
static void tree_same(char **reference, const char *when)
{
	char *now = tree_read();

	if (!*reference)
		*reference = now;
	else if (strcmp(*reference, now))
		fault("other pins %s:\n%sinstead of:\n%s", when, now, *reference);
	if (*reference != now)
		free(now);
}

/* The kernel's side */

/* One of the pins of the only chain there is. */
static int chain_pin(const char *name)
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
static int live_programs(__u32 ids[ROOT_MEMBERS])
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

/* Modes */

/* For testing the test, behind everybody's back: in the live bank the second member
 * also takes the first one's slot, or the last one, the counter, is lost. */
static void break_chain(void)
{
	int slots = chain_pin("slots"), n, fd, err;
	__u32 ids[ROOT_MEMBERS], slot, id;

	n = live_programs(ids);
	for (slot = 0; slot < ROOT_SLOTS; slot += ROOT_MEMBERS)
		if (!bpf_map_lookup_elem(slots, &slot, &id) && id == ids[0])
			break;
	if (!strcmp(opt.breaking, "loss")) {
		slot += n - 1;
		err = bpf_map_delete_elem(slots, &slot);
	} else {
		fd = bpf_prog_get_fd_by_id(ids[1]);
		err = bpf_map_update_elem(slots, &slot, &fd, 0);
		close(fd);
	}
	if (err)
		die("cannot break the chain: %s", strerror(errno));
	close(slots);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

__attribute__((format(printf, 1, 2)))
static void report(const char *fmt, ...)
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

static void mode_random(void)
{
	struct order o = { 0 };
	unsigned verbs[128] = { 0 };
	double began, longest = 0;

	chain_make(&o, 3);
	traffic_start(traffic, opt.rate);
	began = seconds();
	for (unsigned i = 0; i < opt.n; i++) {
		struct change ch = change_random(&o);
		bool is_same = order_print(&o) == order_print(&ch.after);
		__u64 a, b;
		double t;

		steady(order_print(&o));
		if (opt.breaking && o.n > 1) {
			break_chain();
			steady(order_print(&o));
			break;
		}
		t = seconds();
		must(&ch.command);
		t = seconds() - t;
		longest = t > longest ? t : longest;
		if (!strcmp(ch.verb, "reorder") && is_same != !result.out[0]) {
			command_print(&ch.command);
			fault("stdout \"%s\" of a reorder %s change", result.out,
			      is_same ? "without" : "with");
		}
		settle();
		look(order_print(&o), order_print(&ch.after), &a, &b);
		o = ch.after;
		verbs[(int)ch.verb[2]]++;
		if (i % 50 == 0) {
			struct order names;
			bool is_there;

			listed(&names, &is_there);
			if (!is_there || !same_names(&names, &o))
				fault("chain list differs from what was commanded");
		}
	}
	steady(order_print(&o));
	began = seconds() - began;
	traffic_stop(traffic);
	/* third letters: re-O-rder is shared by none, ad-D, re-M-ove, re-P-lace */
	report("%u changes (%u reorder, %u add, %u remove, %u replace), %.0f ms each, at most %.0f",
	       opt.n, verbs['o'], verbs['d'], verbs['m'], verbs['p'], began / opt.n * 1000, longest * 1000);
	chain_unmake();
}

static void mode_kill(void)
{
	struct order o = { 0 }, names;
	unsigned old = 0, new = 0, late = 0;
	double mean, t = seconds();
	bool is_there;

	chain_make(&o, 3);
	mean = (seconds() - t) / 4; /* of a command, here */
	traffic_start(traffic, opt.rate);
	for (unsigned i = 0; i < opt.n;) {
		struct change ch = change_random(&o);

		if (order_print(&o) == order_print(&ch.after))
			continue;
		i++;
		steady(order_print(&o));
		/* half of them early, where the work before the flip is */
		command_kill_after(&ch.command, random_below(mean * (i % 2 ? 1.1e6 : 0.4e6)), &result);
		if (result.status == 0)
			late++;
		else if (result.status > 0)
			fault("exit status %d: %s", result.status, result.err);
		if (is_changed(&o, &ch.after)) {
			new++;
			o = ch.after;
		} else {
			old++;
		}
		if (random_below(2)) {
			listed(&names, &is_there);
			if (!is_there || !same_names(&names, &o))
				fault("chain list differs from what packets run");
		} else { /* a change is the first command after the kill */
			ch = change_random(&o);
			t = seconds();
			must(&ch.command);
			mean += (seconds() - t - mean) / 8;
			if (!is_changed(&o, &ch.after))
				fault("the command after the kill changed nothing");
			o = ch.after;
		}
	}
	traffic_stop(traffic);
	report("%u changes killed (%u old, %u new of which %u were through)", opt.n, old, new, late);
	chain_unmake();
}

/*
 * One change, killed at each of its system calls or with an error in each of its bpf(2)s:
 * the packets run the old order or the new one, the listing says which, the exit status
 * too; the same command again succeeds and leaves no stray pin.
 */
static void assail(const struct order *base, const struct change *ch, const struct command *undo, int error,
		   int first)
{
	char *tree_old = NULL, *tree_new = NULL;
	unsigned count[2] = { 0 };
	bool was_reached = true, is_there, is_new;
	struct order names;

	for (int k = first; was_reached; k += opt.step) {
		steady(order_print(base));
		tree_same(&tree_old, "before the change");
		if (error)
			command_fail_at(&ch->command, k, error, &result);
		else
			command_kill_at(&ch->command, k, &result);
		was_reached = result.was_reached;
		is_new = is_changed(base, &ch->after);
		if (error || !was_reached) {
			if (is_new != !result.status)
				fault("%s, bpf call %d %s: the order is the %s one, exit status %d: %s", ch->verb, k,
				      strerror(error), is_new ? "new" : "old", result.status, result.err);
			if (result.status && strncmp(result.err, "l3afctl: ", 9))
				fault("%s, bpf call %d %s: exit status %d, message \"%s\"", ch->verb, k,
				      strerror(error), result.status, result.err);
		}
		listed(&names, &is_there);
		if (!is_there || !same_names(&names, is_new ? &ch->after : base))
			fault("%s, call %d: chain list is not what packets run", ch->verb, k);
		must(&ch->command);
		settle();
		look(order_print(base), order_print(&ch->after), &(__u64){ 0 }, &(__u64){ 0 });
		steady(order_print(&ch->after));
		tree_same(&tree_new, "after the command was repeated");
		must(undo);
		settle();
		look(order_print(base), order_print(&ch->after), &(__u64){ 0 }, &(__u64){ 0 });
		if (was_reached)
			count[is_new]++;
	}
	printf("  %s, %s: %u points, %u old, %u new\n", ch->verb, error ? strerror(error) : "killed",
	       count[0] + count[1], count[0], count[1]);
	free(tree_old);
	free(tree_new);
}

/* The calls first, first + step, ...: another first for each error. */
static void assail_all(int error, int first)
{
	struct order o = { 0 }, other;
	struct change add, removal, reorder, back, replace, restore;

	chain_make(&o, 3);
	add = change_add(&o, "d", 4, 1);
	removal = change_remove(&add.after, 1);
	other = o;
	other.at[0] = o.at[2];
	other.at[2] = o.at[0];
	reorder = change_reorder(&other);
	back = change_reorder(&o);
	replace = change_replace(&o, 1, 5);
	restore = change_replace(&replace.after, 1, 2);
	traffic_start(traffic, opt.rate);
	assail(&o, &add, &removal.command, error, first);
	assail(&o, &reorder, &back.command, error, first);
	assail(&o, &replace, &restore.command, error, first);
	must(&add.command);
	settle();
	look(order_print(&o), order_print(&add.after), &(__u64){ 0 }, &(__u64){ 0 });
	assail(&add.after, &removal, &add.command, error, first);
	traffic_stop(traffic);
}

/* Where there is a chain, it counts; where there is none, nothing does. */
static void probe_is(bool is_there, const char *when)
{
	__u64 n = traffic ? traffic_probe(traffic, 16) : 0;

	if (n != (is_there ? 16 : 0))
		fault("%s: %llu of 16 packets were counted", when, n);
}

static void traffic_forget(void)
{
	if (traffic)
		traffic_close(traffic);
	traffic = NULL;
}

static void assail_first_add(void)
{
	char *tree_old = NULL, *tree_new = NULL;
	bool was_reached = true, is_there;
	unsigned count[2] = { 0 };
	struct change add;
	struct order names;

	counter_add(&add);
	for (int k = 1; was_reached; k += opt.step) {
		command_kill_at(&add.command, k, &result);
		was_reached = result.was_reached;
		listed(&names, &is_there);
		if (is_there)
			counter_open();
		probe_is(is_there, "first add");
		traffic_forget();
		count[is_there] += was_reached;
		must(&add.command);
		counter_open();
		probe_is(true, "first add repeated");
		tree_same(&tree_new, "after the first add was repeated");
		command_chain("detach");
		probe_is(false, "detach");
		traffic_forget();
		tree_same(&tree_old, "after detach");
	}
	printf("  first add, killed: %u points, %u old, %u new\n", count[0] + count[1], count[0], count[1]);
	free(tree_old);
	free(tree_new);
}

static void assail_detach(void)
{
	bool was_reached = true, is_there;
	unsigned count[2] = { 0 };
	char *tree_old = NULL;
	struct command detach;
	struct change add;
	struct order names;

	counter_add(&add);
	begin(&detach, "detach");
	where(&detach);
	for (int k = 1; was_reached; k += opt.step) {
		must(&add.command);
		counter_open();
		command_kill_at(&detach, k, &result);
		was_reached = result.was_reached;
		listed(&names, &is_there);
		probe_is(is_there, "detach");
		count[!is_there] += was_reached;
		must(&detach);
		probe_is(false, "detach repeated");
		traffic_forget();
		tree_same(&tree_old, "after the detach was repeated");
	}
	printf("  detach, killed: %u points, %u old, %u new\n", count[0] + count[1], count[0], count[1]);
	free(tree_old);
}

static void mode_sweep(void)
{
	assail_all(0, 1);
	report("killed at every %u. system call", opt.step);
	chain_unmake();
	traffic = NULL;
	assail_first_add();
	assail_detach();
	printf("%s %s: first add and detach swept, %u faults\n", opt.hook, opt.engine, faults);
}

static void mode_errors(void)
{
	static const int errors[] = { ENOMEM, EPERM, ENOSPC, EINTR, EAGAIN, E2BIG, EBUSY };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors) && i < opt.n; i++) {
		assail_all(errors[i], 1 + (int)(i % opt.step));
		report("%s in every %u. bpf(2)", strerror(errors[i]), opt.step);
		chain_unmake();
	}
}

/* The listing names the programs that the kernel runs, and packets agree. */
static void listing_is_true(void)
{
	__u32 ids[ROOT_MEMBERS];
	int n = live_programs(ids), at = 0;
	__u64 print = 0, seen, unused;
	struct command c;
	cJSON *rows, *row;

	begin(&c, "list");
	where(&c);
	command_word(&c, "--json");
	must(&c);
	rows = cJSON_Parse(result.out);
	cJSON_ArrayForEach(row, rows) {
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(row, "name"));
		double id = cJSON_GetNumberValue(cJSON_GetObjectItem(row, "program_id"));

		if (!name)
			continue;
		if (at >= n || ids[at] != id)
			fault("member %d is %s, program %.0f, by the listing; the kernel has %u", at + 1, name,
			      id, at < n ? ids[at] : 0);
		if (strcmp(name, "fpcount"))
			print = print << FP_BITS | (name[0] - 'a' + 1);
		at++;
	}
	if (at != n)
		fault("%d members listed, %d in the kernel's slots", at, n);
	cJSON_Delete(rows);
	settle();
	traffic_prints(traffic, &last);
	settle();
	look(print, print, &seen, &unused);
	if (!seen)
		fault("no packet ran the order listed, %s", print_text(print));
}

/* Member 'a' is always fp1, 'b' fp2, ...: any order of them is legal, any repetition not. */
static void prints_are_orders(void)
{
	traffic_prints(traffic, &last);
	for (size_t i = 0; i < last.n; i++) {
		unsigned had = 0;

		for (__u64 print = last.at[i].print; print; print >>= FP_BITS) {
			unsigned bit = 1u << (print & ((1 << FP_BITS) - 1));

			if (had & bit) {
				illegal += last.at[i].packets;
				fault("%llu packets ran %s", last.at[i].packets, print_text(last.at[i].print));
				break;
			}
			had |= bit;
		}
	}
}

/* Another process may change the members between this one's look and its reorder. */
static bool is_overtaken(const struct change *ch)
{
	return !strcmp(ch->verb, "reorder") && result.status == 2 &&
	       strstr(result.err, "; name each member once\n") && !result.out[0];
}

static _Noreturn void one_of_many(unsigned number, unsigned *overtaken, unsigned *locked)
{
	unsigned bad = 0;

	seed += number * 7919;
	for (unsigned i = 0; i < opt.n; i++) {
		char name[2] = { 'a' + random_below(MAX_MEMBERS), 0 };
		struct order o = { 0 };
		struct change ch;
		bool is_there;

		switch (random_below(3)) {
		case 0: /* to the front or the end, also when it is a member already */
			ch = change_add(&o, name, name[0] - 'a' + 1, 0);
			break;
		case 1:
			order_insert(&o, 0, name, 0);
			ch = change_remove(&o, 0);
			break;
		default:
			listed(&o, &is_there);
			for (int j = o.n - 1; j > 0; j--)
				order_swap(&o, j, random_below(j + 1));
			ch = change_reorder(&o);
		}
		command_run(&ch.command, &result);
		if (result.status == 4) {
			__sync_fetch_and_add(locked, 1);
		} else if (is_overtaken(&ch)) {
			__sync_fetch_and_add(overtaken, 1);
		} else if (result.status) {
			command_print(&ch.command);
			fprintf(stderr, "FAULT: exit status %d: %s", result.status, result.err);
			bad++;
		}
	}
	_exit(bad > 255 ? 255 : bad);
}

static void mode_concurrent(void)
{
	unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct order o = { 0 };

	if (shared == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	chain_make(&o, 3);
	traffic_start(traffic, opt.rate);
	for (unsigned i = 0; i < opt.processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork: %s", strerror(errno));
		if (!pid)
			one_of_many(i, &shared[0], &shared[1]);
	}
	for (unsigned i = 0; i < opt.processes; i++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status))
			fault("a process died");
		else
			faults += WEXITSTATUS(status);
	}
	listing_is_true();
	traffic_stop(traffic);
	prints_are_orders();
	report("%u processes, %u changes each, %u gave up waiting, %u reorders named members that had changed",
	       opt.processes, opt.n, shared[1], shared[0]);
	chain_unmake();
}

/* Packets by order since last, on one line each. */
static void orders_report(void)
{
	struct prints now = { 0 };

	traffic_prints(traffic, &now);
	for (size_t i = 0; i < now.n; i++) {
		__u64 n = now.at[i].packets - prints_get(&last, now.at[i].print);

		if (n)
			printf("%llu packets through %s\n", n, print_text(now.at[i].print));
	}
	free(now.at);
}

static void mode_watch(void)
{
	__s64 missing;

	counter_open();
	traffic_prints(traffic, &last);
	traffic_start(traffic, opt.rate);
	while (getchar() != EOF)
		;
	traffic_stop(traffic);
	orders_report();
	missing = traffic_missing(traffic);
	printf("%llu packets sent, %lld missing\n", traffic_sent(traffic), missing);
	faults += missing != 0;
}

static void mode_probe(void)
{
	struct prints now = { 0 };

	counter_open();
	traffic_prints(traffic, &last);
	printf("%llu of 16:", traffic_probe(traffic, 16));
	traffic_prints(traffic, &now);
	for (size_t i = 0; i < now.n; i++)
		if (now.at[i].packets != prints_get(&last, now.at[i].print))
			printf(" %s", print_text(now.at[i].print));
	printf("\n");
	free(now.at);
}

static const struct mode {
	const char *name;
	void (*fn)(void);
} modes[] = {
	{ "random", mode_random }, { "kill", mode_kill }, { "sweep", mode_sweep },
	{ "errors", mode_errors }, { "concurrent", mode_concurrent }, { "watch", mode_watch },
	{ "probe", mode_probe }, { 0 }
};

static const struct key {
	const char *name;
	const char **text;
	unsigned *number;
} keys[] = {
	{ "l3afctl", &opt.l3afctl, 0 }, { "bpffs", &opt.bpffs, 0 }, { "objects", &opt.objects, 0 },
	{ "dev", &opt.dev, 0 }, { "hook", &opt.hook, 0 }, { "engine", &opt.engine, 0 },
	{ "mode", &opt.mode, 0 }, { "from", &opt.from, 0 }, { "n", 0, &opt.n },
	{ "processes", 0, &opt.processes }, { "rate", 0, &opt.rate }, { "step", 0, &opt.step },
	{ "break", &opt.breaking, 0 }, { "seed", 0, &opt.seed }, { 0 }
};

static void key_set(const char *word)
{
	size_t len = strcspn(word, "=");

	for (const struct key *k = keys; k->name; k++) {
		if (strlen(k->name) != len || strncmp(k->name, word, len) || !word[len])
			continue;
		if (k->text)
			*k->text = word + len + 1;
		else
			*k->number = strtoul(word + len + 1, NULL, 10);
		return;
	}
	die("unknown word %s", word);
}

int main(int argc, char **argv)
{
	const struct mode *m = modes;

	opt.seed = time(NULL);
	for (int i = 2; i < argc; i++)
		key_set(argv[i]);
	while (argc > 1 && m->name && strcmp(m->name, argv[1]))
		m++;
	if (argc < 2 || !m->name)
		die("which mode?");
	seed = opt.seed;
	m->fn();
	if (faults) {
		fprintf(stderr, "oracle: %u faults, seed %u\n", faults, opt.seed);
		return 1;
	}
	return 0;
}
