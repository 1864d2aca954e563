/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mirror: finds a packet's filter and clones it to the filter's target. bpf/mirror.h is the
 * contract with mirrortarget and with user space. The packet itself goes on as it came. */
#include <stddef.h>
#include "mirrormaps.bpf.h"
#include "mirrorseen.bpf.h"
#include "mirrorguard.bpf.h"
#include "mirrorkern.bpf.h"

const volatile struct mirror_here here SEC(".rodata.place") = { 0 };

MIRROR_ARRAY(places, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, MIRROR_PLACES, struct mirror_place);
MIRROR_ARRAY(state, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, MIRROR_TARGETS, struct mirror_state);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MIRROR_PLACES);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct mirror_set));
	});
} sets SEC(".maps");

/* Once read: a set may be replaced by another one while a packet is looked at. */
static __always_inline struct mirror_set *set_here(void)
{
	__u32 place = here.place, zero = 0;
	void *inner = bpf_map_lookup_elem(&sets, &place);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

/*
 * How much of it is sent, and whether.
 */
static __always_inline __u32 l4_len(struct __sk_buff *skb, const struct seen *s)
{
	__u8 offset = 0;

	switch (s->key.proto) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, s->l4 + 12, &offset, 1))
			return 20;
		offset >>= 4;
		return offset < 5 ? 20 : offset * 4;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_DCCP:
		if (bpf_skb_load_bytes(skb, s->l4 + 4, &offset, 1))
			return 16;
		return offset < 3 ? 12 : offset * 4;
	default:
		return 8;
	}
}

/* Octets of the IP headers and the transport header, or as far as they are known; 0: none is. */
static __always_inline __u32 headers_of(struct __sk_buff *skb, const struct seen *s)
{
	if (!(s->key.has & (MATCH_V4 | MATCH_V6)))
		return 0;
	if (s->flags & PKT_L4)
		return s->l4 - s->l3 + l4_len(skb, s);
	if (s->flags & PKT_FRAGMENT)
		return s->l4 - s->l3;
	return s->key.has & MATCH_V4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Of what is not IP, enough to tell what it is. */
#define HEADERS_OTHER 64
static __always_inline __u32 snaplen_of(struct __sk_buff *skb, const struct mirror_filter *f, const struct seen *s,
					__u32 headers)
{
	if (f->snaplen != MIRROR_HEADERS)
		return f->snaplen;
	return headers ? (skb->vlan_present ? 4 : 0) + s->l3 + headers : HEADERS_OTHER;
}

/* Both ways of a connection are one flow, and so are all fragments of a packet. */
static __always_inline __u64 end_hash(const __u64 addr[2], __u16 port)
{
	__u64 h = (addr[0] ^ port) * 0x9e3779b97f4a7c15 + addr[1];

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93;
	return h ^ h >> 29;
}

static __always_inline __u32 flow_hash(const struct seen *s)
{
	bool has_ports = !(s->flags & PKT_FRAGMENT);
	__u64 h = end_hash(s->key.src, has_ports ? s->key.sport : 0) + end_hash(s->key.dst, has_ports ? s->key.dport : 0);

	return (h + (s->flags & PKT_FRAGMENT ? 0 : s->key.proto)) * 0xa0761d6478bd642f >> 32;
}

static __always_inline bool is_sampled_out(const struct mirror_filter *f, __u32 hash)
{
	if (likely(f->sample < 2))
		return false;
	if (f->sample_by == MIRROR_BY_PACKET)
		hash = bpf_get_prandom_u32();
	return (__u64)hash * f->sample >> 32;
}

/* What the packet will be on the wire, with all of its segments' headers. */
static __always_inline __u64 wire_octets(struct __sk_buff *skb, const struct mirror_target *t, const struct seen *s,
					 const struct mirror_job *job, __u32 octets)
{
	__u32 outer = (t->to[0] | t->to[1] ? 40 : 20) + 8 + (t->encap == MIRROR_VXLAN ? 8 + ETH_HLEN : t->variant ? 0 : 4), segs = 1;

	if (job->snaplen && job->snaplen < octets)
		return job->snaplen + outer;
	if (skb->gso_size && skb->gso_size != 0xffff && octets > s->l3 + job->headers)
		segs = (octets - s->l3 - job->headers + skb->gso_size - 1) / skb->gso_size;
	return octets + (__u64)(segs - 1) * (s->l3 + job->headers) + (__u64)segs * outer;
}

/* GCRA: what is sent has its time, and who is this far ahead of it waits. */
#define CAP_AHEAD 10000000ULL /* ns */
#define CAP_MOST 11 /* cap_ps << 11: what 2048000 octets cost, in ns; no packet has as many */
#define CAP_TRIES 8
static __always_inline bool is_capped(struct mirror_state *st, const struct mirror_target *t, __u64 octets)
{
	__u64 now = bpf_ktime_get_ns(), cost = octets * t->cap_ps / 1000, due, from;

	for (int i = 0; i < CAP_TRIES; i++) {
		due = *(volatile __u64 *)&st->due;
		/* more than any packet costs: of a cap that was lower, nothing is owed any more */
		if (due > now + CAP_AHEAD && due - now < CAP_AHEAD + (t->cap_ps << CAP_MOST))
			return true;
		from = due > now && due - now <= CAP_AHEAD ? due : now;
		if (__sync_val_compare_and_swap(&st->due, due, from + cost) == due)
			return false;
	}
	return true;
}

/*
 * The clone.
 */
enum { NO_CAUSE = MIRROR_CAUSES };

/* A queue that is full, or one that takes nothing because its interface is down: dev, as it was
 * when the target was last looked at. */
static __always_inline __u32 cause_of_refusal(const struct mirror_job *job, const struct mirror_way *w)
{
	__u32 target = job->copy;
	__u64 dev;

	barrier_var(target);
	dev = w->hop[target & (MIRROR_TARGETS - 1)].dev;
	return dev && !dev_is_up(dev) ? MIRROR_DOWN : MIRROR_QUEUE_FULL;
}

static __always_inline __u32 cause_of(const struct mirror_job *job, long ret, struct mirror_state *st,
				      struct mirror_way *w)
{
	if (!job->is_taken) {
		if (ret >= 0) {
			st->is_stray = 1;
			return MIRROR_STRAY;
		}
		return ret == -12 /* ENOMEM */ ? MIRROR_NO_MEMORY :
			ret == -22 /* EINVAL: no such interface */ || ret == -100 /* ENETDOWN */ ? MIRROR_DOWN : MIRROR_ERROR;
	}
	if (job->cause)
		return job->cause - 1;
	if (job->is_waiting)
		return MIRROR_NO_NEXT_HOP;
	if (likely(!ret))
		return NO_CAUSE;
	return ret < 0 ? MIRROR_DOWN : cause_of_refusal(job, w);
}

/* cb and tc_index are the packet's own again when this returns; so is way, where the kernel sends a packet
 * of its own (a neighbour is asked for) while a clone is on its way. */
static __always_inline long clone(struct __sk_buff *skb, struct mirror_way *w, const struct mirror_target *t,
				  struct mirror_job *job)
{
	__u32 cb0 = skb->cb[0], cb1 = skb->cb[1], index = skb->tc_index;
	struct mirror_job outer = w->job;
	long ret;

	w->count = w->count + 1 ?: 1;
	job->cookie = w->count;
	w->job = *job;
	skb->cb[0] = MIRROR_MAGIC;
	skb->cb[1] = job->cookie;
	skb->tc_index = MIRROR_INDEX;
	ret = bpf_clone_redirect(skb, t->ifindex, 0);
	skb->cb[0] = cb0;
	skb->cb[1] = cb1;
	skb->tc_index = index;
	*job = w->job;
	w->job = outer;
	return ret;
}

static __always_inline void count(struct mirror_stat *stat, __u32 cause, const struct mirror_job *job)
{
	if (cause < MIRROR_CAUSES) {
		stat->not_sent[cause]++;
		return;
	}
	stat->sent++;
	stat->sent_octets += job->octets;
	stat->cut += !!(job->flags & MIRROR_WAY_CUT);
	stat->fitted += !!(job->flags & MIRROR_WAY_FITTED);
}

/* A cause, or NO_CAUSE: it is sent. */
static __always_inline __u32 send(struct __sk_buff *skb, const struct seen *s, const struct mirror_filter *f,
				  const struct mirror_config *c, __u32 octets, struct mirror_job *job)
{
	__u32 target = f->target & (MIRROR_TARGETS - 1), headers;
	struct mirror_state *st = bpf_map_lookup_elem(&state, &target);
	struct mirror_way *w = way_get();
	struct mirror_target *t;
	long ret;

	job->copy = target + (c->which >> target & 1) * MIRROR_TARGETS;
	t = target_get(job->copy);
	if (!st || !w || !t || !(c->targets >> target & 1))
		return MIRROR_ERROR;
	if (is_looping(skb, s, c))
		return MIRROR_LOOP;
	job->hash = flow_hash(s);
	if (is_sampled_out(f, job->hash))
		return MIRROR_SAMPLED_OUT;
	if (unlikely(*(volatile __u32 *)&st->is_stray))
		return MIRROR_STRAY;
	if (t->encap == MIRROR_GUE && !(s->key.has & (MATCH_V4 | MATCH_V6)))
		return MIRROR_NOT_IP;
	if (f->snaplen || t->cap || skb->gso_size) {
		headers = headers_of(skb, s);
		job->headers = headers;
		job->proto = s->key.proto;
		job->snaplen = snaplen_of(skb, f, s, headers);
	}
	if (t->cap && is_capped(st, t, wire_octets(skb, t, s, job, octets)))
		return MIRROR_CAPPED;
	ret = clone(skb, w, t, job);
	if (unlikely(ret) && !job->cause) {
		barrier_var(target);
		w->hop[target & (MIRROR_TARGETS - 1)].is_doubted = 1;
	}
	return cause_of(job, ret, st, w);
}

/* A filter has matched. */
__noinline int filtered(struct __sk_buff *skb, struct seen *s, struct mirror_filter *f)
{
	__u32 zero = 0, octets = skb->len + (skb->vlan_present ? 4 : 0), cause;
	struct mirror_config *c = bpf_map_lookup_elem(&config, &zero);
	struct mirror_job job = { .place = here.place };
	struct mirror_stat *stat, *total;

	if (!s || !f || !c)
		return 0;
	job.stat = f->stat;
	stat = stat_get(job.place, job.stat);
	if (!stat)
		return 0;
	stat->packets++;
	stat->octets += octets;
	if (f->action != MIRROR_ACCEPT)
		return 0;
	total = sent_get(f->target);
	if (!total)
		return 0;
	total->packets++;
	total->octets += octets;
	cause = send(skb, s, f, c, octets, &job);
	count(stat, cause, &job);
	count(total, cause, &job);
	return 0;
}

/* What is not plain: as far as its linear part goes. PKT_*. */
__noinline int see_once(struct __sk_buff *skb, struct seen *s)
{
	struct pkt p;

	if (!s)
		return 0;
	pkt_parse_once(skb, &p, false);
	see(&p, (void *)(long)skb->data, (void *)(long)skb->data_end, s);
	return p.flags;
}

/* As pkt_parse_skb(), which the verifier would follow twice. */
static __always_inline void see_odd(struct __sk_buff *skb, struct seen *s)
{
	if (!(see_once(skb, s) & PKT_SHORT) || skb->len <= skb->data_end - skb->data)
		return;
	bpf_skb_pull_data(skb, skb->len < PKT_PULL ? skb->len : PKT_PULL);
	see_once(skb, s);
}

SEC("tc")
int mirror(struct __sk_buff *skb)
{
	struct mirror_set *set = set_here();
	struct seen s = { .key.direction = here.direction };
	struct pkt p;
	int rule;

	if (!set || is_mirrored(skb))
		return TC_ACT_UNSPEC;
	pkt_parse_plain(skb, &p);
	if (unlikely(p.flags & PKT_ODD))
		see_odd(skb, &s);
	else
		see(&p, (void *)(long)skb->data, (void *)(long)skb->data_end, &s);
	rule = match_first(&set->match, &s.key);
	if (rule >= 0)
		filtered(skb, &s, &set->filter[rule & (MATCH_RULES - 1)]);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
