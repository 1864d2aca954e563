# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What mirror and mirrortarget make of each kind of packet: the packet itself stays as it is, to
# the octet, and its clone is what it should be when it comes out of the target's interface
# (tests/mirrorpkt.c, which needs no control plane).

load lib

setup() {
	quiet_netns srv
	quiet_netns col
	ip link add t0 address 02:66:00:00:00:01 netns srv type veth peer name t1 address 02:66:00:00:00:02 netns col
	target_end srv t0 1 2
	target_end col t1 2 1
}
teardown() { wipe; }

target_end() { # NS DEV N OTHER
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.66.0.$3/24 dev $2
		addr add fd66::$3/64 dev $2 nodad
		neigh replace 10.66.0.$4 lladdr 02:66:00:00:00:0$4 dev $2 nud permanent
		neigh replace fd66::$4 lladdr 02:66:00:00:00:0$4 dev $2 nud permanent
	END
}

# mirrorpkt WHAT MORE...: prints its last line as a figure
mirrorpkt() {
	local out
	out=$(in_ns srv "$FP/mirrorpkt" "$1" "$BUILD/bpf" "$FP/bpf/mirrorharness.o" t0 col t1 "${@:2}" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
}

@test "each kind of packet, tunnel, checksum and length" {
	mirrorpkt matrix
}

@test "random frames" {
	mirrorpkt fuzz 200000 $RANDOM
}

@test "segments that the kernel has yet to cut, checksums that it has yet to compute" {
	quiet_netns cli
	wire srv s0 1 cli c0 2
	in_ns srv ethtool -K s0 tx off tso off gso off >/dev/null
	in_ns srv ethtool -K t0 tx off tso off gso off >/dev/null
	mirrorpkt offload s0 cli c0
}

@test "instructions that the verifier follows" {
	run -0 in_ns srv "$FP/mirrorpkt" verified "$BUILD/bpf"
	figure "verified instructions: $output"
}
