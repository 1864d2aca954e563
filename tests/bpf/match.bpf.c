// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The matcher alone: each run of a program looks the next key up and keeps the answer. */
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

SEC("tc")
int match(struct __sk_buff *skb)
{
	__u32 zero = 0, i;
	const struct match_set *s = bpf_map_lookup_elem(&set, &zero);
	struct match_keys *k = bpf_map_lookup_elem(&keys, &zero);

	if (!s || !k)
		return -1;
	i = k->next++ & (MATCH_KEYS - 1);
	match_hide(i);
	i &= MATCH_KEYS - 1;
	k->answer[i] = match_first(s, &k->key[i]);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
