#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: rates and connection counts. Which packets count is asked of the kernel
# function itself (BPF_PROG_TEST_RUN); that connections are limited, of real clients.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run, load and start

load lib

load limits

setup() { pair; }
teardown() { limits_teardown; }

# ---- the command ----

@test "the window's exact vectors, and four threads on one word" {
	"$FP/unit_window"
}

@test "set, set again, change, remove: what is printed" {
	does $'+ limit rate 100/s dev s0 port 80\n+ chain ratelimit dev s0 hook xdp position 1 engine link' \
		l3af limit set rate 100/s dev s0 port 80
	does '' l3af limit set rate 100/s dev s0 port 80
	does '~ limit rate 100/s -> 200/s dev s0 port 80' l3af limit set rate 200/s dev s0 port 80
	does '~ limit rate 200/s dev s0 port 80 action drop -> reset' l3af limit set rate 200 dev s0 port 80 action reset
	does '~ limit rate 200/s dev s0 port 80 window 1s -> 100ms action reset' \
		l3af limit set rate 200/s dev s0 port 80 action reset window 100ms
	does $'+ limit connections 5 dev s0 port 1-1024 vip fd77::1 per source/24\n+ chain connlimit dev s0 hook xdp position 2' \
		l3af limit set connections 5 dev s0 port 1-1024 vip "$V6" per source/24
	does '~ limit connections 5 -> 6 dev s0 port 1-1024 vip fd77::1 per source/24' \
		l3af limit set connections 6 dev s0 port 1-1024 vip "$V6" per source/24
	does '' l3af limit remove connections dev s0 port 1-1024 vip "$V6"
	does '- limit connections 6 dev s0 port 1-1024 vip fd77::1 per source/24' \
		l3af limit remove connections dev s0 port 1-1024 vip "$V6" per source/24
	does '- limit rate 200/s dev s0 port 80 window 100ms action reset' l3af limit remove rate dev s0 port 80
	does '' l3af limit remove rate dev s0 port 80
	does '' l3af limit list
	does '[]' l3af --json limit list
}

@test "remove before anything was set, and list without a state" {
	does '' l3af limit list
	does '' l3af limit remove rate dev s0
	does '' l3af limit remove connections dev s0 per vip
	does '' l3af limit recount
}

@test "--dry-run says the same and changes nothing" {
	local words want before='[]'
	for words in 'rate 100/s dev s0 per port' 'connections 7 dev s0 action reset'; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr l3af --dry-run limit set $words
		want=$output
		[[ -n $want && $(l3af --json limit list) == "$before" ]]
		# shellcheck disable=SC2086
		does "$want" l3af limit set $words
		before=$(l3af --json limit list)
	done
	l3af limit remove --dry-run rate dev s0 per port
	[[ $(l3af --json limit list) == "$before" ]]
	refuses 2 'l3afctl: limit recount: has no --dry-run: counting is all it does' l3af --dry-run limit recount
}

@test "what is wrong is said in one line, and nothing is attempted" {
	refuses 2 'l3afctl: rate: 10/h is less than one connection in a window of 1s; use a longer window' \
		l3af limit set rate 10/h dev s0 window 1s
	refuses 2 'l3afctl: rate: 4194304/s is more than 4194303 connections in a window of 1s; use a shorter window' \
		l3af limit set rate 4194304/s dev s0
	run --separate-stderr l3af limit set rate 0/s dev s0
	[[ $status -eq 2 && $stderr == *"0/s"*"is not a rate N/s, N/m or N/h of at least 1"* ]]
	run --separate-stderr l3af limit set connections -1 dev s0
	[[ $status -eq 2 ]]
	run --separate-stderr l3af limit set rate 1/s dev nosuch
	[[ $status -eq 2 && $stderr == *nosuch* ]]
	run --separate-stderr l3af limit set rate 1/s dev s0 per sauce
	[[ $status -eq 2 && $stderr == *sauce* ]]
	run --separate-stderr l3af limit set rate 1/s dev s0 per source/129
	[[ $status -eq 2 && $stderr == *"source/1..source/128"* ]]
	run --separate-stderr l3af limit set rate 1/s dev s0 per vip/24
	[[ $status -eq 2 && $stderr == *vip/24* ]]
	run --separate-stderr l3af limit set rate 1/s dev s0 vip ::
	[[ $status -eq 2 && $stderr == *"leave vip away for any"* ]]
	run --separate-stderr l3af limit set rate 1/s dev s0 window 2h
	[[ $status -eq 2 && $stderr == *"1ms..1h"* ]]
	[[ ! -e $STATE ]]
}

@test "list tells where the function is not in the chain" {
	limit set rate 3/h dev s0
	[[ $(cell enforced) == true ]]
	l3af chain remove ratelimit dev s0 hook xdp >/dev/null
	[[ $(cell enforced) == false ]]
	does '+ chain ratelimit dev s0 hook xdp position 1' l3af limit set rate 3/h dev s0
	[[ $(cell enforced) == true ]]
}

@test "pins removed by hand: the chain's member is made anew on the new maps" {
	limit set rate 3/h dev s0
	rm -r "$STATE/kf/ratelimit"
	does '' l3af limit list
	run -0 l3af limit set rate 2/h dev s0
	[[ ${lines[0]} == '+ limit rate 2/h dev s0' && ${lines[1]} == '- chain ratelimit dev s0 hook xdp' &&
		${lines[2]} == '+ chain ratelimit dev s0 hook xdp position 1' ]]
	[[ $(cell enforced) == true ]]
	runs 'pass 2 drop 2 tx 0' ratelimit 4
}

@test "a rule of an interface that is gone goes with the next change" {
	in_ns srv ip link add x0 type veth peer name x1
	limit set rate 3/h dev x0
	in_ns srv ip link delete x0
	[[ $(cell dev) == *'(gone)' && $(cell enforced) == false ]]
	run -0 l3af limit set rate 3/h dev s0
	[[ ${lines[0]} == '- limit rate 3/h dev '*'(gone)' && ${lines[1]} == '+ limit rate 3/h dev s0' ]]
}

# ---- which packets ----

@test "SYNs in every wrapping count, nothing else does" {
	local frame
	limit set rate 1/h dev s0 port 80 action drop
	runs 'pass 1 drop 4 tx 0' ratelimit 5
	for frame in v6 vlan qinq opts 'v6 vlan' 'v6 qinq' 'v6 ext' 'v6 vlan ext' frag tiny 'v6 frag' 'v6 tiny' \
		'v6 ext frag' 'vlan opts' 'qinq opts data=100'; do
		# shellcheck disable=SC2086
		runs 'pass 0 drop 2 tx 0' ratelimit 2 $frame
	done
	for frame in ack synack fin udp later cut dport=81 'v6 ack' 'v6 ext ack' 'vlan udp' 'v6 later' 'v6 cut' \
		'v6 ext later' 'opts ack' 'qinq dport=443'; do
		# shellcheck disable=SC2086
		runs 'pass 2 drop 0 tx 0' ratelimit 2 $frame
	done
	# a chain of headers that is too long to walk hides what is behind it
	runs 'pass 0 drop 1 tx 0' ratelimit 1 v6 ext9
	[[ $(cell accepted) == 1 && $(cell dropped) == 35 ]]
	limit set connections 0 dev s0 port 80
	for frame in v6 vlan 'v6 qinq ext' opts tiny; do
		# shellcheck disable=SC2086
		runs 'pass 0 drop 2 tx 0' connlimit 2 $frame
	done
	runs 'pass 2 drop 0 tx 0' connlimit 2 ack
}

@test "a rate is never exceeded, also by four threads at once" {
	limit set rate 500/h dev s0
	run -0 "$SYN" race "$(prog ratelimit)" 4 1000
	[[ $output == 'pass 500 drop 3500 tx 0' ]]
	[[ $(cell accepted) == 500 && $(cell dropped) == 3500 && $(cell use) == 500 ]]
}

@test "per source, port, vip: each has its own" {
	limit set rate 3/h dev s0 per source
	runs 'pass 3 drop 2 tx 0' ratelimit 5 src=192.0.2.1
	runs 'pass 3 drop 2 tx 0' ratelimit 5 src=192.0.2.2
	runs 'pass 3 drop 2 tx 0' ratelimit 5 v6 src=2001:db8::1
	runs 'pass 0 drop 5 tx 0' ratelimit 5 v6 src=2001:db8::2
	runs 'pass 3 drop 2 tx 0' ratelimit 5 v6 src=2001:db8:0:1::1
	[[ $(cell use) == 3 && $(cell keys) == 4 ]]
	limit remove rate dev s0 per source
	limit set rate 3/h dev s0 per source/24
	runs 'pass 3 drop 2 tx 0' ratelimit 5 src=192.0.2.1
	runs 'pass 0 drop 5 tx 0' ratelimit 5 src=192.0.2.200
	runs 'pass 3 drop 2 tx 0' ratelimit 5 src=192.0.3.1
	limit remove rate dev s0 per source/24
	limit set rate 3/h dev s0 per port
	runs 'pass 3 drop 2 tx 0' ratelimit 5 dport=80
	runs 'pass 0 drop 5 tx 0' ratelimit 5 v6 dport=80
	runs 'pass 3 drop 2 tx 0' ratelimit 5 dport=81
	limit remove rate dev s0 per port
	limit set rate 3/h dev s0 per vip
	runs 'pass 3 drop 2 tx 0' ratelimit 5 dst=192.0.2.1
	runs 'pass 3 drop 2 tx 0' ratelimit 5 v6 dst=2001:db8::1
	runs 'pass 0 drop 5 tx 0' ratelimit 5 v6 dst=2001:db8::1 src=2001:db8::9
	limit remove rate dev s0 per vip
	limit set rate 3/h dev s0 vip 192.0.2.1 port 80-90
	runs 'pass 3 drop 2 tx 0' ratelimit 5 dst=192.0.2.1 dport=90
	runs 'pass 5 drop 0 tx 0' ratelimit 5 dst=192.0.2.1 dport=91
	runs 'pass 5 drop 0 tx 0' ratelimit 5 dst=192.0.2.2 dport=80
	runs 'pass 5 drop 0 tx 0' ratelimit 5 v6 dst=2001:db8::1 dport=80
}

@test "ten thousand sources: each has its own, and the busiest is found" {
	limit set rate 2/h dev s0 per source
	runs 'pass 10000 drop 0 tx 0' ratelimit 10000 spoof
	runs 'pass 2 drop 1 tx 0' ratelimit 3 src=192.0.2.7
	[[ $(cell keys) == 10001 && $(cell use) == 2 && $(cell busiest) == 192.0.2.7 ]]
}

@test "all that match must accept; who is refused is counted nowhere" {
	limit set rate 8/h dev s0
	limit set rate 5/h dev s0 per source
	runs 'pass 5 drop 15 tx 0' ratelimit 20 src=192.0.2.1
	runs 'pass 3 drop 7 tx 0' ratelimit 10 src=192.0.2.2
	limit remove rate dev s0
	runs 'pass 2 drop 8 tx 0' ratelimit 10 src=192.0.2.2
	[[ $(cell accepted) == 10 ]]
}

@test "a change of the rate keeps counters and what is used up" {
	limit set rate 3/h dev s0
	runs 'pass 3 drop 2 tx 0' ratelimit 5
	limit set rate 5/h dev s0
	runs 'pass 2 drop 3 tx 0' ratelimit 5
	[[ $(cell accepted) == 5 && $(cell dropped) == 5 ]]
	# another window starts afresh, the counters go on
	limit set rate 5/h dev s0 window 30m
	runs 'pass 3 drop 2 tx 0' ratelimit 5
	[[ $(cell accepted) == 8 ]]
	# a new rule in the old one's place starts at nothing
	limit remove rate dev s0
	limit set rate 3/h dev s0
	[[ $(cell accepted) == 0 && $(cell use) == 0 ]]
}

@test "63 limits, and the 64th is refused" {
	local i
	for ((i = 1; i <= 63; i++)); do limit set rate "$i/h" dev s0 port $((1000 + i)); done
	refuses 1 'l3afctl: there are 63 rate limits, no more fit; remove one first' l3af limit set rate 1/h dev s0
	runs 'pass 63 drop 1 tx 0' ratelimit 64 dport=1063
	limit remove rate dev s0 port 1001
	limit set rate 1/h dev s0
	runs 'pass 1 drop 1 tx 0' ratelimit 2 dport=1062
}

@test "real clients over IPv4 and IPv6: the rate, and not one more" {
	server
	limit set rate 4/h dev s0 port 80
	[[ $(clients 3 5000 "$V4") == 'open 3 refused 0 waiting 0' ]]
	[[ $(clients 3 500 "$V6") == 'open 1 refused 0 waiting 2' ]]
	[[ $(cell accepted) == 4 ]]
	limit remove rate dev s0 port 80
	[[ $(clients 30 5000 "$V6") == 'open 30 refused 0 waiting 0' ]]
}

@test "a flood of SYNs leaves established connections alone" {
	start echo srv python3 -c '
import socket
s = socket.create_server(("10.77.0.1", 80)); print("up", flush=True)
c = s.accept()[0]
while (d := c.recv(65536)): c.sendall(d)'
	limit set rate 10/s dev s0
	limit set connections 5 dev s0
	run -0 in_ns cli python3 -c '
import socket, subprocess, sys
c = socket.create_connection(("10.77.0.1", 80), 10)
flood = subprocess.Popen(sys.argv[1:])
for i in range(2000):
    c.sendall(b"x" * 1000)
    n = 0
    while n < 1000: n += len(c.recv(65536))
assert flood.wait() == 0
c.sendall(b"x"); c.recv(1)
print("all echoed")' "$SYN" send c0 50000 spoof
	[[ $output == 'all echoed' ]]
	[[ $(cell dropped 0) -gt 40000 ]]
}

# ---- connections ----

@test "as many connections as the limit, over both protocols, counted as they go" {
	server
	limit set connections 5 dev s0 port 80
	holders 3 "$V4"
	[[ $(cell use) == 3 ]]
	[[ $(clients 4 500 "$V6") == 'open 2 refused 0 waiting 2' ]]
	soon 3 cell use
	finish holders
	soon 0 cell use
	[[ $(clients 5 5000 "$V6") == 'open 5 refused 0 waiting 0' ]]
	[[ $(cell accepted) == 10 ]]
}

@test "iperf3: its control connection and four streams fit, a fifth stream is refused" {
	local addr
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	limit set connections 5 dev s0 port 5201 action reset
	for addr in "$V4" "$V6"; do
		start iperf srv iperf3 --server --one-off --forceflush
		run -0 in_ns cli iperf3 --client "$addr" --parallel 4 --bytes 20M --json
		[[ $(jq '.end.streams | length' <<<"$output") == 4 ]]
		[[ $(jq '.end.sum_sent.bytes' <<<"$output") -ge 20000000 ]]
		finish iperf
		soon 0 cell use
		start iperf srv iperf3 --server --one-off --forceflush
		run in_ns cli iperf3 --client "$addr" --parallel 5 --bytes 20M --json
		[[ $(jq -r .error <<<"$output") == *'Connection refused'* ]]
		kill "${PID[iperf]}" || true
		finish iperf
		soon 0 cell use
	done
}

@test "200 clients at once: exactly the limit, not one more" {
	local i most=0 now
	server
	limit set connections 50 dev s0 port 80
	clients 200 3000 "$V4" >"$BATS_TEST_TMPDIR/out" 3>&- &
	for ((i = 0; i < 20; i++)); do
		now=$(in_ns srv ss -Htn state established sport = :80 | wc -l)
		((now <= most)) || most=$now
		sleep 0.1
	done
	wait $!
	[[ $(<"$BATS_TEST_TMPDIR/out") == 'open 50 refused 0 waiting 150' && $most -eq 50 ]]
	soon 0 in_ns srv bash -c 'ss -Htn state established sport = :80 | wc -l'
	soon 0 cell use
}

@test "handshakes under way hold a place for four seconds" {
	limit set connections 50 dev s0 port 80
	runs 'pass 50 drop 150 tx 0' connlimit 200
	# the same SYNs again are the same handshakes
	runs 'pass 50 drop 0 tx 0' connlimit 50
	runs 'pass 0 drop 50 tx 0' connlimit 50 v6
	sleep 4.5
	run -0 "$SYN" race "$(prog connlimit)" 4 100 v6
	[[ $output == 'pass 50 drop 350 tx 0' ]]
	# the first ones come late, and there is no room
	runs 'pass 0 drop 50 tx 0' connlimit 50 ack
	# the last ones are in time; what no SYN opened is none of ours
	runs 'pass 400 drop 0 tx 0' connlimit 400 ack v6
	runs 'pass 9 drop 0 tx 0' connlimit 9 ack sport=9
	sleep 4.5
	# now there is room for them, and it is taken
	runs 'pass 50 drop 0 tx 0' connlimit 50 ack
	runs 'pass 0 drop 50 tx 0' connlimit 50 v6 sport=5000
}

@test "connections per source, port and vip" {
	server
	limit set connections 2 dev s0 per source
	in_ns cli ip addr add 10.77.0.3/24 dev c0
	holders 2 "$V4"
	[[ $(clients 1 500 "$V4") == 'open 0 refused 0 waiting 1' ]]
	[[ $(clients 3 500 "$V6") == 'open 2 refused 0 waiting 1' ]]
	runs 'pass 2 drop 1 tx 0' connlimit 3 src=10.77.0.3
	soon 2 cell use
	limit set connections 1 dev s0 vip "$V4" per vip
	[[ $(cell use 1) == 2 ]]
	finish holders
	soon 0 cell use 1
	soon 0 cell use 0
}

@test "what was open before the limit counts, from either family" {
	server
	holders 4 "$V4"
	limit set connections 5 dev s0 port 80
	[[ $(cell use) == 4 ]]
	[[ $(clients 3 500 "$V6") == 'open 1 refused 0 waiting 2' ]]
	soon 4 cell use
	finish holders
	soon 0 cell use
	# a second rule, while the first one counts
	holders 2 "$V6"
	limit set connections 3 dev s0 vip "$V6"
	[[ $(cell use 0) == 2 && $(cell use 1) == 2 ]]
	does '' l3af limit recount
	finish holders
	soon 0 cell use 0
	soon 0 cell use 1
}

@test "connections that this host makes, loopback and other namespaces are not counted" {
	server
	limit set connections 10 dev s0
	start peer cli "$SYN" listen 81
	start out srv "$SYN" open 3 5000 10.77.0.2 81
	[[ $line == 'open 3 refused 0 waiting 0' ]]
	start lo srv "$SYN" open 3 5000 127.0.0.1 80
	[[ $line == 'open 3 refused 0 waiting 0' ]]
	pair other1 other2
	start there other1 "$SYN" listen 80
	start here other2 "$SYN" open 2 5000 10.77.0.1 80
	[[ $line == 'open 2 refused 0 waiting 0' ]]
	[[ $(cell use) == 0 ]]
	does '' l3af limit recount
	[[ $(cell use) == 0 ]]
}

@test "recount repairs a count that is wrong, and says so" {
	local shared=$STATE/kf/connlimit/shared
	server
	holders 3 "$V4"
	limit set connections 5 dev s0 port 80
	bpftool map update pinned "$shared" key hex 00 00 00 00 value hex 04 00 00 00 00 00 00 00 \
		00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
		00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
	[[ $(cell use) == 4 ]]
	does '~ limit connections 5 dev s0 port 80 counted 4 -> 3' l3af limit recount dev s0
	[[ $(cell use) == 3 ]]
	does '' l3af limit recount
	[[ $(clients 3 500 "$V4") == 'open 2 refused 0 waiting 1' ]]
	finish holders
	soon 0 cell use
}

@test "a listener that went away: its connections still count" {
	limit set connections 5 dev s0 port 80
	start one srv python3 -c '
import socket, sys
s = socket.create_server(("10.77.0.1", 80)); print("up", flush=True)
c = s.accept()[0]; s.close(); sys.stdin.read()'
	holders 1 "$V4"
	soon '' in_ns srv ss -Hltn sport = :80
	[[ $(cell use) == 1 ]]
	does '' l3af limit recount
	[[ $(cell use) == 1 ]]
	finish holders
}

# ---- reset ----

@test "action reset: right RSTs, of every wrapping" {
	local frame id
	limit set rate 1/h dev s0 action reset
	runs 'pass 1 drop 0 tx 0' ratelimit 1
	id=$(prog ratelimit)
	while read -r frame; do
		# shellcheck disable=SC2086
		run -0 "$SYN" reset "$id" $frame
		[[ $output == 'reset ack 1001 length '* ]]
	done <<-'END'
		sport=1
		v6 sport=1
		vlan
		qinq
		v6 vlan
		v6 qinq
		opts
		vlan opts
		v6 ext
		v6 qinq ext
	END
	run -0 "$SYN" reset "$id" data=100
	[[ $output == 'reset ack 1101 length 54' ]]
	run -0 "$SYN" reset "$id" v6 ext vlan data=33
	[[ $output == 'reset ack 1034 length 78' ]]
	# who cannot be one host gets none
	runs 'pass 0 drop 1 tx 0' ratelimit 1 src=224.0.0.1
	runs 'pass 0 drop 1 tx 0' ratelimit 1 src=255.255.255.255
	runs 'pass 0 drop 1 tx 0' ratelimit 1 src=127.0.0.1
	runs 'pass 0 drop 1 tx 0' ratelimit 1 v6 src=ff02::1
	runs 'pass 0 drop 1 tx 0' ratelimit 1 v6 src=::1
	# nor who cannot be told a sequence number
	runs 'pass 0 drop 1 tx 0' ratelimit 1 tiny
	[[ $(cell reset) == 12 && $(cell dropped) == 6 ]]
}

@test "resets are capped at 1000 a second" {
	limit set rate 1/h dev s0 action reset
	run -0 "$SYN" run "$(prog ratelimit)" 3001
	local seconds=$SECONDS
	# so many as seconds have begun, and those before them
	[[ $(($(cell reset) + $(cell dropped))) == 3000 && $(cell suppressed) == "$(cell dropped)" ]]
	[[ $(cell reset) -ge 1000 && $(cell reset) -le 2000 || $seconds -gt 1 ]]
}

@test "clients are refused at once, with and without checksum offload" {
	server
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	limit set rate 1/h dev s0 action reset
	limit set connections 0 dev s0 port 81 action reset
	[[ $(clients 1 5000 "$V4") == 'open 1 refused 0 waiting 0' ]]
	[[ $(clients 5 5000 "$V4") == 'open 0 refused 5 waiting 0' ]]
	[[ $(clients 5 5000 "$V6") == 'open 0 refused 5 waiting 0' ]]
	in_ns cli ethtool -K c0 tx off >/dev/null
	[[ $(clients 5 5000 "$V4") == 'open 0 refused 5 waiting 0' ]]
	[[ $(clients 5 5000 "$V6") == 'open 0 refused 5 waiting 0' ]]
	limit remove rate dev s0
	[[ $(clients 5 5000 "$V6" 81) == 'open 0 refused 5 waiting 0' ]]
	[[ $(clients 5 5000 "$V4" 81) == 'open 0 refused 5 waiting 0' ]]
}

# ---- what is left by a killed run ----

# killed US ARGS...: after so many microseconds
killed() {
	timeout -s KILL "$(printf '0.%06d' "$1")" nsenter --net=/run/netns/srv "$BUILD/l3afctl" \
		--bpffs "$BPFFS" "${@:2}" || true
} &>/dev/null

@test "a run killed anywhere leaves the old limits or the new ones" {
	local us
	server
	holders 3 "$V4"
	limit set rate 5/h dev s0 port 80
	limit set connections 5 dev s0 port 80
	for ((us = 1000; us <= 120000; us += 7000)); do
		killed "$us" limit set connections "$us" dev s0 port 443 per source
		[[ $(l3af --json limit list | jq -c '[.[] | select(.port == "80") | [.limit, .use]]') == \
			'[["rate 5/h",0],["connections 5",3]]' ]]
		killed "$us" limit recount
		[[ $(l3af --json limit list | jq -c '[.[] | select(.port == "80") | [.limit, .use]]') == \
			'[["rate 5/h",0],["connections 5",3]]' ]]
	done
	limit set connections 9 dev s0 port 443 per source
	limit remove connections dev s0 port 443 per source
	does '' l3af limit recount
	finish holders
	soon 0 cell use 1
}

@test "the very first run killed anywhere: the next one completes it" {
	local us
	for ((us = 5000; us <= 200000; us += 13000)); do
		killed "$us" limit set connections 5 dev s0 port 80
		limit set connections 5 dev s0 port 80
		[[ $(l3af --json limit list | jq -c '.[] | [.limit, .enforced]') == '["connections 5",true]' ]]
		runs 'pass 5 drop 1 tx 0' connlimit 6
		l3af chain detach dev s0 hook xdp >/dev/null
		rm -r "$STATE"
	done
}
