// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The flow table as the library sees it, without the command line: what it holds, what
 * its rules are, and an exporter that sends nothing. Maps by L3AF_BPFFS.
 *
 *   flow list INSTANCE          a line per flow:
 *        "s0 in 17 10.77.0.2:1000 > 10.77.0.1:53 vlan 5,6 packets 1 octets 40 ttl 64-64 tos 0
 *        flags 0 from 0 live", in no order; fields that are 0 are left out
 *   flow stat INSTANCE          a line per place: "s0 in frames 5 bytes 300 packets 5 octets 200
 *        flows 1 full 0/0 sampled 0/0 other 0/0 malformed 0/0 error 0/0"
 *   flow audit INSTANCE         every rule of a table at rest: "free N live N closed N spare N", or
 *        what is broken; SUM added: and nothing was recycled, so that flows and
 *        ignored packets are all there were
 *   flow peer INSTANCE NAME     make a collector, print its number
 *   flow expire|flush|recycle INSTANCE
 *   flow export INSTANCE NAME   export and recycle, over and over until standard input is closed,
 *        then once more: "runs N flows N packets N octets N"
 *   flow unsent INSTANCE        what the first collector was not told: "flows N packets N octets N"
 *   flow reused INSTANCE        slots that were taken more than once
 *   flow waive INSTANCE         all collectors have everything
 *   flow places INSTANCE        take all places, and then those that are of no use any more
 *   flow kill INSTANCE PROG N   flush in a process that is killed after each N-th of its
 *        instructions; what it left is finished, and audited: "kills N of N instructions"
 *   flow scan INSTANCE N        read all records N times: "records N ns N"
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "flowtable.h"
#include "run.h"

static struct run run = { .wait_us = 10000000 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "flow: %s\n", what);
	exit(2);
}

static void table_open(const char *instance, struct flowtable *t)
{
	struct bpffs b = { .fd = -1 };

	if (bpffs_open(&run, BPFFS_READ, &b) || flowtable_open(&b, instance, true, t) != 1)
		die("there is no such instance");
	bpffs_close(&b);
}

/* Slots that were taken since, and the clock. */
static void table_reopen(struct flowtable *t)
{
	struct flowtable old = *t;

	table_open(old.instance, t);
	flowtable_close(&old);
}

/*
 * Looking.
 */
static const char *addr(const struct flow_key *k, const __u32 a[4], char buf[64])
{
	return inet_ntop(k->family == 4 ? AF_INET : AF_INET6, k->family == 4 ? a + 3 : a, buf, 64);
}

static void print_more(const char *name, unsigned v)
{
	if (v)
		printf(" %s %x", name, v);
}

static void print_flow(const struct flowtable *t, const struct flow_rec *r)
{
	static const char *const states[] = { "free", "new", "live", "orphan", "closing", "closed" };
	const struct flow_key *k = &r->key;
	char src[64], dst[64];

	printf("%s %s %u %s:%u > %s:%u", t->place[k->place].name, t->place[k->place].direction ? "out" : "in", k->proto,
	       addr(k, k->src, src), k->sport, addr(k, k->dst, dst), k->dport);
	if (k->vlan[0])
		printf(" vlan %u", k->vlan[0] & 0xfff);
	if (k->vlan[1])
		printf(",%u", k->vlan[1] & 0xfff);
	printf(" packets %llu octets %llu ttl %u-%u", r->packets, r->octets, r->ttl_min, r->ttl_max);
	print_more("tos", r->tos);
	print_more("flags", r->flags);
	print_more("from", r->in_ifindex);
	printf(" %s\n", states[FLOW_STATE(r->life)]);
}

static void list(const struct flowtable *t)
{
	struct flow_rec r;

	for (__u32 slot = 0; slot < flowtable_end(t); slot++)
		if (flowtable_read(t, slot, &r))
			print_flow(t, &r);
}

static struct flow_stat stat_of(const struct flowtable *t, __u32 place)
{
	struct flow_stat s;

	if (flowtable_stat(t, place, &s))
		die("stats");
	return s;
}

static void stat_print(const struct flowtable *t)
{
	static const char *const causes[] = { "full", "sampled", "other", "malformed", "error" };

	for (__u32 i = 0; i < FLOW_PLACES; i++) {
		struct flow_stat s = stat_of(t, i);

		if (!t->place[i].ifindex)
			continue;
		printf("%s %s frames %llu bytes %llu packets %llu octets %llu flows %llu", t->place[i].name,
		       t->place[i].direction ? "out" : "in", s.frames, s.bytes, s.packets, s.octets, s.flows);
		for (int c = 0; c < FLOW_IGNORED_CAUSES; c++)
			printf(" %s %llu/%llu", causes[c], s.ignored[c].packets, s.ignored[c].octets);
		putchar('\n');
	}
}

/*
 * Rules of a table at rest.
 */
static __u32 keys_count(const struct flowtable *t)
{
	struct flow_key key, next;
	__u32 n = 0;

	for (void *prev = NULL; !bpf_map_get_next_key(t->keys, prev, &next); n++) {
		key = next;
		prev = &key;
	}
	return n;
}

static void audit_ring(const struct flowtable *t, __u8 *is_free)
{
	const struct flow_ends *e = t->ends;

	if (e->freeing != e->tail || e->tail - e->head > t->max)
		die("the ring's ends");
	for (__u64 at = e->head; at != e->tail; at++) {
		__u64 slot = t->ring[at & t->config->mask];

		if (slot >= t->max || is_free[slot]++)
			die("a slot is in the ring twice");
		if (slot < flowtable_end(t) && FLOW_STATE(t->rec[slot].life) != FLOW_FREE)
			die("a slot in the ring is not free");
	}
}

static void audit_slot(const struct flowtable *t, __u32 slot, bool is_free, __u32 states[8])
{
	__u32 life = t->rec[slot].life, state = FLOW_STATE(life), at;
	int err;

	states[state & 7]++;
	if ((state == FLOW_FREE) != is_free)
		die(is_free ? "a slot in the ring is in use" : "a free slot is not in the ring");
	if (state == FLOW_CLOSING || state > FLOW_CLOSED)
		die("a slot is in between");
	if (state != FLOW_LIVE && state != FLOW_CLOSED)
		return;
	err = bpf_map_lookup_elem(t->keys, &t->rec[slot].key, &at);
	if (state == FLOW_LIVE && (err || at != slot))
		die("the key of a live flow leads elsewhere");
	if (state == FLOW_CLOSED && !err && at == slot)
		die("the key of a closed flow is still there");
	if (!FLOW_GENERATION(life) || !t->rec[slot].packets)
		die("a flow without a packet");
}

static void audit_sums(const struct flowtable *t)
{
	for (__u32 i = 0; i < FLOW_PLACES; i++) {
		struct flow_stat s = stat_of(t, i);
		__u64 packets = 0, octets = 0;

		for (int c = 0; c < FLOW_IGNORED_CAUSES; c++) {
			packets += s.ignored[c].packets;
			octets += s.ignored[c].octets;
		}
		for (__u32 slot = 0; slot < flowtable_end(t); slot++) {
			struct flow_rec r;

			if (flowtable_read(t, slot, &r) && r.key.place == i) {
				packets += r.packets;
				octets += r.octets;
			}
		}
		if (packets != s.packets || octets != s.octets) {
			printf("packets %llu of %llu, octets %llu of %llu\n", packets, s.packets, octets, s.octets);
			die("flows and ignored packets are not all there were");
		}
	}
}

static void audit(const struct flowtable *t, bool is_sum)
{
	__u8 *is_free = calloc(t->max, 1);
	__u32 states[8] = { 0 };

	audit_ring(t, is_free);
	for (__u32 slot = 0; slot < flowtable_end(t); slot++)
		audit_slot(t, slot, is_free[slot], states);
	if (keys_count(t) != states[FLOW_LIVE])
		die("there are other keys than those of live flows");
	if (states[FLOW_NEW] > (__u32)libbpf_num_possible_cpus())
		die("there are more new slots than processors to keep one spare");
	if (is_sum)
		audit_sums(t);
	free(is_free);
}

static void audit_print(const struct flowtable *t, bool is_sum)
{
	__u32 states[8] = { 0 };

	audit(t, is_sum);
	for (__u32 slot = 0; slot < flowtable_end(t); slot++)
		states[FLOW_STATE(t->rec[slot].life)]++;
	states[FLOW_FREE] += t->max - flowtable_end(t);
	printf("free %u live %u closed %u spare %u\n", states[FLOW_FREE], states[FLOW_LIVE], states[FLOW_CLOSED],
	       states[FLOW_NEW] + states[FLOW_ORPHAN]);
}

/*
 * Changing.
 */
static int peer_make(const char *instance, const char *name)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int number;

	if (bpffs_open(&run, BPFFS_CHANGE, &b) || flowtable_open(&b, instance, true, &t) != 1)
		die("there is no such instance");
	number = flowtable_peer_make(&b, &t, name);
	if (number < 0)
		die("no collector");
	return number;
}

/* What an export would commit: this record as it is now. */
static void line_commit(struct flow_line *line, const struct flow_rec *r)
{
	line->generation = 0;
	line->packets = r->packets;
	line->octets = r->octets;
	line->generation = (__u16)FLOW_GENERATION(r->life);
}

struct sums {
	__u64 runs, flows, packets, octets;
};

static void export_once(struct flowtable *t, int number, struct sums *sum)
{
	struct flow_line *lines = t->peer[number].lines;
	__u64 n;

	if (flow_lock(&run, t->lock, "the instance") || flowtable_recover(t) || flowtable_expire(t, false, &n))
		die("expire");
	flow_unlock(t->lock);
	for (__u32 slot = 0; slot < flowtable_end(t); slot++) {
		struct flow_rec r;
		bool is_known;

		if (!flowtable_read(t, slot, &r) || flow_is_reported(&lines[slot], &r))
			continue;
		is_known = lines[slot].generation == FLOW_GENERATION(r.life);
		sum->flows++;
		sum->packets += r.packets - (is_known ? lines[slot].packets : 0);
		sum->octets += r.octets - (is_known ? lines[slot].octets : 0);
		line_commit(&lines[slot], &r);
	}
	if (flow_lock(&run, t->lock, "the instance") || flowtable_recycle(t, false, &n))
		die("recycle");
	flow_unlock(t->lock);
	sum->runs++;
}

static bool is_stdin_closed(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0;
}

static void export(struct flowtable *t, const char *name)
{
	int number = flowtable_peer_find(t, name);
	struct sums sum = { 0 };
	bool is_last;

	if (number < 0)
		die("no such collector");
	do {
		is_last = is_stdin_closed();
		table_reopen(t);
		export_once(t, number, &sum);
	} while (!is_last);
	printf("runs %llu flows %llu packets %llu octets %llu\n", sum.runs, sum.flows, sum.packets, sum.octets);
}

static void unsent(const struct flowtable *t)
{
	const struct flow_line *lines = t->peer[0].lines;
	struct sums sum = { 0 };
	struct flow_rec r;

	for (__u32 slot = 0; lines && slot < flowtable_end(t); slot++) {
		bool is_known;

		if (!flowtable_read(t, slot, &r) || flow_is_reported(&lines[slot], &r))
			continue;
		is_known = lines[slot].generation == FLOW_GENERATION(r.life);
		sum.flows++;
		sum.packets += r.packets - (is_known ? lines[slot].packets : 0);
		sum.octets += r.octets - (is_known ? lines[slot].octets : 0);
	}
	printf("flows %llu packets %llu octets %llu\n", sum.flows, sum.packets, sum.octets);
}

static __u32 reused(const struct flowtable *t)
{
	__u32 n = 0;

	for (__u32 slot = 0; slot < flowtable_end(t); slot++)
		n += FLOW_GENERATION(t->rec[slot].life) > 1;
	return n;
}

static void waive(struct flowtable *t)
{
	struct flow_rec r;

	for (int i = 0; i < FLOW_COLLECTORS; i++)
		for (__u32 slot = 0; t->peer[i].state && slot < flowtable_end(t); slot++)
			if (flowtable_read(t, slot, &r))
				line_commit(&t->peer[i].lines[slot], &r);
}

static void change(struct flowtable *t, const char *verb)
{
	__u64 n = 0;
	int err = flow_lock(&run, t->lock, "the instance");

	if (!err)
		err = flowtable_recover(t);
	if (!err && strcmp(verb, "recycle"))
		err = flowtable_expire(t, !strcmp(verb, "flush"), &n);
	else if (!err)
		err = flowtable_recycle(t, false, &n);
	if (err)
		die(verb);
	printf("%llu\n", n);
}

/*
 * Killing.
 */
static void run_flows(int prog, unsigned n)
{
	unsigned char f[64] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f, .data_size_in = sizeof(f), .repeat = 1);

	for (unsigned i = 0; i < n; i++) {
		f[35] = (unsigned char)i;
		if (bpf_prog_test_run_opts(prog, &o))
			die("BPF_PROG_TEST_RUN");
	}
}

static _Noreturn void flush_traced(const char *instance)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	__u64 n;

	table_open(instance, &t);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		die("ptrace");
	raise(SIGSTOP);
	if (flow_lock(&run, t.lock, "the instance") || flowtable_recover(&t) || flowtable_expire(&t, true, &n) ||
	    flowtable_recycle(&t, true, &n))
		_exit(1);
	_exit(0);
}

/* Killed after that many instructions, it returns how many it ran. */
static unsigned flush_killed(const char *instance, unsigned after)
{
	pid_t pid = fork();
	unsigned n = 0;
	int status;

	if (!pid)
		flush_traced(instance);
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the process to be killed does not stop");
	while (n < after && !ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL)) {
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		n++;
	}
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		die("flushing failed");
	}
	return n;
}

/* What was counted is in the table or was flushed, once. */
static void audit_flushed(struct flowtable *t)
{
	struct flow_flushed all = t->config->flushed;
	struct flow_stat s = stat_of(t, 0);
	struct flow_rec r;

	all.packets += s.ignored[FLOW_IGNORED_FULL].packets;
	all.octets += s.ignored[FLOW_IGNORED_FULL].octets;
	for (__u32 slot = 0; slot < flowtable_end(t); slot++)
		if (flowtable_read(t, slot, &r)) {
			all.flows++;
			all.packets += r.packets;
			all.octets += r.octets;
		}
	if (all.flows != s.flows || all.packets != s.packets || all.octets != s.octets) {
		printf("%llu flows, %llu packets, %llu octets instead of %llu, %llu, %llu\n", all.flows, all.packets, all.octets,
		       s.flows, s.packets, s.octets);
		die("what was counted is not what was flushed and what is left");
	}
}

static void kill_all(struct flowtable *t, const char *instance, int prog, unsigned stride)
{
	unsigned kills = 0, n;
	__u64 done;

	for (unsigned after = 0;; after += stride, kills++) {
		run_flows(prog, 7 + after / stride % 5);
		n = flush_killed(instance, after);
		run_flows(prog, 3 + after / stride % 3); /* some of those keys are there again */
		table_reopen(t);
		if (flow_lock(&run, t->lock, "the instance") || flowtable_recover(t))
			die("recover");
		audit(t, false);
		audit_flushed(t);
		if (flowtable_expire(t, true, &done) || flowtable_recycle(t, true, &done))
			die("flush");
		audit(t, false);
		audit_flushed(t);
		flow_unlock(t->lock);
		if (n < after)
			break;
	}
	printf("kills %u of %u instructions\n", kills, n);
}

static void places(struct flowtable *t)
{
	struct chain_id at = { .netns = { .id = 1 }, .hook = HOOK_TC_INGRESS };
	int free_places = 0;

	for (int i = 0; i < FLOW_PLACES; i++)
		free_places += !t->place[i].ifindex;
	if (netns_self(&at.netns))
		die("netns");
	for (int i = 0; i < free_places; i++) {
		at.iface.index = 1000000 + i;
		if (flowtable_place(t, &at, "gone") != FLOW_PLACES - free_places + i ||
		    flowtable_place(t, &at, "gone") != FLOW_PLACES - free_places + i)
			die("a place is not where it should be");
	}
	/* that of an interface that is gone is taken, the other direction is another one */
	at.hook = HOOK_TC_EGRESS;
	if (flowtable_place(t, &at, "more") != FLOW_PLACES - free_places)
		die("a place that is of no use is not taken");
	/* one that is not known to be gone is not */
	for (int i = 0; i < FLOW_PLACES; i++)
		t->place[i].netns++;
	at.iface.index++;
	printf("%d\n", flowtable_place(t, &at, "more"));
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void scan(const struct flowtable *t, int times)
{
	double begin = now_ns();
	struct flow_rec r;
	__u64 n = 0, sum = 0;

	for (int i = 0; i < times; i++)
		for (__u32 slot = 0, end = flowtable_end(t); slot < end; slot++)
			if (flowtable_read(t, slot, &r)) {
				n++;
				sum += r.octets;
			}
	printf("records %llu octets %llu ns %.0f\n", n, sum, now_ns() - begin);
}

int main(int argc, char **argv)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	const char *verb = argc > 2 ? argv[1] : "";

	run.bpffs = getenv("BPFFS");
	if (!run.bpffs || argc < 3)
		die("usage: see the head of tests/flow.c");
	if (!strcmp(verb, "peer") && argc == 4) {
		printf("%d\n", peer_make(argv[2], argv[3]));
		return 0;
	}
	table_open(argv[2], &t);
	if (!strcmp(verb, "list"))
		list(&t);
	else if (!strcmp(verb, "stat"))
		stat_print(&t);
	else if (!strcmp(verb, "audit"))
		audit_print(&t, argc > 3);
	else if (!strcmp(verb, "export") && argc == 4)
		export(&t, argv[3]);
	else if (!strcmp(verb, "unsent"))
		unsent(&t);
	else if (!strcmp(verb, "reused"))
		printf("%u\n", reused(&t));
	else if (!strcmp(verb, "waive"))
		waive(&t);
	else if (!strcmp(verb, "places"))
		places(&t);
	else if (!strcmp(verb, "kill") && argc == 5)
		kill_all(&t, argv[2], bpf_prog_get_fd_by_id((unsigned)atoi(argv[3])), (unsigned)atoi(argv[4]));
	else if (!strcmp(verb, "scan") && argc == 4)
		scan(&t, atoi(argv[3]));
	else
		change(&t, verb);
	return 0;
}
