// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP SYNs of every shape, and clients that do not give up.
 *
 *   syn run PROG N FRAME...      run the program PROG (an id) on N frames, source ports
 *                                counting up: "pass 3 drop 7 tx 0"
 *   syn race PROG THREADS N FRAME...  the same from several threads at once
 *   syn time PROG FRAME...       ns per packet, the best of several runs
 *   syn reset PROG FRAME...      the frame sent back is a right RST|ACK: "reset ack 1001 length 54"
 *   syn send DEV N FRAME...      send them out of an interface
 *   syn listen PORT [BACKLOG]    accept on all addresses for ever, close when the peer does
 *   syn open N MS ADDR PORT      N clients at once, for MS: "open 3 refused 0 waiting 7";
 *                                they stay open until standard input is closed
 *
 * FRAME is words: v6 vlan qinq opts ext ext9 tiny frag later udp ack synack fin cut
 * data=N src=ADDR dst=ADDR sport=N dport=N spoof (another source each time)
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 2048

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "syn: %s: %s\n", what, strerror(errno));
	exit(2);
}

struct shape {
	bool v6, vlan, qinq, opts, tiny, frag, later, udp, cut, spoof;
	int ext;
	unsigned flags, data;
	unsigned short sport, dport;
	unsigned char src[16], dst[16];
};

static void addr_set(unsigned char *to, bool v6, const char *text)
{
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, to) != 1)
		die(text);
}

static struct shape shape_parse(char **words)
{
	struct shape s = { .flags = 0x02, .sport = 20000, .dport = 80 };
	const char *src = NULL, *dst = NULL;

	for (; *words; words++) {
		const char *w = *words;
		const struct { const char *word; bool *flag; } flags[] = {
			{ "v6", &s.v6 }, { "vlan", &s.vlan }, { "qinq", &s.qinq }, { "opts", &s.opts },
			{ "tiny", &s.tiny }, { "frag", &s.frag }, { "later", &s.later }, { "udp", &s.udp },
			{ "cut", &s.cut }, { "spoof", &s.spoof },
		};
		bool is_known = false;

		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			if (!strcmp(w, flags[i].word))
				is_known = *flags[i].flag = true;
		if (is_known)
			continue;
		if (!strcmp(w, "ack")) s.flags = 0x10;
		else if (!strcmp(w, "synack")) s.flags = 0x12;
		else if (!strcmp(w, "fin")) s.flags = 0x03;
		else if (!strcmp(w, "ext")) s.ext = 2;
		else if (!strcmp(w, "ext9")) s.ext = 9;
		else if (!strncmp(w, "data=", 5)) s.data = (unsigned)atoi(w + 5);
		else if (!strncmp(w, "sport=", 6)) s.sport = (unsigned short)atoi(w + 6);
		else if (!strncmp(w, "dport=", 6)) s.dport = (unsigned short)atoi(w + 6);
		else if (!strncmp(w, "src=", 4)) src = w + 4;
		else if (!strncmp(w, "dst=", 4)) dst = w + 4;
		else die(w);
	}
	addr_set(s.src, s.v6, src ? src : s.v6 ? "fd77::2" : "10.77.0.2");
	addr_set(s.dst, s.v6, dst ? dst : s.v6 ? "fd77::1" : "10.77.0.1");
	return s;
}

static unsigned sum_add(unsigned sum, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
	return sum;
}

static unsigned short sum_fold(unsigned sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~sum;
}

static void put16(unsigned char *p, unsigned v) { p[0] = (unsigned char)(v >> 8); p[1] = (unsigned char)v; }
static unsigned get16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }

static size_t l2_make(const struct shape *s, unsigned char *f)
{
	size_t n = 12;

	memcpy(f, "\x02\x77\0\0\0\1\x02\x77\0\0\0\2", 12);
	if (s->qinq) {
		put16(f + n, 0x88a8);
		put16(f + n + 2, 0x6123);
		n += 4;
	}
	if (s->vlan || s->qinq) {
		put16(f + n, 0x8100);
		put16(f + n + 2, 0x0042);
		n += 4;
	}
	put16(f + n, s->v6 ? 0x86dd : 0x0800);
	return n + 2;
}

static size_t l4_make(const struct shape *s, unsigned char *f, unsigned i)
{
	memset(f, 0, 20);
	put16(f, s->sport + i);
	put16(f + 2, s->dport);
	put16(f + 6, 1000);
	f[12] = 0x50;
	f[13] = (unsigned char)s->flags;
	put16(f + 14, 64240);
	memset(f + 20, 0xaa, s->data);
	return s->tiny ? 8 : 20 + s->data;
}

static size_t v4_make(const struct shape *s, unsigned char *f, unsigned i)
{
	size_t header = s->opts ? 28 : 20, n;

	memset(f, 0, header);
	f[0] = (unsigned char)(0x40 | header / 4);
	f[8] = 64;
	f[9] = s->udp ? IPPROTO_UDP : IPPROTO_TCP;
	put16(f + 6, s->later ? 0x00b9 : s->frag || s->tiny ? 0x2000 : 0x4000);
	memcpy(f + 12, s->src, 4);
	memcpy(f + 16, s->dst, 4);
	if (s->spoof)
		put16(f + 14, i + 256);
	if (s->opts)
		memset(f + 20, 1, 8);
	n = header + l4_make(s, f + header, i);
	put16(f + 2, (unsigned)n);
	put16(f + 10, sum_fold(sum_add(0, f, header)));
	return n;
}

static size_t v6_make(const struct shape *s, unsigned char *f, unsigned i)
{
	size_t n = 40;
	unsigned char *next = f + 6, last = s->udp ? IPPROTO_UDP : IPPROTO_TCP;

	memset(f, 0, 40);
	f[0] = 0x60;
	f[7] = 64;
	memcpy(f + 8, s->src, 16);
	memcpy(f + 24, s->dst, 16);
	if (s->spoof)
		put16(f + 22, i + 256);
	for (int e = 0; e < s->ext; e++) {
		*next = e ? IPPROTO_DSTOPTS : IPPROTO_HOPOPTS;
		next = f + n;
		memset(f + n, 0, 16);
		f[n + 1] = e == 1; /* of 8 bytes and of 16 */
		n += f[n + 1] ? 16 : 8;
	}
	if (s->frag || s->tiny || s->later) {
		*next = IPPROTO_FRAGMENT;
		next = f + n;
		memset(f + n, 0, 8);
		f[n + 1] = 0xff; /* reserved */
		put16(f + n + 2, s->later ? 0x05c8 : 1);
		n += 8;
	}
	*next = last;
	n += l4_make(s, f + n, i);
	put16(f + 4, (unsigned)n - 40);
	return n;
}

static size_t frame_make(const struct shape *s, unsigned char *f, unsigned i)
{
	size_t n = l2_make(s, f);

	n += s->v6 ? v6_make(s, f + n, i) : v4_make(s, f + n, i);
	return s->cut ? n - 10 : n;
}

static int prog_open(const char *id)
{
	int fd = bpf_prog_get_fd_by_id((unsigned)atoi(id));

	if (fd < 0)
		die(id);
	return fd;
}

struct counts {
	unsigned pass, drop, tx;
};

static unsigned run_one(int prog, const struct shape *s, unsigned i, unsigned char *out, unsigned *len)
{
	unsigned char frame[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .repeat = 1, .data_out = out,
		    .data_size_out = out ? FRAME_MAX : 0);

	o.data_size_in = (unsigned)frame_make(s, frame, i);
	if (bpf_prog_test_run_opts(prog, &o))
		die("BPF_PROG_TEST_RUN");
	if (len)
		*len = o.data_size_out;
	return o.retval;
}

static struct counts run_many(int prog, const struct shape *s, unsigned from, unsigned n)
{
	struct counts c = { 0 };

	for (unsigned i = from; i < from + n; i++) {
		unsigned verdict = run_one(prog, s, i, NULL, NULL);

		c.pass += verdict == XDP_PASS;
		c.drop += verdict == XDP_DROP;
		c.tx += verdict == XDP_TX;
	}
	return c;
}

static void counts_print(const struct counts *c)
{
	printf("pass %u drop %u tx %u\n", c->pass, c->drop, c->tx);
}

struct racer {
	pthread_t id;
	int prog;
	const struct shape *shape;
	unsigned from, n;
	struct counts counts;
};
static pthread_barrier_t start;

static void *race_one(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(&start);
	r->counts = run_many(r->prog, r->shape, r->from, r->n);
	return NULL;
}

static void race(int prog, unsigned threads, unsigned n, const struct shape *s)
{
	struct racer r[16];
	struct counts sum = { 0 };

	if (threads > 16)
		threads = 16;
	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		r[i] = (struct racer){ .prog = prog, .shape = s, .from = i * n, .n = n };
		if (pthread_create(&r[i].id, NULL, race_one, &r[i]))
			die("thread");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(r[i].id, NULL);
		sum.pass += r[i].counts.pass;
		sum.drop += r[i].counts.drop;
		sum.tx += r[i].counts.tx;
	}
	counts_print(&sum);
}

static void time_it(int prog, const struct shape *s)
{
	unsigned char frame[FRAME_MAX];
	unsigned best = ~0u;

	for (int i = 0; i < 7; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .repeat = 1000000);

		o.data_size_in = (unsigned)frame_make(s, frame, 0);
		if (bpf_prog_test_run_opts(prog, &o))
			die("BPF_PROG_TEST_RUN");
		if (o.duration < best)
			best = o.duration;
	}
	printf("%u\n", best);
}

static const char *reset_check(const struct shape *s, const unsigned char *f, unsigned len, unsigned *ack)
{
	unsigned char syn[FRAME_MAX];
	const unsigned char *ip, *tcp;
	size_t l2 = l2_make(s, syn), addr = s->v6 ? 16 : 4;
	unsigned sum;

	if (len != l2 + (s->v6 ? 60 : 40))
		return "is of the wrong length";
	if (memcmp(f, syn + 6, 6) || memcmp(f + 6, syn, 6) || memcmp(f + 12, syn + 12, l2 - 12))
		return "has other addresses or tags";
	ip = f + l2;
	tcp = ip + (s->v6 ? 40 : 20);
	if (memcmp(ip + (s->v6 ? 8 : 12), s->dst, addr) || memcmp(ip + (s->v6 ? 24 : 16), s->src, addr))
		return "has other IP addresses";
	if (s->v6 ? ip[0] != 0x60 || get16(ip + 4) != 20 || ip[6] != 6 :
		    ip[0] != 0x45 || get16(ip + 2) != 40 || ip[9] != 6 || sum_fold(sum_add(0, ip, 20)))
		return "has a bad IP header";
	if (get16(tcp) != s->dport || get16(tcp + 2) != s->sport)
		return "has other ports";
	if (memcmp(tcp + 4, "\0\0\0\0", 4) || get16(tcp + 12) != 0x5014 || get16(tcp + 14) || get16(tcp + 18))
		return "is not RST|ACK with sequence number 0";
	sum = sum_add(sum_add(IPPROTO_TCP + 20, ip + (s->v6 ? 8 : 12), 2 * addr), tcp, 20);
	if (sum_fold(sum))
		return "has a bad TCP checksum";
	*ack = get16(tcp + 8) << 16 | get16(tcp + 10);
	return NULL;
}

static int reset(int prog, const struct shape *s)
{
	unsigned char out[FRAME_MAX];
	unsigned len, ack = 0, verdict = run_one(prog, s, 0, out, &len);
	const char *wrong = verdict == XDP_TX ? reset_check(s, out, len, &ack) : "is not sent back";

	if (wrong)
		printf("the answer %s (verdict %u, %u bytes)\n", wrong, verdict, len);
	else
		printf("reset ack %u length %u\n", ack, len);
	return wrong != NULL;
}

static void send_frames(const char *dev, unsigned n, const struct shape *s)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	unsigned char frame[FRAME_MAX];

	if (fd < 0 || !to.sll_ifindex)
		die(dev);
	for (unsigned i = 0; i < n; i++) {
		size_t len = frame_make(s, frame, i);

		while (sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			if (errno != ENOBUFS)
				die(dev);
	}
}

static void listen_on(unsigned port, int backlog)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
	char buf[512];

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, backlog))
		die("listen");
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	puts("listening");
	fflush(stdout);
	while (epoll_wait(ep, &e, 1, -1) > 0 || errno == EINTR) {
		if (e.data.fd != fd) {
			if (read(e.data.fd, buf, sizeof(buf)) <= 0)
				close(e.data.fd);
			continue;
		}
		for (int c; (c = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
			e = (struct epoll_event){ .events = EPOLLIN, .data.fd = c };
			epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
		}
	}
}

static int client(const char *addr, unsigned port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	bool is_v6 = strchr(addr, ':');
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	addr_set(is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr, is_v6, addr);
	if (fd < 0)
		die("socket");
	if (connect(fd, is_v6 ? (void *)&v6 : (void *)&v4, is_v6 ? sizeof(v6) : sizeof(v4)) && errno != EINPROGRESS &&
	    errno != ECONNREFUSED)
		die("connect");
	return fd;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void open_many(unsigned n, long ms, const char *addr, unsigned port)
{
	struct pollfd *p = calloc(n, sizeof(*p));
	unsigned open = 0, refused = 0;
	long end = now_ms() + ms;
	char c;

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = client(addr, port), .events = POLLOUT };
	for (long left; open + refused < n && (left = end - now_ms()) > 0;) {
		if (poll(p, n, (int)left) < 0)
			die("poll");
		for (unsigned i = 0; i < n; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			*(p[i].revents & (POLLERR | POLLHUP) ? &refused : &open) += 1;
			p[i].fd = ~p[i].fd; /* poll skips it; it stays open */
		}
	}
	printf("open %u refused %u waiting %u\n", open, refused, n - open - refused);
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
}

int main(int argc, char **argv)
{
	const struct rlimit files = { 20000, 20000 };
	const char *verb = argc > 2 ? argv[1] : "";
	struct shape s;

	setrlimit(RLIMIT_NOFILE, &files);
	if (!strcmp(verb, "run") && argc > 3) {
		s = shape_parse(argv + 4);
		struct counts c = run_many(prog_open(argv[2]), &s, 0, (unsigned)atoi(argv[3]));
		counts_print(&c);
	} else if (!strcmp(verb, "race") && argc > 4) {
		s = shape_parse(argv + 5);
		race(prog_open(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), &s);
	} else if (!strcmp(verb, "time")) {
		s = shape_parse(argv + 3);
		time_it(prog_open(argv[2]), &s);
	} else if (!strcmp(verb, "reset")) {
		s = shape_parse(argv + 3);
		return reset(prog_open(argv[2]), &s);
	} else if (!strcmp(verb, "send") && argc > 3) {
		s = shape_parse(argv + 4);
		send_frames(argv[2], (unsigned)atoi(argv[3]), &s);
	} else if (!strcmp(verb, "listen")) {
		listen_on((unsigned)atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 1024);
	} else if (!strcmp(verb, "open") && argc == 6) {
		open_many((unsigned)atoi(argv[2]), atol(argv[3]), argv[4], (unsigned)atoi(argv[5]));
	} else {
		fputs("usage: see the head of tests/syn.c\n", stderr);
		return 2;
	}
	return 0;
}
