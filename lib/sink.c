/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sinkops.h"

static const struct sink_ops *const kinds[] = {
	[SINK_UDP] = &sink_udp,
	[SINK_TCP] = &sink_tcp,
	[SINK_FILE] = &sink_file,
};

int sink_open(const struct sink_target *target, struct flow_collector *c, bool is_trial, struct sink **s)
{
	const struct sink_ops *ops = kinds[target->kind];
	struct sink *new = calloc(1, ops->size);
	int err;

	if (!new)
		return fail_errno(-ENOMEM, "cannot export");
	new->ops = ops;
	new->target = target;
	new->c = c;
	new->is_trial = is_trial;
	new->fd = -1;
	err = ops->open(new);
	if (err)
		sink_close(new);
	else
		*s = new;
	return err;
}

void sink_close(struct sink *s)
{
	if (s->ops->close)
		s->ops->close(s);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

__u32 sink_message_most(const struct sink *s)
{
	return s->message_most;
}

__u32 sink_batch_messages(const struct sink *s)
{
	return s->batch_messages;
}

int sink_send(struct sink *s, const struct ipfix_batch *b)
{
	return s->is_trial ? 0 : s->ops->send(s, b);
}

int sink_settle(struct sink *s)
{
	return s->is_trial || !s->ops->settle ? 0 : s->ops->settle(s);
}

void sink_commit(struct sink *s)
{
	if (!s->is_trial && s->ops->commit)
		s->ops->commit(s);
}

int sink_finish(struct sink *s)
{
	return s->is_trial || !s->ops->finish ? 0 : s->ops->finish(s);
}

socklen_t sink_address(const struct endpoint *at, struct sockaddr_storage *a)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;

	*a = (struct sockaddr_storage){ 0 };
	if (addr_is_v4(&at->addr)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(at->port);
		memcpy(&v4->sin_addr, at->addr.b + 12, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(at->port);
	memcpy(&v6->sin6_addr, at->addr.b, 16);
	v6->sin6_scope_id = at->scope;
	return sizeof(*v6);
}

static const struct {
	int err;
	const char *text;
} meanings[] = {
	{ EHOSTUNREACH, "the host is unreachable" },
	{ ENETUNREACH, "there is no route to it" },
	{ EACCES, "a route or a broadcast address forbids it" },
	{ EPERM, "this host's packet filter forbids it" },
	{ EADDRNOTAVAIL, "this host has no address to send from" },
	{ ENOBUFS, "this host's queue stayed full" },
	{ EAGAIN, "this host's queue stayed full" },
};

int sink_fail(const struct sink *s, int err)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].err == -err)
			return fail(err, "%s: %s", s->target->at.text, meanings[i].text);
	return fail_errno(err, "%s", s->target->at.text);
}
