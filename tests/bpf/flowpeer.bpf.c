// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What `make bench` measures flows against: counts in the value of a hash map, by atomic
 * adds. It knows no fragments, no GSO, no TTLs, no intervals and no per-CPU truth, and what
 * it deletes it may lose. */
#include <linux/bpf.h>
#include "flow.h"
#include "pkt.h"

struct peer_counts {
	__u64 packets, octets, last, flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 << 20);
	__type(key, struct flow_key);
	__type(value, struct peer_counts);
} counts SEC(".maps");

SEC("tc")
int peer(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct peer_counts *c, first = { 1, skb->len, bpf_jiffies64(), 0 };
	struct flow_key key = { 0 };
	struct pkt p;

	pkt_parse(data, end, &p);
	if (!(p.flags & PKT_L4) || p.l4 + 14 > end)
		return -1;
	pkt_addrs(&p, key.src, key.dst);
	key.sport = ((__u16 *)p.l4)[0];
	key.dport = ((__u16 *)p.l4)[1];
	key.proto = p.proto;
	c = bpf_map_lookup_elem(&counts, &key);
	if (!c) {
		bpf_map_update_elem(&counts, &key, &first, BPF_NOEXIST);
		return -1;
	}
	__sync_fetch_and_add(&c->packets, 1);
	__sync_fetch_and_add(&c->octets, skb->len);
	c->last = first.last;
	c->flags |= ((__u8 *)p.l4)[13];
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
