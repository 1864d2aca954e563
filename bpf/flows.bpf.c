/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flows: counts every packet to its flow. bpf/flow.h is the contract with user space. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "flow.h"
#include "pkt.h"

#define POP_TRIES 64
#define MAKE_TRIES 4
#define TTL_TRIES 8

enum { IPPROTO_UDPLITE_ = 136 };

const volatile struct flow_here here SEC(".rodata.place") = { 0 };

/* Sizes marked 1 are set when an instance is made. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, __u32);
} keys SEC(".maps");

/* mmapable: so that a set is a cache line */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_hints);
} hints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_rec);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_ends);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_PLACES);
	__type(key, __u32);
	__type(value, struct flow_place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOW_PLACES);
	__type(key, __u32);
	__type(value, struct flow_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct flow_frag);
	__type(value, struct flow_frag_ports);
} frags SEC(".maps");

/* A slot that was popped for a flow that another processor then made: for the next one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} spare SEC(".maps");

/* A packet, as it is counted. Global functions get it: the verifier checks them once,
 * not once for each way that leads there. */
struct seen {
	struct flow_key key;
	__u32 flags;
	__u64 hash;
	__u64 now;
	__u32 packets, octets;
	__u32 in_ifindex;
	__u16 ttl, tos;
};
_Static_assert(sizeof(struct seen) == 80, "no padding: the verifier wants all of it initialised");

/*
 * How much it is.
 */
static __always_inline bool is_jumbo(const struct pkt *p)
{
	const struct ipv6hdr *ip = p->l3;

	return p->flags & PKT_V6 && !ip->payload_len && ip->nexthdr == IPPROTO_HOPOPTS;
}

/* What the IP header says; at most what is there. */
static __always_inline __u32 ip_octets(const struct pkt *p, __u32 there)
{
	__u32 said;

	if (p->flags & PKT_V4)
		said = bpf_ntohs(((struct iphdr *)p->l3)->tot_len);
	else
		said = is_jumbo(p) ? there : sizeof(struct ipv6hdr) + bpf_ntohs(((struct ipv6hdr *)p->l3)->payload_len);
	return said < there ? said : there;
}

static __always_inline __u32 l4_octets(const struct pkt *p, void *end)
{
	if (p->proto == IPPROTO_TCP)
		return p->l4 + 14 <= end ? (((__u8 *)p->l4)[12] >> 4) * 4 : 0;
	return p->proto == IPPROTO_SCTP ? 12 : 8;
}

/* A GSO packet as the segments it will be, or was: each has the headers. What the kernel
 * has reckoned itself knows of those behind tunnels, too; on egress only: on
 * ingress it leaves the Ethernet header out of each. A jumbogram's option is only there as
 * long as it is one. */
static __always_inline void measure_gso(struct __sk_buff *skb, const struct pkt *p, void *end, __u32 l2,
					struct seen *s)
{
	__u32 len = skb->len - l2, headers = 0, segs = skb->gso_segs;
	__u32 wire = here.direction == FLOW_EGRESS ? skb->wire_len : 0;

	if (p->flags & PKT_L4)
		headers = p->l4 - p->l3 + l4_octets(p, end);
	if (!segs && skb->gso_size != 0xffff && len > headers)
		segs = (len - headers + skb->gso_size - 1) / skb->gso_size;
	if (!segs)
		segs = 1;
	s->packets = segs;
	s->octets = wire > skb->len ? wire - segs * l2 : len + (segs - 1) * headers;
	if (is_jumbo(p))
		s->octets -= segs * 8;
}

/*
 * Whose it is.
 */
static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE_;
}

/* octets: of the packet; what follows is padding. */
static __always_inline void read_l4(const struct pkt *p, void *end, __u32 octets, struct seen *s)
{
	__u32 at = p->l4 - p->l3;
	__u8 *l4 = p->l4;

	if (has_ports(p->proto)) {
		if (l4 + 4 > (__u8 *)end || at + 4 > octets)
			return;
		s->key.sport = bpf_ntohs(((__be16 *)l4)[0]);
		s->key.dport = bpf_ntohs(((__be16 *)l4)[1]);
		if (p->proto == IPPROTO_TCP && l4 + 14 <= (__u8 *)end && at + 14 <= octets)
			s->flags = (l4[12] & 1) << 8 | l4[13];
	} else if (p->proto == (p->flags & PKT_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if (l4 + 2 > (__u8 *)end || at + 2 > octets)
			return;
		s->key.sport = l4[0];
		s->key.dport = l4[1];
	}
}

/* The first fragment leaves its ports to those that follow. */
__noinline int join_fragments(struct seen *s, __u32 id, __u32 is_first)
{
	struct flow_frag_ports ports = { 0 }, *first;
	struct flow_frag frag = { .id = id };

	if (!s)
		return 0;
	__builtin_memcpy(frag.src, s->key.src, sizeof(frag.src));
	__builtin_memcpy(frag.dst, s->key.dst, sizeof(frag.dst));
	frag.vlan[0] = s->key.vlan[0];
	frag.vlan[1] = s->key.vlan[1];
	frag.place = s->key.place;
	frag.proto = s->key.family == 4 ? s->key.proto : 0;
	frag.family = s->key.family;
	if (is_first) {
		ports.sport = s->key.sport;
		ports.dport = s->key.dport;
		ports.proto = s->key.proto;
		bpf_map_update_elem(&frags, &frag, &ports, BPF_ANY);
	} else if ((first = bpf_map_lookup_elem(&frags, &frag))) {
		s->key.sport = first->sport;
		s->key.dport = first->dport;
		s->key.proto = first->proto;
	}
	return 0;
}

static __always_inline void read_key(const struct pkt *p, struct seen *s)
{
	pkt_addrs(p, s->key.src, s->key.dst);
	s->key.sport = s->key.dport = 0;
	s->key.vlan[0] = p->vlans ? FLOW_TAGGED | (p->vlan[0] & 0xfff) : 0;
	s->key.vlan[1] = p->vlans > 1 ? FLOW_TAGGED | (p->vlan[1] & 0xfff) : 0;
	s->key.place = here.place;
	s->key.proto = p->proto;
	s->flags = 0;
	if (p->flags & PKT_V4) {
		const struct iphdr *ip = p->l3;

		s->key.family = 4;
		s->ttl = ip->ttl;
		s->tos = ip->tos;
	} else {
		const struct ipv6hdr *ip = p->l3;

		s->key.family = 6;
		s->ttl = ip->hop_limit;
		s->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	}
}

/* Each 32-bit word has a part in all of the upper bits, which are those that are used. */
#define KEY_WORDS 11
static __always_inline __u64 key_hash(const struct flow_key *key)
{
	static const __u64 odd[KEY_WORDS] = {
		0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0xff51afd7ed558ccd, 0xd6e8feb86659fd93,
		0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
		0x1d8e4e27c47d124f, 0xeb44accab455d165, 0x2127599bf4325c37,
	};
	const __u32 *w = (const __u32 *)key;
	__u64 hash = 0;

	for (int i = 0; i < KEY_WORDS; i++)
		hash += w[i] * odd[i];
	return hash;
}

static __always_inline bool key_is(const struct flow_key *a, const struct flow_key *b)
{
	const __u64 *v = (const __u64 *)a, *w = (const __u64 *)b;
	__u64 differ = ((__u32 *)v)[KEY_WORDS - 1] ^ ((__u32 *)w)[KEY_WORDS - 1];

	for (int i = 0; i < KEY_WORDS / 2; i++)
		differ |= v[i] ^ w[i];
	return !differ;
}

/*
 * Counting.
 */
static __noinline void begin_intervals(struct flow_rec *rec, __u32 now)
{
	__u32 fresh = __sync_lock_test_and_set(&rec->fresh, 0);

	for (int c = 0; c < FLOW_COLLECTORS; c++)
		if (fresh >> c & 1)
			rec->begin[c] = now;
}

static __noinline void widen_ttl(struct flow_rec *rec, __u32 ttl)
{
	__u32 old;

	for (int i = 0; i < TTL_TRIES; i++) {
		old = *(volatile __u32 *)&rec->ttl_min;
		if (ttl >= old || __sync_val_compare_and_swap(&rec->ttl_min, old, ttl) == old)
			break;
	}
	for (int i = 0; i < TTL_TRIES; i++) {
		old = *(volatile __u32 *)&rec->ttl_max;
		if (ttl <= old || __sync_val_compare_and_swap(&rec->ttl_max, old, ttl) == old)
			break;
	}
}

/* An interval begins before its first packet is counted; one whose collector was just
 * reading does after it. Octets first: a record that is read in between lacks none of
 * its packets' octets. */
static __always_inline void rec_count(struct flow_rec *rec, const struct seen *s)
{
	if (__builtin_expect(*(volatile __u32 *)&rec->fresh, 0))
		begin_intervals(rec, s->now);
	if (rec->last != s->now)
		*(volatile __u64 *)&rec->last = s->now;
	if (s->flags & ~rec->flags)
		__sync_fetch_and_or(&rec->flags, s->flags);
	if (__builtin_expect(s->ttl < rec->ttl_min || s->ttl > rec->ttl_max, 0))
		widen_ttl(rec, s->ttl);
	__sync_fetch_and_add(&rec->octets, s->octets);
	__sync_fetch_and_add(&rec->packets, s->packets);
	if (__builtin_expect(*(volatile __u32 *)&rec->fresh, 0))
		begin_intervals(rec, s->now);
}

static __always_inline struct flow_hints *hints_of(__u64 hash)
{
	__u32 set = hash >> here.hints_shift;

	return bpf_map_lookup_elem(&hints, &set);
}

static __always_inline __u32 hint_tag(__u64 hash)
{
	return hash >> 16;
}

/* Once it was seen LIVE, a record stays this flow's for as long as this program runs:
 * that comes first. */
static __always_inline struct flow_rec *rec_hinted(const struct seen *s)
{
	struct flow_hints *set = hints_of(s->hash);
	struct flow_rec *rec;
	__u32 slot, life;
	__u64 cell = 0;

	if (!set)
		return NULL;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_HINTS; i++) {
		cell = *(volatile __u64 *)&set->cell[((s->hash >> 32) + i) & (FLOW_HINTS - 1)];
		if (cell >> 32 == hint_tag(s->hash))
			break;
	}
	slot = cell;
	rec = bpf_map_lookup_elem(&records, &slot);
	if (!rec)
		return NULL;
	life = *(volatile __u32 *)&rec->life;
	if (FLOW_STATE(life) != FLOW_LIVE)
		return NULL;
	/* an address that depends on life is not read before it, on any processor */
	asm volatile("%0 &= 0" : "+r"(life));
	return key_is((void *)&rec->key + life, &s->key) ? rec : NULL;
}

/* In the first cell that is free or was its own, or in the place of any. */
static __always_inline void hint_leave(const struct seen *s, __u32 slot)
{
	struct flow_hints *set = hints_of(s->hash);
	__u32 at = s->hash ^ s->now;

	if (!set)
		return;
	for (__u32 i = 0; i < FLOW_HINTS; i++) {
		__u32 k = ((s->hash >> 32) + i) & (FLOW_HINTS - 1);
		__u64 cell = *(volatile __u64 *)&set->cell[k];

		if (!cell || cell >> 32 == hint_tag(s->hash)) {
			at = k;
			break;
		}
	}
	*(volatile __u64 *)&set->cell[at & (FLOW_HINTS - 1)] = (__u64)hint_tag(s->hash) << 32 | slot;
}

/* An element of keys may have been given to another key just now: the record knows. */
static __always_inline struct flow_rec *rec_find(const struct flow_key *key, __u32 *slot)
{
	__u32 *in = bpf_map_lookup_elem(&keys, key);
	struct flow_rec *rec;

	if (!in)
		return NULL;
	*slot = *(volatile __u32 *)in;
	rec = bpf_map_lookup_elem(&records, slot);
	return rec && key_is(&rec->key, key) ? rec : NULL;
}

static __always_inline __u64 *spare_word(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&spare, &zero);
}

/* A free slot, or a cause of enum flow_ignored as a negative number. */
enum { MADE = 0, AGAIN = 1 };
static __always_inline int slot_pop(__u32 *slot)
{
	__u64 *in = spare_word(), kept = in && *(volatile __u64 *)in ? __sync_lock_test_and_set(in, 0) : 0;
	__u32 zero = 0, at;
	struct flow_ends *e = bpf_map_lookup_elem(&ends, &zero);
	struct flow_config *c = bpf_map_lookup_elem(&config, &zero);

	if (!e || !c)
		return -1 - FLOW_IGNORED_ERROR;
	if (kept) {
		*slot = kept - 1;
		return MADE;
	}
	for (int i = 0; i < POP_TRIES; i++) {
		__u64 head = *(volatile __u64 *)&e->head;

		if (head == __sync_fetch_and_add(&e->tail, 0))
			return -1 - FLOW_IGNORED_FULL;
		at = head & c->mask;
		in = bpf_map_lookup_elem(&ring, &at);
		if (!in)
			break;
		*slot = *(volatile __u64 *)in;
		if (__sync_val_compare_and_swap(&e->head, head, head + 1) == head)
			return MADE;
	}
	return -1 - FLOW_IGNORED_ERROR;
}

/* It is still NEW, nobody else's. Where there is a spare one already user space takes it. */
static __always_inline void slot_spare(struct flow_rec *rec, __u32 slot, __u32 generation)
{
	__u64 *in = spare_word();

	if (!in || __sync_val_compare_and_swap(in, 0, slot + 1ULL))
		__sync_lock_test_and_set(&rec->life, FLOW_LIFE(generation, FLOW_REASON_NONE, FLOW_ORPHAN));
}

static __always_inline void rec_init(struct flow_rec *rec, const struct seen *s, __u32 generation)
{
	rec->packets = s->packets;
	rec->octets = s->octets;
	rec->first = rec->last = s->now;
	rec->fresh = 0;
	rec->flags = s->flags;
	rec->ttl_min = rec->ttl_max = s->ttl;
	rec->in_ifindex = s->in_ifindex;
	rec->tos = s->tos;
	rec->key = s->key;
	__builtin_memset(rec->begin, 0, sizeof(rec->begin));
	*(volatile __u32 *)&rec->life = FLOW_LIFE(generation, FLOW_REASON_NONE, FLOW_NEW);
}

/* A flow with its first packet counted: MADE; AGAIN: it is there by now. */
static __always_inline int rec_make(const struct seen *s, const struct flow_key *key, __u32 *slot)
{
	__u32 generation;
	struct flow_rec *rec;
	int err = slot_pop(slot);

	if (err)
		return err;
	rec = bpf_map_lookup_elem(&records, slot);
	if (!rec)
		return -1 - FLOW_IGNORED_ERROR;
	generation = (rec->life >> 16) + 1;
	if (generation > 0xffff)
		generation = 1;
	rec_init(rec, s, generation);
	err = bpf_map_update_elem(&keys, key, slot, BPF_NOEXIST);
	if (!err) {
		__sync_lock_test_and_set(&rec->life, FLOW_LIFE(generation, FLOW_REASON_NONE, FLOW_LIVE));
		return MADE;
	}
	slot_spare(rec, *slot, generation);
	return err == -17 /* EEXIST */ ? AGAIN : -1 - FLOW_IGNORED_ERROR;
}

/* Without a hint. 0: counted, 1: to a new flow; else -1 - cause. */
__noinline int count_found(struct seen *s)
{
	struct flow_key key; /* on the stack: 6.1 takes keys from nowhere else */
	struct flow_rec *rec;
	__u32 slot = 0;
	int ret;

	if (!s)
		return -1 - FLOW_IGNORED_ERROR;
	key = s->key;
	for (int i = 0; i < MAKE_TRIES; i++) {
		rec = rec_find(&key, &slot);
		if (rec) {
			rec_count(rec, s);
			hint_leave(s, slot);
			return 0;
		}
		ret = rec_make(s, &key, &slot);
		if (ret == MADE)
			hint_leave(s, slot);
		if (ret != AGAIN)
			return ret == MADE ? 1 : ret;
	}
	return -1 - FLOW_IGNORED_ERROR;
}

static __always_inline bool is_sampled_out(struct flow_stat *stat)
{
	__u32 i = here.place;
	struct flow_place *place = bpf_map_lookup_elem(&places, &i);

	return place && __builtin_expect(place->sample > 1, 0) && ++stat->sampler % place->sample;
}

static __always_inline void ignore(struct flow_stat *stat, const struct seen *s, __u32 cause)
{
	barrier_var(cause);
	if (cause >= FLOW_IGNORED_CAUSES)
		return;
	stat->ignored[cause].packets += s->packets;
	stat->ignored[cause].octets += s->octets;
	if (cause == FLOW_IGNORED_NOT_IP || cause == FLOW_IGNORED_SAMPLED)
		return;
	stat->last_ignored = s->now;
	if (!stat->first_ignored)
		stat->first_ignored = s->now;
}

/* Whose and how much a packet is; 0, or -1 - cause. */
static __always_inline int look_at(struct __sk_buff *skb, const struct pkt *p, struct seen *s)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 l2 = p->l3 - data;

	s->packets = 1;
	s->octets = skb->len - l2;
	s->now = bpf_jiffies64();
	if (!(p->flags & (PKT_V4 | PKT_V6)))
		return -1 - (p->type == ETH_P_IP || p->type == ETH_P_IPV6 ? FLOW_IGNORED_MALFORMED : FLOW_IGNORED_NOT_IP);
	if (__builtin_expect(skb->gso_size, 0))
		measure_gso(skb, p, end, l2, s);
	else
		s->octets = ip_octets(p, s->octets);
	if (p->flags & PKT_V4 && s->octets < ((struct iphdr *)p->l3)->ihl * 4) {
		s->octets = skb->len - l2;
		return -1 - FLOW_IGNORED_MALFORMED;
	}
	read_key(p, s);
	if (p->flags & PKT_L4)
		read_l4(p, end, s->octets, s);
	if (__builtin_expect(p->flags & PKT_FRAGMENT, 0))
		join_fragments(s, p->frag_id, p->flags & PKT_L4);
	s->hash = key_hash(&s->key);
	return 0;
}

/* Where the parser came to, out of memory that the verifier does not follow: each of the
 * hundreds of ways there would be followed on from here. */
static __always_inline bool forget_ways(struct __sk_buff *skb, struct pkt *p, struct seen *s)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	*(volatile __u64 *)&s->hash = (p->l3 - data) | (__u64)p->flags << 16 | (__u64)p->proto << 24 |
				      (__u64)p->vlans << 32 | (__u64)p->type << 40;
	*(volatile __u64 *)&s->now = p->flags & PKT_L4 ? p->l4 - data : 0;
	*(volatile __u32 *)&s->in_ifindex = p->frag_id;
	*(volatile __u32 *)&s->flags = p->vlan[0] | (__u32)p->vlan[1] << 16;
	p->flags = *(volatile __u64 *)&s->hash >> 16;
	p->proto = *(volatile __u64 *)&s->hash >> 24;
	p->vlans = *(volatile __u64 *)&s->hash >> 32;
	p->type = *(volatile __u64 *)&s->hash >> 40;
	p->frag_id = *(volatile __u32 *)&s->in_ifindex;
	p->vlan[0] = *(volatile __u32 *)&s->flags;
	p->vlan[1] = *(volatile __u32 *)&s->flags >> 16;
	p->l3 = data + (*(volatile __u64 *)&s->hash & 31);
	p->l4 = data + (*(volatile __u64 *)&s->now & 4095);
	if (p->flags & PKT_V4) {
		p->flags = (p->flags & (PKT_L4 | PKT_FRAGMENT)) | PKT_V4;
		return p->l3 + sizeof(struct iphdr) <= end;
	}
	if (p->flags & PKT_V6) {
		p->flags = (p->flags & (PKT_L4 | PKT_FRAGMENT)) | PKT_V6;
		return p->l3 + sizeof(struct ipv6hdr) <= end;
	}
	p->flags = 0;
	return true;
}

__noinline int look_at_odd(struct __sk_buff *skb, struct seen *s)
{
	struct pkt p;

	if (!s)
		return -1 - FLOW_IGNORED_ERROR;
	pkt_parse_skb(skb, &p);
	if (!forget_ways(skb, &p, s))
		return -1 - FLOW_IGNORED_ERROR;
	return look_at(skb, &p, s);
}

SEC("tc")
int flows(struct __sk_buff *skb)
{
	__u32 place = here.place;
	struct flow_stat *stat = bpf_map_lookup_elem(&stats, &place);
	struct flow_rec *rec;
	struct seen s;
	struct pkt p;
	int ret;

	if (!stat)
		return TC_ACT_UNSPEC;
	pkt_parse_plain(skb, &p);
	if (__builtin_expect(p.flags & PKT_ODD, 0)) {
		s = (struct seen){ 0 };
		ret = look_at_odd(skb, &s);
	} else {
		ret = look_at(skb, &p, &s);
	}
	stat->frames++;
	stat->bytes += skb->len + (skb->vlan_present ? 4 : 0);
	stat->packets += s.packets;
	stat->octets += s.octets;
	if (!ret && is_sampled_out(stat))
		ret = -1 - FLOW_IGNORED_SAMPLED;
	if (!ret) {
		rec = rec_hinted(&s);
		if (__builtin_expect(!!rec, 1)) {
			rec_count(rec, &s);
			return TC_ACT_UNSPEC;
		}
		s.in_ifindex = here.direction == FLOW_EGRESS ? skb->ingress_ifindex : 0;
		ret = count_found(&s);
		stat->flows += ret == 1;
	}
	if (ret < 0)
		ignore(stat, &s, -1 - ret);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
