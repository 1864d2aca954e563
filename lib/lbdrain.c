// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Waiting for a backend's flows to end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "lbmaps.h"
#include "lbs.h"
#include "run.h"

#define NAP_NS 200000000
#define PROGRESS_AFTER_US 1000000

static int flows_of(struct lb *lb, int number, struct lb_use *use, __u32 *n)
{
	int err = lb_now(lb);

	if (err)
		return fail_errno(err, "kf/%s: the clock", lb->instance);
	lb_sweep(lb);
	lb_count(lb, use);
	*n = use[number].flows[LB_NEW] + use[number].flows[LB_ESTABLISHED] + use[number].flows[LB_CLOSING];
	return 0;
}

/* One line on a terminal, rewritten; n 0: it is over. */
static void progress(const char *addr, __u32 n, __u64 since)
{
	__u64 now = run_now_us();

	if (!isatty(STDERR_FILENO) || now - since < PROGRESS_AFTER_US)
		return;
	if (n)
		fprintf(stderr, "\r\033[K%s: %u flows left after %llu s", addr, n, (now - since) / 1000000);
	else
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

int lb_drain_wait(struct lb *lb, const struct vip *vip, const struct addr *addr, __u64 wait_us)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	auto_free struct lb_use *use = calloc(lb->config->backends, sizeof(*use));
	__u64 since = run_now_us();
	char text[64], of[VIP_LEN];
	__u32 n = 0;
	int number, err = use ? 0 : -ENOMEM;

	format_addr(addr, text, sizeof(text));
	if (err)
		return fail_errno(err, "backend %s", text);
	for (;;) {
		/* somebody else may remove it, and that is fine */
		number = lb_vip_find(lb, vip);
		number = number < 0 ? number : lb_backend_find(lb, number, addr);
		err = number < 0 ? 0 : flows_of(lb, number, use, &n);
		if (err || number < 0 || !n || run_now_us() - since >= wait_us)
			break;
		progress(text, n, since);
		nanosleep(&nap, NULL);
	}
	progress(text, 0, since);
	if (err || number < 0 || !n)
		return err;
	return fail(-EBUSY, "backend %s of vip %s: %u flows are left; it goes on draining", text,
		    format_vip(vip, of, sizeof(of)), n);
}
