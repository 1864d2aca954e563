/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <time.h>

#include "clock.h"

int clock_open(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_jiffies64 },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 6, .src_reg = 0, .off = offsetof(struct __sk_buff, cb[0]) },
		{ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = 0, .imm = 32 },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 6, .src_reg = 0, .off = offsetof(struct __sk_buff, cb[1]) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "l3af_clock", "GPL", code, sizeof(code) / sizeof(code[0]), NULL);
}

/* The kernel's context may be longer than the one known here: room for it. */
int clock_read(int prog, __u64 *jiffies)
{
	union { struct __sk_buff skb; char room[1024]; } out = { .room = { 0 } };
	char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 1,
		    .ctx_out = &out, .ctx_size_out = sizeof(out));
	int err = bpf_prog_test_run_opts(prog, &o);

	*jiffies = out.skb.cb[0] | (__u64)out.skb.cb[1] << 32;
	return err;
}

__u32 clock_tick_ns(void)
{
	struct timespec tick;

	clock_getres(CLOCK_REALTIME_COARSE, &tick);
	return (__u32)tick.tv_nsec;
}
