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
