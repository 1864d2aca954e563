#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb against a simulation of it in plain C: a million random flows each (tests/lbsim.c).
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run

load lib

setup() {
	pair
	l3af lb enable dev s0 gateway 02:77:00:00:00:02 >/dev/null
}
teardown() { wipe; }

# serve VIP SEED STICKY ADDR=WEIGHT...: made, in another order than the simulation is told
serve() {
	local vip=$1 b
	l3af lb vip add "$vip" hash-seed "$2" sticky "$3" >/dev/null
	for b in "${@:4}"; do echo "$b"; done | tac | while IFS='=' read -r addr weight; do
		l3af lb backend add "$addr" vip "$vip" weight "$weight" >/dev/null
	done
}
# new VIP SEED STICKY ADDR=WEIGHT...: a million flows
new() {
	local sticky=$3
	[[ $sticky == source ]] && sticky=1 || sticky=0
	run in_ns srv env L3AF_BPFFS="$BPFFS" "$FP/lbsim" new "$FP/bpf/lbsim.o" "$1" 1000000 "$2" "$sticky" "${@:4}"
	echo "$output"
	[[ $output == 'flows 1000000 backends '*' wrong 0 chi2 '* ]]
	figure "$1 sticky $3: $output"
}
# known VIP: of the last of that million, lb which says where they go
known() {
	run in_ns srv env L3AF_BPFFS="$BPFFS" "$FP/lbsim" known "$FP/bpf/lbsim.o" "$1" 992000 8000
	echo "$output"
	[[ $output == flows\ *\ wrong\ 0\ by\ flow\ * ]]
	figure "$1: $output"
}
both() { serve "$@" && new "$@"; }

@test "IPv4: the kernel and the simulation agree on a million flows" {
	both 192.0.2.1:53/udp 0 none 10.0.0.1=1 10.0.0.2=2 10.0.0.3=7 10.0.0.4=0
	both 192.0.2.1:80/tcp 4294967295 none 10.0.0.1=1 10.0.0.2=1 10.0.0.3=1
}

@test "IPv6: the same" {
	both '[2001:db8::1]:53/udp' 7 none 10.0.0.1=3 fd00::2=2 fd00::3=1
	both '[2001:db8::1]:443/tcp' 0 none fd00::9=100 fd00::2=100 fd00::3=1
}

@test "sticky: the same, IPv4 and IPv6" {
	both 192.0.2.2:53/udp 1 source 10.0.0.1=1 10.0.0.2=2 fd00::3=3
	both '[2001:db8::2]:53/udp' 1 source 10.0.0.1=1 10.0.0.2=2 fd00::3=3
}

@test "60 backends of all weights" {
	local -a backends
	mapfile -t backends < <(for i in {1..60}; do echo "10.1.0.$i=$((9 * i + 100))"; done)
	both 192.0.2.3:53/udp 99 none "${backends[@]}"
}

@test "flows that are known stay, others and those of a backend that is down go by the ring: as which says" {
	local -r vip=192.0.2.4:53/udp
	local -a backends=(10.0.0.1=1 10.0.0.2=1 10.0.0.3=1 10.0.0.4=1)
	both "$vip" 0 none "${backends[@]}"
	l3af lb backend set 10.0.0.1 vip "$vip" down >/dev/null
	l3af lb backend set 10.0.0.2 vip "$vip" drain >/dev/null
	l3af lb backend set 10.0.0.3 vip "$vip" weight 5 >/dev/null
	known "$vip"
	# some of a million found their bucket full, and those of .1 have moved
	[[ $output =~ by\ flow\ ([0-9]+)\ client\ 0\ ring\ ([0-9]+)\ moved\ ([0-9]+)$ ]]
	((BASH_REMATCH[1] > 1000 && BASH_REMATCH[2] > 1000 && BASH_REMATCH[3] > 100))
}

@test "sticky clients that are known, as which says" {
	local -r vip='[2001:db8::4]:53/udp'
	both "$vip" 0 source fd00::1=1 fd00::2=1 fd00::3=1
	l3af lb backend set fd00::1 vip "$vip" down >/dev/null
	l3af lb backend set fd00::2 vip "$vip" drain >/dev/null
	l3af lb backend set fd00::3 vip "$vip" weight 5 >/dev/null
	l3af lb backend add fd00::4 vip "$vip" >/dev/null
	known "$vip"
}
