// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned points; /* system calls at which a command was killed or failed */

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
			count[is_new]++, points++;
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
	/* nobody answers for packets that no chain sees; a veth needs some microseconds */
	__u64 n = traffic ? traffic_probe(traffic, 16, is_there ? 5000 : 30) : 0;

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
		points += was_reached;
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
		points += was_reached;
		must(&detach);
		probe_is(false, "detach repeated");
		traffic_forget();
		tree_same(&tree_old, "after the detach was repeated");
	}
	printf("  detach, killed: %u points, %u old, %u new\n", count[0] + count[1], count[0], count[1]);
	free(tree_old);
}

void mode_sweep(void)
{
	__u64 sent;
	__s64 missing;

	assail_all(0, 1);
	sent = traffic_sent(traffic);
	missing = traffic_missing(traffic);
	chain_unmake();
	traffic = NULL;
	assail_first_add();
	assail_detach();
	faults += missing != 0;
	printf("%s %s: killed at %u system calls of add, reorder, replace, remove, first add, detach; "
	       "%llu packets, %lld missing, %llu illegal, %u faults\n", opt.hook, opt.engine, points, sent, missing,
	       illegal, faults);
}

void mode_errors(void)
{
	static const int errors[] = { ENOMEM, EPERM, ENOSPC, EINTR, EAGAIN, E2BIG, EBUSY };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors) && i < opt.n; i++) {
		assail_all(errors[i], 1 + (int)(i % opt.step));
		report("%s in every %u. bpf(2), %u points so far", strerror(errors[i]), opt.step, points);
		chain_unmake();
	}
}

