# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Limits on another kernel; tests/limit.bats has the details.

load ../lib
load ../limits

setup() {
	[[ $BATS_TEST_DESCRIPTION == "what the kernel lacks"* || $(uname -r) != 5.10.* ]] ||
		skip '5.10 has no BPF atomic operations (they came with 5.12)'
	pair
}
teardown() { limits_teardown; }

@test "what the kernel lacks is refused in one line, or it lacks nothing" {
	[[ $(uname -r) == 5.10.* ]] || skip 'this kernel has what limits need'
	local words
	for words in 'rate 1/s' 'connections 1'; do
		# shellcheck disable=SC2086
		refuses 1 'l3afctl: limits need BPF atomic operations, which this kernel does not have (Linux 5.12 and later do)' \
			l3af limit set $words dev s0
	done
}

@test "SYNs in every wrapping count, nothing else does" {
	local frame
	limit set rate 1/h dev s0 port 80
	runs 'pass 1 drop 1 tx 0' ratelimit 2
	for frame in v6 vlan 'v6 qinq' opts 'v6 ext' tiny 'v6 frag'; do
		# shellcheck disable=SC2086
		runs 'pass 0 drop 1 tx 0' ratelimit 1 $frame
	done
	for frame in ack udp later cut dport=81 'v6 ext ack'; do
		# shellcheck disable=SC2086
		runs 'pass 1 drop 0 tx 0' ratelimit 1 $frame
	done
}

@test "a rate is never exceeded, also by four threads at once" {
	limit set rate 100/h dev s0
	limit set rate 60/h dev s0 per source
	run -0 "$SYN" race "$(prog ratelimit)" 4 100
	[[ $output == 'pass 60 drop 340 tx 0' ]]
	runs 'pass 40 drop 60 tx 0' ratelimit 100 src=192.0.2.1
}

@test "as many connections as the limit, counted as they come and go" {
	server
	holders 2 "$V6"
	limit set connections 5 dev s0 port 80
	[[ $(cell use) == 2 ]]
	[[ $(clients 8 3000 "$V4") == 'open 3 refused 0 waiting 5' ]]
	soon 2 cell use
	does '' l3af limit recount
	finish holders
	soon 0 cell use
	runs 'pass 5 drop 15 tx 0' connlimit 20
}

@test "clients are refused at once" {
	server
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	limit set connections 0 dev s0 port 80 action reset
	[[ $(clients 3 20000 "$V4") == 'open 0 refused 3 waiting 0' ]]
	[[ $(clients 3 20000 "$V6") == 'open 0 refused 3 waiting 0' ]]
	run -0 "$SYN" reset "$(prog connlimit)" v6 qinq ext
	[[ $output == 'reset ack 1001 length 82' ]]
}
