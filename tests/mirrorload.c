// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * UDP that knows what was lost: the production of the mirror's tests.
 *
 *   mirrorload serve PORT          on all addresses, until SIGTERM: each datagram goes back
 *   mirrorload sink PORT           takes them; both say "ready" first and "datagrams N octets N" last
 *   mirrorload ask ADDR PORT WORD...
 *                                  numbered datagrams, a window of them on their way, until 'seconds'
 *                                  are over, 'count' are sent or SIGTERM; then waits for the answers:
 *                                  "ready", "sent N answered N again N". Exit status 1 if those are not the same.
 *   mirrorload gso ADDR PORT COUNT SIZE SEGMENTS
 *                                  COUNT times SEGMENTS datagrams of SIZE octets in one (UDP_SEGMENT)
 *
 * WORD: seconds=N count=N window=N (32) size=N (octets, 64) flows=N (source ports, 1) from=PORT
 * patience=MS (2000)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define DATAGRAM 65536
#define WINDOW 4096
#define FLOWS 1024

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "mirrorload: %s: %s\n", what, strerror(errno));
	exit(2);
}

static volatile sig_atomic_t is_over;
static void over(int sig)
{
	(void)sig;
	is_over = 1;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static unsigned number(const char *s) { return (unsigned)strtoul(s, NULL, 10); }

static int udp_open(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 32 << 20;

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		die("SO_RCVBUFFORCE");
	return fd;
}

static int udp_connect(const char *addr, unsigned port, unsigned from)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	bool is_v6 = strchr(addr, ':');
	int fd = udp_open(is_v6 ? AF_INET6 : AF_INET);

	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, addr, is_v6 ? (void *)&to6.sin6_addr : (void *)&to4.sin_addr) != 1)
		die(addr);
	if (from) {
		struct sockaddr_in6 own6 = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)from) };
		struct sockaddr_in own4 = { .sin_family = AF_INET, .sin_port = htons((unsigned short)from) };

		if (bind(fd, is_v6 ? (void *)&own6 : (void *)&own4, is_v6 ? sizeof(own6) : sizeof(own4)))
			die("bind");
	}
	if (connect(fd, is_v6 ? (void *)&to6 : (void *)&to4, is_v6 ? sizeof(to6) : sizeof(to4)))
		die("connect");
	return fd;
}

static int serve(unsigned port, bool is_sink)
{
	struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) }, from;
	static char data[DATAGRAM];
	unsigned long long datagrams = 0, octets = 0;
	int fd = udp_open(AF_INET6);

	if (bind(fd, (void *)&own, sizeof(own)))
		die("bind");
	puts("ready");
	fflush(stdout);
	while (!is_over) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (void *)&from, &len);

		if (n < 0 && (errno == EINTR || errno == ECONNREFUSED))
			continue;
		if (n < 0)
			die("recv");
		datagrams++;
		octets += (unsigned long long)n;
		if (!is_sink && sendto(fd, data, (size_t)n, 0, (void *)&from, len) != n)
			perror("mirrorload: send");
	}
	printf("datagrams %llu octets %llu\n", datagrams, octets);
	return 0;
}

struct ask {
	unsigned seconds, count, window, size, flows, from, patience;
	int fd[FLOWS];
	struct slot {
		unsigned long long n;   /* its number, from 1; 0: none is on its way */
		long long sent;
	} slot[WINDOW];
	unsigned long long sent, answered, again, other;
};

static void words(struct ask *a, char **word)
{
	const struct { const char *key; unsigned *value; } keys[] = {
		{ "seconds=", &a->seconds }, { "count=", &a->count }, { "window=", &a->window }, { "size=", &a->size },
		{ "flows=", &a->flows }, { "from=", &a->from }, { "patience=", &a->patience },
	};

	for (; *word; word++) {
		size_t i = 0, n = sizeof(keys) / sizeof(*keys);

		while (i < n && strncmp(*word, keys[i].key, strlen(keys[i].key)))
			i++;
		if (i == n) {
			errno = EINVAL;
			die(*word);
		}
		*keys[i].value = number(*word + strlen(keys[i].key));
	}
}

/* What a datagram says: its number, then octets that follow from it. */
static void fill(char *data, unsigned size, unsigned long long n)
{
	memcpy(data, &n, sizeof(n));
	for (unsigned i = sizeof(n); i < size; i++)
		data[i] = (char)(n * 31 + i * 7);
}

static void answers(struct ask *a, int wait_ms)
{
	static char data[DATAGRAM], want[DATAGRAM];
	struct pollfd ready[FLOWS];
	unsigned long long n;

	for (unsigned i = 0; i < a->flows; i++)
		ready[i] = (struct pollfd){ .fd = a->fd[i], .events = POLLIN };
	if (poll(ready, a->flows, wait_ms) <= 0)
		return;
	for (unsigned i = 0; i < a->flows; i++) {
		ssize_t got;

		while ((got = recv(a->fd[i], data, sizeof(data), MSG_DONTWAIT)) >= 0) {
			memcpy(&n, data, sizeof(n));
			fill(want, a->size, n);
			if (got != a->size || memcmp(data, want, a->size))
				a->other++;
			else if (a->slot[n % a->window].n != n)
				a->again++;
			else
				a->answered++, a->slot[n % a->window].n = 0;
		}
	}
}

/* The next datagram may go when the one a window before it was answered, or is given up. */
static bool is_free(struct ask *a, unsigned long long n)
{
	struct slot *s = &a->slot[n % a->window];

	return !s->n || now_ms() - s->sent > a->patience;
}

static int ask(const char *addr, unsigned port, char **word)
{
	static struct ask a = { .window = 32, .size = 64, .flows = 1, .patience = 2000 };
	static char data[DATAGRAM];
	long long begin, end;

	words(&a, word);
	if (a.size < 8 || a.size > DATAGRAM - 100 || !a.window || a.window > WINDOW || !a.flows || a.flows > FLOWS) {
		errno = ERANGE;
		die("size, window or flows");
	}
	for (unsigned i = 0; i < a.flows; i++)
		a.fd[i] = udp_connect(addr, port, a.from ? a.from + i : 0);
	puts("ready");
	fflush(stdout);
	begin = now_ms();
	end = begin + a.seconds * 1000LL;
	while (!is_over && (!a.count || a.sent < a.count) && (!a.seconds || now_ms() < end)) {
		if (!is_free(&a, a.sent + 1)) {
			answers(&a, 10);
			continue;
		}
		a.slot[(a.sent + 1) % a.window] = (struct slot){ .n = a.sent + 1, .sent = now_ms() };
		fill(data, a.size, ++a.sent);
		if (send(a.fd[a.sent % a.flows], data, a.size, 0) < 0 && errno != ECONNREFUSED)
			perror("mirrorload: send");
		answers(&a, 0);
	}
	for (end = now_ms() + a.patience; a.answered < a.sent && now_ms() < end;)
		answers(&a, 10);
	printf("sent %llu answered %llu again %llu\n", a.sent, a.answered, a.again);
	if (a.other)
		printf("other %llu\n", a.other);
	return a.answered != a.sent || a.again || a.other;
}

static int gso(const char *addr, unsigned port, unsigned count, unsigned size, unsigned segments)
{
	static char data[DATAGRAM];
	int fd = udp_connect(addr, port, 0), segment = (int)size;

	if (size * segments >= sizeof(data)) {
		errno = ERANGE;
		die("SIZE * SEGMENTS");
	}
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		die("UDP_SEGMENT");
	for (unsigned i = 0; i < count; i++) {
		fill(data, size * segments, i + 1);
		if (send(fd, data, size * segments, 0) < 0)
			die("send");
		usleep(500); /* for the receiver's queue */
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = over }; /* system calls end */

	sigaction(SIGTERM, &act, NULL);
	if (argc == 3 && (!strcmp(argv[1], "serve") || !strcmp(argv[1], "sink")))
		return serve(number(argv[2]), !strcmp(argv[1], "sink"));
	if (argc >= 4 && !strcmp(argv[1], "ask"))
		return ask(argv[2], number(argv[3]), argv + 4);
	if (argc == 7 && !strcmp(argv[1], "gso"))
		return gso(argv[2], number(argv[3]), number(argv[4]), number(argv[5]), number(argv[6]));
	fputs("usage: see the top of tests/mirrorload.c\n", stderr);
	return 2;
}
