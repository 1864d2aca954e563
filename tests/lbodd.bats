#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Packets that a load balancer seldom sees, one at a time (tests/lbpkt.c).

load lib

setup() {
	pair
	l3af lb enable dev s0 source 10.77.0.1 source6 fd77::1 gateway 02:77:00:00:00:02 flows 1024 >/dev/null
	PROG=$(echo "$STATE"/chain/*/*/xdp/member/*)
}
teardown() { wipe; }

# serve VIP BACKEND...
serve() {
	local vip=$1
	l3af lb vip add "$vip" >/dev/null
	for b in "${@:2}"; do l3af lb backend add "$b" vip "$vip" >/dev/null; done
}

# packets FRAME = ANSWER...: what becomes of each
packets() {
	local -a frames=() answers=()
	for line; do frames+=("${line% = *}") answers+=("${line#* = }"); done
	run diff <(printf '%s\n' "${answers[@]}") <(printf '%s\n' "${frames[@]}" |
		in_ns srv env LBHARNESS="$FP/bpf/lbharness.o" "$FP/lbpkt" run "$PROG")
	[[ -z $output ]] || { echo "$output"; return 1; }
}

pkt() { in_ns srv env BPFFS="$BPFFS" LBHARNESS="$FP/bpf/lbharness.o" "$FP/lbpkt" "$@"; }

@test "fragments: those of a datagram stay together, lengths are right, IPv4 tells protocols apart" {
	serve 10.99.0.1:80/tcp 10.77.0.2
	serve 10.99.0.1:53/udp 10.77.0.3
	serve '[fd99::1]:53/udp' 10.77.0.2
	local udp='proto=udp dport=53 data=8' to='tx 10.77.0.1 > 10.77.0.3 id 5 nodf nocsum'
	local v6='v6 proto=udp dport=53 id=6 data=8'
	packets "$udp id=5 frag=0,1 = $to" "$udp id=5 frag=16,0 = $to" \
		"$udp id=5 frag=16,0 size=20 = $to" "$udp id=5 frag=16,0 size=19 = drop" \
		"$udp id=5 frag=16,0 size=60 = drop" "proto=tcp id=5 frag=16,0 data=8 = drop" \
		"proto=tcp id=5 frag=0,1 data=8 = tx 10.77.0.1 > 10.77.0.2 id 5 nodf nocsum" "$udp id=5 frag=16,0 = $to" \
		"$v6 frag=0,1 = tx 10.77.0.1 > 10.77.0.2 nocsum" "$v6 frag=16,0 = tx 10.77.0.1 > 10.77.0.2 nocsum" \
		"$v6 frag=16,0 size=48 = tx 10.77.0.1 > 10.77.0.2 nocsum" "$v6 frag=16,0 size=47 = drop"
}

@test "a flow that another processor saw in the next tick is not an old one" {
	serve 10.99.0.1:80/tcp 10.77.0.11
	local -a known=()
	for i in {1..20}; do known+=("sport=$i = tx 10.77.0.1 > 10.77.0.11 nodf csum"); done
	packets "${known[@]}" "${known[@]}"
	serve 10.99.0.1:80/tcp 10.77.0.12
	serve 10.99.0.1:80/tcp 10.77.0.13
	pkt age lb -1
	packets "${known[@]}"
}

@test "a next hop whose neighbour the kernel has lost is kept; another one, not yet known, is not taken for it" {
	local to='tx 10.77.0.1 > 10.200.0.5 nodf csum'
	in_ns srv sysctl -qw net.ipv4.conf.all.forwarding=1
	in_ns srv ip route add 10.200.0.0/24 via 10.77.0.2
	l3af lb enable dev s0 gateway auto >/dev/null
	serve 10.99.0.1:80/tcp 10.200.0.5
	packets "dport=80 = $to"
	in_ns srv ip neigh del 10.77.0.2 dev s0
	sleep 2.2 # what it said is good for two ticks
	packets "dport=80 = $to"
	in_ns srv ip route replace 10.200.0.0/24 via 10.77.0.9
	sleep 2.2
	packets 'dport=80 = drop'
	in_ns srv ip neigh replace 10.77.0.9 lladdr 02:77:00:00:00:02 dev s0
	packets "dport=80 = $to"
}
