/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connlimit: at most so many TCP connections open at a time.
 *
 * tcp_state counts connections as the kernel's own sockets open and close; a socket
 * remembers which rules count it, so that it is counted once and un-counted once.
 * connlimit lets a SYN in only where open connections and handshakes under way leave
 * room. tcp_seed counts what was open before a rule.
 */
#include "syn.h"
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define CAS_TRIES 32
#define ADMIT_TRIES 4

enum { AF_INET_ = 2, TCP_ESTABLISHED_ = 1, TCP_SYN_RECV_ = 3, TCP_CLOSE_ = 7, TCP_LISTEN_ = 10,
	TCP_NEW_SYN_RECV_ = 12 };
/* FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: still open */
#define STATES_OPEN (1 << TCP_ESTABLISHED_ | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMIT_RULES);
	__type(key, __u32);
	__type(value, struct limit_conn);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LIMIT_KEYS);
	__type(key, struct limit_key);
	__type(value, struct limit_conn);
} keyed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LIMIT_KEYS);
	__type(key, struct limit_tuple);
	__type(value, struct limit_halfopen);
} halfopen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct limit_sock);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limit_listening);
} listening SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} stale SEC(".maps");

static __always_inline __u32 *stale_word(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stale, &zero);
}

/* Reservations of this tick have expired without becoming connections. */
static __always_inline void stale_note(__u32 tick)
{
	__u32 *until = stale_word(), new = tick + LIMIT_STALE_TICKS;

	new += !new; /* 0 is for none */
	if (until && (!*until || (__s32)(new - *until) > 0))
		*until = new;
}

static __always_inline __u32 tick_at(__u64 now_ns)
{
	return now_ns >> LIMIT_TICK_SHIFT;
}

static __always_inline struct limit_conn *conn_of(const struct limit_rule *rule, __u32 slot,
						  const struct limit_tuple *t)
{
	static const struct limit_conn empty;
	struct limit_key key;

	if (rule->per == LIMIT_PER_INTERFACE)
		return bpf_map_lookup_elem(&shared, &slot);
	key_make(rule, t->remote, t->local, t->local_port, &key);
	return value_make(&keyed, &key, &empty);
}

/* Reservations: n more (or fewer, never below zero) in this tick. */
static __always_inline void pending_add(struct limit_conn *conn, __u32 tick, int n)
{
	__u64 *word = &conn->pending[tick % LIMIT_TICKS];

	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 old = *(volatile __u64 *)word, new;
		bool now = old >> 32 == tick;

		if (n < 0 && (!now || !(__u32)old))
			return;
		if (!now && (__u32)old)
			stale_note(old >> 32);
		new = now ? old + n : (__u64)tick << 32 | n;
		if (__sync_val_compare_and_swap(word, old, new) == old)
			return;
	}
}

/* Connections and reservations. Established is read last: tcp_state adds there before
 * it takes a reservation back, so that the sum is never too low. */
static __always_inline __u64 conn_sum(struct limit_conn *conn, __u32 tick)
{
	__u64 sum = 0;

	for (int i = 0; i < LIMIT_TICKS; i++) {
		__u64 word = *(volatile __u64 *)&conn->pending[i];

		if (tick - (__u32)(word >> 32) < LIMIT_TICKS)
			sum += (__u32)word;
		else if ((__u32)word)
			stale_note(word >> 32);
	}
	return sum + __sync_fetch_and_add(&conn->established, 0);
}

/*
 * The XDP side.
 */

/* The reservation comes first, then the look whether that is too many: of two SYNs
 * at the last free place at most one gets it. That it is none is what the tries are for. */
__noinline int conn_take(struct syn *s, struct limit_tuple *t, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;
	struct limit_stat *stat;

	if (!s || !t || !(rule = rule_at(s->bank, slot)) || !(conn = conn_of(rule, slot & 63, t)))
		return 0;
	for (int i = 0; i < ADMIT_TRIES; i++) {
		pending_add(conn, s->tick, 1);
		if (rule->state == LIMIT_COUNTS || conn_sum(conn, s->tick) <= rule->threshold) {
			if (rule->state == LIMIT_ENFORCED && !s->late && (stat = stat_of(rule)))
				stat->accepted++;
			s->taken |= 1ULL << (slot & 63);
			return 1;
		}
		pending_add(conn, s->tick, -1);
		if (conn_sum(conn, s->tick) >= rule->threshold)
			return 0;
	}
	return 0;
}

__noinline int conn_untake(struct syn *s, struct limit_tuple *t, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;
	struct limit_stat *stat;

	if (!s || !t || !(rule = rule_at(s->bank, slot)) || !(conn = conn_of(rule, slot & 63, t)))
		return 0;
	pending_add(conn, s->tick, -1);
	if (rule->state == LIMIT_ENFORCED && !s->late && (stat = stat_of(rule)))
		stat->accepted--;
	return 0;
}

/* A SYN again of a handshake that was let in: its reservations move on to this tick. */
__noinline int conn_renew(struct syn *s, struct limit_tuple *t, __u32 slot, __u32 from)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;

	if (!s || !t || !(rule = rule_at(s->bank, slot)) || !(conn = conn_of(rule, slot & 63, t)))
		return 0;
	pending_add(conn, s->tick, 1);
	pending_add(conn, from, -1);
	return 0;
}

/* 1: known and still reserved in all rules there are. */
__noinline int syn_again(struct syn *s, struct limit_tuple *t)
{
	struct limit_halfopen *half;
	struct limit_tuple key;
	__u32 from;

	if (!s || !t)
		return 0;
	key = *t; /* on the stack: 6.1 takes keys from nowhere else */
	half = bpf_map_lookup_elem(&halfopen, &key);
	if (!half)
		return 0;
	from = half->tick;
	if (s->tick - from >= LIMIT_TICKS || half->last_id != s->last_id || half->ifindex != place.ifindex)
		return 0;
	if (from == s->tick || !__sync_bool_compare_and_swap(&half->tick, from, s->tick))
		return 1;
	for (__u32 slot = 0; slot < LIMIT_RULES && s->matched >> slot; slot++)
		if (s->matched >> slot & 1)
			conn_renew(s, t, slot, from);
	return 1;
}

static __always_inline void tuple_of_syn(const struct syn *s, struct limit_tuple *t)
{
	__builtin_memcpy(t->remote, s->src, 16);
	__builtin_memcpy(t->local, s->dst, 16);
	t->remote_port = s->sport;
	t->local_port = s->dport;
	t->netns = place.netns;
}

static __always_inline void syn_remember(const struct syn *s, const struct limit_tuple *t)
{
	struct limit_halfopen half = {
		.tick = s->tick, .last_id = s->last_id, .ifindex = place.ifindex,
	};

	bpf_map_update_elem(&halfopen, t, &half, BPF_ANY);
}

/* A place under every rule that matched, or none: LIMIT_RULES, or the slot that refused. */
static __always_inline __u32 take_all(struct syn *s, struct limit_tuple *t)
{
	__u32 refused = LIMIT_RULES;

	for (__u32 i = 0; i < 2 * LIMIT_RULES; i++) {
		__u32 slot = i % LIMIT_RULES;
		__u64 left = (i < LIMIT_RULES ? s->by_source : s->matched & ~s->by_source) >> slot;

		if (!left)
			i |= LIMIT_RULES - 1;
		else if (left & 1 && (s->opaque || !conn_take(s, t, slot))) {
			refused = slot;
			break;
		}
	}
	for (__u32 slot = 0; refused < LIMIT_RULES && slot < LIMIT_RULES; slot++) {
		if (!(s->taken >> slot))
			break;
		if (s->taken >> slot & 1)
			conn_untake(s, t, slot);
	}
	return refused;
}

/* An ACK while reservations have expired: if it ends a handshake whose own has, there
 * must be room for the connection now. 0: drop it; the peer will try again. */
__noinline int ack_late(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct limit_tuple t = { 0 };
	struct syn s = { 0 };
	struct limit_halfopen *half;
	__u32 *until = stale_word(), refused;
	struct tcphdr *tcp;
	struct pkt p;

	pkt_parse(data, end, &p);
	tcp = p.l4;
	if (!until || !(p.flags & PKT_L4) || p.proto != IPPROTO_TCP || (void *)(tcp + 1) > end ||
	    !tcp->ack || tcp->syn || tcp->rst)
		return 1;
	s.now_ns = bpf_ktime_get_ns();
	s.tick = tick_at(s.now_ns);
	if ((__s32)(*until - s.tick) < 0) {
		*until = 0;
		return 1;
	}
	s.sport = bpf_ntohs(tcp->source);
	s.dport = bpf_ntohs(tcp->dest);
	pkt_addrs(&p, s.src, s.dst);
	tuple_of_syn(&s, &t);
	half = bpf_map_lookup_elem(&halfopen, &t);
	if (!half || s.tick - half->tick < LIMIT_TICKS)
		return 1;
	s.bank = bank_active();
	s.late = 1;
	if (!syn_match(&s))
		return 1;
	refused = take_all(&s, &t);
	if (refused == LIMIT_RULES)
		syn_remember(&s, &t);
	else
		syn_refuse_ack(&s, refused);
	return refused == LIMIT_RULES;
}

SEC("xdp.frags")
int connlimit(struct xdp_md *ctx)
{
	struct limit_tuple t = { 0 };
	struct syn s = { 0 };
	__u32 refused, *until;

	if (!syn_parse(ctx, &s)) {
		until = stale_word();
		return !until || !*until || ack_late(ctx) ? XDP_PASS : XDP_DROP;
	}
	s.tick = tick_at(s.now_ns);
	if (!syn_match(&s))
		return XDP_PASS;
	tuple_of_syn(&s, &t);
	if (!s.opaque && syn_again(&s, &t))
		return XDP_PASS;
	refused = take_all(&s, &t);
	if (refused < LIMIT_RULES)
		return syn_refuse(ctx, &s, refused);
	syn_remember(&s, &t);
	return XDP_PASS;
}

/*
 * The socket side.
 */
static __always_inline void addr_of_v4(__u32 to[4], __be32 addr)
{
	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = addr;
}

static __always_inline void tuple_of_sock(const struct sock_common *sk, bool netns_is_cookie,
					  struct limit_tuple *t)
{
	t->netns = netns_is_cookie ? sk->skc_net.net->net_cookie : sk->skc_net.net->ns.inum;
	t->local_port = sk->skc_num;
	t->remote_port = bpf_ntohs(sk->skc_dport);
	if (sk->skc_family == AF_INET_) {
		addr_of_v4(t->local, sk->skc_rcv_saddr);
		addr_of_v4(t->remote, sk->skc_daddr);
	} else {
		for (int i = 0; i < 4; i++) {
			t->local[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			t->remote[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
		}
	}
}

/* What is local to the host came through no interface. */
static __always_inline bool is_loopback(const __u32 addr[4])
{
	if (addr_is_v4(addr))
		return (bpf_ntohl(addr[3]) >> 24) == 127;
	return !(addr[0] | addr[1] | addr[2]) && addr[3] == bpf_htonl(1);
}

/* Who asks: tcp_state, for all rules, or tcp_seed, for those being seeded. */
enum { FOR_ALL, FOR_SEED };

static __always_inline bool slot_counts(const struct limit_rule *rule, const struct limit_tuple *t, int why)
{
	return rule_covers(rule, t->netns, t->local, t->local_port) &&
	       (why == FOR_ALL || rule->state == LIMIT_COUNTS);
}

__noinline int conn_open(struct limit_tuple *t, __u32 bank, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;

	if (t && (rule = rule_at(bank, slot)) && (conn = conn_of(rule, slot & 63, t)))
		__sync_fetch_and_add(&conn->established, 1);
	return 0;
}

__noinline int conn_close(struct limit_tuple *t, __u32 bank, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;

	if (!t || !(rule = rule_at(bank, slot)) || !(conn = conn_of(rule, slot & 63, t)))
		return 0;
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 old = *(volatile __u64 *)&conn->established;

		if (!old || __sync_bool_compare_and_swap(&conn->established, old, old - 1))
			break;
	}
	return 0;
}

/* n reservations more or fewer. */
__noinline int conn_reserve(struct limit_tuple *t, __u32 bank, __u32 slot, __u32 tick, int n)
{
	const struct limit_rule *rule;
	struct limit_conn *conn;

	if (t && (rule = rule_at(bank, slot)) && (conn = conn_of(rule, slot & 63, t)))
		pending_add(conn, tick, n);
	return 0;
}

static __always_inline void tuple_count(const struct limit_table *table, __u32 bank, struct limit_tuple *t,
					struct limit_sock *known, int why)
{
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		const struct limit_rule *rule = &table->rule[slot];

		if (slot >= table->slots)
			break;
		if (!slot_counts(rule, t, why) || known->id[slot] == rule->id)
			continue;
		known->id[slot] = rule->id;
		conn_open(t, bank, slot);
	}
}

static __always_inline bool tuple_matters(const struct limit_table *table, const struct limit_tuple *t, int why)
{
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		if (slot >= table->slots)
			break;
		if (slot_counts(&table->rule[slot], t, why))
			return true;
	}
	return false;
}

/* The handshake is over: its reservations are given back. */
static __always_inline void tuple_release(const struct limit_table *table, __u32 bank, struct limit_tuple *t)
{
	struct limit_halfopen *half = bpf_map_lookup_elem(&halfopen, t);
	struct limit_halfopen was;

	if (!half)
		return;
	was = *half;
	if (bpf_map_delete_elem(&halfopen, t))
		return;
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		const struct limit_rule *rule = &table->rule[slot];

		if (slot >= table->slots)
			break;
		if (slot_counts(rule, t, FOR_ALL) && rule->ifindex == was.ifindex && rule->id <= was.last_id)
			conn_reserve(t, bank, slot, was.tick, -1);
	}
}

/* A handshake from before the rule: nobody gives this back, it expires. */
static __always_inline void tuple_reserve(const struct limit_table *table, __u32 bank, struct limit_tuple *t)
{
	__u32 tick = tick_at(bpf_ktime_get_ns());

	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		if (slot >= table->slots)
			break;
		if (slot_counts(&table->rule[slot], t, FOR_SEED))
			conn_reserve(t, bank, slot, tick, 1);
	}
}

static __always_inline int sock_opened(struct sock *sk)
{
	struct limit_tuple t = { 0 };
	__u32 bank = bank_active();
	const struct limit_table *table = table_at(bank);
	struct limit_sock *known;

	if (!table || !table->slots)
		return 0;
	tuple_of_sock(&sk->__sk_common, table->netns_is_cookie, &t);
	if (is_loopback(t.local) || !tuple_matters(table, &t, FOR_ALL))
		return 0;
	known = bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known)
		return 0;
	known->tuple = t;
	tuple_count(table, bank, &t, known, FOR_ALL);
	tuple_release(table, bank, &t);
	return 0;
}

static __always_inline int sock_closed(struct sock *sk)
{
	struct limit_sock *known = bpf_sk_storage_get(&socks, sk, NULL, 0);
	__u32 bank = bank_active();
	const struct limit_table *table = table_at(bank);
	struct limit_tuple t;

	if (!known || !table)
		return 0;
	t = known->tuple;
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		__u32 id = known->id[slot];

		if (slot >= table->slots)
			break;
		if (!id || table->rule[slot].id != id)
			continue;
		known->id[slot] = 0;
		conn_close(&t, bank, slot);
	}
	return 0;
}

/* Passive opens only: a connection that this host makes goes from SYN_SENT to
 * ESTABLISHED. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int oldstate, int newstate)
{
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (oldstate == TCP_SYN_RECV_ && newstate == TCP_ESTABLISHED_)
		return sock_opened(sk);
	if (newstate == TCP_CLOSE_)
		return sock_closed(sk);
	return 0;
}

static __always_inline __u64 *listening_word(__u16 port)
{
	__u32 zero = 0;
	struct limit_listening *all = bpf_map_lookup_elem(&listening, &zero);

	return all ? &all->word[port / 64] : NULL;
}

/* What tcp_state has seen, or a rule has counted before, is a connection made to us. */
static __always_inline struct limit_sock *sock_known(struct sock_common *skc, bool is_listened_on)
{
	struct tcp_sock *sk = bpf_skc_to_tcp_sock(skc);

	if (!sk)
		return NULL;
	if (is_listened_on)
		return bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	return bpf_sk_storage_get(&socks, sk, NULL, 0);
}

/*
 * Run over the sockets of the reader's namespace: counts for the rules in state
 * LIMIT_COUNTS. A socket does not tell who opened the connection; one that was never
 * counted is taken for opened by the peer if its local port is being listened on. The
 * kernel shows listeners first. It locks each socket (5.15), so that each is counted
 * either here or by tcp_state.
 */
SEC("iter/tcp")
int tcp_seed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct limit_tuple t = { 0 };
	__u32 bank = bank_active();
	const struct limit_table *table = table_at(bank);
	struct limit_sock *known;
	bool is_listened_on;
	__u64 *word;
	__u8 state;

	if (!skc || !table)
		return 0;
	state = skc->skc_state;
	tuple_of_sock(skc, table->netns_is_cookie, &t);
	word = listening_word(t.local_port);
	if (!word)
		return 0;
	if (state == TCP_LISTEN_)
		__sync_fetch_and_or(word, 1ULL << (t.local_port % 64));
	is_listened_on = *word >> (t.local_port % 64) & 1;
	if (is_loopback(t.local) || !tuple_matters(table, &t, FOR_SEED))
		return 0;
	if (state == TCP_NEW_SYN_RECV_ || (state == TCP_SYN_RECV_ && is_listened_on))
		tuple_reserve(table, bank, &t);
	if (state > 15 || !(STATES_OPEN >> state & 1))
		return 0;
	known = sock_known(skc, is_listened_on);
	if (!known)
		return 0;
	known->tuple = t;
	tuple_count(table, bank, &t, known, FOR_SEED);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
