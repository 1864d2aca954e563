#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What l2tp makes of each kind of packet: one at a time through the program, what comes out is
# compared to the octet with a model of its own (tests/l2tprun.c, tests/l2tpmodel.h).

load lib

setup() { pair; }
teardown() { wipe; }

# forwards NS DEV: so that the kernel tells the way to the peer
forwards() {
	local family
	for family in ipv4 ipv6; do
		in_ns "$1" bash -c "echo 1 >/proc/sys/net/$family/conf/$2/forwarding"
	done
}
through() { in_ns srv "$FP/l2tprun" "$BUILD/bpf/l2tp.bpf.o" s0 "$@"; }

@test "each sort of session, each sort of frame: into it and out of it" {
	forwards srv s0
	does '12684 frames through 48 sessions, both ways, as the model' through frames
	run -0 through size
	figure "l2tp: $output"
}

@test "where nothing forwards the kernel finds the neighbour, and the packet is the same" {
	run -1 through frames
	[[ $output == 'l2tp: 0 of 12684 frames with the next hop'"'"'s MAC' ]]
}

@test "random packets: of no session: unchanged, every one counted; of a session: as the model" {
	local seed
	forwards srv s0
	for seed in 1 2 3; do
		run -0 through fuzz $seed 60000
		figure "l2tp: seed $seed: $output"
	done
}

@test "sequence numbers: old ones and duplicates are dropped, a peer that begins anew is believed" {
	forwards srv s0
	does 'taken 5 old 4 lost 2 restarted 0' through sequence 5+ 6+ 6- 9+ 8- a+ ffffff- 9- b+
	# around the end of 24 bits, and half of them is the limit
	does 'taken 4 old 2 lost 1 restarted 0' through sequence fffffe+ ffffff+ 0+ 2+ ffffff- 1-
	does 'taken 2 old 1 lost 8388606 restarted 0' through sequence 0+ 7fffff+ ffffff-
	# 16 in a row, each next to the one before
	# shellcheck disable=SC2046
	does 'taken 4 old 15 lost 0 restarted 1' through sequence 1000+ $(printf '%x- ' {0..14}) f+ 10+ 11+
	# not in a row
	# shellcheck disable=SC2046
	does 'taken 2 old 21 lost 0 restarted 0' through sequence 1000+ $(printf '%x- ' {0..40..2}) 1001+
	# a newer one in between: the row begins anew
	# shellcheck disable=SC2046
	does 'taken 2 old 20 lost 0 restarted 0' through sequence 1000+ $(printf '%x- ' {0..9}) 1001+ $(printf '%x- ' {10..19})
}

@test "too big: ICMP to who may not be fragmented, or will not; what just fits goes" {
	forwards srv s0
	does '3456 told' through big
}

@test "the maximum segment size of SYNs is lowered both ways, and their checksum stays right" {
	forwards srv s0
	does 10800 through syns
}

@test "sessions of VLANs and of VLANs in VLANs: their frames only, both ways" {
	forwards srv s0
	does '3 1' through tags
}

@test "super-packets that no session of that sort could take are dropped and counted" {
	forwards srv s0
	does '' through gso
}
