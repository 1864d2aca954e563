#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# 100 000 established flows, a backend more, and a flood of SYNs: who stays is counted, flow by
# flow, from what the load balancer sends.
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # variables of run and load

load lib

setup() {
	quiet_netns lb
	quiet_netns edge
	wire lb e0 1 edge c0 2
	in_ns lb ip link add idle0 type veth peer name idle1
	in_ns lb ip link set idle0 up
	# what the load balancer sends goes nowhere
	NS=edge l3af chain add drop dev c0 hook xdp object "$FP/bpf/drop.o" >/dev/null
}
teardown() {
	finish_all
	wipe
}

N=100000 FLOOD=5000000
VIP4=198.51.100.1 VIP6=2001:db8:100::1

stat_of() { NS=lb l3af --json lb stats | jq "[.. | objects | select(has(\"vip\") and (has(\"backend\") | not)) | .$1] | add"; }

@test "a flood of $FLOOD SYNs leaves every one of $N established flows on its backend" {
	local n prog from=1000000 started
	NS=lb
	# seven flows of 100 000 share a bucket here and there; eight of one, in one run of 500
	l3af lb enable dev e0 gateway 02:77:00:00:00:02 flows 2097152 >/dev/null
	for n in "$VIP4:80/tcp" "[$VIP6]:80/tcp"; do
		l3af lb vip add "$n" >/dev/null
		l3af lb backend add 10.77.0.11 vip "$n" >/dev/null
		l3af lb backend add 10.77.0.12 vip "$n" >/dev/null
	done
	prog=$(l3af --json chain list dev e0 hook xdp | jq '.[] | select(.name == "lb") | .program_id')
	start keep lb "$FP/lbflood" keep "$prog" "$VIP4,$VIP6" 80 $N
	[[ $line == "established $N" ]]
	# the ring alone would send a third of them elsewhere
	for n in "$VIP4:80/tcp" "[$VIP6]:80/tcp"; do l3af lb backend add 10.77.0.13 vip "$n" >/dev/null; done
	echo >&"${IN[keep]}"
	read -r line <"$BATS_TEST_TMPDIR/keep.out"
	figure "before the flood: $line"
	started=$SECONDS
	while (($(stat_of flows) < N + FLOOD)); do
		for n in "$VIP4" "$VIP6"; do
			in_ns edge "$FP/lbflood" syn c0 02:77:00:00:00:01 "$n" 80 $from $((FLOOD / 4))
			from=$((from + FLOOD / 4))
		done
	done
	figure "$(($(stat_of flows) - N)) new flows in $((SECONDS - started)) s"
	echo >&"${IN[keep]}"
	read -r line <"$BATS_TEST_TMPDIR/keep.out"
	figure "after the flood: $line"
	[[ $line == "kept $N moved 0 lost 0" ]]
}
