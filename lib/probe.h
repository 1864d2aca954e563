/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_PROBE_H
#define L3AF_PROBE_H

/* Does a TCP service answer? Asked by libcurl, which is loaded when it is needed, not linked. */
#include "parse.h"

enum probe_type { PROBE_TCP, PROBE_HTTP, PROBE_HTTPS };

struct probe_how {
	enum probe_type type;
	const char *path;  /* "/health" */
	const char *host;  /* what the service is called (Host:, SNI); NULL: its address */
	__u32 expect;      /* HTTP status; 0: any of 200..299 */
	__u64 timeout_us;  /* for all of it */
};

struct probe {
	struct addr to;
	__u16 port;
	__u32 mark;               /* of its packets */
	struct addr source;
	bool has_source;
	/* the answer */
	bool is_ok;
	__u64 at_ms;              /* CLOCK_REALTIME when it was there */
	__u32 took_us;
	char why[96];             /* of a failure, printable */
	int err;                  /* -errno: it could not be tried */
};

/* Many at a time. What fails here, printed, says nothing about a service: no libcurl, no
 * permission. */
must_use int probe_all(const struct probe_how *how, struct probe *probes, int n);

#endif
