#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb commands, killed at any system call: the old state or the new one, packets arrive meanwhile,
# and the next command makes all of it whole.

load lib

V=10.99.0.1:53/udp
W=10.99.0.2/tcp

# cli is client and all backends, 10.77.0.11 and so on
setup() {
	local i
	pair
	in_ns cli ethtool -K c0 tx off >/dev/null # sums are complete, as on a wire
	for i in 11 12 13; do in_ns cli ip addr add "10.77.0.$i/24" dev c0; done
	in_ns cli ip route add 10.99.0.0/16 via 10.77.0.1
	# what leaves a veth by XDP_TX arrives where there is a program, too
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	lb enable dev s0 gateway 02:77:00:00:00:02 flows 1024
	lb vip add "$V"
	for i in 11 12 13; do lb backend add "10.77.0.$i" vip "$V"; done
}
teardown() { wipe; }
lb() { l3af lb "$@" >/dev/null; }

# killed STEP LOOK WORD... [-- WORD...]...: see lbkill.py
killed() {
	local out
	out=$(in_ns cli "$TOP/tests/tools/lbkill.py" "$FP" "$BUILD/l3afctl" "$BPFFS" "$1" "$2" 6 "${@:3}" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
}

@test "backend add" {
	lb backend remove 10.77.0.12 vip "$V"
	killed last ring lb backend add 10.77.0.12 vip "$V" -- lb backend remove 10.77.0.12 vip "$V"
}
@test "backend remove" { killed last ring lb backend remove 10.77.0.12 vip "$V" -- lb backend add 10.77.0.12 vip "$V"; }
@test "backend set down" { killed last ring lb backend set 10.77.0.12 vip "$V" down -- lb backend set 10.77.0.12 vip "$V" up; }
@test "backend set up" {
	lb backend set 10.77.0.12 vip "$V" down
	killed last ring lb backend set 10.77.0.12 vip "$V" up -- lb backend set 10.77.0.12 vip "$V" down
}
@test "backend set weight, at every 5th" {
	killed 5 ring lb backend set 10.77.0.12 vip "$V" weight 9 -- lb backend set 10.77.0.12 vip "$V" weight 1
}
@test "vip add" { killed last ring lb vip add "$W" -- lb vip remove "$W"; }
@test "vip remove" {
	lb vip add "$W"
	lb backend add 10.77.0.13 vip "$W"
	killed last ring lb vip remove "$W" -- lb vip add "$W" -- lb backend add 10.77.0.13 vip "$W"
}
@test "vip add that changes settings" {
	killed last ring lb vip add "$V" sticky source idle 2m hash-seed 4 -- lb vip add "$V" sticky none idle 1m hash-seed 0
}
@test "no memory in each bpf(2): exit status 0 or what was before" {
	lb backend remove 10.77.0.12 vip "$V"
	killed fail ring lb backend add 10.77.0.12 vip "$V" -- lb backend remove 10.77.0.12 vip "$V"
	killed fail ring lb backend remove 10.77.0.12 vip "$V" -- lb backend add 10.77.0.12 vip "$V"
	killed fail ring lb vip add "$W" -- lb vip remove "$W"
}
@test "a change cut short: listings say so, who may not complete it is told" {
	local k
	for ((k = 200; k; k--)); do
		in_ns srv "$FP/killat" call $k "$BUILD/l3afctl" --bpffs "$BPFFS" lb backend set 10.77.0.12 vip "$V" down || continue
		run --separate-stderr l3af lb backend list
		[[ -z $stderr ]] || break
		lb backend set 10.77.0.12 vip "$V" up
	done
	[[ $stderr == "l3afctl: warning: vip $V: a change of it was cut short, "* ]]
	refuses 1 'l3afctl: kf/lb: what a killed run began can be completed with CAP_SYS_ADMIN only' \
		in_ns srv setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$BUILD/l3afctl" --bpffs "$BPFFS" \
		lb backend set 10.77.0.13 vip "$V" weight 5
	does '~ lb backend 10.77.0.13 vip 10.99.0.1:53/udp weight 1 -> 5' l3af lb backend set 10.77.0.13 vip "$V" weight 5
	does '~ lb backend 10.77.0.12 vip 10.99.0.1:53/udp state up -> down' l3af lb backend set 10.77.0.12 vip "$V" down
}
@test "enable, at every 31st, and disable, at every 13th" {
	in_ns srv ip link add x0 type veth peer name x1
	killed 31 'lb list' lb enable dev x0 source 10.0.0.1 gateway 02:77:00:00:00:02 -- lb disable dev x0
	killed 13 'lb list' lb disable dev x0 -- lb enable dev x0 source 10.0.0.1 gateway 02:77:00:00:00:02
}
@test "enable with other settings: packets and listings have all of the old ones or of the new, at every 3rd" {
	killed 3 'lb list' lb enable dev s0 gateway 02:77:00:00:00:02 source 10.77.0.9 source6 fd77::9 -- \
		lb enable dev s0 gateway 02:77:00:00:00:02 source 10.77.0.1 source6 fd77::1
}
