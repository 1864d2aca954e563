# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What mirror and mirrortarget make of each kind of packet: the packet itself stays as it is, to
# the octet, and its clone is what it should be when it comes out of the target's interface
# (tests/mirrorpkt.c, which needs no control plane).

load lib
load mirrorpkt

setup() { collector; }
teardown() { wipe; }

@test "each kind of packet, tunnel, checksum and length" {
	mirrorpkt matrix
}

@test "random frames" {
	mirrorpkt fuzz 200000 $RANDOM
}

@test "segments that the kernel has yet to cut, checksums that it has yet to compute" {
	offloads
}

@test "tunnels in tunnels are seen without a change to how the packet lies in memory" {
	nested
}

@test "a cap" {
	mirrorpkt cap
}

@test "instructions that the verifier follows" {
	verified
}
