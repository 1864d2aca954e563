// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets of every shape, for tests of what flows counts.
 *
 *   flowsend run PROG N FRAME...   run the program PROG (an id) N times on a frame
 *   flowsend race PROG N FRAME...  from two threads at once, N frames each, the same source
 *                                  ports counting up in both
 *   flowsend send DEV N FRAME...   send it out of an interface
 *   flowsend cuts DEV FRAME...     the frame cut to each length from 14 octets on: "46 frames"
 *   flowsend flood DEV N FLOWS     two threads send N frames each, of so many flows, TCP and UDP,
 *                                  IPv4 and IPv6: "packets N octets N bytes N"
 *
 * FRAME is words: v6 proto=NAME|N src=ADDR dst=ADDR sport=N dport=N vlan=N (again for the inner one)
 * ttl=N tos=N flags=HEX data=N (octets behind the headers) opts (8 octets of IPv4 options)
 * ext=N (IPv6 extension headers) frag=OFFSET,MORE,ID (offset in octets) fragext (an extension
 * header behind the fragment header) pad=N (frame octets at least) cut=N (octets taken off the end)
 * size=N (what the IP header says) type=HEX (EtherType) first=HEX (first octet of the IP header)
 * gso=SIZE,SEGMENTS,WIRE (as the context says; sent: by the virtio header, 0,0 behind the size)
 * from=IFINDEX (came in there) linear=N (sent with so many octets in the linear part)
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAME_MAX 65600
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "flowsend: %s: %s\n", what, strerror(errno));
	exit(2);
}

struct shape {
	bool v6, opts, fragext;
	unsigned proto, sport, dport, ttl, tos, flags, data, ext, pad, cut, size, type, first, from, linear;
	unsigned vlan[3], vlans;
	bool is_frag, is_more;
	unsigned frag_off, frag_id;
	unsigned gso_size, gso_segs, wire;
	unsigned char src[16], dst[16];
};

static unsigned proto_parse(const char *w)
{
	static const struct { const char *name; unsigned n; } names[] = {
		{ "icmp", IPPROTO_ICMP }, { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "dccp", IPPROTO_DCCP },
		{ "icmp6", IPPROTO_ICMPV6 }, { "sctp", IPPROTO_SCTP }, { "udplite", IPPROTO_UDPLITE },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(w, names[i].name))
			return names[i].n;
	return (unsigned)strtoul(w, NULL, 10);
}

static bool word_is(const char *w, const char *name, const char **value)
{
	size_t n = strlen(name);

	*value = w + n;
	return !strncmp(w, name, n);
}

static bool number_parse(struct shape *s, const char *w)
{
	const struct { const char *word; unsigned *n; int base; } numbers[] = {
		{ "sport=", &s->sport, 10 }, { "dport=", &s->dport, 10 }, { "ttl=", &s->ttl, 10 }, { "tos=", &s->tos, 10 },
		{ "flags=", &s->flags, 16 }, { "data=", &s->data, 10 }, { "ext=", &s->ext, 10 }, { "pad=", &s->pad, 10 },
		{ "cut=", &s->cut, 10 }, { "size=", &s->size, 10 }, { "type=", &s->type, 16 }, { "first=", &s->first, 16 },
		{ "from=", &s->from, 10 }, { "linear=", &s->linear, 10 },
	};
	const char *v;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (word_is(w, numbers[i].word, &v)) {
			*numbers[i].n = (unsigned)strtoul(v, NULL, numbers[i].base);
			return true;
		}
	return false;
}

static void addr_parse(unsigned char *to, bool v6, const char *text)
{
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, to) != 1)
		die(text);
}

static struct shape shape_parse(char **words)
{
	struct shape s = { .proto = IPPROTO_UDP, .sport = 1000, .dport = 53, .ttl = 64 };
	const char *src = NULL, *dst = NULL, *v;
	unsigned more;

	for (; *words; words++) {
		if (!strcmp(*words, "v6")) s.v6 = true;
		else if (!strcmp(*words, "opts")) s.opts = true;
		else if (!strcmp(*words, "fragext")) s.fragext = true;
		else if (word_is(*words, "proto=", &v)) s.proto = proto_parse(v);
		else if (word_is(*words, "src=", &v)) src = v;
		else if (word_is(*words, "dst=", &v)) dst = v;
		else if (word_is(*words, "vlan=", &v) && s.vlans < 3) s.vlan[s.vlans++] = (unsigned)strtoul(v, NULL, 10);
		else if (sscanf(*words, "frag=%u,%u,%u", &s.frag_off, &more, &s.frag_id) == 3) {
			s.is_frag = true;
			s.is_more = more;
		} else if (sscanf(*words, "gso=%u,%u,%u", &s.gso_size, &s.gso_segs, &s.wire) < 1 && !number_parse(&s, *words)) {
			errno = EINVAL;
			die(*words);
		}
	}
	addr_parse(s.src, s.v6, src ? src : s.v6 ? "fd77::2" : "10.77.0.2");
	addr_parse(s.dst, s.v6, dst ? dst : s.v6 ? "fd77::1" : "10.77.0.1");
	return s;
}

static void put16(unsigned char *p, unsigned v) { p[0] = (unsigned char)(v >> 8); p[1] = (unsigned char)v; }
static void put32(unsigned char *p, unsigned v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }

static unsigned short sum16(const unsigned char *p, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += (unsigned)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~sum;
}

static size_t l2_make(const struct shape *s, unsigned char *f)
{
	size_t n = 12;

	/* nobody's address: what is counted the stack need not see */
	memcpy(f, "\x02\x77\0\0\0\x99\x02\x77\0\0\0\x98", 12);
	for (unsigned i = 0; i < s->vlans; i++, n += 4) {
		put16(f + n, i + 1 < s->vlans ? 0x88a8 : 0x8100);
		put16(f + n + 2, 0x6000 | s->vlan[i]);
	}
	put16(f + n, s->type ? s->type : s->v6 ? 0x86dd : 0x0800);
	return n + 2;
}

static size_t l4_make(const struct shape *s, unsigned char *f, unsigned sport)
{
	size_t n = s->proto == IPPROTO_TCP ? 20 : s->proto == IPPROTO_SCTP ? 12 : s->proto == IPPROTO_DCCP ? 16 : 8;

	memset(f, s->frag_off ? 0xaa : 0, n);
	memset(f + n, 0xbb, s->data);
	if (s->frag_off)
		return n + s->data;
	put16(f, sport);
	put16(f + 2, s->dport);
	if (s->proto == IPPROTO_TCP)
		put16(f + 12, 0x5000 | s->flags);
	if (s->proto == IPPROTO_UDP)
		put16(f + 4, (unsigned)n + s->data);
	if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6) {
		f[0] = (unsigned char)sport;
		f[1] = (unsigned char)s->dport;
	}
	return n + s->data;
}

static size_t v4_make(const struct shape *s, unsigned char *f, unsigned sport)
{
	size_t header = s->opts ? 28 : 20, n;

	memset(f, 0, header);
	f[0] = (unsigned char)(s->first ? s->first : 0x40 | header / 4);
	f[1] = (unsigned char)s->tos;
	put16(f + 4, s->frag_id);
	put16(f + 6, s->frag_off / 8 | (s->is_more ? 0x2000u : 0));
	f[8] = (unsigned char)s->ttl;
	f[9] = (unsigned char)s->proto;
	memcpy(f + 12, s->src, 4);
	memcpy(f + 16, s->dst, 4);
	if (s->opts)
		memset(f + 20, 1, 8);
	n = header + l4_make(s, f + header, sport);
	put16(f + 2, s->size ? s->size : (unsigned)n);
	put16(f + 10, sum16(f, header));
	return n;
}

static unsigned char *ext_make(unsigned char *next, unsigned char *f, size_t *n, unsigned type, unsigned len)
{
	*next = (unsigned char)type;
	memset(f + *n, 0, 8 + 8 * len);
	f[*n + 1] = (unsigned char)len;
	*n += 8 + 8 * len;
	return f + *n - 8 - 8 * len;
}

static size_t v6_make(const struct shape *s, unsigned char *f, unsigned sport)
{
	unsigned char *next = f + 6;
	size_t n = 40;

	memset(f, 0, 40);
	put32(f, 0x60000000 | s->tos << 20);
	if (s->first)
		f[0] = (unsigned char)s->first;
	f[7] = (unsigned char)s->ttl;
	memcpy(f + 8, s->src, 16);
	memcpy(f + 24, s->dst, 16);
	for (unsigned e = 0; e < s->ext; e++)
		next = ext_make(next, f, &n, e ? IPPROTO_DSTOPTS : IPPROTO_HOPOPTS, e % 2);
	if (s->is_frag) {
		next = ext_make(next, f, &n, IPPROTO_FRAGMENT, 0);
		next[1] = 0xff; /* reserved */
		put16(next + 2, s->frag_off | s->is_more);
		put32(next + 4, s->frag_id);
	}
	if (s->fragext && s->frag_off)
		*next = IPPROTO_DSTOPTS;
	else if (s->fragext)
		*ext_make(next, f, &n, IPPROTO_DSTOPTS, 0) = (unsigned char)s->proto;
	else
		*next = (unsigned char)s->proto;
	n += l4_make(s, f + n, sport);
	put16(f + 4, s->size ? s->size : (unsigned)n - 40);
	return n;
}

static size_t frame_make(const struct shape *s, unsigned char *f, unsigned i)
{
	size_t n = l2_make(s, f);

	n += s->v6 ? v6_make(s, f + n, s->sport + i) : v4_make(s, f + n, s->sport + i);
	for (; n < s->pad; n++)
		f[n] = 0xee;
	return n - s->cut;
}

/*
 * Into the program.
 */
static int prog_open(const char *id)
{
	int fd = bpf_prog_get_fd_by_id((unsigned)strtoul(id, NULL, 10));

	if (fd < 0)
		die(id);
	return fd;
}

static void run_frame(int prog, const struct shape *s, const unsigned char *frame, size_t len, int repeat)
{
	struct __sk_buff skb = {
		.gso_size = s->gso_size, .gso_segs = s->gso_segs, .wire_len = s->wire, .ingress_ifindex = s->from,
		.ifindex = s->from ? 1 : 0,
	};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (unsigned)len, .repeat = repeat,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	if (bpf_prog_test_run_opts(prog, &o))
		die("BPF_PROG_TEST_RUN");
	if ((int)o.retval != -1) {
		errno = EPROTO;
		die("the verdict is not to go on");
	}
}

struct racer {
	pthread_t id;
	int prog, cpu;
	const struct shape *shape;
	unsigned n;
};
static pthread_barrier_t step;

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* In step every so often, so that both are at the same flow again and again. */
static void *race_one(void *arg)
{
	const struct racer *r = arg;
	unsigned char frame[FRAME_MAX];

	stay_on(r->cpu);
	for (unsigned i = 0; i < r->n; i++) {
		size_t len = frame_make(r->shape, frame, i);

		if (i % 16 == 0)
			pthread_barrier_wait(&step);
		run_frame(r->prog, r->shape, frame, len, 1);
	}
	return NULL;
}

static void race(int prog, unsigned n, const struct shape *s)
{
	struct racer r[2];

	pthread_barrier_init(&step, NULL, 2);
	for (int i = 0; i < 2; i++) {
		r[i] = (struct racer){ .prog = prog, .cpu = i, .shape = s, .n = n };
		if (pthread_create(&r[i].id, NULL, race_one, &r[i]))
			die("thread");
	}
	for (int i = 0; i < 2; i++)
		pthread_join(r[i].id, NULL);
}

/*
 * Out of an interface.
 */
static int packet_socket(const char *dev, bool has_header)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (fd < 0 || !to.sll_ifindex || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		die(dev);
	if (has_header && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		die("PACKET_VNET_HDR");
	return fd;
}

static void send_frames(const char *dev, unsigned n, const struct shape *s)
{
	bool has_header = s->linear || s->gso_size;
	struct virtio_net_hdr h = { .hdr_len = (__u16)s->linear, .gso_size = (__u16)s->gso_size };
	int fd = packet_socket(dev, has_header);
	unsigned char frame[FRAME_MAX];

	if (s->gso_size) {
		size_t l4 = l2_make(s, frame) + (s->v6 ? 40 + 8 * s->ext : s->opts ? 28 : 20);

		h.gso_type = s->proto == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			     s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = (__u16)l4;
		h.csum_offset = s->proto == IPPROTO_UDP ? 6 : 16;
		h.hdr_len = (__u16)(l4 + (s->proto == IPPROTO_UDP ? 8 : 20));
	}
	for (unsigned i = 0; i < n; i++) {
		size_t len = frame_make(s, frame, 0);
		struct iovec iov[2] = { { &h, sizeof(h) }, { frame, len } };

		while (writev(fd, has_header ? iov : iov + 1, has_header ? 2 : 1) < 0)
			if (errno != ENOBUFS)
				die(dev);
	}
}

static void cuts(const char *dev, const struct shape *s)
{
	int fd = packet_socket(dev, false);
	unsigned char frame[FRAME_MAX];
	size_t len = frame_make(s, frame, 0), n;

	for (n = 14; n <= len; n++)
		while (write(fd, frame, n) < 0)
			if (errno != ENOBUFS)
				die(dev);
	printf("%zu frames\n", len + 1 - 14);
}

#define BURST 64
#define ACTIVE 1024 /* flows at a time */

struct flooder {
	pthread_t id;
	const char *dev;
	unsigned n, flows, cpu;
	unsigned long long packets, octets, bytes;
};

/* Flow number i: source address and ports tell it, and its number the rest. */
static size_t flood_frame(unsigned flow, unsigned char *f)
{
	static const struct shape shapes[4] = {
		{ .proto = IPPROTO_UDP, .dport = 53, .ttl = 64 },
		{ .proto = IPPROTO_TCP, .dport = 80, .ttl = 63, .flags = 0x10, .data = 100 },
		{ .proto = IPPROTO_UDP, .v6 = true, .dport = 53, .ttl = 62, .data = 200 },
		{ .proto = IPPROTO_TCP, .v6 = true, .dport = 80, .ttl = 61, .flags = 0x18, .data = 20 },
	};
	struct shape s = shapes[flow % 4];

	put32(s.src, 0x0a000000 | (flow >> 8));
	memcpy(s.dst, "\x0a\x4d\0\1", 4);
	return frame_make(&s, f, 1024 + (flow & 0xff));
}

static void *flood_one(void *arg)
{
	static unsigned char frames[2][BURST][512];
	struct flooder *r = arg;
	struct mmsghdr msg[BURST] = { 0 };
	struct iovec iov[BURST];
	unsigned long long x = r->cpu + 1;
	int fd = packet_socket(r->dev, false);

	stay_on((int)r->cpu);
	for (unsigned sent = 0; sent < r->n;) {
		unsigned n = r->n - sent < BURST ? r->n - sent : BURST, done = 0;

		for (unsigned i = 0; i < n; i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			iov[i].iov_base = frames[r->cpu][i];
			iov[i].iov_len = flood_frame((unsigned)((unsigned long long)(sent + i) * r->flows / r->n +
							     (x >> 40) % ACTIVE), frames[r->cpu][i]);
			msg[i].msg_hdr.msg_iov = &iov[i];
			msg[i].msg_hdr.msg_iovlen = 1;
			r->bytes += iov[i].iov_len;
			r->octets += iov[i].iov_len - 14;
		}
		while (done < n) {
			int ret = sendmmsg(fd, msg + done, n - done, 0);

			if (ret < 0 && errno != ENOBUFS && errno != EINTR)
				die(r->dev);
			done += ret > 0 ? (unsigned)ret : 0;
		}
		sent += n;
	}
	r->packets = r->n;
	close(fd);
	return NULL;
}

static void flood(const char *dev, unsigned n, unsigned flows)
{
	struct flooder r[2];

	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct flooder){ .dev = dev, .n = n, .flows = flows, .cpu = i };
		if (pthread_create(&r[i].id, NULL, flood_one, &r[i]))
			die("thread");
	}
	for (int i = 0; i < 2; i++)
		pthread_join(r[i].id, NULL);
	printf("packets %llu octets %llu bytes %llu\n", r[0].packets + r[1].packets, r[0].octets + r[1].octets,
	       r[0].bytes + r[1].bytes);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";
	unsigned n = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	unsigned char frame[FRAME_MAX];
	struct shape s;

	if (!strcmp(verb, "run") && n) {
		s = shape_parse(argv + 4);
		run_frame(prog_open(argv[2]), &s, frame, frame_make(&s, frame, 0), (int)n);
	} else if (!strcmp(verb, "cuts")) {
		s = shape_parse(argv + 3);
		cuts(argv[2], &s);
	} else if (!strcmp(verb, "race") && n) {
		s = shape_parse(argv + 4);
		race(prog_open(argv[2]), n, &s);
	} else if (!strcmp(verb, "send") && n) {
		s = shape_parse(argv + 4);
		send_frames(argv[2], n, &s);
	} else if (!strcmp(verb, "flood") && argc == 5) {
		flood(argv[2], n, (unsigned)strtoul(argv[4], NULL, 10));
	} else {
		fputs("usage: see the head of tests/flowsend.c\n", stderr);
		return 2;
	}
	return 0;
}
