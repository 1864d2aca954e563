// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What mirror and mirrortarget make of packets, without the control plane. One target, its
 * interface DEV here, what leaves there is caught at PEER in network namespace NS:
 *
 *   mirrorpkt matrix OBJECTS HARNESS DEV NS PEER    every kind of packet, every kind of target, cut
 *                                  to several lengths, as BPF_PROG_TEST_RUN runs mirror: "cases N sent N ..."
 *   mirrorpkt fuzz OBJECTS HARNESS DEV NS PEER N SEED   random frames
 *   mirrorpkt offload OBJECTS HARNESS DEV NS PEER FROM FROMNS FROMPEER   frames that the kernel segments and
 *                                  whose checksums it computes, sent out of FROM, which is
 *                                  mirrored, and caught at FROMPEER in FROMNS, too
 *   mirrorpkt nested OBJECTS HARNESS DEV NS PEER FROM
 *                                  tunnels in tunnels that leave from FROM: none is mirrored, none is touched
 *   mirrorpkt cap OBJECTS HARNESS DEV NS PEER   more packets than the target's cap allows
 *   mirrorpkt verified OBJECTS     instructions the verifier followed
 *
 * OBJECTS is where mirror.bpf.o and mirrortarget.bpf.o are. The collector is 10.66.0.2 or fd66::2.
 * What is expected is reckoned here, not with the programs' code. Exits 1 and shows the first packet
 * that is another one.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "bpf/mirrorharness.h"
#include "cleanup.h"
#include "mirrorload.h"

#define MTU 1500
#define FRAME_MAX 70000
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

static __u64 seed = 1;
static unsigned any(unsigned n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 0x2545f4914f6cdd1d >> 33) % n);
}

/*
 * Frames.
 */
struct frame {
	unsigned len;
	__u8 at[FRAME_MAX];
};

static void put(struct frame *f, const void *p, unsigned n)
{
	memcpy(f->at + f->len, p, n);
	f->len += n;
}
static void put8(struct frame *f, unsigned v) { f->at[f->len++] = (__u8)v; }
static void put16(struct frame *f, unsigned v) { put8(f, v >> 8 & 255); put8(f, v & 255); }
static void put32(struct frame *f, __u32 v) { put16(f, v >> 16); put16(f, v & 0xffff); }
static void set16(__u8 *p, unsigned v) { p[0] = (__u8)(v >> 8); p[1] = (__u8)v; }
static unsigned get16(const __u8 *p) { return (unsigned)p[0] << 8 | p[1]; }

static __u32 sum_add(__u32 sum, const __u8 *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (__u32)p[i] << 8;
	return sum;
}
static unsigned sum_fold(__u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

enum kind { TCP, UDP, UDP0 /* no checksum */, ICMP, SCTP, GRE, ARP, LLDP, LLC, KINDS };
static const char *const kind_words[] = { "tcp", "udp", "udp0", "icmp", "sctp", "gre", "arp", "lldp", "llc" };

struct shape {
	enum kind kind;
	bool v6, is_hw;         /* one more tag, in metadata */
	unsigned tags, opts, ext, data, pad, tos;
	unsigned frag;          /* 1: the first, 2: a later one */
	unsigned short_by;      /* octets taken off the end */
};

/* Where things are: of the frame with all of its tags. */
struct places {
	unsigned l3, headers; /* headers: up to their end */
	unsigned end;         /* of the IP packet: padding follows */
	bool is_ip;
};

static bool is_ip(const struct shape *s)
{
	return s->kind < ARP;
}

static unsigned proto_of(const struct shape *s)
{
	static const unsigned protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_GRE };

	return s->kind == ICMP && s->v6 ? IPPROTO_ICMPV6 : protos[s->kind];
}

static void put_ip(struct frame *f, const struct shape *s, unsigned len)
{
	unsigned start = f->len, proto = proto_of(s), next = s->ext ? IPPROTO_DSTOPTS : s->frag ? IPPROTO_FRAGMENT : proto;

	if (s->v6) {
		put32(f, 0x60000000 | s->tos << 20 | 0x12345);
		put16(f, s->ext * 8 + (s->frag ? 8 : 0) + len);
		put8(f, next);
		put8(f, 63);
		put(f, "\xfd\x51\0\0\0\0\0\0\0\0\0\0\0\0\0\7\xfd\x99\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 32);
		for (unsigned i = 0; i < s->ext; i++) {
			put8(f, i + 1 < s->ext ? IPPROTO_DSTOPTS : s->frag ? IPPROTO_FRAGMENT : proto);
			put(f, "\0\1\4\0\0\0\0", 7);
		}
		if (s->frag) {
			put8(f, proto);
			put8(f, 0);
			put16(f, s->frag == 1 ? 1 : 0x0100);
			put32(f, 4711);
		}
		return;
	}
	put8(f, 0x45 + s->opts);
	put8(f, s->tos);
	put16(f, 20 + s->opts * 4 + len);
	put16(f, 99);
	put16(f, s->frag == 1 ? 0x2000 : s->frag ? 0x0100 : 0x4000);
	put8(f, 63);
	put8(f, proto);
	put16(f, 0);
	put(f, "\xc6\x33\x64\7\x0a\x63\0\1", 8);
	for (unsigned i = 0; i < s->opts; i++)
		put(f, "\1\1\1\1", 4);
	set16(f->at + start + 10, ~sum_fold(sum_add(0, f->at + start, 20 + s->opts * 4)) & 0xffff);
}

static __u32 pseudo_sum(const struct frame *f, const struct shape *s, unsigned l3, unsigned len)
{
	return sum_add(proto_of(s) + len, f->at + l3 + (s->v6 ? 8 : 12), s->v6 ? 32 : 8);
}

/* is_partial: the checksum is that of the pseudo header, for the kernel to go on with. */
static void put_l4(struct frame *f, const struct shape *s, unsigned l3, bool is_partial)
{
	static const unsigned field[] = { 16, 6, 0, 2, 0, 0 };
	static const unsigned sizes[] = { 24, 8, 8, 8, 12, 8 };
	unsigned l4 = f->len, at = field[s->kind], sum;

	put16(f, s->kind == ICMP ? s->v6 ? 0x8000 : 0x0800 : 4000);
	put16(f, s->kind == ICMP ? 0 : 5000);
	if (s->kind == TCP) {
		put32(f, 1);
		put32(f, 2);
		put16(f, 0x6010);
		put16(f, 500);
		put32(f, 0);
		put32(f, 0x02040500); /* an option */
	} else if (s->kind == UDP || s->kind == UDP0) {
		put16(f, 8 + s->data);
		put16(f, 0);
	} else {
		while (f->len < l4 + sizes[s->kind])
			put8(f, 0);
	}
	for (unsigned i = 0; i < s->data; i++)
		put8(f, i * 7 + s->data);
	if (!at || s->frag)
		return;
	if (is_partial) {
		set16(f->at + l4 + at, sum_fold(pseudo_sum(f, s, l3, f->len - l4)));
		return;
	}
	sum = sum_add(s->kind == ICMP && !s->v6 ? 0 : pseudo_sum(f, s, l3, f->len - l4), f->at + l4, f->len - l4);
	sum = ~sum_fold(sum) & 0xffff;
	set16(f->at + l4 + at, sum ? sum : 0xffff);
}

/* Without the tag in metadata. */
static struct places frame_make(const struct shape *s, struct frame *f, bool is_partial)
{
	static const unsigned sizes[] = { 24, 8, 8, 8, 12, 8 };
	struct places p = { .is_ip = is_ip(s) };

	f->len = 0;
	put(f, s->kind == LLDP ? "\x01\x80\xc2\0\0\x0e" : s->kind == ARP ? "\xff\xff\xff\xff\xff\xff" : "\2\x77\0\0\0\1", 6);
	put(f, "\2\x77\0\0\0\2", 6);
	for (unsigned i = 0; i < s->tags; i++) {
		put16(f, i || s->is_hw ? 0x8100 : 0x88a8);
		put16(f, 0x2000 + 70 + i);
	}
	p.l3 = f->len + 2 + (s->is_hw ? 4 : 0);
	if (!is_ip(s)) {
		put16(f, s->kind == ARP ? 0x0806 : s->kind == LLDP ? 0x88cc : 39);
		for (unsigned i = 0; i < 28 + s->data; i++)
			put8(f, i * 11 + 3);
	} else {
		unsigned l3 = f->len + 2;

		put16(f, s->v6 ? 0x86dd : 0x0800);
		put_ip(f, s, sizes[s->kind] + s->data);
		p.headers = f->len + (s->frag < 2 ? sizes[s->kind] : 0) + (s->is_hw ? 4 : 0);
		put_l4(f, s, l3, is_partial);
		p.end = f->len + (s->is_hw ? 4 : 0);
	}
	while (f->len < s->pad)
		put8(f, 0x5a);
	/* the kernel runs nothing on 14 octets alone */
	f->len -= s->short_by < f->len - 15 ? s->short_by : f->len - 15;
	return p;
}

/*
 * How they are run.
 */
static struct {
	struct bpf_object *harness;
	struct mirrorharness h;
	int around, data, capture;
	unsigned cpus;
} y;

/* A raw socket at an interface of another network namespace. */
static int socket_in(const char *ns, const char *dev)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, fd, size = 64 << 20, one = 1;
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/%s", ns);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (self < 0 || there < 0 || setns(there, CLONE_NEWNET))
		die(path);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	at.sll_ifindex = (int)if_nametoindex(dev);
	if (fd < 0 || !at.sll_ifindex || bind(fd, (void *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) || setns(self, CLONE_NEWNET))
		die(dev);
	close(there);
	close(self);
	return fd;
}

static void setup(const char *objects, const char *harness, const char *dev, const char *ns, const char *peer)
{
	__u32 zero = 0;

	y.cpus = (unsigned)libbpf_num_possible_cpus();
	load(objects, if_nametoindex(dev));
	y.harness = bpf_object__open_file(harness, NULL);
	if (!y.harness || bpf_object__load(y.harness))
		die(harness);
	y.around = bpf_program__fd(bpf_object__find_program_by_name(y.harness, "around"));
	y.data = map_fd(y.harness, ".data.harness");
	if (bpf_map_update_elem(map_fd(y.harness, "next"), &zero, &x.prog, 0))
		die("harness");
	attach(x.target, "mirrortarget", x.ifindex, BPF_TC_EGRESS);
	y.capture = socket_in(ns, peer);
}

static struct mirror_stat stat_sum(int map)
{
	static struct mirror_stat v[1024];
	struct mirror_stat sum = { 0 };
	__u32 zero = 0;

	if (bpf_map_lookup_elem(map, &zero, v))
		die("stats");
	for (unsigned c = 0; c < y.cpus; c++)
		for (unsigned i = 0; i < sizeof(sum) / 8; i++)
			((__u64 *)&sum)[i] += ((__u64 *)&v[c])[i];
	return sum;
}

/* Whether the packet counters of a filter and its target add up; and are the same here. */
static struct mirror_stat stats_check(void)
{
	struct mirror_stat a = stat_sum(x.stats), b = stat_sum(map_fd(x.mirror, "sent"));
	__u64 n = a.sent;

	for (int i = 0; i < MIRROR_CAUSES; i++)
		n += a.not_sent[i];
	if (n != a.packets || memcmp(&a, &b, sizeof(a))) {
		printf("counters do not add up: packets %llu, of which %llu are told\n", a.packets, n);
		exit(1);
	}
	return a;
}

/*
 * What is wrong, in words.
 */
static char wrong[256];
static __attribute__((format(printf, 1, 2))) bool is_wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(wrong, sizeof(wrong), format, args);
	va_end(args);
	return false;
}

static void show(const char *name, const __u8 *p, unsigned n)
{
	printf("%s (%u):", name, n);
	for (unsigned i = 0; i < n && i < 200; i++)
		printf(" %02x", p[i]);
	putchar('\n');
}

/* One frame that was caught; 0: none comes within ms. Tags that the kernel took off are errors. */
static unsigned capture(int fd, __u8 *to, int ms)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char control[256];
		struct sockaddr_ll from;
		struct iovec v = { to, FRAME_MAX };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
				    .msg_control = control, .msg_controllen = sizeof(control) };
		ssize_t n;

		if (poll(&p, 1, ms) != 1)
			return 0;
		n = recvmsg(fd, &m, 0);
		if (n < 0)
			die("recvmsg");
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct tpacket_auxdata *aux = (void *)CMSG_DATA(c);

			if (c->cmsg_type == PACKET_AUXDATA && aux->tp_status & TP_STATUS_VLAN_VALID) {
				printf("the mirrored frame has a tag\n");
				exit(1);
			}
		}
		return (unsigned)n;
	}
}

static void clear(int fd)
{
	static __u8 trash[FRAME_MAX];

	while (recv(fd, trash, sizeof(trash), MSG_DONTWAIT) > 0)
		;
}

/* The outer header of a frame that was caught; where the inner packet is, its length. */
static bool outer_check(const struct setting *s, const __u8 *f, unsigned len, unsigned tos, unsigned ethertype,
			bool is_segment, const __u8 **inner, unsigned *inner_len)
{
	unsigned ip = s->v6 ? 40 : 20, room = 14 + ip + 8 + tunnel_len(s), udp_len;
	const __u8 *l3 = f + 14, *udp = l3 + ip, *tunnel = udp + 8;
	__u32 sum;

	if (len < room)
		return is_wrong("%u octets", len);
	if (memcmp(f, "\2\x66\0\0\0\2\2\x66\0\0\0\1", 12) || get16(f + 12) != (s->v6 ? 0x86dd : 0x0800))
		return is_wrong("Ethernet header");
	if (len > 14 + MTU)
		return is_wrong("too long: %u", len);
	udp_len = len - 14 - ip;
	if (s->v6) {
		if (l3[0] >> 4 != 6 || get16(l3 + 4) != udp_len || l3[6] != IPPROTO_UDP || l3[7] != 64)
			return is_wrong("IPv6 header");
		if ((unsigned)((l3[0] & 15) << 4 | l3[1] >> 4) != tos)
			return is_wrong("traffic class, not %02x", tos);
		if (memcmp(l3 + 8, "\xfd\x66\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xfd\x66\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 32))
			return is_wrong("addresses");
	} else {
		if (l3[0] != 0x45 || get16(l3 + 2) != udp_len + 20 || get16(l3 + 6) != 0x4000 || l3[8] != 64 ||
		    l3[9] != IPPROTO_UDP || sum_fold(sum_add(0, l3, 20)) != 0xffff)
			return is_wrong("IPv4 header");
		if (l3[1] != tos)
			return is_wrong("TOS %02x, not %02x", l3[1], tos);
		if (memcmp(l3 + 12, "\x0a\x42\0\1\x0a\x42\0\2", 8))
			return is_wrong("addresses");
	}
	if (get16(udp) < 0xc000 || get16(udp + 2) != (s->encap == MIRROR_GUE ? 6080 : 4789) || get16(udp + 4) != udp_len)
		return is_wrong("UDP header");
	sum = sum_add(IPPROTO_UDP + udp_len, l3 + (s->v6 ? 8 : 12), s->v6 ? 32 : 8);
	if (get16(udp + 6) && (!s->is_checksum || sum_fold(sum_add(sum, udp, udp_len)) != 0xffff))
		return is_wrong("checksum of UDP");
	if (s->is_checksum && !get16(udp + 6) && !is_segment)
		return is_wrong("no checksum of UDP");
	if (s->variant ? tunnel[0] >> 4 != (ethertype == 0x0800 ? 4 : 6) :
	    s->encap == MIRROR_GUE ? tunnel[0] || tunnel[1] != (ethertype == 0x0800 ? 4 : 41) || tunnel[2] || tunnel[3]
				   : memcmp(tunnel, "\x08\0\0\0\x12\x34\x56\0", 8))
		return is_wrong("tunnel header");
	*inner = f + room;
	*inner_len = len - room;
	return true;
}

/* What is sent of a frame: so many octets of it, tags in place. */
static unsigned sent_len(const struct setting *s, const struct places *p, unsigned len)
{
	unsigned overhead = (s->v6 ? 40 : 20) + 8 + tunnel_len(s), keep = len, max;

	if (s->snaplen == MIRROR_HEADERS)
		keep = p->headers ? p->headers : 64;
	else if (s->snaplen)
		keep = s->snaplen;
	/* GUE: the IP packet alone */
	max = s->encap == MIRROR_GUE ? MTU - overhead + p->l3 : MTU - overhead;
	keep = keep < len ? keep : len;
	keep = keep < max ? keep : max;
	return s->encap == MIRROR_GUE && p->end < keep ? p->end : keep;
}

/* With the tag from metadata. */
static void frame_whole(const struct frame *f, const struct shape *s, struct frame *whole)
{
	whole->len = 0;
	put(whole, f->at, 12);
	if (s->is_hw) {
		put16(whole, s->tags ? 0x88a8 : 0x8100);
		put16(whole, 0x6000 + 42);
	}
	put(whole, f->at + 12, f->len - 12);
}

/* Runs mirror on the frame; the frame, all that is known of it and the verdict stay. */
static bool frame_run(const struct frame *f, const struct shape *s)
{
	static __u8 out[FRAME_MAX];
	struct __sk_buff ctx = { .mark = any(1 << 30), .priority = 7, .tstamp = 5, .ifindex = 1,
				 /* cb is anything, also what a clone has there */
				 .cb = { any(2) ? any(1 << 30) : any(2) ? MIRROR_MAGIC : MIRROR_DONE, any(1 << 30), any(1 << 30), any(1 << 30), any(1 << 30) } };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->at, .data_size_in = f->len, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	__u32 zero = 0;

	y.h = (struct mirrorharness){ .is_tagged = s->is_hw, .proto = s->tags ? 0x88a8 : 0x8100, .tci = 0x6000 + 42 };
	if (bpf_map_update_elem(y.data, &zero, &y.h, 0) || bpf_prog_test_run_opts(y.around, &o) ||
	    bpf_map_lookup_elem(y.data, &zero, &y.h))
		die("BPF_PROG_TEST_RUN");
	if ((int)y.h.verdict != -1)
		return is_wrong("verdict %d", (int)y.h.verdict);
	for (int i = 0; i < MIRROR_FIELDS; i++)
		if (y.h.before[i] != y.h.after[i])
			return is_wrong("field %d of the packet: %llx became %llx", i, y.h.before[i], y.h.after[i]);
	if (o.data_size_out != f->len || memcmp(out, f->at, f->len))
		return is_wrong("the packet has changed");
	return true;
}

static unsigned tos_of(const struct frame *f, const struct places *p, bool is_hw)
{
	const __u8 *ip = f->at + p->l3 - (is_hw ? 4 : 0);
	unsigned type = get16(ip - 2);

	if (f->at + f->len < ip + 2)
		return 0;
	return type == 0x0800 ? ip[1] : type == 0x86dd ? (unsigned)((ip[0] & 15) << 4 | ip[1] >> 4) : 0;
}

/* Of a frame and what was caught. */
static bool clone_check(const struct setting *s, const struct shape *shape, const struct frame *f, const struct places *p,
			const __u8 *got, unsigned len)
{
	static struct frame whole;
	unsigned keep, inner_len, skip = s->encap == MIRROR_GUE ? p->l3 : 0;
	const __u8 *inner;

	frame_whole(f, shape, &whole);
	keep = sent_len(s, p, whole.len);
	if (!outer_check(s, got, len, tos_of(f, p, shape->is_hw), get16(whole.at + p->l3 - 2), false, &inner,
			 &inner_len))
		return false;
	if (inner_len != keep - skip)
		return is_wrong("%u octets of the packet, not %u", inner_len, keep - skip);
	if (memcmp(inner, whole.at + skip, inner_len))
		return is_wrong("the packet inside is another one");
	return true;
}

/* All of it for one frame. */
static bool one(const struct setting *s, const struct shape *shape, const struct frame *f, const struct places *p)
{
	static __u8 got[FRAME_MAX];
	struct mirror_stat before = stats_check(), after;
	bool is_sent = p->is_ip || s->encap == MIRROR_VXLAN;
	unsigned len;

	if (!frame_run(f, shape))
		return false;
	after = stats_check();
	if (after.packets != before.packets + 1 || after.octets != before.octets + f->len + (shape->is_hw ? 4 : 0))
		return is_wrong("not counted");
	if (!is_sent)
		return after.not_sent[MIRROR_NOT_IP] == before.not_sent[MIRROR_NOT_IP] + 1 ? true : is_wrong("it was sent");
	if (after.sent != before.sent + 1) {
		for (int i = 0; i < MIRROR_CAUSES; i++)
			if (after.not_sent[i] != before.not_sent[i])
				return is_wrong("not sent: cause %d", i);
		return is_wrong("not sent");
	}
	len = capture(y.capture, got, 1000);
	if (!len)
		return is_wrong("nothing came");
	if (after.sent_octets - before.sent_octets != len)
		return is_wrong("%llu octets are counted", after.sent_octets - before.sent_octets);
	if (clone_check(s, shape, f, p, got, len))
		return true;
	show("caught", got, len);
	return false;
}

static void fails(const struct setting *s, const struct shape *shape, const struct frame *f)
{
	printf("%s; %s over %s checksum %d snaplen %u: %s%s hw %d tags %u opts %u ext %u frag %u data %u pad %u short %u\n", wrong,
	       s->encap == MIRROR_VXLAN ? "vxlan" : s->variant ? "gue variant 1" : "gue", s->v6 ? "v6" : "v4", s->is_checksum, s->snaplen,
	       shape->v6 ? "v6 " : "", kind_words[shape->kind], shape->is_hw, shape->tags, shape->opts, shape->ext,
	       shape->frag, shape->data, shape->pad, shape->short_by);
	show("frame", f->at, f->len);
	exit(1);
}

/*
 * Every kind.
 */
static unsigned cases;
static struct frame frame;

static void shape_try(const struct setting *s, const struct shape *shape)
{
	struct places p = frame_make(shape, &frame, false);

	cases++;
	if (!one(s, shape, &frame, &p))
		fails(s, shape, &frame);
}

static void setting_try(const struct setting *s)
{
	static const unsigned sizes[] = { 0, 1, 77, 1000, 1400, 1436, 1472 };

	target_set(s);
	clear(y.capture);
	for (enum kind kind = 0; kind < KINDS; kind++)
		for (int v6 = 0; v6 < (kind < ARP ? 2 : 1); v6++)
			for (unsigned tags = 0; tags < 4; tags++) {
				struct shape shape = { .kind = kind, .v6 = v6, .is_hw = tags & 1, .tags = tags >> 1, .tos = 0xb9 };

				for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
					shape.data = sizes[i];
					shape_try(s, &shape);
				}
				shape.data = 30;
				shape.pad = 120;
				shape_try(s, &shape);
				shape.pad = 0;
				if (kind >= ARP)
					continue;
				for (shape.frag = 1; shape.frag < 3; shape.frag++)
					shape_try(s, &shape);
				shape.frag = 0;
				if (v6)
					shape.ext = 3;
				else
					shape.opts = 4;
				shape_try(s, &shape);
				shape.ext = v6 ? 8 : 0;
				shape.data = 1300;
				shape_try(s, &shape);
			}
}

/* A packet of somebody else's that has in cb what a clone has. */
static void forged_try(void)
{
	static __u8 out[FRAME_MAX];
	struct shape shape = { .kind = UDP, .data = 30 };
	struct __sk_buff ctx = { .ifindex = 1 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame.at, .data_out = out, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	int target = bpf_program__fd(bpf_object__find_program_by_name(x.target, "mirrortarget"));

	frame_make(&shape, &frame, false);
	o.data_size_in = frame.len;
	for (unsigned i = 0; i < 4; i++) {
		struct mirror_stat before = stats_check(), after;

		memcpy(ctx.cb, (__u32[]){ i & 1 ? MIRROR_MAGIC : MIRROR_DONE, i & 2 ? 1 : 4711, 0, 0, 0 }, sizeof(ctx.cb));
		o.data_size_out = sizeof(out);
		if (bpf_prog_test_run_opts(target, &o))
			die("BPF_PROG_TEST_RUN");
		after = stats_check();
		if ((int)o.retval == -1 && !memcmp(&before, &after, sizeof(after)) && !memcmp(out, frame.at, frame.len))
			continue;
		puts("mirrortarget took somebody else's packet for its own");
		exit(1);
	}
}

static int matrix(void)
{
	static const unsigned snaplens[] = { 0, 64, 96, 200, MIRROR_HEADERS };
	struct mirror_stat st;

	forged_try();
	for (unsigned i = 0; i < 12; i++)
		for (unsigned k = 0; k < sizeof(snaplens) / sizeof(snaplens[0]); k++) {
			struct setting s = { i / 4 ? MIRROR_GUE : MIRROR_VXLAN, i & 1, i >> 1 & 1, snaplens[k], i / 4 == 1 };

			setting_try(&s);
		}
	st = stats_check();
	printf("cases %u sent %llu cut %llu fitted %llu not_ip %llu\n", cases, st.sent, st.cut, st.fitted, st.not_sent[MIRROR_NOT_IP]);
	return 0;
}

/*
 * Random ones.
 */
static struct shape shape_any(void)
{
	struct shape s = { .kind = any(KINDS), .v6 = any(2), .is_hw = !any(4), .tags = any(4) ? 0 : any(5), .tos = any(256),
			   .data = any(4) ? any(100) : any(1450), .frag = any(5) ? 0 : any(3) };

	s.v6 = s.v6 && s.kind < ARP;
	s.ext = s.v6 && !any(4) ? any(11) : 0;
	s.opts = !s.v6 && !any(4) ? any(11) : 0;
	s.pad = any(4) ? 0 : any(200);
	s.short_by = any(4) ? 0 : any(100);
	return s;
}

static struct frame frame_any(struct shape *s)
{
	static struct frame f;

	*s = shape_any();
	frame_make(s, &f, false);
	if (!any(20))
		for (unsigned i = 12; i < f.len; i++)
			f.at[i] = (__u8)any(256);
	for (unsigned n = any(3) ? 0 : 1 + any(6); n; n--)
		f.at[12 + any(f.len > 80 ? 68 : f.len - 12)] = (__u8)(any(2) ? any(256) : 1u << any(8));
	/* nor on less than an IP header, where there is one; behind a tag it does not look */
	while (f.len < (get16(f.at + 12) == 0x0800 ? 34u : get16(f.at + 12) == 0x86dd ? 54u : 0))
		put8(&f, any(256));
	return f;
}

/* Where the IP packet is behind at most two tags, as far as there is one. */
static struct places places_find(const struct frame *whole)
{
	struct places p = { .l3 = 14 };

	for (int i = 0; i < 2 && p.l3 + 4 <= whole->len; i++) {
		unsigned type = get16(whole->at + p.l3 - 2);

		if (type != 0x8100 && type != 0x88a8)
			break;
		p.l3 += 4;
	}
	return p;
}

/* What is inside has to be the beginning of what was mirrored, no more than that is looked at. */
static bool any_check(const struct setting *s, const struct shape *shape, const struct frame *f, const __u8 *got, unsigned len)
{
	static struct frame whole;
	struct places p;
	const __u8 *inner;
	unsigned n, tos = 0, type, skip;

	frame_whole(f, shape, &whole);
	p = places_find(&whole);
	skip = s->encap == MIRROR_GUE ? p.l3 : 0;
	type = get16(whole.at + p.l3 - 2);
	if (p.l3 + 6 <= whole.len)
		tos = type == 0x0800 ? whole.at[p.l3 + 1] :
		      type == 0x86dd ? (unsigned)((whole.at[p.l3] & 15) << 4 | whole.at[p.l3 + 1] >> 4) : 0;
	/* a third tag hides them */
	if (s->encap == MIRROR_VXLAN && (type == 0x8100 || type == 0x88a8))
		tos = (unsigned)((got[14] & 15) << 4 | got[15] >> 4), tos = s->v6 ? tos : got[15];
	if (!outer_check(s, got, len, tos, type, false, &inner, &n))
		return false;
	if (n > whole.len - skip || memcmp(inner, whole.at + skip, n))
		return is_wrong("what is inside is not what was mirrored");
	if (!s->snaplen && s->encap == MIRROR_VXLAN && n < whole.len && len != 14 + MTU)
		return is_wrong("cut without need");
	return true;
}

static int fuzz(unsigned n)
{
	static __u8 got[FRAME_MAX];
	struct mirror_stat before = stats_check(), after;
	struct setting s = { 0 };
	struct shape shape;

	for (unsigned i = 0; i < n; i++, before = after) {
		struct frame f = frame_any(&shape);
		unsigned len;

		if (!(i & 255)) {
			s = (struct setting){ any(2) ? MIRROR_VXLAN : MIRROR_GUE, any(2), any(2),
					      any(3) ? any(2) ? 0 : 64 + any(1400) : MIRROR_HEADERS, 0 };
			s.variant = s.encap == MIRROR_GUE && any(2);
			target_set(&s);
		}
		if (!frame_run(&f, &shape))
			fails(&s, &shape, &f);
		after = stats_check();
		if (after.packets != before.packets + 1 ||
		    (after.not_sent[MIRROR_ERROR] != before.not_sent[MIRROR_ERROR] && shape.tags + shape.is_hw < 4)) {
			is_wrong("not counted, or an error");
			fails(&s, &shape, &f);
		}
		if (after.sent == before.sent)
			continue;
		len = capture(y.capture, got, 1000);
		if (!len || !any_check(&s, &shape, &f, got, len)) {
			if (!len)
				is_wrong("nothing came");
			show("caught", got, len);
			fails(&s, &shape, &f);
		}
	}
	printf("frames %llu sent %llu cut %llu fitted %llu not_ip %llu loop %llu error %llu\n", before.packets, before.sent, before.cut,
	       before.fitted, before.not_sent[MIRROR_NOT_IP], before.not_sent[MIRROR_LOOP], before.not_sent[MIRROR_ERROR]);
	return 0;
}

/*
 * Frames that the kernel has yet to cut into segments, or to give their checksum.
 */
struct offload {
	enum kind kind;
	unsigned data, gso_size;
};

/* False: this kernel does not take it. */
static bool offload_send(int fd, const struct offload *o, const struct frame *f, unsigned l4)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.hdr_len = (__u16)(l4 + (o->kind == TCP ? 24 : 8)),
		.gso_size = (__u16)o->gso_size,
		.csum_start = (__u16)l4,
		.csum_offset = o->kind == TCP ? 16 : 6,
	};
	struct iovec v[] = { { &h, sizeof(h) }, { (void *)f->at, f->len } };

	if (o->gso_size)
		h.gso_type = o->kind == UDP ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			     get16(f->at + 12) == 0x86dd ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	if (writev(fd, v, 2) == (ssize_t)(sizeof(h) + f->len))
		return true;
	/* before Linux 6.2 */
	if (errno == EINVAL && h.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4)
		return false;
	die("send");
}

/* Is what is caught a whole, sound packet? Its payload to where it belongs in data. */
static bool segment_check(const struct offload *o, bool v6, const __u8 *ip, unsigned len, struct frame *data)
{
	unsigned ip_len = v6 ? 40 : 20, proto = o->kind == TCP ? IPPROTO_TCP : IPPROTO_UDP, l4_len = o->kind == TCP ? 24 : 8, at;
	const __u8 *l4 = ip + ip_len;

	if (len < ip_len + l4_len || (v6 ? 40 + get16(ip + 4) : get16(ip + 2)) != len)
		return is_wrong("a segment's length: %u", len);
	if (!v6 && sum_fold(sum_add(0, ip, 20)) != 0xffff)
		return is_wrong("a segment's IP checksum");
	if (sum_fold(sum_add(sum_add(proto + len - ip_len, ip + (v6 ? 8 : 12), v6 ? 32 : 8), l4, len - ip_len)) != 0xffff)
		return is_wrong("a segment's checksum");
	if (o->kind == UDP && get16(l4 + 4) != len - ip_len)
		return is_wrong("a datagram's length");
	/* the sequence number began at 1 */
	at = o->kind == TCP ? (get16(l4 + 4) << 16 | get16(l4 + 6)) - 1 : data->len;
	len -= ip_len + l4_len;
	if (at + len > FRAME_MAX)
		return is_wrong("a segment's sequence number");
	memcpy(data->at + at, l4 + l4_len, len);
	data->len += len;
	return true;
}

static bool offload_check(const struct setting *s, const struct offload *o, bool v6, const struct frame *f, unsigned l4)
{
	static __u8 got[FRAME_MAX];
	static struct frame data;
	unsigned n = 0, len, head = o->kind == TCP ? 24 : 8, inner_len;
	unsigned most = 14 + MTU - (s->v6 ? 40 : 20) - 8 - tunnel_len(s) - (s->encap == MIRROR_GUE ? 0 : 14), cut = 0;
	const __u8 *inner;

	if (s->snaplen)
		cut = s->snaplen == MIRROR_HEADERS ? l4 + head : s->snaplen < f->len ? s->snaplen : f->len;
	else if (o->kind == UDP && o->gso_size && l4 + head + o->gso_size > most)
		cut = most; /* datagrams do not get shorter: the first one is sent, as much of it as there is room */
	data.len = 0;
	memset(data.at, 0, sizeof(data.at));
	while ((len = capture(y.capture, got, n && data.len >= o->data ? 5 : 1000))) {
		if (n++ && cut)
			return is_wrong("cut, and more than one");
		if (!outer_check(s, got, len, 0, v6 ? 0x86dd : 0x0800, o->gso_size && !cut, &inner, &inner_len))
			return false;
		if (s->encap == MIRROR_VXLAN) {
			if (memcmp(inner, f->at, 14))
				return is_wrong("Ethernet header inside");
			inner += 14;
			inner_len -= 14;
		}
		if (cut) {
			unsigned keep = cut - 14, field = l4 - 14 + (o->kind == TCP ? 16 : 6);

			if (inner_len != keep || memcmp(inner, f->at + 14, field) ||
			    memcmp(inner + field + 2, f->at + 14 + field + 2, keep - field - 2))
				return is_wrong("cut to %u octets, not %u, or changed", inner_len, keep);
			data.len = o->data;
		} else if (!segment_check(o, v6, inner, inner_len, &data)) {
			return false;
		}
	}
	if (!n)
		return is_wrong("nothing came");
	if (!cut && (data.len != o->data || memcmp(data.at, f->at + l4 + head, data.len)))
		return is_wrong("%u octets of %u came, or others", data.len, o->data);
	return true;
}

/* What of it comes to its own destination is whole, too. */
static bool original_check(int fd, const struct offload *o, bool v6, const struct frame *f, unsigned l4)
{
	static __u8 got[FRAME_MAX];
	static struct frame data;
	unsigned len;

	data.len = 0;
	while (data.len < o->data && (len = capture(fd, got, 1000)))
		if (memcmp(got, f->at, 14) || !segment_check(o, v6, got + 14, len - 14, &data))
			return false;
	return data.len == o->data && !memcmp(data.at, f->at + l4 + (o->kind == TCP ? 24 : 8), data.len) ? true :
	       is_wrong("the packet itself: %u octets of %u", data.len, o->data);
}

static int offload(const char *from, const char *ns, const char *peer)
{
	static const struct offload offloads[] = {
		{ TCP, 1000, 0 }, { UDP, 1000, 0 }, { TCP, 33, 0 }, { UDP, 33, 0 }, { TCP, 1000, 100 }, { TCP, 10001, 1436 },
		{ TCP, 60000, 1000 }, { UDP, 10001, 1000 }, { UDP, 20000, 1380 }, { UDP, 20000, 1440 },
	};
	static const unsigned snaplens[] = { 0, 100, MIRROR_HEADERS };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(from) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), other = socket_in(ns, peer), one_ = 1;

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one_, sizeof(one_)))
		die(from);
	attach(x.mirror, "mirror", (unsigned)at.sll_ifindex, BPF_TC_EGRESS);
	for (unsigned i = 0; i < 8 * 3 * 3 * sizeof(offloads) / sizeof(offloads[0]); i++) {
		const struct offload *o = &offloads[i / 72];
		unsigned encap = i / 24 % 3;
		struct setting s = { encap ? MIRROR_GUE : MIRROR_VXLAN, i & 1, i >> 1 & 1, snaplens[i / 8 % 3], encap == 1 };
		struct shape shape = { .kind = o->kind, .v6 = i >> 2 & 1, .data = o->data };
		unsigned l4 = shape.v6 ? 54 : 34;

		target_set(&s);
		clear(y.capture);
		clear(other);
		frame_make(&shape, &frame, true);
		if (!offload_send(fd, o, &frame, l4))
			continue;
		cases++;
		if (!original_check(other, o, shape.v6, &frame, l4) || !offload_check(&s, o, shape.v6, &frame, l4)) {
			printf("segments of %u: ", o->gso_size);
			fails(&s, &shape, &frame);
		}
	}
	stats_check();
	printf("cases %u\n", cases);
	return 0;
}

/* A packet to a tunnel's port, with another one inside. The offset of the payload is l4 + 8. */
enum inside { BARE, GUE, VXLAN, INSIDES };
static void tunnel_put(struct frame *f, unsigned l4, enum inside outer, bool v6, unsigned ext, unsigned port)
{
	struct shape shape = { .kind = UDP, .v6 = v6, .ext = ext, .data = 20 };
	static struct frame inner;
	__u8 *to = f->at + l4 + 8;
	unsigned l3 = 14;

	frame_make(&shape, &inner, false);
	set16(inner.at + l3 + (v6 ? 40 + ext * 8 : 20) + 2, port);
	set16(f->at + l4 + 2, outer == VXLAN ? 4789 : 6080);
	if (outer == GUE) {
		memcpy(to, v6 ? "\0\x29\0\0" : "\0\4\0\0", 4);
		to += 4;
	} else if (outer == VXLAN) {
		memcpy(to, "\x08\0\0\0\0\0\7\0", 8);
		to += 8;
		l3 = 0;
	}
	memcpy(to, inner.at + l3, inner.len - l3);
}

/* Tunnels in tunnels, with nothing but the outer headers in the linear part: that stays, and so would
 * packets whose segments are in a list of their own. */
static int nested(const char *from)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(from) };
	struct setting s = { MIRROR_GUE };
	const struct offload o = { UDP, 10001, 1000 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one_ = 1;
	__u32 zero = 0;

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one_, sizeof(one_)))
		die(from);
	/* in the order of their priorities: what is attached later comes first */
	attach(y.harness, "linear", (unsigned)at.sll_ifindex, BPF_TC_EGRESS);
	libbpf_set_print(NULL); /* that there is one already */
	attach(x.mirror, "mirror", (unsigned)at.sll_ifindex, BPF_TC_EGRESS);
	target_set(&s);
	for (unsigned i = 0; i < INSIDES * 2 * 2 * 9 * 2; i++) {
		enum inside outer = i % INSIDES;
		bool v6 = i / INSIDES & 1, inner_v6 = i / INSIDES >> 1 & 1, is_loop = i / INSIDES >> 2 & 1;
		unsigned ext = inner_v6 ? i / INSIDES >> 3 : 0, l4 = v6 ? 54 : 34;
		struct shape shape = { .kind = UDP, .v6 = v6, .data = o.data };
		struct mirror_stat before = stats_check(), after;

		frame_make(&shape, &frame, true);
		tunnel_put(&frame, l4, outer, inner_v6, ext, is_loop ? i & 1 ? 4789 : 6080 : 6081);
		if (!offload_send(fd, &o, &frame, l4)) {
			puts("skipped: this kernel takes no such packets");
			return 0;
		}
		after = stats_check();
		if (bpf_map_lookup_elem(y.data, &zero, &y.h))
			die("harness");
		cases++;
		is_wrong("loop %llu", after.not_sent[MIRROR_LOOP] - before.not_sent[MIRROR_LOOP]);
		if (after.not_sent[MIRROR_LOOP] - before.not_sent[MIRROR_LOOP] != is_loop)
			fails(&s, &shape, &frame);
		is_wrong("linear: %u", y.h.linear);
		if (y.h.linear != l4 + 8)
			fails(&s, &shape, &frame);
	}
	printf("cases %u\n", cases);
	return 0;
}

/*
 * The cap: never more than it allows since the first packet, and what it may be ahead.
 */
#define CAP 20000000ULL /* bits a second */
#define AHEAD_NS 10000000ULL

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000000 + (__u64)t.tv_nsec;
}

static int cap(void)
{
	const struct setting s = { .encap = MIRROR_VXLAN };
	struct shape shape = { .kind = UDP, .data = 900 };
	struct mirror_stat st;
	__u64 began, allowed;

	target_set(&s);
	x.targets[x.copy * MIRROR_TARGETS].cap = CAP;
	x.targets[x.copy * MIRROR_TARGETS].cap_ps = 8000000000000ULL / CAP;
	frame_make(&shape, &frame, false);
	began = now_ns();
	do {
		for (int i = 0; i < 100; i++)
			if (!frame_run(&frame, &shape))
				fails(&s, &shape, &frame);
		st = stats_check();
	} while (now_ns() - began < 300000000);
	allowed = (now_ns() - began + AHEAD_NS) * CAP / 8000000000 + 14 + MTU;
	if (!st.sent || !st.not_sent[MIRROR_CAPPED] || st.sent + st.not_sent[MIRROR_CAPPED] != st.packets ||
	    st.sent_octets > allowed) {
		printf("%llu octets of %llu sent, %llu capped\n", st.sent_octets, allowed, st.not_sent[MIRROR_CAPPED]);
		return 1;
	}
	printf("cap %llu bit/s: %llu of at most %llu octets sent\n", CAP, st.sent_octets, allowed);
	return 0;
}

static int verified(const char *dir)
{
	static const char *const names[] = { "mirror", "mirrortarget" };

	for (int i = 0; i < 2; i++) {
		struct bpf_prog_info info = { 0 };
		__u32 len = sizeof(info);
		char path[64];
		struct bpf_object *obj;

		snprintf(path, sizeof(path), "%s.bpf.o", names[i]);
		obj = object_load(dir, path, NULL);
		if (bpf_obj_get_info_by_fd(bpf_program__fd(bpf_object__find_program_by_name(obj, names[i])), &info, &len))
			die(path);
		printf("%s%s %u", i ? ", " : "", names[i], info.verified_insns);
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	if (!strcmp(what, "verified"))
		return verified(argv[2]);
	if (argc > 6)
		setup(argv[2], argv[3], argv[4], argv[5], argv[6]);
	if (!strcmp(what, "matrix") && argc == 7)
		return matrix();
	if (!strcmp(what, "cap") && argc == 7)
		return cap();
	if (!strcmp(what, "fuzz") && argc == 9) {
		seed = strtoull(argv[8], NULL, 0) | 1;
		return fuzz((unsigned)atoi(argv[7]));
	}
	if (!strcmp(what, "nested") && argc == 8)
		return nested(argv[7]);
	if (!strcmp(what, "offload") && argc == 10)
		return offload(argv[7], argv[8], argv[9]);
	errno = EINVAL;
	die("usage");
}
