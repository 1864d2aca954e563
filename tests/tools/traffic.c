// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "traffic.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "fp.h"

#define BURST 16
#define WINDOW 96          /* a veth ring holds 256 */
#define STALLED_NS 5000000000ull /* no packet seen for so long: those under way are lost */

struct traffic {
	int prints, sock;
	const volatile struct fp_seen *seen;
	struct fp_seen base;       /* at traffic_start */
	__u64 first_seq;
	_Atomic __u64 sent;        /* since traffic_start */
	__u64 lost;                /* given up by the sender */
	__u64 next_seq;
	unsigned rate;
	atomic_bool is_stopping;
	pthread_t thread;
};

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("oracle: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void pause_us(unsigned us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static int packet_socket(const char *ns, const char *dev)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	int home = -1, there, sock, size = 4 << 20;
	char path[128];

	if (ns) {
		snprintf(path, sizeof(path), "/run/netns/%s", ns);
		home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		there = open(path, O_RDONLY | O_CLOEXEC);
		if (home < 0 || there < 0 || setns(there, CLONE_NEWNET))
			die("network namespace %s: %s", ns, strerror(errno));
		close(there);
	}
	sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	to.sll_ifindex = if_nametoindex(dev);
	if (sock < 0 || !to.sll_ifindex || bind(sock, (void *)&to, sizeof(to)))
		die("packet socket on %s: %s", dev, strerror(errno));
	setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (home >= 0) {
		if (setns(home, CLONE_NEWNET))
			die("back to the own network namespace: %s", strerror(errno));
		close(home);
	}
	return sock;
}

static int map_open(const char *dir, const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

struct traffic *traffic_open(const char *dir, const char *ns, const char *dev)
{
	struct traffic *t = calloc(1, sizeof(*t));
	int fd = map_open(dir, "seen");

	t->prints = map_open(dir, "prints");
	t->seen = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, fd, 0);
	if (t->seen == MAP_FAILED)
		die("mmap seen: %s", strerror(errno));
	close(fd);
	t->sock = packet_socket(ns, dev);
	return t;
}

void traffic_close(struct traffic *t)
{
	munmap((void *)t->seen, getpagesize());
	close(t->prints);
	close(t->sock);
	free(t);
}

static void frame_fill(__u8 frame[FP_FRAME], __u64 seq)
{
	/* not the peer's own address: what a chain lets through, the stack drops unseen */
	static const __u8 macs[] = { 2, 0x77, 0, 0, 0, 0x99, 2, 0x77, 0, 0, 0, 0x98 };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
			    .tot_len = htons(FP_FRAME - ETH_HLEN),
			    .saddr = htonl(0x0a4d0002), .daddr = htonl(0x0a4d0001) };
	struct udphdr udp = { .source = htons(7777), .dest = htons(9),
			      .len = htons(FP_FRAME - ETH_HLEN - sizeof(ip)) };
	struct fp fp = { .magic = FP_MAGIC, .seq = seq };
	const __u16 *w = (const void *)&ip;
	__u32 sum = 0;

	for (size_t i = 0; i < sizeof(ip) / 2; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	ip.check = ~(sum + (sum >> 16));
	memcpy(frame, macs, sizeof(macs));
	frame[12] = ETH_P_IP >> 8;
	frame[13] = ETH_P_IP & 0xff;
	memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	memcpy(frame + ETH_HLEN + sizeof(ip), &udp, sizeof(udp));
	memcpy(frame + FP_OFFSET, &fp, sizeof(fp));
}

static void send_burst(struct traffic *t, unsigned n)
{
	__u8 frame[BURST][FP_FRAME];
	struct mmsghdr msg[BURST] = { 0 };
	struct iovec iov[BURST];
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		frame_fill(frame[i], t->next_seq + i);
		iov[i] = (struct iovec){ frame[i], FP_FRAME };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < n) {
		int sent = sendmmsg(t->sock, msg + done, n - done, 0);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			die("send: %s", strerror(errno));
		done += sent;
		t->next_seq += sent;
		t->sent += sent;
	}
}

static __u64 under_way(const struct traffic *t)
{
	return t->sent - t->lost - (t->seen->packets - t->base.packets);
}

/* Until at most n packets are under way; those that do not arrive are given up. */
static void drain(struct traffic *t, __u64 n)
{
	__u64 last = t->seen->packets, since = now_ns();

	while ((__s64)under_way(t) > (__s64)n) {
		pause_us(20);
		if (t->seen->packets != last) {
			last = t->seen->packets;
			since = now_ns();
		} else if (now_ns() - since > STALLED_NS) {
			t->lost += under_way(t);
		}
	}
}

static void *sender(void *arg)
{
	struct traffic *t = arg;
	__u64 next = now_ns();

	while (!t->is_stopping) {
		drain(t, WINDOW - BURST);
		send_burst(t, BURST);
		next += BURST * 1000000000ull / t->rate;
		while (now_ns() < next && !t->is_stopping)
			pause_us(20);
		if (now_ns() > next + 10000000) /* do not catch up what the machine held back */
			next = now_ns();
	}
	return NULL;
}

static void begin(struct traffic *t)
{
	t->base = (struct fp_seen){ t->seen->packets, t->seen->seq_sum };
	t->first_seq = t->next_seq;
	t->sent = 0;
	t->lost = 0;
}

void traffic_start(struct traffic *t, unsigned rate)
{
	begin(t);
	t->rate = rate;
	t->is_stopping = false;
	if (pthread_create(&t->thread, NULL, sender, t))
		die("cannot start the sender");
}

bool traffic_wait(struct traffic *t, __u64 n)
{
	__u64 last = t->seen->packets, goal = last + n, since = now_ns();

	while (t->seen->packets < goal) {
		pause_us(50);
		if (t->seen->packets != last) {
			last = t->seen->packets;
			since = now_ns();
		} else if (now_ns() - since > STALLED_NS) {
			return false;
		}
	}
	return true;
}

void traffic_stop(struct traffic *t)
{
	t->is_stopping = true;
	pthread_join(t->thread, NULL);
	drain(t, 0);
}

__u64 traffic_sent(const struct traffic *t)
{
	return t->sent;
}

__s64 traffic_missing(const struct traffic *t)
{
	__u64 n = t->sent, sum = n * t->first_seq + (n % 2 ? n * ((n - 1) / 2) : n / 2 * (n - 1));
	__s64 missing = n - (t->seen->packets - t->base.packets);

	if (!missing && t->seen->seq_sum - t->base.seq_sum != sum)
		return -1;
	return missing;
}

__u64 traffic_probe(struct traffic *t, unsigned n, unsigned wait_ms)
{
	__u64 since;

	begin(t);
	send_burst(t, n < BURST ? n : BURST);
	for (since = now_ns(); under_way(t) && now_ns() - since < wait_ms * 1000000ull;)
		pause_us(100);
	return t->sent - under_way(t);
}

static int by_print(const void *a, const void *b)
{
	__u64 x = ((const struct print *)a)->print, y = ((const struct print *)b)->print;

	return x < y ? -1 : x > y;
}

void traffic_prints(struct traffic *t, struct prints *p)
{
	__u64 key, next, *prev = NULL;

	p->n = 0;
	while (!bpf_map_get_next_key(t->prints, prev, &next)) {
		if (!(p->n & (p->n - 1))) {
			p->at = realloc(p->at, (p->n ? 2 * p->n : 1) * sizeof(*p->at));
			if (!p->at)
				die("out of memory");
		}
		key = next;
		prev = &key;
		p->at[p->n].print = key;
		if (!bpf_map_lookup_elem(t->prints, &key, &p->at[p->n].packets))
			p->n++;
	}
	if (errno != ENOENT)
		die("reading prints: %s", strerror(errno));
	qsort(p->at, p->n, sizeof(*p->at), by_print);
}

__u64 prints_get(const struct prints *p, __u64 print)
{
	const struct print *found = bsearch(&(struct print){ print, 0 }, p->at, p->n,
					    sizeof(*p->at), by_print);

	return found ? found->packets : 0;
}
