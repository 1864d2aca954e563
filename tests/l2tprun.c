/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * l2tprun OBJECT UNDERLAY WHAT...  the data path of l2tp (BPF_PROG_TEST_RUN) beside the model of
 * tests/l2tpmodel.h. In a network namespace with the addresses of tests/net.bash (pair), UNDERLAY
 * among its interfaces.
 *
 *   frames             each sort of session, each sort of frame: into the session and out of it
 *   fuzz SEED N        N packets for the underlay and N frames, changed at random
 *   sequence NUMBER:VERDICT...  (hex; + taken, - dropped) numbers in this order
 *   big                frames that do not fit, and those that just do
 *   syns               maximum segment sizes, both ways
 *   tags               sessions of VLANs
 *   gso                super-packets, as far as TEST_RUN knows them
 *   size               of the program
 */
#include "l2tppath.h"

static uint64_t count_of(const struct path *p, const struct l2tp_session *s, int what, struct l2tp_stat *sum)
{
	struct l2tp_stat stat[64];
	int cpus = libbpf_num_possible_cpus();

	if (bpf_map_lookup_elem(map_of(p, "stats"), &s->number, stat))
		die("stats: %s", strerror(errno));
	memset(sum, 0, sizeof(*sum));
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum->tx += stat[cpu].tx;
		sum->rx += stat[cpu].rx;
		for (int i = 0; i < L2TP_COUNTS; i++)
			sum->count[i] += stat[cpu].count[i];
	}
	return sum->count[what];
}

static void hex_out(const char *label, const struct bytes *b)
{
	printf("%s", label);
	for (uint32_t i = 0; i < b->n; i++)
		printf("%02x", b->b[i]);
	putchar('\n');
}

static _Noreturn void differ(const char *what, int verdict, const struct bytes *in, const struct bytes *out,
			     const struct bytes *want)
{
	printf("%s: verdict %d\n", what, verdict);
	hex_out("in:   ", in);
	hex_out("out:  ", out);
	hex_out("want: ", want);
	exit(1);
}

/*
 * Frames.
 */
static const char *const sorts[] = {
	"08060001080006040001020a0b0c0d0e0a01010100000000000a010102",
	"080045000020000040004001f6d90a0101010a01010208001234",
	"0800460000200000400040110000c0a80101c0a8010200000000",
	"0800450000280000400040060000c0a80101c0a8010200500051000000010000000250100000",
	"86dd6000000000403a40fd010000000000000000000000000001fd010000000000000000000000000002800012340001",
	"88cc0207040001020304050403303132060200780000",
	"81000064080045000020000040004001f6d90a0101010a01010208001234",
	"88a800c88100006486dd6000000000403a40fd010000000000000000000000000001fd010000000000000000000000000002",
	"88a800c881000064810000050806000108000604000102",
	"0026424203000000000000",
	"86dd60000000004011ff",
};
#define FRAME_SORTS (sizeof(sorts) / sizeof(*sorts))
static const uint32_t lengths[] = { 60, 61, 62, 63, 64, 65, 127, 255, 511, 512, 513, 525, 526, 527, 528, 1001, 1023, 1024, 1037,
	1499, 1500, 1513, 1514, 1518 };
#define LENGTHS (sizeof(lengths) / sizeof(*lengths))

/* The next hop's MACs, or none where the kernel will find it. */
static int has_macs(struct bytes *o)
{
	static const uint8_t peer[] = { 2, 0x77, 0, 0, 0, 2, 2, 0x77, 0, 0, 0, 1 }, none[12];
	int is_known = !memcmp(o->b, peer, 12);

	if (!is_known && memcmp(o->b, none, 12))
		die("outer MACs of nobody");
	memset(o->b, 0, 12);
	return is_known;
}

static uint64_t frame_both_ways(const struct path *p, const struct l2tp_session *s, const struct bytes *frame, int *known)
{
	struct bytes out, want = { .n = 0 };
	struct way w = { .seq = -1 };
	int verdict;

	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	verdict = run(p, frame, 0, &out);
	*known += has_macs(&out);
	model_packet(&want, s, &w, frame);
	if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
		differ("into the session", verdict, frame, &out, &want);
	place_set(p, L2TP_UNDERLAY);
	w.is_from_peer = 1;
	for (w.cookie = 0; w.cookie == 0 || w.cookie < s->rx_cookies; w.cookie++) {
		want.n = 0;
		model_packet(&want, s, &w, frame);
		verdict = run(p, &want, 0, &out);
		if (verdict != REDIRECT || out.n != frame->n || memcmp(out.b, frame->b, frame->n))
			differ("out of the session", verdict, &want, &out, frame);
	}
	return 1;
}

/* Two octets of the frame such that the checksum around it would be 0. */
static void nothing_left(const struct l2tp_session *s, struct bytes *frame)
{
	uint32_t at = s->flags & L2TP_V6 ? 60 : 40, word;
	struct bytes packet = { .n = 0 };
	struct way w = { .seq = -1 };

	model_packet(&packet, s, &w, frame);
	word = model_fold(get_word(frame->b + 40, 2) + get_word(packet.b + at, 2));
	frame->b[40] = (uint8_t)(word >> 8);
	frame->b[41] = (uint8_t)word;
	packet.n = 0;
	model_packet(&packet, s, &w, frame);
	if (get_word(packet.b + at, 2) != 0xffff)
		die("the test's own checksum");
}

static int frames(struct path *p)
{
	struct bytes frame;
	uint64_t n = 0;
	int known = 0;

	for (int i = 0; i < SORTS; i++) {
		session_add(p, &p->session[i], 1);
		for (size_t sort = 0; sort < FRAME_SORTS; sort++)
			for (size_t l = 0; l < LENGTHS; l++) {
				frame_make(&frame, sorts[sort], lengths[l]);
				n += frame_both_ways(p, &p->session[i], &frame, &known);
			}
		if (!(p->session[i].flags & L2TP_CHECKSUM) || p->session[i].encap == L2TP_IP)
			continue;
		nothing_left(&p->session[i], &frame);
		n += frame_both_ways(p, &p->session[i], &frame, &known);
	}
	if (known < (int)(n - n / 4))
		die("%d of %llu frames with the next hop's MAC", known, (unsigned long long)n);
	printf("%llu frames through %d sessions, both ways, as the model\n", (unsigned long long)n, SORTS);
	return 0;
}

/*
 * Random packets.
 */
static uint64_t state;
static uint32_t random32(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void mutate(struct bytes *f, uint32_t heads)
{
	static const uint8_t bytes[] = { 0, 1, 3, 4, 6, 17, 43, 44, 58, 60, 115, 0x08, 0x45, 0x46, 0x4f, 0x60, 0x81, 0x86, 0xdd, 0xff };

	for (uint32_t n = random32() % 4; n; n--) {
		uint32_t at = random32() % (random32() & 3 && f->n > heads ? heads : f->n);

		switch (random32() % 6) {
		case 0:
			f->b[at] ^= (uint8_t)(1 << random32() % 8);
			break;
		case 1:
			f->b[at] = bytes[random32() % sizeof(bytes)];
			break;
		case 2:
			f->b[at] = (uint8_t)random32();
			break;
		case 3:
			f->n = 14 + random32() % (f->n - 13);
			break;
		case 4:
			if (f->n + 64 < FRAME_MAX)
				f->n += random32() % 64;
			break;
		default:
			if (f->n + 8 < FRAME_MAX) {
				memmove(f->b + at + 8, f->b + at, f->n - at);
				f->n += 8;
			}
		}
	}
}

struct tally {
	uint64_t place[L2TP_PLACE_COUNTS], session[SORTS][L2TP_COUNTS], taken[SORTS], left;
};

static void fuzz_underlay(const struct path *p, struct tally *t)
{
	int which = (int)(random32() % SORTS), what, verdict;
	struct way w = { .is_from_peer = 1, .cookie = (int)(random32() & 1), .seq = -1 };
	struct bytes frame, in = { .n = 0 }, out, want = { .n = 0 };

	frame_make(&frame, sorts[random32() % FRAME_SORTS], 14 + random32() % 300);
	model_packet(&in, &p->session[which], &w, &frame);
	memset(in.b + in.n, 0, sizeof(in.b) - in.n);
	mutate(&in, 100);
	verdict = run(p, &in, 0, &out);
	if (verdict == -EINVAL)
		return;
	what = model_receive(p->session, SORTS, &in, &which, &want);
	if (what == TAKE) {
		t->taken[which]++;
		if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
			differ("a packet of a session", verdict, &in, &out, &want);
	} else if (what == LEAVE || what >= PLACE) {
		t->left++;
		if (what >= PLACE)
			t->place[what - PLACE]++;
		if (verdict != UNSPEC || out.n != in.n || memcmp(out.b, in.b, in.n))
			differ("a packet of no session", verdict, &in, &out, &in);
	} else {
		t->session[which][what]++;
		if (verdict != SHOT)
			differ("a packet to be dropped", verdict, &in, &out, &in);
	}
}

static void fuzz_access(const struct path *p, const struct l2tp_session *s)
{
	struct bytes in, out, want = { .n = 0 };
	struct way w = { .seq = -1 };
	int verdict;

	memset(in.b, 0, sizeof(in.b));
	frame_make(&in, sorts[random32() % FRAME_SORTS], 14 + random32() % 600);
	mutate(&in, 80);
	verdict = run(p, &in, 0, &out);
	if (verdict == -EINVAL)
		return;
	has_macs(&out);
	model_packet(&want, s, &w, &in);
	if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
		differ("a frame", verdict, &in, &out, &want);
}

static void tally_check(const struct path *p, const struct tally *t)
{
	struct l2tp_error errors;
	struct l2tp_stat sum;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(map_of(p, "errors"), &zero, &errors))
		die("errors: %s", strerror(errno));
	for (int i = 0; i < L2TP_PLACE_COUNTS; i++)
		if (errors.count[i] != t->place[i])
			die("count %d of the underlay: %llu, not %llu", i, (unsigned long long)errors.count[i],
			    (unsigned long long)t->place[i]);
	for (int s = 0; s < SORTS; s++) {
		count_of(p, &p->session[s], 0, &sum);
		if (sum.rx != t->taken[s])
			die("session %d took %llu, not %llu", s, (unsigned long long)sum.rx, (unsigned long long)t->taken[s]);
		for (int i = 0; i < L2TP_COUNTS; i++)
			if (sum.count[i] != t->session[s][i])
				die("session %d, count %d: %llu, not %llu", s, i, (unsigned long long)sum.count[i],
				    (unsigned long long)t->session[s][i]);
	}
}

static int fuzz(struct path *p, const char *seed, const char *many)
{
	static struct tally t;
	uint64_t n = strtoull(many, NULL, 10), place[L2TP_PLACE_COUNTS] = { 0 }, dropped[L2TP_COUNTS] = { 0 }, taken = 0;

	state = strtoull(seed, NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	place_set(p, L2TP_UNDERLAY);
	for (uint64_t i = 0; i < n; i++)
		fuzz_underlay(p, &t);
	tally_check(p, &t);
	for (int s = 0; s < SORTS; s++) {
		taken += t.taken[s];
		for (int i = 0; i < L2TP_COUNTS; i++)
			dropped[i] += t.session[s][i];
	}
	memcpy(place, t.place, sizeof(place));
	printf("%llu taken, %llu left of them %llu control %llu unknown %llu fragments %llu malformed %llu version, "
	       "dropped %llu peer %llu cookie %llu short\n", (unsigned long long)taken, (unsigned long long)t.left,
	       (unsigned long long)place[L2TP_CONTROL], (unsigned long long)place[L2TP_UNKNOWN],
	       (unsigned long long)place[L2TP_FRAGMENT], (unsigned long long)place[L2TP_MALFORMED],
	       (unsigned long long)place[L2TP_VERSION], (unsigned long long)dropped[L2TP_RX_PEER],
	       (unsigned long long)dropped[L2TP_RX_COOKIE], (unsigned long long)dropped[L2TP_RX_SHORT]);
	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	for (uint64_t i = 0; i < n; i++) {
		if (i % (n / SORTS + 1) == 0)
			session_add(p, &p->session[i / (n / SORTS + 1)], 1);
		fuzz_access(p, &p->session[i / (n / SORTS + 1)]);
	}
	return 0;
}

/*
 * Sequence numbers.
 */
static int sequence(struct path *p, int numbers, char **number)
{
	struct l2tp_session s = session_of(p, 8);
	struct way w = { .is_from_peer = 1 };
	struct bytes frame, in, out, want;
	struct l2tp_stat sum;
	int verdict;

	s.flags |= L2TP_SEQUENCE;
	session_add(p, &s, 1);
	frame_make(&frame, sorts[0], 60);
	place_set(p, L2TP_UNDERLAY);
	for (int i = 0; i < numbers; i++) {
		char *end;

		w.seq = (int64_t)strtoull(number[i], &end, 16);
		in.n = 0;
		model_packet(&in, &s, &w, &frame);
		verdict = run(p, &in, 0, &out);
		if (verdict != (*end == '+' ? REDIRECT : SHOT))
			die("number %d, %s: verdict %d", i, number[i], verdict);
	}
	count_of(p, &s, 0, &sum);
	printf("taken %llu old %llu lost %llu restarted %llu\n", (unsigned long long)sum.rx,
	       (unsigned long long)sum.count[L2TP_RX_OLD], (unsigned long long)sum.count[L2TP_RX_LOST],
	       (unsigned long long)sum.count[L2TP_RX_RESTARTED]);
	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	w.is_from_peer = 0;
	for (w.seq = 0; w.seq < 3; w.seq++) {
		want.n = 0;
		model_packet(&want, &s, &w, &frame);
		verdict = run(p, &frame, 0, &out);
		has_macs(&out);
		if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
			differ("a frame with a number", verdict, &frame, &out, &want);
	}
	return 0;
}

/*
 * Frames that do not fit, SYNs, tags. One session of each sort with an MTU of 1500 on its underlay.
 */
#define UNDERLAY_MTU 1500

static struct l2tp_session narrow(struct path *p, int sort, uint16_t outer, uint16_t inner)
{
	struct l2tp_session s = session_of(p, sort);

	s.frame = (uint16_t)l2tp_frame(&s, UNDERLAY_MTU);
	s.mtu = s.frame - 14;
	s.vlan[0] = outer;
	s.vlan[1] = inner;
	session_add(p, &s, 1);
	return s;
}

/* A transport header up to the end of the frame, behind an IP header at l3: is its checksum right? */
static int is_sound(const struct bytes *f, uint32_t l3, uint32_t l4, uint8_t proto)
{
	uint32_t addrs = f->b[l3] >> 4 == 6 ? 32 : 8, at = l3 + (addrs == 32 ? 8 : 12), sum = 0;

	if (proto != 1)
		sum = model_sum(f->b + at, addrs) + proto + f->n - l4;
	return model_fold(sum + model_sum(f->b + l4, f->n - l4)) == 0xffff;
}

/* DF or IPv6 with so many tags in front and this packet length; UDP. */
static void packet_make(struct bytes *f, int is_v6, int tags, uint32_t len, const char *change)
{
	char head[256];
	uint32_t at, byte;

	snprintf(head, sizeof(head), "%s%s%s", tags > 1 ? "88a80007" : "", tags ? "81000064" : "",
		 is_v6 ? "86dd6000000000001140fd010000000000000000000000000001fd01000000000000000000000000000230393039" :
			 "080045000000000040004011aabb0a0101010a01010230393039");
	frame_make(f, head, 14 + 4 * (uint32_t)tags + len);
	at = 14 + 4 * (uint32_t)tags + (is_v6 ? 4 : 2);
	len -= is_v6 ? 40 : 0;
	f->b[at] = (uint8_t)(len >> 8);
	f->b[at + 1] = (uint8_t)len;
	at = 14 + 4 * (uint32_t)tags;
	if (*change && sscanf(change, "%u=%2x", &len, &byte) == 2)
		f->b[at + len] = (uint8_t)byte;
}

static void big_check(const struct path *p, const struct l2tp_session *s, int is_v6, int tags, uint32_t len)
{
	uint32_t l3 = 14 + 4 * (uint32_t)tags, ip = is_v6 ? 40 : 20, l4 = l3 + ip, fits = s->frame - l3, i;
	uint32_t addr = is_v6 ? 16 : 4, at = l3 + (is_v6 ? 8 : 12);
	struct bytes in, out, want = { .n = 0 };
	struct way w = { .seq = -1 };
	int verdict;

	fits = fits < s->mtu ? fits : s->mtu;
	packet_make(&in, is_v6, tags, len, "");
	verdict = run(p, &in, 0, &out);
	if (len <= fits) {
		has_macs(&out);
		model_packet(&want, s, &w, &in);
		if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
			differ("a frame that fits", verdict, &in, &out, &want);
		return;
	}
	i = len < 512 ? len & ~3U : 512;
	if (verdict != REDIRECT || out.n != l4 + 8 + i || memcmp(out.b + l4 + 8, in.b + l3, i) ||
	    memcmp(out.b, in.b + 6, 6) || memcmp(out.b + 6, in.b, 6) || memcmp(out.b + 12, in.b + 12, l3 - 12) ||
	    memcmp(out.b + at, in.b + at + addr, addr) || memcmp(out.b + at + addr, in.b + at, addr) ||
	    get_word(out.b + l4, 2) != (is_v6 ? 0x0200 : 0x0304) || get_word(out.b + l4 + 4, 4) != fits ||
	    get_word(out.b + l3 + (is_v6 ? 4 : 2), 2) != out.n - (is_v6 ? l4 : l3) ||
	    out.b[l3 + (is_v6 ? 6 : 9)] != (is_v6 ? 58 : 1) || out.b[l3 + (is_v6 ? 7 : 8)] != 64 ||
	    (!is_v6 && model_fold(model_sum(out.b + l3, 20)) != 0xffff) || !is_sound(&out, l3, l4, is_v6 ? 58 : 1))
		differ("the answer to a frame that does not fit", verdict, &in, &out, &in);
}

/* Nobody is told: no DF, of nobody, to or from many, about an error, not the first fragment. */
static const struct {
	int is_v6;
	const char *change;
} untold[] = {
	{ 0, "6=00" }, { 0, "12=00" }, { 0, "12=e0" }, { 0, "12=7f" }, { 0, "7=01" }, { 1, "8=ff" },
};

static int big(struct path *p)
{
	struct l2tp_session s;
	struct l2tp_stat sum;
	struct bytes in, out;
	uint64_t told = 0;

	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	for (int sort = 0; sort < SORTS; sort++) {
		s = narrow(p, sort, L2TP_NO_VLAN, L2TP_NO_VLAN);
		for (int n = 0; n < 6; n++) {
			for (int i = -9; i < 4; i++)
				big_check(p, &s, n & 1, n / 2, (uint32_t)(s.mtu + i));
			for (uint32_t len = 1500; len < 2900; len += 333)
				big_check(p, &s, n & 1, n / 2, len);
		}
		for (size_t i = 0; i < sizeof(untold) / sizeof(*untold); i++) {
			packet_make(&in, untold[i].is_v6, 0, 1500, untold[i].change);
			if (run(p, &in, 0, &out) != SHOT)
				differ("a frame nobody is to be told of", 0, &in, &out, &in);
		}
		frame_make(&in, sorts[0], 1600);
		if (run(p, &in, 0, &out) != SHOT || count_of(p, &s, L2TP_TX_TOO_BIG, &sum) != sizeof(untold) / sizeof(*untold) + 1)
			die("too big: %llu", (unsigned long long)sum.count[L2TP_TX_TOO_BIG]);
		told += sum.count[L2TP_TX_TOLD];
	}
	printf("%llu told\n", (unsigned long long)told);
	return 0;
}

/* A SYN with options of which the maximum segment size is at an even or odd offset; a complete checksum. */
static void syn_make(struct bytes *f, int is_v6, int tags, uint32_t nops, uint16_t mss, uint8_t flags)
{
	uint32_t l3 = 14 + 4 * (uint32_t)tags, l4 = l3 + (is_v6 ? 40 : 20), len = 20 + 8, sum;
	uint8_t *tcp = f->b + l4;

	packet_make(f, is_v6, tags, l4 - l3 + len, "");
	f->b[l3 + (is_v6 ? 6 : 9)] = 6;
	memset(tcp, 0, len);
	tcp[12] = (uint8_t)(len / 4 << 4);
	tcp[13] = flags;
	memset(tcp + 20, 1, 8);
	memcpy(tcp + 20 + nops, (uint8_t[]){ 2, 4, (uint8_t)(mss >> 8), (uint8_t)mss }, 4);
	sum = model_sum(f->b + l3 + (is_v6 ? 8 : 12), is_v6 ? 32 : 8) + 6 + len + model_sum(tcp, len);
	sum = (uint16_t)~model_fold(sum);
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
}

static void syn_check(const struct path *p, const struct l2tp_session *s, int is_out, int is_v6, int tags, uint32_t nops,
		      uint16_t mss, uint8_t flags)
{
	uint32_t l3 = 14 + 4 * (uint32_t)tags, l4 = l3 + (is_v6 ? 40 : 20), fits = s->mtu - 4U * (uint32_t)tags;
	uint16_t most = (uint16_t)(fits - (l4 - l3) - 20);
	struct bytes frame, in = { .n = 0 }, out, want;
	struct way w = { .seq = -1, .is_from_peer = !is_out };
	int verdict;

	syn_make(&frame, is_v6, tags, nops, mss, flags);
	syn_make(&want, is_v6, tags, nops, flags & 2 && mss > most ? most : mss, flags);
	if (!is_sound(&want, l3, l4, 6))
		die("the test's own checksum");
	if (is_out) {
		model_packet(&in, s, &w, &want);
		want = in;
		in = frame;
	} else {
		model_packet(&in, s, &w, &frame);
	}
	place_set(p, is_out ? L2TP_ACCESS | L2TP_PLAIN : L2TP_UNDERLAY);
	verdict = run(p, &in, 0, &out);
	if (is_out)
		has_macs(&out);
	if (verdict != REDIRECT || out.n != want.n || memcmp(out.b, want.b, want.n))
		differ("a SYN", verdict, &in, &out, &want);
}

static int syns(struct path *p)
{
	static const uint16_t mss[] = { 1460, 1440, 9000, 536, 65535, 1300 };
	static const uint8_t flags[] = { 2, 0x12, 0x10 };
	struct l2tp_session s;
	struct l2tp_stat sum;
	int n = 0;

	for (int sort = 0; sort < SORTS; sort += 5) {
		s = narrow(p, sort, L2TP_NO_VLAN, L2TP_NO_VLAN);
		for (int i = 0; i < 6 * 3 * 5 * 12; i++, n++)
			syn_check(p, &s, i & 1, i / 2 & 1, i / 4 % 3, (uint32_t)(i / 12 % 5), mss[i / 60 % 6], flags[i / 360]);
		if (!count_of(p, &s, L2TP_TX_CLAMPED, &sum) || !sum.count[L2TP_RX_CLAMPED])
			die("none was counted");
	}
	printf("%d\n", n);
	return 0;
}

/* What frames and packets with these tags become where there are sessions for some tags. */
static void tagged(const struct path *p, const struct l2tp_session *s, const char *tags, int is_ours)
{
	struct bytes frame, in = { .n = 0 }, out, want = { .n = 0 };
	struct way w = { .seq = -1 };
	char l3[64];
	int verdict;

	snprintf(l3, sizeof(l3), "%s080600010800", tags);
	frame_make(&frame, l3, 70);
	place_set(p, L2TP_ACCESS | L2TP_VLAN | L2TP_QINQ);
	verdict = run(p, &frame, 0, &out);
	if (is_ours) {
		has_macs(&out);
		model_packet(&want, s, &w, &frame);
	}
	if (verdict != (is_ours ? REDIRECT : UNSPEC) || out.n != (is_ours ? want.n : frame.n) ||
	    memcmp(out.b, is_ours ? want.b : frame.b, out.n))
		differ("a frame with tags", verdict, &frame, &out, is_ours ? &want : &frame);
	place_set(p, L2TP_UNDERLAY);
	w.is_from_peer = 1;
	model_packet(&in, s, &w, &frame);
	verdict = run(p, &in, 0, &out);
	if (verdict != (is_ours ? REDIRECT : SHOT) || (is_ours && (out.n != frame.n || memcmp(out.b, frame.b, out.n))))
		differ("a packet with tags", verdict, &in, &out, &frame);
}

static int tags(struct path *p)
{
	struct l2tp_session one = narrow(p, 0, 100, L2TP_NO_VLAN), two = narrow(p, 13, 100, 7);
	struct l2tp_stat sum;

	tagged(p, &one, "81000064", 1);
	tagged(p, &one, "88a8e064", 1);
	tagged(p, &one, "8100006481000008", 1);
	tagged(p, &one, "", 0);
	tagged(p, &one, "81000065", 0);
	tagged(p, &one, "8100000781000064", 0);
	tagged(p, &two, "8100006481000007", 1);
	tagged(p, &two, "88a8006481003007", 1);
	tagged(p, &two, "810000658100", 0);
	printf("%llu %llu\n", (unsigned long long)count_of(p, &one, L2TP_RX_VLAN, &sum),
	       (unsigned long long)count_of(p, &two, L2TP_RX_VLAN, &sum));
	return 0;
}

/* Super-packets that no session of this sort takes, or that are too big for those that do. */
static int gso(struct path *p)
{
	struct l2tp_session s;
	struct l2tp_stat sum;
	struct bytes in, out;
	int is_possible;

	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	packet_make(&in, 0, 0, 2800, "");
	for (int sort = 0; sort < 16; sort++) {
		s = narrow(p, sort, L2TP_NO_VLAN, L2TP_NO_VLAN);
		is_possible = s.encap == L2TP_UDP && (s.flags & (L2TP_V6 | L2TP_CHECKSUM)) != (L2TP_V6 | L2TP_CHECKSUM);
		if (run(p, &in, 1450, &out) != (is_possible ? REDIRECT : SHOT) || count_of(p, &s, 0, &sum) ||
		    sum.count[is_possible ? L2TP_TX_TOLD : L2TP_TX_GSO] != 1)
			die("sort %d: a super-packet", sort);
	}
	return 0;
}

static int size(struct path *p)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(p->prog, &info, &len))
		die("the program: %s", strerror(errno));
	printf("%u instructions, %u verified\n", info.xlated_prog_len / 8, info.verified_insns);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *word;
		int (*fn)(struct path *p);
	} plain[] = { { "frames", frames }, { "big", big }, { "syns", syns }, { "tags", tags }, { "gso", gso }, { "size", size } };
	static struct path p;

	if (argc < 4)
		die("usage: l2tprun OBJECT UNDERLAY frames|fuzz|sequence|big|syns|tags|gso|size ...");
	path_open(&p, argv[1], argv[2]);
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if (!strcmp(argv[3], plain[i].word))
			return plain[i].fn(&p);
	if (!strcmp(argv[3], "fuzz") && argc == 6)
		return fuzz(&p, argv[4], argv[5]);
	if (!strcmp(argv[3], "sequence"))
		return sequence(&p, argc - 4, argv + 4);
	die("what?");
}
