// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Many clients at once of a service that several backends serve, and that service.
 *
 *   lbload serve NAME PORT     for ever, on all addresses: HTTP/1.1, whose answer is NAME and a line
 *                              feed (status 200, or N of a path "/N"; "/late" is never answered),
 *                              and UDP, whose answer is NAME, a blank and the datagram
 *   lbload run ADDR PORT WORD...   until SIGTERM; "ready" when every held
 *                              connection had an answer; at the end "requests N failed N moved N
 *                              lost N opened N", then a line per backend "NAME answers N failed N"
 *                              ("-": failed before an answer told whose it was). What failed is told
 *                              on stderr as it happens.
 *
 * WORD: hold=N (connections that stay, a request each 'every' ms) churn=N (so many times at once:
 * connect, one request, close, wait 'every' ms) udp=N (sockets, a datagram each 'every' ms)
 * every=MS (100) patience=MS (20000)
 *
 * Failed: refused, reset, closed, no answer in time, another backend's answer on the same
 * connection. A held connection that failed is opened anew. UDP: moved counts answers of
 * another backend than before, lost what was not answered in time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 512
#define NAME 16
#define BACKENDS 16

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lbload: %s: %s\n", what, strerror(errno));
	exit(2);
}

static unsigned number(const char *s) { return (unsigned)strtoul(s, NULL, 10); }

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void files_many(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		die("getrlimit");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		die("setrlimit");
}

static void epoll_put(int epoll, int fd, unsigned events, void *of)
{
	struct epoll_event e = { .events = events, .data.ptr = of };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		die("epoll_ctl");
}

/*
 * The service.
 */
struct visitor {
	int fd;
	size_t n;
	char buf[MESSAGE];
};

static int bound(int type, unsigned port)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, zero = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) || bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 4096))
		die("listen");
	if (type == SOCK_DGRAM && (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) ||
				   setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one))))
		die("PKTINFO");
	return fd;
}

/* From the address it was sent to. */
static void serve_datagrams(int fd, const char *name)
{
	char buf[2048 + NAME], control[256];
	size_t head = (size_t)snprintf(buf, NAME + 1, "%s ", name);
	struct sockaddr_in6 from;
	ssize_t n;

	for (;;) {
		struct iovec v = { buf + head, sizeof(buf) - head };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
				    .msg_control = control, .msg_controllen = sizeof(control) };

		n = recvmsg(fd, &m, MSG_DONTWAIT);
		if (n < 0)
			return;
		v.iov_base = buf;
		v.iov_len = head + (size_t)n;
		/* IPv4 on an IPv6 socket has both; the first is the one to answer with */
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_level == IPPROTO_IPV6)
				((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex = 0;
			else if (c->cmsg_type == IP_PKTINFO && c->cmsg_level == IPPROTO_IP)
				((struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex = 0;
		if (sendmsg(fd, &m, 0) < 0)
			fprintf(stderr, "lbload: %s: an answer: %s\n", name, strerror(errno));
	}
}

static void answer(struct visitor *v, const char *name)
{
	unsigned status = 200;
	char text[256];
	int n;

	if (!strncmp(v->buf, "GET /late", 9))
		return;
	if (!strncmp(v->buf, "GET /", 5) && number(v->buf + 5))
		status = number(v->buf + 5);
	n = snprintf(text, sizeof(text), "HTTP/1.1 %u OK\r\nContent-Length: %zu\r\n\r\n%s\n", status, strlen(name) + 1, name);
	if (send(v->fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		return;
}

static void visitor_hear(struct visitor *v, const char *name)
{
	ssize_t n;

	while ((n = recv(v->fd, v->buf + v->n, sizeof(v->buf) - 1 - v->n, MSG_DONTWAIT)) > 0) {
		v->n += (size_t)n;
		v->buf[v->n] = 0;
		if (v->n > 4 && !strcmp(v->buf + v->n - 4, "\r\n\r\n")) {
			answer(v, name);
			v->n = 0;
		} else if (v->n == sizeof(v->buf) - 1) {
			break;
		}
	}
	if (n < 0 && errno == EAGAIN)
		return;
	close(v->fd);
	free(v);
}

static void visitors_let_in(int listener, int epoll)
{
	struct visitor *v;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		v = calloc(1, sizeof(*v));
		if (!v)
			die("memory");
		v->fd = fd;
		epoll_put(epoll, fd, EPOLLIN, v);
	}
}

static _Noreturn void serve(const char *name, unsigned port)
{
	int epoll = epoll_create1(0), tcp = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port);
	struct epoll_event events[256];

	epoll_put(epoll, tcp, EPOLLIN, &tcp);
	epoll_put(epoll, udp, EPOLLIN, &udp);
	puts("listening");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < n; i++)
			if (events[i].data.ptr == &tcp)
				visitors_let_in(tcp, epoll);
			else if (events[i].data.ptr == &udp)
				serve_datagrams(udp, name);
			else
				visitor_hear(events[i].data.ptr, name);
	}
}

/*
 * The clients.
 */
struct backend {
	char name[NAME];
	unsigned long long answers, failed;
};

enum kind { HOLD, CHURN, UDP, KINDS };
struct client {
	enum kind kind;
	enum { CLOSED, CONNECTING, IDLE, WAITING } state;
	int fd;
	unsigned short port;
	bool was_answered;      /* ever */
	struct backend *of;     /* who answered on this connection */
	long long due;          /* CLOSED, IDLE: what is next; else: when patience ends */
	unsigned long long asked;
	size_t n;
	char buf[MESSAGE];
};

struct load {
	struct sockaddr_storage to;
	socklen_t to_len;
	int epoll;
	unsigned count[KINDS], every, patience;
	long long started;
	unsigned answered;      /* held ones, at least once */
	unsigned long long requests, failed, moved, lost, opened;
	struct backend backend[BACKENDS]; /* 0: nobody knows */
	struct client *client;
	unsigned n;
};

static struct backend *backend_of(struct load *l, const char *name, size_t n)
{
	unsigned i;

	for (i = 1; i < BACKENDS && l->backend[i].name[0]; i++)
		if (strlen(l->backend[i].name) == n && !memcmp(l->backend[i].name, name, n))
			return &l->backend[i];
	if (i == BACKENDS || !n || n >= NAME)
		return NULL;
	memcpy(l->backend[i].name, name, n);
	return &l->backend[i];
}

static void client_close(struct load *l, struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CLOSED;
	c->of = NULL;
	c->n = 0;
	c->due = now_ms() + l->every;
}

static void client_fail(struct load *l, struct client *c, const char *why)
{
	struct backend *of = c->of ? c->of : &l->backend[0];

	fprintf(stderr, "%7.3f port %u of %s: %s\n", (double)(now_ms() - l->started) / 1000, c->port, of->name, why);
	l->failed++;
	of->failed++;
	client_close(l, c);
}

static void client_open(struct load *l, struct client *c)
{
	int type = (c->kind == UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, one = 1;
	struct sockaddr_in6 self; /* as long as that of IPv4, and the port in the same place */
	socklen_t len = sizeof(self);

	c->fd = socket(l->to.ss_family, type, 0);
	if (c->fd < 0)
		die("socket");
	c->state = CONNECTING;
	c->due = now_ms() + l->patience;
	l->opened++;
	if (c->kind != UDP && setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
	if (connect(c->fd, (struct sockaddr *)&l->to, l->to_len) && errno != EINPROGRESS) {
		client_fail(l, c, strerror(errno));
		return;
	}
	if (!getsockname(c->fd, (struct sockaddr *)&self, &len))
		c->port = ntohs(self.sin6_port);
	epoll_put(l->epoll, c->fd, EPOLLIN | EPOLLOUT | EPOLLET, c);
}

static void client_ask(struct load *l, struct client *c)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: lbload\r\n\r\n";
	char datagram[32];
	ssize_t n;

	c->asked++;
	if (c->kind == UDP)
		n = send(c->fd, datagram, (size_t)snprintf(datagram, sizeof(datagram), "%llu", c->asked), MSG_NOSIGNAL);
	else
		n = send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
	if (n < 0) {
		client_fail(l, c, strerror(errno));
		return;
	}
	l->requests++;
	c->n = 0;
	c->state = WAITING;
	c->due = now_ms() + l->patience;
}

static void client_is_answered(struct load *l, struct client *c, struct backend *by)
{
	by->answers++;
	if (c->of && c->of != by && c->kind != UDP) {
		client_fail(l, c, "another backend's answer");
		return;
	}
	l->moved += c->of && c->of != by;
	c->of = by;
	if (c->kind == HOLD && !c->was_answered && ++l->answered == l->count[HOLD]) {
		puts("ready");
		fflush(stdout);
	}
	c->was_answered = true;
	c->state = IDLE;
	c->due = now_ms() + l->every;
	if (c->kind == CHURN)
		client_close(l, c);
}

static void client_read(struct load *l, struct client *c)
{
	const char *name = c->buf;
	struct backend *by;
	char mine[32];

	c->buf[c->n] = 0;
	if (c->kind == UDP) {
		snprintf(mine, sizeof(mine), " %llu", c->asked);
		if (!strchr(c->buf, ' ') || strcmp(strchr(c->buf, ' '), mine))
			return; /* late */
	} else {
		name = strstr(c->buf, "\r\n\r\n");
		if (!name || !strchr(name + 4, '\n'))
			return;
		name += 4;
	}
	by = backend_of(l, name, strcspn(name, " \n"));
	if (by)
		client_is_answered(l, c, by);
	else
		client_fail(l, c, "an answer that makes no sense");
}

static void client_hear(struct load *l, struct client *c)
{
	ssize_t n;

	while (c->fd >= 0) {
		if (c->kind == UDP)
			c->n = 0;
		n = recv(c->fd, c->buf + c->n, sizeof(c->buf) - 1 - c->n, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && c->kind == UDP) /* a port unreachable, as lost as without it */
			continue;
		if (n <= 0) {
			client_fail(l, c, n ? strerror(errno) : "closed");
			return;
		}
		c->n += (size_t)n;
		if (c->state == WAITING)
			client_read(l, c);
	}
}

static void client_event(struct load *l, struct client *c, unsigned events)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		if (!getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) && err) {
			client_fail(l, c, strerror(err));
			return;
		}
		client_ask(l, c);
	}
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		client_hear(l, c);
}

static void client_is_due(struct load *l, struct client *c)
{
	if (c->state == CLOSED) {
		client_open(l, c);
	} else if (c->state == IDLE) {
		client_ask(l, c);
	} else if (c->kind == UDP) {
		l->lost++;
		client_ask(l, c);
	} else {
		client_fail(l, c, c->state == CONNECTING ? "no connection in time" : "no answer in time");
	}
}

static void clients_make(struct load *l)
{
	l->n = l->count[HOLD] + l->count[CHURN] + l->count[UDP];
	l->client = calloc(l->n, sizeof(*l->client));
	if (!l->client || !l->n)
		die("clients");
	for (unsigned i = 0; i < l->n; i++) {
		struct client *c = &l->client[i];

		c->kind = i < l->count[HOLD] ? HOLD : i < l->count[HOLD] + l->count[CHURN] ? CHURN : UDP;
		c->fd = -1;
		c->due = l->started + (long long)i * l->every / l->n; /* spread over the interval */
	}
}

static void load_print(const struct load *l)
{
	printf("requests %llu failed %llu moved %llu lost %llu opened %llu\n", l->requests, l->failed, l->moved, l->lost,
	       l->opened);
	for (const struct backend *b = l->backend; b < l->backend + BACKENDS && b->name[0]; b++)
		if (b->answers || b->failed)
			printf("%s answers %llu failed %llu\n", b->name, b->answers, b->failed);
}

static bool goes_on(void)
{
	sigset_t pending;

	return !sigpending(&pending) && !sigismember(&pending, SIGTERM);
}

static void run(struct load *l)
{
	struct epoll_event events[256];
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	l->epoll = epoll_create1(0);
	l->started = now_ms();
	clients_make(l);
	if (!l->count[HOLD]) {
		puts("ready");
		fflush(stdout);
	}
	while (goes_on()) {
		int n = epoll_wait(l->epoll, events, 256, 5);
		long long now = now_ms();

		for (int i = 0; i < n; i++)
			client_event(l, events[i].data.ptr, events[i].events);
		for (unsigned i = 0; i < l->n; i++)
			if (l->client[i].due <= now)
				client_is_due(l, &l->client[i]);
	}
	load_print(l);
}

static void addr_set(struct load *l, const char *text, unsigned port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&l->to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&l->to;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((unsigned short)port);
		l->to_len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((unsigned short)port);
		l->to_len = sizeof(*v6);
	} else {
		errno = EINVAL;
		die(text);
	}
}

int main(int argc, char **argv)
{
	struct load l = { .every = 100, .patience = 20000, .backend = { { .name = "-" } } };
	const struct { const char *word; unsigned *n; } words[] = {
		{ "hold=", &l.count[HOLD] }, { "churn=", &l.count[CHURN] }, { "udp=", &l.count[UDP] },
		{ "every=", &l.every }, { "patience=", &l.patience },
	};

	files_many();
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(argv[2], number(argv[3]));
	if (argc < 5 || strcmp(argv[1], "run")) {
		fputs("usage: see the head of tests/lbload.c\n", stderr);
		return 2;
	}
	addr_set(&l, argv[2], number(argv[3]));
	for (char **w = argv + 4; *w; w++)
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (!strncmp(*w, words[i].word, strlen(words[i].word)))
				*words[i].n = number(*w + strlen(words[i].word));
	run(&l);
	return 0;
}
