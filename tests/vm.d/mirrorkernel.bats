# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What mirror and mirrortarget make of packets on another kernel; tests/mirrorkernel.bats has more.

load ../lib
load ../mirrorpkt

setup() { collector; }
teardown() { wipe; }

@test "each kind of packet, tunnel, checksum and length" {
	mirrorpkt matrix
}

@test "random frames" {
	mirrorpkt fuzz 5000 $RANDOM
}

@test "segments that the kernel has yet to cut, checksums that it has yet to compute" {
	offloads
}

@test "instructions that the verifier follows" {
	verified
}
