# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What l2tp makes of packets on another kernel; tests/l2tpkernel.bats has the details.

load ../lib

setup() { pair; }
teardown() { wipe; }

through() { in_ns srv "$FP/l2tprun" "$BUILD/bpf/l2tp.bpf.o" s0 "$@"; }

@test "frames, random packets, ICMP, segment sizes, tags, numbers" {
	local family
	for family in ipv4 ipv6; do
		in_ns srv bash -c "echo 1 >/proc/sys/net/$family/conf/s0/forwarding"
	done
	does '12684 frames through 48 sessions, both ways, as the model' through frames
	run -0 through fuzz 4 20000
	does '3456 told' through big
	does 10800 through syns
	does '3 1' through tags
	does '' through gso
	does 'taken 5 old 4 lost 2 restarted 0' through sequence 5+ 6+ 6- 9+ 8- a+ ffffff- 9- b+
	run -0 through size
	figure "l2tp: $output"
}
