#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# l2tp commands, killed at any system call: the old state or the new one, frames of another
# pseudowire pass meanwhile, and the next command makes all of it whole.

load lib
load l2tp

ENDS=(underlay s0 local 10.77.0.1 remote 10.77.0.2 session 7 peer-session 8)

setup() {
	pair
	our_ends 1 4 udp 4 default
	in_ns srv ip link add x0 type veth peer name x1
}
teardown() { wipe; }

# killed STEP WORD... -- WORD...: see l2tpkill.py
killed() {
	local out
	out=$("$TOP/tests/tools/l2tpkill.py" "$FP" "$BUILD/l3afctl" "$BPFFS" "$@" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
}

@test "add netdev, at every 23rd" {
	killed 23 l2tp add v2 netdev q0 "${ENDS[@]}" encap ip sequence on -- l2tp remove v2
}
@test "add dev, at every 41st" { killed 41 l2tp add v2 dev x0 vlan 7 "${ENDS[@]}" encap udp sport 9 -- l2tp remove v2; }
@test "remove, at every 29th: of an interface that was made, of another" {
	l3af -q l2tp add v2 netdev q0 "${ENDS[@]}" encap ip >/dev/null
	killed 29 l2tp remove v2 -- l2tp add v2 netdev q0 "${ENDS[@]}" encap ip
	l3af -q l2tp add v2 dev x0 "${ENDS[@]}" encap ip >/dev/null
	killed 31 l2tp remove v2 -- l2tp add v2 dev x0 "${ENDS[@]}" encap ip
}
@test "set, at every 7th" {
	l3af -q l2tp add v2 netdev q0 "${ENDS[@]}" encap udp >/dev/null
	killed 7 l2tp set v2 sport 8 rx-cookie 01020304 sequence on mtu 1000 -- \
		l2tp set v2 sport 1701 rx-cookie none sequence off mtu auto
}
@test "an error in bpf(2): of add and remove in each 13th, of set in each" {
	killed fail:13 l2tp add v2 netdev q0 "${ENDS[@]}" encap ip sequence on -- l2tp remove v2
	killed fail:13 l2tp remove v2 -- l2tp add v2 netdev q0 "${ENDS[@]}" encap ip sequence on
	l3af -q l2tp add v2 netdev q0 "${ENDS[@]}" encap udp >/dev/null
	killed fail:1 l2tp set v2 sport 8 sequence on -- l2tp set v2 sport 1701 sequence off
}
