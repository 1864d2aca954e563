// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The matcher alone, and its peers: each run of a program looks the next key up and keeps the answer. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "match.h"
#include "matchkeys.h"

struct one_set {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct match_set);
};

/* As the mirror has it. */
struct one_set set SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct match_keys);
} keys SEC(".maps");


struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct match_plains);
} plains SEC(".maps");

/* The same rules, one in each element. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MATCH_RULES);
	__type(key, __u32);
	__type(value, struct match_plain);
} elements SEC(".maps");

static __always_inline struct match_key *key_next(__s32 **answer)
{
	__u32 zero = 0, i;
	struct match_keys *k = bpf_map_lookup_elem(&keys, &zero);

	if (!k)
		return NULL;
	i = k->next++;
	match_hide(i);
	i &= MATCH_KEYS - 1;
	*answer = &k->answer[i];
	return &k->key[i];
}

SEC("tc")
int match(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct match_set *s = bpf_map_lookup_elem(&set, &zero);
	__s32 *answer;
	const struct match_key *key = key_next(&answer);

	if (!s || !key)
		return -1;
	*answer = match_first(s, key);
	return 0;
}

/* The peers' cost begins behind this one's, as the matcher's does. */
SEC("tc")
int nothing(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct match_set *s = bpf_map_lookup_elem(&set, &zero);
	__s32 *answer;
	const struct match_key *key = key_next(&answer);

	if (!s || !key)
		return -1;
	*answer = s->rules + key->has;
	return 0;
}

/* 0: the port is in the range. */
static __always_inline __u32 port_outside(const __u16 range[2], __u16 port)
{
	return ((__u32)port - range[0] | (__u32)range[1] - port) >> 31;
}

/* Few branches: of many, for each rule, there are too many to follow. */
static __always_inline bool plain_matches(const struct match_plain *r, const struct match_key *k)
{
	__u64 differs;

	if ((k->dst[1] ^ r->dst[1]) & r->dst_mask[1])
		return false;
	differs = ((k->src[1] ^ r->src[1]) & r->src_mask[1]) | ((k->dst[0] ^ r->dst[0]) & r->dst_mask[0]) |
		  ((k->src[0] ^ r->src[0]) & r->src_mask[0]) | port_outside(r->sport, k->sport) |
		  port_outside(r->dport, k->dport) | ((k->proto ^ r->proto) & r->proto_mask) |
		  ((k->flags ^ r->flags) & r->flags_mask) | (~k->has & r->has) | (~r->directions >> (k->direction & 1) & 1);
	return !differs;
}

SEC("tc")
int linear(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct match_plains *p = bpf_map_lookup_elem(&plains, &zero);
	__s32 *answer;
	const struct match_key *key = key_next(&answer);

	if (!p || !key)
		return -1;
	*answer = -1;
	for (__u32 i = 0; i < MATCH_RULES; i++) {
		if (i >= p->n)
			break;
		if (plain_matches(&p->rule[i], key)) {
			*answer = i;
			break;
		}
	}
	return 0;
}

struct looking {
	const struct match_key *key;
	__s32 answer;
	__u32 reserved;
};

static long look(__u32 i, struct looking *l)
{
	const struct match_plain *r = bpf_map_lookup_elem(&elements, &i);

	if (!r || !plain_matches(r, l->key))
		return 0;
	l->answer = i;
	return 1;
}

SEC("tc")
int lookups(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct match_plains *p = bpf_map_lookup_elem(&plains, &zero);
	struct looking l = { .answer = -1 };
	__s32 *answer;

	l.key = key_next(&answer);
	if (!p || !l.key)
		return -1;
	bpf_loop(p->n, look, &l, 0);
	*answer = l.answer;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
