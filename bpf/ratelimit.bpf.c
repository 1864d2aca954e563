/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ratelimit: at most so many new TCP connections per time, by a sliding window. */
#include "syn.h"

#define CAS_TRIES 32

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMIT_RULES);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LIMIT_KEYS);
	__type(key, struct limit_key);
	__type(value, __u64);
} keyed SEC(".maps");

static __always_inline __u64 *word_of(const struct syn *s, const struct limit_rule *rule, __u32 slot)
{
	struct limit_key key;
	__u64 empty = 0;

	if (rule->per == LIMIT_PER_INTERFACE)
		return bpf_map_lookup_elem(&shared, &slot);
	key_make(rule, s->src, s->dst, s->dport, &key);
	return value_make(&keyed, &key, &empty);
}

/* Count the SYN; 0 if there is no room for it. */
__noinline int rate_take(struct syn *s, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_stat *stat;
	__u64 *word;

	if (!s || !(rule = rule_at(s->bank, slot)) || !(word = word_of(s, rule, slot)))
		return 0;
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 old = *(volatile __u64 *)word;
		__u64 new = window_take(old, s->now_ns / 1000, rule->window_us, rule->threshold);

		if (!new)
			return 0;
		if (__sync_val_compare_and_swap(word, old, new) != old)
			continue;
		if ((stat = stat_of(rule)))
			stat->accepted++;
		s->taken |= 1ULL << (slot & 63);
		return 1;
	}
	return 0;
}

__noinline int rate_untake(struct syn *s, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_stat *stat;
	__u64 *word;

	if (!s || !(rule = rule_at(s->bank, slot)) || !(word = word_of(s, rule, slot)))
		return 0;
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 old = *(volatile __u64 *)word;
		__u64 new = window_untake(old, s->now_ns / 1000, rule->window_us);

		if (__sync_val_compare_and_swap(word, old, new) == old)
			break;
	}
	if ((stat = stat_of(rule)))
		stat->accepted--;
	return 0;
}

SEC("xdp.frags")
int ratelimit(struct xdp_md *ctx)
{
	struct syn s = { 0 };
	__u32 refused = LIMIT_RULES;

	if (!syn_parse(ctx, &s) || !syn_match(&s))
		return XDP_PASS;
	for (__u32 i = 0; i < 2 * LIMIT_RULES; i++) {
		__u32 slot = i % LIMIT_RULES;
		__u64 left = (i < LIMIT_RULES ? s.by_source : s.matched & ~s.by_source) >> slot;

		if (!left)
			i |= LIMIT_RULES - 1;
		else if (left & 1 && (s.opaque || !rate_take(&s, slot))) {
			refused = slot;
			break;
		}
	}
	if (refused == LIMIT_RULES)
		return XDP_PASS;
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		if (!(s.taken >> slot))
			break;
		if (s.taken >> slot & 1)
			rate_untake(&s, slot);
	}
	return syn_refuse(ctx, &s, refused);
}

char _license[] SEC("license") = "Dual BSD/GPL";
