/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWPAIR_H
#define L3AF_FLOWPAIR_H

/* Which two flows are the directions of one: for biflows (RFC 5103). */
#include "flowtable.h"

#define FLOW_NO_SLOT 0xffffffffU

/* What went the other way at the same interface. */
bool flow_is_reverse(const struct flowtable *t, const struct flow_key *a, const struct flow_key *b);

/* The first of two directions is the initiator's: its first packet came first. Within a
 * tick of the clock, which an answer often takes no longer than, the ports tell: a server's
 * is the lower one. Stays the same as long as both flows do. */
bool flow_is_initiator(const struct flow_rec *a, const struct flow_rec *b);

struct flow_pairs;
/* For at most so many slots. NULL: no memory. */
struct flow_pairs *flow_pairs_new(const struct flowtable *t, __u32 most);
void flow_pairs_free(struct flow_pairs *p);
static inline void cleanup_flow_pairs(struct flow_pairs **p) { if (*p) flow_pairs_free(*p); }
#define auto_flow_pairs __attribute__((cleanup(cleanup_flow_pairs)))

/* The other direction of a slot's flow, if that was put before, and is forgotten then;
 * else FLOW_NO_SLOT, and this one waits for the other. Each slot is put once. */
__u32 flow_pairs_put(struct flow_pairs *p, __u32 slot);
/* A slot that still waits, and is forgotten then; FLOW_NO_SLOT: none. */
__u32 flow_pairs_rest(struct flow_pairs *p);

#endif
