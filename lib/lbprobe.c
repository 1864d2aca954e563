/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "lbprobe.h"
#include "run.h"

#define BATCH 128
#define WAIT_US 1000000
#define AGAIN_US 300000 /* packets get lost, and neighbours have to be found first */
#define DATA 8

/*
 * The inner packet.
 */
static __u16 checksum(const void *p, size_t len, __u32 sum)
{
	const __u8 *b = p;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (__u32)b[i] << 8 | b[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((__u16)~sum);
}

static size_t make4(const struct lb_probe *p, __u16 id, __u16 seq, __u8 *buf)
{
	struct iphdr *ip = (struct iphdr *)buf;
	struct icmphdr *icmp = (struct icmphdr *)(ip + 1);
	const size_t len = sizeof(*ip) + sizeof(*icmp) + DATA;

	memset(buf, 0, len);
	*ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons(len), .ttl = 64, .protocol = IPPROTO_ICMP };
	memcpy(&ip->saddr, p->client.b + 12, 4);
	memcpy(&ip->daddr, p->vip.b + 12, 4);
	ip->check = checksum(ip, sizeof(*ip), 0);
	icmp->type = ICMP_ECHO;
	icmp->un.echo.id = id;
	icmp->un.echo.sequence = seq;
	icmp->checksum = checksum(icmp, sizeof(*icmp) + DATA, 0);
	return len;
}

static size_t make6(const struct lb_probe *p, __u16 id, __u16 seq, __u8 *buf)
{
	struct ip6_hdr *ip = (struct ip6_hdr *)buf;
	struct icmp6_hdr *icmp = (struct icmp6_hdr *)(ip + 1);
	const size_t behind = sizeof(*icmp) + DATA;

	memset(buf, 0, sizeof(*ip) + behind);
	ip->ip6_flow = htonl(6U << 28);
	ip->ip6_plen = htons(behind);
	ip->ip6_nxt = IPPROTO_ICMPV6;
	ip->ip6_hlim = 64;
	memcpy(&ip->ip6_src, p->client.b, 16);
	memcpy(&ip->ip6_dst, p->vip.b, 16);
	icmp->icmp6_type = ICMP6_ECHO_REQUEST;
	icmp->icmp6_id = id;
	icmp->icmp6_seq = seq;
	/* with the pseudo header: both addresses, which lie before it, length and protocol */
	icmp->icmp6_cksum = checksum(&ip->ip6_src, 32 + behind, (__u32)behind + IPPROTO_ICMPV6);
	return sizeof(*ip) + behind;
}

/*
 * Sockets.
 */
static socklen_t sockaddr_make(const struct addr *a, __u16 port, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (addr_is_v4(a)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, a->b + 12, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, a->b, 16);
	return sizeof(*v6);
}

static void result_set(struct lb_probe *p, int err)
{
	p->err = err;
	p->result = err == -ECONNREFUSED ? LB_PROBE_REFUSED :
		    err == -EHOSTUNREACH || err == -ENETUNREACH ? LB_PROBE_UNREACHABLE : LB_PROBE_UNSENT;
}

static int socket_make(const struct lb_probe *p)
{
	auto_fd int fd = socket(addr_is_v4(&p->backend) ? AF_INET : AF_INET6,
				SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage at;
	socklen_t len = sockaddr_make(&p->source, 0, &at);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len))
		return -errno;
	len = sockaddr_make(&p->backend, p->port, &at);
	return connect(fd, (struct sockaddr *)&at, len) ? -errno : take_fd(&fd);
}

struct probes {
	struct lb_probe *list;
	int n;
	struct pollfd fd[BATCH + 2]; /* of each probe; and the raw sockets */
	__u16 id;
};

static void probe_send(struct probes *all, int i)
{
	struct lb_probe *p = &all->list[i];
	__u8 buf[sizeof(struct ip6_hdr) + sizeof(struct icmp6_hdr) + DATA];
	size_t len = addr_is_v4(&p->vip) ? make4(p, all->id, htons((__u16)i), buf) :
					   make6(p, all->id, htons((__u16)i), buf);

	if (send(all->fd[i].fd, buf, len, 0) < 0 && errno != EAGAIN)
		result_set(p, -errno);
}

static void probe_open(struct probes *all, int i)
{
	static const struct addr none;
	int fd;

	all->list[i].result = LB_PROBE_NOT_ASKED;
	all->list[i].err = 0;
	if (!memcmp(&all->list[i].client, &none, sizeof(none)))
		return;
	all->list[i].result = LB_PROBE_SILENT;
	fd = socket_make(&all->list[i]);
	all->fd[i] = (struct pollfd){ .fd = fd < 0 ? -1 : fd, .events = POLLIN };
	if (fd < 0)
		result_set(&all->list[i], fd);
	else
		probe_send(all, i);
}

/* An ICMP error is the socket's. */
static void probe_hear(struct probes *all, int i)
{
	char byte;

	if (recv(all->fd[i].fd, &byte, 1, 0) < 0 && errno != EAGAIN)
		result_set(&all->list[i], -errno);
}

static void answer_take(struct probes *all, const struct addr *from, const __u8 *icmp, ssize_t len, __u8 reply)
{
	__u16 id, seq;

	if (len < 8 || icmp[0] != reply)
		return;
	memcpy(&id, icmp + 4, 2);
	memcpy(&seq, icmp + 6, 2);
	seq = ntohs(seq);
	if (id == all->id && seq < all->n && !memcmp(from, &all->list[seq].vip, sizeof(*from)))
		all->list[seq].result = LB_PROBE_ANSWERED;
}

/* IPv4's raw sockets see the IP header, IPv6's do not. */
static void raw_hear(struct probes *all, int fd, bool is_v4)
{
	__u8 buf[256];
	struct sockaddr_in6 at;
	socklen_t at_len = sizeof(at);
	struct addr from = { .b = { [10] = 0xff, [11] = 0xff } };
	ssize_t len;

	while ((len = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&at, &at_len)) >= 0) {
		ssize_t head = is_v4 ? (buf[0] & 0xf) * 4 : 0;

		if (is_v4)
			memcpy(from.b + 12, buf + 12, 4);
		else
			memcpy(from.b, &at.sin6_addr, 16);
		if (len >= head)
			answer_take(all, &from, buf + head, len - head, is_v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY);
	}
}

static bool is_open(const struct probes *all, int i)
{
	return all->list[i].result == LB_PROBE_SILENT;
}

static int count_open(const struct probes *all)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
		n += is_open(all, i);
	return n;
}

static int wait_some(struct probes *all, __u64 us)
{
	if (poll(all->fd, BATCH + 2, (int)(us / 1000) + 1) < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < all->n; i++) {
		if (all->fd[i].fd >= 0 && all->fd[i].revents && is_open(all, i))
			probe_hear(all, i);
		if (!is_open(all, i))
			all->fd[i].events = 0;
	}
	raw_hear(all, all->fd[BATCH].fd, true);
	raw_hear(all, all->fd[BATCH + 1].fd, false);
	return 0;
}

static int batch_run(struct probes *all)
{
	__u64 end = run_now_us() + WAIT_US, again = run_now_us() + AGAIN_US, now;
	int err = 0;

	for (int i = 0; i < all->n; i++)
		probe_open(all, i);
	while (!err && count_open(all) && (now = run_now_us()) < end) {
		if (again && now >= again) {
			for (int i = 0; i < all->n; i++)
				if (is_open(all, i))
					probe_send(all, i);
			again = 0;
		}
		err = wait_some(all, (again ? again : end) - now);
	}
	for (int i = 0; i < all->n; i++)
		cleanup_fd(&all->fd[i].fd);
	return err;
}

static int raw_socket(int family, int proto)
{
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, proto);

	return fd < 0 ? -errno : fd;
}

int lb_probe(struct lb_probe *list, int n)
{
	auto_fd int raw4 = raw_socket(AF_INET, IPPROTO_ICMP), raw6 = raw_socket(AF_INET6, IPPROTO_ICMPV6);
	int err = raw4 < 0 ? raw4 : raw6 == -EAFNOSUPPORT ? 0 : raw6 < 0 ? raw6 : 0;

	for (int done = 0; !err && done < n; done += BATCH) {
		struct probes all = {
			.list = list + done,
			.n = n - done < BATCH ? n - done : BATCH,
			.id = (__u16)getpid(),
		};

		for (int i = 0; i < BATCH; i++)
			all.fd[i].fd = -1;
		all.fd[BATCH] = (struct pollfd){ .fd = raw4, .events = POLLIN };
		all.fd[BATCH + 1] = (struct pollfd){ .fd = raw6, .events = POLLIN };
		err = batch_run(&all);
	}
	return err;
}
