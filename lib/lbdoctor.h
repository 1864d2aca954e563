/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBDOCTOR_H
#define L3AF_LBDOCTOR_H

/* What makes a load balancer silently not forward: looked for, and where only a packet
 * can tell, asked by one (lbprobe.h). Changes nothing. */
#include "parse.h"
#include "run.h"

enum lb_grade { LB_OK, LB_WARN, LB_BAD };
extern const char *const lb_grade_words[]; /* "ok", "warn", "bad", NULL */

struct lb_finding {
	enum lb_grade grade;
	const char *check;  /* a word */
	char where[64];     /* interface, VIP or backend */
	char what[256];
	char mend[192];     /* a command line, or "" */
};

/* Calls fn for each finding; several things that are well are one, unless run->verbose.
 * instance NULL: the default one; vip NULL: all. *bad counts those that are LB_BAD. Prints
 * its errors. */
must_use int lb_doctor_run(const struct run *run, const char *instance, const struct vip *vip,
			   void (*fn)(const struct lb_finding *f, void *arg), void *arg, int *bad);

#endif
