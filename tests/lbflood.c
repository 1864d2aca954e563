// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Does a load balancer keep established flows where they are, whatever else comes?
 *
 *   lbflood keep PROG VIP PORT N   N clients of a TCP VIP (half of them IPv6 clients if VIP2 is given by
 *                                  VIP,VIP2) say SYN and ACK to the program (an id): "established
 *                                  N"; each line of standard input is answered by one more ACK of each: "kept N
 *                                  moved N lost N". Who got it is read from the outer header.
 *   lbflood syn DEV MAC VIP PORT FROM N   SYNs of clients FROM..FROM+N-1, each from another address and
 *                                  port, out of an interface, by two threads
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAME 128
#define BURST 64

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lbflood: %s: %s\n", what, strerror(errno));
	exit(2);
}

static unsigned number(const char *s) { return (unsigned)strtoul(s, NULL, 10); }
static void put16(unsigned char *p, unsigned v) { p[0] = (unsigned char)(v >> 8); p[1] = (unsigned char)v; }
static void put32(unsigned char *p, unsigned v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }

static unsigned sum_add(unsigned sum, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		sum += (unsigned)p[i] << 8 | p[i + 1];
	return sum;
}

static unsigned short sum_fold(unsigned sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~sum;
}

struct vip {
	bool v6;
	unsigned char addr[16];
	unsigned port;
};

static struct vip vip_parse(const char *text, const char *port)
{
	struct vip v = { .v6 = strchr(text, ':'), .port = number(port) };

	if (inet_pton(v.v6 ? AF_INET6 : AF_INET, text, v.addr) != 1)
		die(text);
	return v;
}

/* Client i: his address and port differ from everybody else's, and look random. */
static size_t frame_make(const struct vip *v, unsigned char *f, unsigned long long i, unsigned flags)
{
	unsigned src = (unsigned)i * 2654435761u, sport = 1024 + (unsigned)(i >> 32 ^ i * 40503u) % 60000, sum;
	size_t ip = v->v6 ? 40 : 20;
	unsigned char *t = f + 14 + ip;

	memset(f, 0, 14 + ip + 20);
	put16(f + 12, v->v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (v->v6) {
		put32(f + 14, 0x60000000);
		put16(f + 18, 20);
		f[20] = IPPROTO_TCP;
		f[21] = 64;
		put32(f + 22, 0x20010db8);
		put32(f + 34, src);
		memcpy(f + 38, v->addr, 16);
	} else {
		put16(f + 14, 0x4500);
		put16(f + 16, 40);
		f[22] = 64;
		f[23] = IPPROTO_TCP;
		put32(f + 26, src);
		memcpy(f + 30, v->addr, 4);
		put16(f + 24, sum_fold(sum_add(0, f + 14, 20)));
	}
	put16(t, sport);
	put16(t + 2, v->port);
	put16(t + 12, 0x5000 | flags);
	sum = sum_add(sum_add(IPPROTO_TCP + 20, f + (v->v6 ? 22 : 26), v->v6 ? 32 : 8), t, 20);
	put16(t + 16, sum_fold(sum));
	return 14 + ip + 20;
}

/*
 * Flows that are to stay.
 */
struct keep {
	int prog;
	struct vip vip[2];
	int vips;
	unsigned n;
	unsigned char (*at)[16]; /* of each, outer destination */
};

/* The destination that the program sends it to, IPv4 in the first four octets; false: to nobody. */
static bool send_one(const struct keep *k, unsigned i, unsigned flags, unsigned char to[16])
{
	unsigned char frame[FRAME], out[FRAME + 64];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

	o.data_size_in = (unsigned)frame_make(&k->vip[i % (unsigned)k->vips], frame, i, flags);
	if (bpf_prog_test_run_opts(k->prog, &o))
		die("BPF_PROG_TEST_RUN");
	memset(to, 0, 16);
	if (o.retval != XDP_TX || o.data_size_out <= o.data_size_in)
		return false;
	memcpy(to, out + (out[12] == 0x86 ? 38 : 30), out[12] == 0x86 ? 16 : 4);
	return true;
}

static void check(const struct keep *k)
{
	unsigned kept = 0, moved = 0, lost = 0;
	unsigned char to[16];

	for (unsigned i = 0; i < k->n; i++)
		if (!send_one(k, i, 0x10, to))
			lost++;
		else if (memcmp(to, k->at[i], 16))
			moved++;
		else
			kept++;
	printf("kept %u moved %u lost %u\n", kept, moved, lost);
	fflush(stdout);
}

/* While it is on some interface the kernel has its call ready, and need not wait for a
 * grace period at each run. */
static void attach(int prog)
{
	if (bpf_xdp_attach((int)if_nametoindex("idle0"), prog, 0, NULL))
		die("bpf_xdp_attach idle0");
}

static void keep(const char *prog, char *vips, const char *port, unsigned n)
{
	struct keep k = { .prog = bpf_prog_get_fd_by_id(number(prog)), .n = n, .at = calloc(n, 16) };
	char line[16];

	if (k.prog < 0 || !k.at)
		die(prog);
	attach(k.prog);
	for (char *v = strtok(vips, ","); v && k.vips < 2; v = strtok(NULL, ","))
		k.vip[k.vips++] = vip_parse(v, port);
	for (unsigned i = 0; i < n; i++)
		if (!send_one(&k, i, 0x02, k.at[i]) || !send_one(&k, i, 0x10, k.at[i])) {
			errno = EPROTO;
			die("a packet for the VIP is not sent on");
		}
	printf("established %u\n", n);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		check(&k);
}

/*
 * And those that are not.
 */
struct flooder {
	pthread_t id;
	const char *dev;
	unsigned char mac[6];
	struct vip vip;
	unsigned long long from, n;
};

static int packet_socket(const char *dev)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || !to.sll_ifindex || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		die(dev);
	return fd;
}

static void *flood_one(void *arg)
{
	const struct flooder *r = arg;
	unsigned char frames[BURST][FRAME];
	struct mmsghdr msg[BURST] = { 0 };
	struct iovec iov[BURST];
	int fd = packet_socket(r->dev);

	for (unsigned long long sent = 0; sent < r->n;) {
		unsigned n = r->n - sent < BURST ? (unsigned)(r->n - sent) : BURST, done = 0;

		for (unsigned i = 0; i < n; i++) {
			iov[i] = (struct iovec){ frames[i], frame_make(&r->vip, frames[i], r->from + sent + i, 0x02) };
			memcpy(frames[i], r->mac, 6);
			msg[i].msg_hdr.msg_iov = &iov[i];
			msg[i].msg_hdr.msg_iovlen = 1;
		}
		while (done < n) {
			int ret = sendmmsg(fd, msg + done, n - done, 0);

			if (ret < 0 && errno != ENOBUFS && errno != EINTR)
				die(r->dev);
			done += ret > 0 ? (unsigned)ret : 0;
		}
		sent += n;
	}
	close(fd);
	return NULL;
}

static void flood(char **words)
{
	struct flooder r[2] = { { .dev = words[0], .vip = vip_parse(words[2], words[3]), .from = number(words[4]),
				  .n = number(words[5]) / 2 } };

	if (sscanf(words[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &r[0].mac[0], &r[0].mac[1], &r[0].mac[2], &r[0].mac[3],
		   &r[0].mac[4], &r[0].mac[5]) != 6)
		die(words[1]);
	r[1] = r[0];
	r[1].from += r[0].n;
	r[1].n = number(words[5]) - r[0].n;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&r[i].id, NULL, flood_one, &r[i]))
			die("thread");
	for (int i = 0; i < 2; i++)
		pthread_join(r[i].id, NULL);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "keep")) {
		keep(argv[2], argv[3], argv[4], number(argv[5]));
	} else if (argc == 8 && !strcmp(argv[1], "syn")) {
		flood(argv + 2);
	} else {
		fputs("usage: see the head of tests/lbflood.c\n", stderr);
		return 2;
	}
	return 0;
}
