/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORS_H
#define L3AF_MIRRORS_H

/*
 * Mirroring: what the verbs of l3afctl mirror do. Each of them reads what is, records the
 * difference in run->changes and, unless run->dry_run, makes it. The lock is held by the
 * caller (BPFFS_CHANGE). They print their errors.
 */
#include "chain.h"
#include "mirrortable.h"

extern const char *const mirror_encap_words[];  /* by enum mirror_encap; each list ends with NULL */
extern const char *const mirror_action_words[];
extern const char *const mirror_direction_words[]; /* by match_rule.directions - 1 */
extern const char *const mirror_sample_words[];
extern const char *const mirror_cause_words[];  /* by enum mirror_cause, as --json keys */

/* A target as it should be; what is not given stays, or gets its default. */
struct mirror_target_want {
	char name[NAME_LEN];
	struct iface dev;
	struct addr to;
	bool has_dev, has_to, has_port, has_encap, has_variant, has_vni, has_source, has_gateway, has_cap, has_checksum;
	__u16 port;
	enum mirror_encap encap;
	__u8 variant;         /* of GUE: 0, 1 */
	__u32 vni;
	struct addr source;
	bool is_gateway_auto;
	__u8 gateway[6];
	__u64 cap;            /* bits per second; 0: none */
	bool is_checksum;
};
must_use int mirror_target_add(const struct run *run, const struct bpffs *b, const struct mirror_target_want *want);
/* Refused while a filter sends to it. */
must_use int mirror_target_remove(const struct run *run, const struct bpffs *b, const char *name);

/* One filter as it should be; number 0: behind the last one, unless an equal one is there. */
struct mirror_filter_want {
	struct mirror_filter filter;  /* number, sample, ...; stat, since and target left out */
	char target[NAME_LEN];        /* "": the only one there is */
};
/* Make these n filters of an interface be so, in one step for all packets. is_all: and no
 * others (apply --prune). */
must_use int mirror_filters_set(const struct run *run, const struct bpffs *b, const struct iface *dev,
				const struct mirror_filter_want *want, int n, bool is_all);
must_use int mirror_filter_remove(const struct run *run, const struct bpffs *b, const struct iface *dev, __u32 number);
/* dev NULL: of all interfaces of this network namespace; also of one that is gone. */
must_use int mirror_filters_flush(const struct run *run, const struct bpffs *b, const char *dev);

#endif
