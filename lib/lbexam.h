/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBEXAM_H
#define L3AF_LBEXAM_H

/* What the parts of lb doctor share: lib/lbdoctor.c looks, lib/lbdoctorask.c asks. */
#include <string.h>
#include "lbdoctor.h"
#include "lbview.h"

#define OVERHEAD4 28 /* outer IP and UDP headers */
#define OVERHEAD6 48

/* An interface with a load balancer, in this network namespace. */
struct site {
	struct lb_place place;
	struct iface iface;
	char dev[48];
	bool is_on;
	enum xdp_mode mode;
	struct addr source4, source6; /* unspecified: none */
};

struct doctor {
	const struct run *run;
	const char *instance;
	struct site site[LB_PLACES];
	int sites;
	struct lb_view view;
	__u64 flows, flows_max, vips, vips_max, backends, backends_max;
	bool has_instance, is_interrupted;
	void (*fn)(const struct lb_finding *f, void *arg);
	void *arg;
	int bad;
};

/* Tell of something. mend may be NULL; the instance is added to it. */
__attribute__((format(printf, 6, 7)))
void lb_found(struct doctor *d, enum lb_grade grade, const char *check, const char *where, const char *mend,
	      const char *fmt, ...);

/* Of each backend: its next hop, its agent, its health. Prints its errors. */
must_use int lb_doctor_ask(struct doctor *d);

static inline bool is_any(const struct addr *a)
{
	static const struct addr none;

	return !memcmp(a, &none, sizeof(none));
}

static inline const struct addr *source_of(const struct site *s, const struct addr *family)
{
	return addr_is_v4(family) ? &s->source4 : &s->source6;
}

/* Is its gateway given? */
static inline bool is_fixed(const struct site *s)
{
	static const __u8 none[6];

	return memcmp(s->place.gateway, none, sizeof(none));
}

#endif
