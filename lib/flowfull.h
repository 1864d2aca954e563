/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWFULL_H
#define L3AF_FLOWFULL_H

#include "flowtable.h"

/* Warns where the table is full or nearly so, or flows were refused since the last run
 * for this collector, and names the collectors that closed flows wait for: t->waiting. */
void flow_warn_full(const struct flowtable *t, struct flow_collector *c);

#endif
