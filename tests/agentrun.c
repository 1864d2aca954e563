/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agentrun PROG                  frames in hex, a line each, through a loaded program
 *                                (BPF_PROG_TEST_RUN): prints the verdict and the frame after it
 * agentrun PROG fuzz SEED N      so many frames made of those on stdin by changing them at
 *                                random. Each has to come out as it went in, or with
 *                                everything between its Ethernet header and the inner IP
 *                                header taken out, and nothing else changed but the EtherType
 *                                and the ECN bits. Prints how many were taken.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME 4096
#define FRAMES 64

struct frame {
	uint8_t b[FRAME];
	uint32_t n;
};

static int frame_read(FILE *f, struct frame *out)
{
	static char line[2 * FRAME + 2];
	unsigned byte;

	out->n = 0;
	if (!fgets(line, sizeof(line), f))
		return 0;
	for (char *p = line; sscanf(p, "%2x", &byte) == 1 && out->n < FRAME; p += 2)
		out->b[out->n++] = (uint8_t)byte;
	return 1;
}

/* -EINVAL: frames that TEST_RUN does not take. */
static int run(int prog, const struct frame *in, struct frame *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b, .data_size_in = in->n, .data_out = out->b,
		    .data_size_out = sizeof(out->b), .repeat = 1);
	int err = bpf_prog_test_run_opts(prog, &o);

	if (err == -EINVAL)
		return err;
	if (err) {
		fprintf(stderr, "agentrun: %s\n", strerror(-err));
		exit(1);
	}
	out->n = o.data_size_out;
	return (int)o.retval;
}

static void show(int verdict, const struct frame *f)
{
	printf("%d ", verdict);
	for (uint32_t i = 0; i < f->n; i++)
		printf("%02x", f->b[i]);
	putchar('\n');
	fflush(stdout);
}

static uint64_t state;
static uint32_t random32(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void mutate(struct frame *f)
{
	static const uint8_t bytes[] = { 0, 1, 4, 6, 17, 41, 44, 58, 60, 0x0f, 0x40, 0x45, 0x46, 0x60, 0x7f, 0x81, 0x86, 0xff };

	for (uint32_t n = random32() % 4; n; n--) {
		uint32_t at = random32() % (random32() & 1 && f->n > 80 ? 80 : f->n);

		switch (random32() % 5) {
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
			if (f->n > 60)
				f->n = 14 + random32() % (f->n - 14);
			break;
		default:
			if (f->n + 8 < FRAME && at < f->n) {
				memmove(f->b + at + 4, f->b + at, f->n - at);
				f->n += 4;
			}
		}
	}
}

static int is_vlan(const uint8_t *type)
{
	return (type[0] == 0x81 && !type[1]) || (type[0] == 0x88 && type[1] == 0xa8);
}

/* The same but for ECN and, in IPv4, what it makes of the checksum. */
static int is_same_packet(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	uint32_t from = a[0] >> 4 == 4 ? 12 : 2;

	if (n < 20 || a[0] != b[0] || (a[0] >> 4 == 4 ? (a[1] ^ b[1]) & ~3 : (a[1] ^ b[1]) & ~0x30))
		return 0;
	if (from == 12 && memcmp(a + 2, b + 2, 8))
		return 0;
	return !memcmp(a + from, b + from, n - from);
}

static int is_stripped(const struct frame *in, const struct frame *out)
{
	uint32_t l2 = 14;
	const uint8_t *type = out->b + 12;

	while (l2 < 22 && l2 < in->n && is_vlan(in->b + l2 - 2))
		l2 += 4;
	type = out->b + l2 - 2;
	if (out->n >= in->n || out->n < l2 + 20 || memcmp(in->b, out->b, l2 - 2))
		return 0;
	if (memcmp(type, out->b[l2] >> 4 == 4 ? "\x08\x00" : "\x86\xdd", 2))
		return 0;
	return is_same_packet(in->b + in->n - (out->n - l2), out->b + l2, out->n - l2);
}

static int fuzz(int prog, uint64_t n)
{
	static struct frame base[FRAMES], in, out;
	uint64_t taken = 0;
	uint32_t bases = 0;
	int verdict;

	while (bases < FRAMES && frame_read(stdin, &base[bases]))
		bases++;
	for (uint64_t i = 0; i < n; i++) {
		in = base[random32() % bases];
		mutate(&in);
		if (in.n < 14)
			continue;
		out = in;
		verdict = run(prog, &in, &out);
		if (verdict == -EINVAL)
			continue;
		if (verdict != 2 && verdict != -1 && verdict != 1) {
			fprintf(stderr, "verdict %d of:\n", verdict);
		} else if (verdict != 1 && out.n == in.n && !memcmp(in.b, out.b, in.n)) {
			continue;
		} else if (verdict == 1 || is_stripped(&in, &out)) {
			taken++;
			continue;
		} else {
			fprintf(stderr, "frame %llu was changed:\n", (unsigned long long)i);
		}
		show(verdict, &in);
		show(verdict, &out);
		return 1;
	}
	printf("frames %llu taken %llu\n", (unsigned long long)n, (unsigned long long)taken);
	return 0;
}

int main(int argc, char **argv)
{
	int prog = argc > 1 ? bpf_prog_get_fd_by_id((uint32_t)strtoul(argv[1], NULL, 10)) : -1;
	static struct frame in, out;
	int verdict;

	if (prog < 0) {
		fprintf(stderr, "agentrun: program %s: %s\n", argc > 1 ? argv[1] : "?", strerror(errno));
		return 1;
	}
	if (argc == 5) {
		state = strtoull(argv[3], NULL, 10) * 2 + 1;
		return fuzz(prog, strtoull(argv[4], NULL, 10));
	}
	while (frame_read(stdin, &in)) {
		verdict = run(prog, &in, &out);
		show(verdict, &out);
	}
	return 0;
}
