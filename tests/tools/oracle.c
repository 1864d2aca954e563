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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fp.h"
#include "judge.h"

struct options opt = {
	.l3afctl = "build/l3afctl", .bpffs = "/run/bpf", .objects = "build/tests", .dev = "s0", .hook = "xdp",
	.engine = "auto", .mode = "auto", .from = "cli:c0", .n = 1000, .processes = 50, .rate = 100000, .step = 1,
};

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

static void mode_random(void)
{
	struct order o = { 0 };
	unsigned verbs[128] = { 0 }; /* by their third letters: reOrder, adD, reMove, rePlace */
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
	report("%u processes, %u changes each, %u exited 4, %u reorders named members that had changed",
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
	printf("%llu of 16:", traffic_probe(traffic, 16, 300));
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
