/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <time.h> /* errqueue.h lacks it */
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "run.h"
#include "sinkops.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define PATIENCE_US 5000000    /* for room in this host's queue */
#define ICMP_WAIT_MS 50        /* for an error from another host */
#define MTU_MOST 1500          /* unless the operator says more: receivers' buffers are not made for more */
#define BURST_MESSAGES 16      /* what receivers with default buffers bear */
#define BURST_US 10000         /* a burst is not worth more than this much time */
#define SEGMENTS 64            /* UDP_MAX_SEGMENTS */
#define RECORD_LEAST 32        /* octets of a data record, at the least: for the size of bursts */

struct udp {
	struct sink sink;
	bool is_v6, is_local; /* the peer is this host: ICMP errors come at once */
	bool has_segments;    /* UDP_SEGMENT is to be used */
	__u32 headers;        /* octets, IP and UDP */
	__u64 next_us;        /* the next burst may go then */
	__u64 debt;           /* of the pace: what is left of dividing */
};

static int option(const struct udp *u, int v4, int v6, int value)
{
	int level = u->is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;

	return setsockopt(u->sink.fd, level, u->is_v6 ? v6 : v4, &value, sizeof(value)) ? -errno : 0;
}

/* IP_RECVERR also makes the kernel tell of packets that this host's queue dropped. */
static int options(const struct udp *u)
{
	const struct timeval patience = { .tv_usec = 0, .tv_sec = PATIENCE_US / 1000000 };
	int err = option(u, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO);

	if (!err)
		err = option(u, IP_RECVERR, IPV6_RECVERR, 1);
	if (!err && u->is_v6)
		err = option(u, 0, IPV6_V6ONLY, 1);
	if (!err && setsockopt(u->sink.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
		err = -errno;
	return err;
}

static __u16 *port_of(struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? &((struct sockaddr_in *)a)->sin_port : &((struct sockaddr_in6 *)a)->sin6_port;
}

/* The source port of the last run, so that this run is the same session; where somebody
 * else has it, connect takes another. */
static int bind_again(const struct udp *u)
{
	struct sockaddr_storage any = { .ss_family = u->is_v6 ? AF_INET6 : AF_INET };
	__u16 port = u->sink.c->port;

	*port_of(&any) = htons(port);
	if (!port || !bind(u->sink.fd, (struct sockaddr *)&any, sizeof(any)))
		return 0;
	return errno == EADDRINUSE || errno == EACCES ? 0 : -errno;
}

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)a, *b4 = (const struct sockaddr_in *)b;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)b;

	return a->ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr :
					 !memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr));
}

static int connect_to(struct udp *u)
{
	struct sockaddr_storage peer, self;
	socklen_t len = sink_address(&u->sink.target->at, &peer), self_len = sizeof(self);

	if (connect(u->sink.fd, (struct sockaddr *)&peer, len) ||
	    getsockname(u->sink.fd, (struct sockaddr *)&self, &self_len))
		return -errno;
	if (!u->sink.is_trial)
		u->sink.c->port = ntohs(*port_of(&self));
	u->is_local = is_same_host(&self, &peer);
	return 0;
}

/* Octets of a packet on the way there, as far as is known. */
static __u32 path_mtu(const struct udp *u)
{
	socklen_t len = sizeof(int);
	int mtu;

	if (getsockopt(u->sink.fd, u->is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, u->is_v6 ? IPV6_MTU : IP_MTU, &mtu, &len) ||
	    mtu <= 0)
		return IPFIX_UDP_UNKNOWN + u->headers;
	return (__u32)mtu;
}

static __u32 least(__u64 a, __u64 b)
{
	return (__u32)(a < b ? a : b);
}

static void sizes(struct udp *u)
{
	const struct sink_target *t = u->sink.target;
	__u32 mtu = least(path_mtu(u), t->mtu ? t->mtu : MTU_MOST);
	__u32 datagram = 65535 - u->headers; /* jumbograms apart, for which nobody asks */

	u->sink.message_most = mtu > u->headers ? least(mtu - u->headers, datagram) : 0;
	if (!u->sink.message_most)
		return;
	u->has_segments = !t->pace.count;
	if (u->has_segments) {
		u->sink.batch_messages = least(SEGMENTS, datagram / u->sink.message_most);
	} else {
		unsigned __int128 records = (unsigned __int128)t->pace.count * BURST_US / t->pace.unit_us;
		__u32 per_message = u->sink.message_most / RECORD_LEAST + 1;

		u->sink.batch_messages = records / per_message < 1 ? 1 : records / per_message > BURST_MESSAGES ?
			BURST_MESSAGES : (__u32)(records / per_message);
	}
}

static int udp_open(struct sink *s)
{
	struct udp *u = (struct udp *)s;
	int err;

	u->is_v6 = !addr_is_v4(&s->target->at.addr);
	u->headers = u->is_v6 ? 40 + 8 : 20 + 8;
	s->fd = socket(u->is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = s->fd < 0 ? -errno : options(u);
	if (!err && !s->is_trial)
		err = bind_again(u);
	if (!err)
		err = connect_to(u);
	if (err)
		return sink_fail(s, err);
	sizes(u);
	return 0;
}

/* The ICMP errors that came back: the first one, and its sender. 0: none. */
static int icmp_error(const struct udp *u, struct addr *from)
{
	char control[512];
	struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
	int err = 0;

	while (recvmsg(u->sink.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) {
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err *e = (struct sock_extended_err *)CMSG_DATA(c);

			if (err || c->cmsg_type != (u->is_v6 ? IPV6_RECVERR : IP_RECVERR) ||
			    (e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6))
				continue;
			err = -(int)e->ee_errno;
			*from = (struct addr){ { [10] = 0xff, [11] = 0xff } };
			if (u->is_v6)
				memcpy(from->b, &((struct sockaddr_in6 *)SO_EE_OFFENDER(e))->sin6_addr, 16);
			else
				memcpy(from->b + 12, &((struct sockaddr_in *)SO_EE_OFFENDER(e))->sin_addr, 4);
		}
		m.msg_controllen = sizeof(control);
	}
	return err;
}

/* err of a call, which may be what an ICMP error said; 0: look for one. */
static int udp_fail(const struct udp *u, int err)
{
	const char *target = u->sink.target->at.text;
	char from[64];
	struct addr a;
	int icmp = icmp_error(u, &a);

	if (!err)
		err = icmp;
	if (!err || err == -EMSGSIZE)
		return err;
	if (err != icmp)
		return sink_fail(&u->sink, err);
	format_addr(&a, from, sizeof(from));
	if (err == -ECONNREFUSED)
		return fail(err, "%s: nobody listens there, says %s", target, from);
	return fail(err, "%s: the host is unreachable, says %s", target, from);
}

/* As many messages as go at once. ENOBUFS is a full queue, to be tried again; EAGAIN is
 * that it stayed full for long. */
static int send_some(const struct udp *u, struct mmsghdr *m, __u32 n)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	__u64 deadline = 0;
	int sent;

	while (n) {
		sent = sendmmsg(u->sink.fd, m, n, 0);
		if (sent > 0) {
			m += sent;
			n -= (__u32)sent;
			deadline = 0;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != ENOBUFS)
			return -errno;
		if (!deadline)
			deadline = run_now_us() + PATIENCE_US;
		if (run_now_us() >= deadline)
			return -ENOBUFS;
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 32000000)
			nap.tv_nsec *= 2;
	}
	return 0;
}

/* All messages by one call, cut up behind the network stack. */
static int send_segments(const struct udp *u, const struct ipfix_batch *b)
{
	union {
		char bytes[CMSG_SPACE(sizeof(__u16))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec v = { b->bytes, b->size };
	struct mmsghdr m = {
		.msg_hdr = {
			.msg_iov = &v,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		},
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.msg_hdr);
	__u16 size = (__u16)b->equal_size;

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	return send_some(u, &m, 1);
}

static int send_each(const struct udp *u, const struct ipfix_batch *b)
{
	struct mmsghdr m[SEGMENTS] = { 0 };
	struct iovec v[SEGMENTS];
	__u8 *at = b->bytes;
	__u32 n;
	int err = 0;

	for (__u32 i = 0; !err && i < b->messages; i += n) {
		for (n = 0; n < SEGMENTS && i + n < b->messages; n++) {
			v[n] = (struct iovec){ at, b->message_size[i + n] };
			m[n].msg_hdr.msg_iov = &v[n];
			m[n].msg_hdr.msg_iovlen = 1;
			at += v[n].iov_len;
		}
		err = send_some(u, m, n);
	}
	return err;
}

/* Wait until it is this burst's turn. A late one does not make the next ones come faster. */
static void pace(struct udp *u, __u32 records)
{
	const struct rate *r = &u->sink.target->pace;
	unsigned __int128 due;
	__u64 now = run_now_us();
	struct timespec at;

	if (!r->count || !records)
		return;
	if (u->next_us > now) {
		at = (struct timespec){ (time_t)(u->next_us / 1000000), (long)(u->next_us % 1000000 * 1000) };
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
			;
	} else if (u->next_us + BURST_US < now) {
		u->next_us = now;
		u->debt = 0;
	}
	due = (unsigned __int128)records * r->unit_us + u->debt;
	u->next_us += (__u64)(due / r->count);
	u->debt = (__u64)(due % r->count);
}

/* What has come back within so many ms. sendmmsg(2) passes over an error that is not about
 * its first message, but the socket's queue of errors keeps it. */
static int errors_wait(const struct udp *u, int ms)
{
	struct pollfd p = { .fd = u->sink.fd };
	socklen_t len = sizeof(int);
	int n, pending = 0;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	if (n > 0 && getsockopt(u->sink.fd, SOL_SOCKET, SO_ERROR, &pending, &len))
		pending = errno;
	return n > 0 ? udp_fail(u, -pending) : 0;
}

static int send_batch(struct udp *u, const struct ipfix_batch *b)
{
	int err;

	if (u->has_segments && b->messages > 1 && b->equal_size) {
		err = send_segments(u, b);
		/* a device without checksums, an IPsec route, an old kernel */
		if (err != -EINVAL && err != -EIO && err != -EOPNOTSUPP)
			return err;
		u->has_segments = false;
	}
	return send_each(u, b);
}

static int udp_send(struct sink *s, const struct ipfix_batch *b)
{
	struct udp *u = (struct udp *)s;
	int err;

	pace(u, b->records);
	err = send_batch(u, b);
	return err ? udp_fail(u, err) : errors_wait(u, 0);
}

/* 0: everything sent has left this host; packets to a host that does not answer ARP stay
 * until the kernel gives up on it. */
static int drained(const struct udp *u)
{
	struct pollfd p = { .fd = u->sink.fd };
	__u64 deadline = run_now_us() + PATIENCE_US;
	int queued, before = -1, wait_ms = 1;

	for (;;) {
		if (ioctl(u->sink.fd, SIOCOUTQ, &queued))
			return -errno;
		if (!queued)
			return 0;
		if (before >= 0 && queued < before)
			deadline = run_now_us() + PATIENCE_US;
		else if (run_now_us() >= deadline)
			return -EAGAIN;
		before = queued;
		if (poll(&p, 1, wait_ms) > 0)
			return 0;
		if (wait_ms < 16)
			wait_ms *= 2;
	}
}

static int udp_settle(struct sink *s)
{
	const struct udp *u = (const struct udp *)s;
	int err = drained(u);

	return err ? udp_fail(u, err) : errors_wait(u, u->is_local ? 0 : ICMP_WAIT_MS);
}

const struct sink_ops sink_udp = {
	.size = sizeof(struct udp),
	.open = udp_open,
	.send = udp_send,
	.settle = udp_settle,
};
