/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "run.h"
#include "sinkops.h"

#define CONNECT_MS 5000
#define PATIENCE_US 10000000 /* for the collector to read on */
#define BATCH_MESSAGES 16    /* of 65535 octets: one round trip each, and what a killed run sends twice */

static int tcp_fail(const struct sink *s, int err)
{
	if (err == -ETIMEDOUT)
		return fail(err, "%s: does not answer", s->target->at.text);
	if (err == -EPIPE || err == -ECONNRESET)
		return fail(err, "%s: the collector has closed the connection", s->target->at.text);
	return sink_fail(s, err);
}

static int stalled(const struct sink *s)
{
	return fail(-ETIMEDOUT, "%s: the collector has read nothing for %d s", s->target->at.text,
		    PATIENCE_US / 1000000);
}

static int poll_for(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

static int connect_to(const struct sink *s)
{
	struct sockaddr_storage peer;
	socklen_t len = sink_address(&s->target->at, &peer);
	int err;

	if (!connect(s->fd, (struct sockaddr *)&peer, len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	err = poll_for(s->fd, POLLOUT, CONNECT_MS);
	if (err)
		return err;
	len = sizeof(err);
	return getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) ? -errno : -err;
}

static int tcp_open(struct sink *s)
{
	const unsigned patience_ms = PATIENCE_US / 1000;
	int err = 0;

	s->message_most = IPFIX_MESSAGE_MOST;
	s->batch_messages = BATCH_MESSAGES;
	if (s->is_trial)
		return 0;
	s->fd = socket(addr_is_v4(&s->target->at.addr) ? AF_INET : AF_INET6,
		       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms)))
		err = -errno;
	if (!err)
		err = connect_to(s);
	if (err)
		return tcp_fail(s, err);
	s->c->sequence = s->c->options_sequence = 0;
	return 0;
}

static int write_all(const struct sink *s, const struct ipfix_batch *b)
{
	const __u8 *at = b->bytes, *end = at + b->size;
	int err;

	while (at < end) {
		ssize_t n = send(s->fd, at, (size_t)(end - at), MSG_NOSIGNAL);

		if (n >= 0) {
			at += n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return tcp_fail(s, -errno);
		err = poll_for(s->fd, POLLOUT, PATIENCE_US / 1000);
		if (err)
			return err == -ETIMEDOUT ? stalled(s) : tcp_fail(s, err);
	}
	return 0;
}

/* A collector says nothing; its end of the connection may come, or an error. */
static int listen_to(const struct sink *s)
{
	char buf[512];
	ssize_t n;

	while ((n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0 || (n < 0 && errno == EINTR))
		;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	return n ? 0 : -ECONNRESET;
}

/* Until its host has acknowledged everything. */
static int tcp_send(struct sink *s, const struct ipfix_batch *b)
{
	struct timespec nap = { .tv_nsec = 50000 };
	int queued, before = -1, err = write_all(s, b);
	__u64 deadline = run_now_us() + PATIENCE_US;

	while (!err) {
		if (ioctl(s->fd, SIOCOUTQ, &queued))
			return tcp_fail(s, -errno);
		err = listen_to(s);
		if (err || !queued)
			return err ? tcp_fail(s, err) : 0;
		if (before >= 0 && queued < before)
			deadline = run_now_us() + PATIENCE_US;
		else if (run_now_us() >= deadline)
			return stalled(s);
		before = queued;
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 5000000)
			nap.tv_nsec *= 2;
	}
	return err;
}

const struct sink_ops sink_tcp = {
	.size = sizeof(struct sink),
	.open = tcp_open,
	.send = tcp_send,
};
