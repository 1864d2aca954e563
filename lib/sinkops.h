/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_SINKOPS_H
#define L3AF_SINKOPS_H

/* What the kinds of sink.h have to do; for lib/sink*.c only. */
#include <stddef.h>
#include <sys/socket.h>
#include "sink.h"

struct sink_ops {
	size_t size; /* of the kind's struct, which begins with struct sink */
	int (*open)(struct sink *s);
	int (*send)(struct sink *s, const struct ipfix_batch *b);
	int (*settle)(struct sink *s);
	void (*commit)(struct sink *s);
	int (*finish)(struct sink *s);
	void (*close)(struct sink *s);
};
extern const struct sink_ops sink_udp, sink_tcp, sink_file;

struct sink {
	const struct sink_ops *ops;
	const struct sink_target *target;
	struct flow_collector *c;
	bool is_trial;
	int fd;
	__u32 message_most, batch_messages; /* set by open */
};

/* The address of an endpoint. */
socklen_t sink_address(const struct endpoint *at, struct sockaddr_storage *a);
/* "10.0.0.1:4739/udp: " and what err means to somebody who sends there. */
int sink_fail(const struct sink *s, int err);

#endif
