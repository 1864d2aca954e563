// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mirrorset BPFFS DEV make N FIRST   these N filters, numbered from FIRST, and no others: by the library,
 *                                    in one step
 * mirrorset BPFFS DEV swap TIMES N   while datagrams flow from cli to srv, TIMES changes between two sets
 *                                    of N filters, of which one each takes them, to targets a and b: every
 *                                    datagram arrives in col once, by the one or by the other
 *
 * Prints one line. Runs in the network namespace srv.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/bpffs.h"
#include "../lib/mirrors.h"
#include "../lib/out.h"
#include "../lib/run.h"

#define PORT 9
#define WINDOW 64
#define DATAGRAMS (1 << 24)

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "mirrorset: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct mirror_filter_want *wants_new(int n)
{
	struct mirror_filter_want *w = calloc((size_t)n, sizeof(*w));

	if (!w)
		die("filters");
	return w;
}

static void src_set(struct match_rule *r, const char *addr, int len)
{
	__u8 b[16] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, addr, b + 12) != 1)
		die(addr);
	memcpy(r->src, b, sizeof(b));
	r->src_len = (__u8)(96 + len);
	r->version = 4;
}

/* One that no test packet matches, i-th of many that differ in everything. */
static void other(struct mirror_filter_want *w, int i)
{
	char addr[32];

	snprintf(addr, sizeof(addr), "10.%d.%d.0", 100 + i % 100, i % 256);
	w->filter.action = MIRROR_REJECT;
	src_set(&w->filter.rule, addr, 24);
	w->filter.rule.has_proto = 1;
	w->filter.rule.proto = i % 2 ? 17 : 6;
	w->filter.rule.dport[0] = (__u16)(1000 + i);
	w->filter.rule.dport[1] = (__u16)(1000 + 2 * i);
	w->filter.rule.has_vlan = i % 3 == 0;
	w->filter.rule.vlan = i % 3 ? 0 : (__u16)(i % 4000);
}

static void make(struct run *run, const struct iface *dev, const struct mirror_filter_want *w, int n)
{
	struct changes *changes = changes_new();
	struct bpffs b = { .fd = -1 };

	run->changes = changes;
	run->started_us = run_now_us();
	if (bpffs_open(run, BPFFS_CHANGE, &b) || mirror_filters_set(run, &b, dev, w, n, true))
		exit(1);
	bpffs_close(&b);
	changes_free(changes);
}

static void make_one(struct run *run, const struct iface *dev, int n, int first)
{
	struct mirror_filter_want *w = wants_new(n);
	__u64 begin = run_now_us();

	for (int i = 0; i < n; i++) {
		w[i].filter.number = (__u32)(first + i);
		other(&w[i], i);
	}
	make(run, dev, w, n);
	printf("%d filters in one step: %.1f ms\n", n, (double)(run_now_us() - begin) / 1e3);
	free(w);
}

/*
 * Swapping.
 */
struct shared {
	volatile __u32 sent, received, twice, is_over;
	volatile __u32 by[2];
	__u8 seen[DATAGRAMS];
};

static void enter(const char *ns)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path);
	close(fd);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* At most WINDOW of them are on their way; a second without one arriving is the end. */
static void send_all(struct shared *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd;

	enter("cli");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
	while (!s->is_over && s->sent < DATAGRAMS) {
		__u64 patience = run_now_us() + 1000000;
		__u32 number = s->sent;

		while (number - s->received >= WINDOW)
			if (run_now_us() > patience)
				exit(1);
			else
				sched_yield();
		s->sent = number + 1;
		if (sendto(fd, &number, sizeof(number), 0, (struct sockaddr *)&to, sizeof(to)) != sizeof(number) &&
		    errno != ECONNREFUSED)
			die("sendto");
	}
	exit(0);
}

/* Behind VXLAN, Ethernet, IPv4 and UDP. */
static void take(struct shared *s, const __u8 *b, ssize_t n)
{
	const int at = 8 + 14 + 20 + 8;
	__u32 number, vni = (__u32)b[4] << 16 | (__u32)b[5] << 8 | b[6];

	if (n < at + 4 || b[8 + 12] != 8 || b[8 + 14 + 9] != 17 || (vni != 1 && vni != 2))
		return;
	memcpy(&number, b + at, sizeof(number));
	if (number >= DATAGRAMS)
		return;
	s->twice += s->seen[number];
	s->seen[number] = 1;
	s->by[vni - 1]++;
	s->received++;
}

static void receive_all(struct shared *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(MIRROR_VXLAN_PORT) };
	int fd, size = 1 << 24;
	__u8 b[2048];

	enter("col");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
	s->is_over = 0;
	for (;;) {
		ssize_t n = recv(fd, b, sizeof(b), 0);

		if (n > 0)
			take(s, b, n);
	}
}

/* Filter 100 + k takes the datagrams, to target a, in set 0; 600 + k to b in set 1. Each is there in the
 * other set as well, and does not match: their counters go on. */
static struct mirror_filter_want *half(int n, int which, int k)
{
	struct mirror_filter_want *w = wants_new(n);
	const int mine = n / 8 + k, others = n / 2 + k;

	for (int i = 0; i < n; i++) {
		w[i].filter.number = (__u32)i + 1;
		other(&w[i], which ? n - i : i);
	}
	for (int i = 0; i < 2; i++) {
		struct mirror_filter_want *t = &w[i ? others : mine];

		memset(&t->filter.rule, 0, sizeof(t->filter.rule));
		t->filter.action = MIRROR_ACCEPT;
		snprintf(t->target, sizeof(t->target), "%s", i ? "b" : "a");
		src_set(&t->filter.rule, i == which ? "10.77.0.2" : "10.77.0.3", 32);
		t->filter.rule.directions = 1;
		t->filter.rule.has_proto = 1;
		t->filter.rule.proto = 17;
		t->filter.rule.dport[0] = t->filter.rule.dport[1] = PORT;
	}
	return w;
}

static void counted(struct run *run, const struct iface *dev, int n, int k, __u64 count[2])
{
	struct mirror m = MIRROR_INIT;
	struct mirror_view v = MIRROR_VIEW_INIT;
	struct mirror_stat sum;
	struct bpffs b = { .fd = -1 };
	struct netns here;

	if (bpffs_open(run, BPFFS_READ, &b) || netns_self(&here) || mirror_open(run, &b, false, &m) != 1 ||
	    mirror_view_open(&m, mirror_place_find(&m, &here, dev->index), &v))
		die("counters");
	for (int i = 0; i < 2; i++) {
		if (mirror_filter_stat(&v, i ? n / 2 + k : n / 8 + k, &sum))
			die("counters");
		count[i] = sum.sent;
	}
	mirror_view_close(&v);
	mirror_close(&m);
	bpffs_close(&b);
}

static void swap(struct run *run, const struct iface *dev, int times, int n)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const int k = n / 16;
	struct mirror_filter_want *set[2] = { half(n, 0, k), half(n, 1, k) };
	pid_t sender, receiver;
	__u64 begin, took, before[2], count[2];
	int status;

	if (s == MAP_FAILED)
		die("mmap");
	make(run, dev, set[0], n);
	counted(run, dev, n, k, before);
	s->is_over = 1;
	receiver = fork();
	if (!receiver)
		receive_all(s);
	while (s->is_over)
		usleep(1000);
	sender = fork();
	if (!sender)
		send_all(s);
	begin = run_now_us();
	for (int i = 1; i <= times; i++)
		make(run, dev, set[i & 1], n);
	took = run_now_us() - begin;
	s->is_over = 1;
	waitpid(sender, &status, 0);
	for (int i = 0; i < 1000 && s->received < s->sent; i++)
		usleep(1000);
	kill(receiver, SIGKILL);
	counted(run, dev, n, k, count);
	for (int i = 0; i < 2; i++)
		count[i] -= before[i];
	if (status || s->received != s->sent || s->twice || s->by[0] != count[0] || s->by[1] != count[1] || !s->by[0] ||
	    !s->by[1]) {
		printf("%u datagrams, %u arrived, %u twice; by a %u (counted %llu), by b %u (counted %llu)\n", s->sent,
		       s->received, s->twice, s->by[0], count[0], s->by[1], count[1]);
		exit(1);
	}
	printf("%d changes of %d filters, %.1f ms each: %u datagrams, each judged by one set: %u by a, %u by b\n",
	       times, n, (double)took / 1e3 / times, s->sent, s->by[0], s->by[1]);
}

int main(int argc, char **argv)
{
	struct run run = { .wait_us = 10000000, .quiet = true };
	struct iface dev;

	if (argc != 6 || iface_by_name(argv[2], &dev)) {
		fprintf(stderr, "mirrorset BPFFS DEV make N FIRST | swap TIMES N\n");
		return 2;
	}
	run.bpffs = argv[1];
	if (!strcmp(argv[3], "make"))
		make_one(&run, &dev, atoi(argv[4]), atoi(argv[5]));
	else
		swap(&run, &dev, atoi(argv[4]), atoi(argv[5]));
	return 0;
}
