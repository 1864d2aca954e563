# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# For tests that use tests/mirrorpkt.c, after lib.

# collector: srv t0 ---- t1 col
collector() {
	quiet_netns srv
	quiet_netns col
	ip link add t0 address 02:66:00:00:00:01 netns srv type veth peer name t1 address 02:66:00:00:00:02 netns col
	collector_end srv t0 1 2
	collector_end col t1 2 1
}
collector_end() { # NS DEV N OTHER
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.66.0.$3/24 dev $2
		addr add fd66::$3/64 dev $2 nodad
		neigh replace 10.66.0.$4 lladdr 02:66:00:00:00:0$4 dev $2 nud permanent
		neigh replace fd66::$4 lladdr 02:66:00:00:00:0$4 dev $2 nud permanent
	END
}

# mirrorpkt WHAT MORE...: its last line becomes a figure
mirrorpkt() {
	local out
	out=$(in_ns srv "$FP/mirrorpkt" "$1" "$BUILD/bpf" "$FP/bpf/mirrorharness.o" t0 col t1 "${@:2}" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
}

# offloads: what the kernel leaves for later, out of s0, which is mirrored
offloads() {
	quiet_netns cli
	wire srv s0 1 cli c0 2
	in_ns srv ethtool -K s0 tx off tso off gso off >/dev/null
	in_ns srv ethtool -K t0 tx off tso off gso off >/dev/null
	mirrorpkt offload s0 cli c0
}

# nested: tunnels in tunnels out of s0
nested() {
	quiet_netns cli
	wire srv s0 1 cli c0 2
	mirrorpkt nested s0
}

verified() {
	local out
	out=$(in_ns srv "$FP/mirrorpkt" verified "$BUILD/bpf" 2>&1) || { echo "$out"; return 1; }
	figure "verified instructions: $out"
}
