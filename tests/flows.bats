#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# flows: the command, through real packets. What is counted is asked of list and stats.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run

load lib

setup() { pair; }
teardown() { tidy; }

# flows WORDS...: a change, its lines not shown
flows() { l3af flows "$@" >/dev/null; }
# udp N PORT [SIZE [ADDR]]: datagrams from port 4000 of cli, which nobody has to listen to
udp() {
	in_ns cli python3 -c '
import socket, sys
n, port, size, to = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4000))
for i in range(n): s.sendto(b"x" * size, (to, port))' "$1" "$2" "${3-10}" "${4-10.77.0.1}"
}
# many FIRST N: one datagram to each of N ports
many() {
	in_ns cli python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4000))
for i in range(int(sys.argv[2])): s.sendto(b"x", ("10.77.0.1", int(sys.argv[1]) + i))' "$1" "$2"
}
# tagged VID: one datagram of 10 octets, as udp sends them, with a VLAN tag
tagged() {
	in_ns cli python3 -c '
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("c0", 0))
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 38, 0, 0, 64, 17, 0, bytes([10, 77, 0, 2]), bytes([10, 77, 0, 1]))
s.send(bytes.fromhex("027700000001" + "027700000002" + "8100") + struct.pack("!HH", int(sys.argv[1]), 0x800) +
	ip + struct.pack("!HHHH", 4000, 53, 18, 0) + b"x" * 10)' "$1"
}
# page [OPTION...]: over TCP
page() {
	echo hello >"$BATS_TEST_TMPDIR/index.html"
	in_ns srv busybox httpd -p 80 -h "$BATS_TEST_TMPDIR" 3>&-
	in_ns cli curl -s -o /dev/null "$@"
}
# cells FILTER [WORDS...]: what a jq filter makes of each row of flows list
cells() { l3af --json flows list "${@:2}" | jq -r ".[] | $1"; }
# stat_of FILTER: of flows stats
stat_of() { l3af --json flows stats | jq -r "$1"; }
# the end of a test: nothing of flows stays but what chains are
away() {
	l3af -q flows disable >/dev/null
	flows flush
	for hook in tc-ingress tc-egress; do l3af chain detach dev s0 hook $hook >/dev/null; done
}

D=udp/10.77.0.2:4000-10.77.0.1:53

# ---- enable, disable ----

@test "enable, again, change, disable: what is printed" {
	does '+ flows instance flows max 262144 active 0s idle 15s
+ flows dev s0 direction ingress
+ chain flows dev s0 hook tc-ingress position 1 engine tcx
+ flows dev s0 direction egress
+ chain flows dev s0 hook tc-egress position 1 engine tcx' l3af flows enable dev s0
	does '' l3af flows enable dev s0
	does '' l3af flows enable dev s0 direction ingress max 262144 sample 1/1 active 0 idle 15s
	does '~ flows instance flows active 0s -> 1m idle 15s -> 0s' l3af flows enable dev s0 active 60s idle 0
	does '~ flows dev s0 direction egress sample 1/1 -> 1/10' l3af flows enable dev s0 direction egress sample 1/10
	does '' l3af flows enable dev s0
	does '- flows dev s0 direction egress
- chain flows dev s0 hook tc-egress' l3af flows disable dev s0 direction egress
	does '' l3af flows disable dev s0 direction egress
	does '+ flows dev s0 direction egress
+ chain flows dev s0 hook tc-egress position 1' l3af flows enable dev s0
	does '- flows dev s0 direction ingress
- chain flows dev s0 hook tc-ingress
- flows dev s0 direction egress
- chain flows dev s0 hook tc-egress
- flows instance flows' l3af flows disable dev s0
	does '' l3af flows disable dev s0
	does '' l3af flows disable
	does '' l3af flows list
	does '[]' l3af --json flows list
	away
}

@test "a TCP flow without flags leaves no column empty" {
	flows enable dev s0 direction ingress
	in_ns cli "$FP/flowsend" send c0 1 proto=tcp sport=7 flags=0
	[[ $(l3af flows list | awk 'NR == 2 { print $8, $9 }') == '- tcp/10.77.0.2:7-10.77.0.1:53' ]]
	[[ $(l3af --json flows list | jq '.[0].tcp_flags') == null ]]
	away
}

@test "an interface whose packets have no Ethernet header is refused" {
	local words
	in_ns srv ip tuntap add t0 mode tun
	for words in 'flows enable dev t0' '--dry-run flows enable dev t0' 'chain add flows dev t0 hook tc-ingress'; do
		# shellcheck disable=SC2086
		refuses 1 'l3afctl: t0: its packets have no Ethernet header, flows cannot be counted there' l3af $words
	done
	[[ $(l3af --json flows stats | jq .instances) == '[]' ]]
}

@test "nothing was ever enabled: listings are empty, nothing is an error" {
	does '' l3af flows list
	does '' l3af flows top
	does '' l3af flows stats
	does '{"instances":[],
"places":[],
"collectors":[]}' l3af --json flows stats
	does '' l3af flows collector list
	does '[]' l3af --json flows collector list
	does '' l3af flows collector remove 10.77.0.2:4739/udp
	does '' l3af flows disable
	does '' l3af flows flush
	refuses 1 "l3afctl: $D: there is no such flow in instance flows" l3af flows show "$D"
	refuses 1 'l3afctl: there is no instance x; l3afctl flows enable dev IF instance x makes it' \
		l3af flows list instance x
	[[ ! -e $STATE/kf ]]
}

@test "--dry-run prints what the run prints, and changes nothing" {
	local words want before
	for words in 'enable dev s0 max 64 sample 1/3' 'enable dev s0 idle 1m sample 1/1' 'disable dev s0 direction egress' \
		flush disable flush; do
		before=$(find "$STATE" -printf '%P ' 2>/dev/null; l3af --json flows stats | jq 'del(.instances[].memory_bytes)')
		# shellcheck disable=SC2086
		run -0 --separate-stderr l3af --dry-run flows $words
		want=$output
		[[ $(find "$STATE" -printf '%P ' 2>/dev/null; l3af --json flows stats | jq 'del(.instances[].memory_bytes)') == "$before" ]]
		# shellcheck disable=SC2086
		run -0 --separate-stderr l3af flows $words
		[[ $output == "$want" ]] || { printf '%s\n' "$words" "$want" -- "$output"; return 1; }
		many 1000 3
	done
	away
}

@test "changes as JSON" {
	run -0 --separate-stderr l3af --json flows enable dev s0 direction ingress idle 30s
	jq -e '.changed and .changes[0] == {op: "add", object: "flows", instance: "flows", max: 262144, active: "0s", idle: "30s"}
		and .changes[1] == {op: "add", object: "flows", dev: "s0", direction: "ingress"}' <<<"$output"
	does '{"changed":false,"dry_run":false,"changes":[]}' l3af --json flows enable dev s0 direction ingress idle 30s
	run -0 l3af --json flows enable dev s0 direction ingress idle 45s
	jq -e '.changes == [{op: "change", object: "flows", instance: "flows", idle: {from: "30s", to: "45s"}}]' <<<"$output"
	away
}

@test "one interface, one instance; the table's size does not change" {
	flows enable dev s0 max 32 direction ingress
	refuses 1 'l3afctl: instance flows has a table of max 32 flows, which cannot change while it lives; export what is in it, then l3afctl flows disable, and enable it with max 64' \
		l3af flows enable dev s0 max 64
	refuses 1 'l3afctl: flows on s0 ingress are counted by instance flows; l3afctl flows disable dev s0 first, or give instance flows' \
		l3af flows enable dev s0 instance other
	[[ ! -e $STATE/kf/other ]]
	does $'+ flows instance other max 16 active 0s idle 15s
+ flows dev s0 direction egress instance other
+ chain flows dev s0 hook tc-egress position 1 engine tcx' l3af flows enable dev s0 direction egress instance other max 16
	udp 1 53
	[[ $(cells .flow) == "$D" ]]
	# the port was closed
	[[ $(cells .flow instance other) == icmp/10.77.0.1-10.77.0.2/3.3 ]]
	[[ $(stat_of '[.instances[].instance, .places[].instance] | join(",")') == flows,other,flows,other ]]
	l3af --json flows stats instance other | jq -e '[.instances, .places | map(.instance)] == [["other"], ["other"]]'
	# a chain that changes elsewhere takes no named instance along
	does $'- flows dev s0 direction egress instance other
- chain flows dev s0 hook tc-egress' l3af -q flows disable dev s0 instance other
	l3af chain add pass dev s0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	l3af chain detach dev s0 hook xdp >/dev/null
	[[ $(cells .flow instance other) == icmp/10.77.0.1-10.77.0.2/3.3 ]]
	does $'- flows instance other flows 1 unsent-packets 1 unsent-octets 66\n- flows instance other' \
		l3af flows flush instance other
	away
}

@test "flows is the first on ingress and the last on egress" {
	local hook
	for hook in tc-ingress tc-egress; do
		l3af chain add counter dev s0 hook $hook object "$FP/bpf/counter.o" >/dev/null
	done
	flows enable dev s0
	[[ $(l3af --json chain list dev s0 | jq -r '.[].name' | paste -sd,) == flows,counter,counter,flows ]]
	flows disable
	for hook in tc-ingress tc-egress; do l3af chain detach dev s0 hook $hook >/dev/null; done
}

@test "a failure to attach leaves no instance behind" {
	local n
	for ((n = 0; n < 32; n++)); do
		l3af chain add "m$n" dev s0 hook tc-ingress object "$FP/bpf/counter.o" >/dev/null
	done
	run -1 --separate-stderr l3af flows enable dev s0
	[[ -z $output && $stderr == *'has 32 members, the most there can be'* ]]
	[[ ! -e $STATE/kf/flows ]]
	l3af chain detach dev s0 hook tc-ingress >/dev/null
}

@test "pins removed by hand: enable counts anew" {
	flows enable dev s0 direction ingress
	udp 3 53
	rm -r "$STATE/kf/flows"
	does $'+ flows instance flows max 262144 active 0s idle 15s
- chain flows dev s0 hook tc-ingress
+ flows dev s0 direction ingress
+ chain flows dev s0 hook tc-ingress position 1' l3af flows enable dev s0 direction ingress
	udp 2 53
	[[ $(cells .packets) == 2 ]]
	away
}

@test "an interface that is gone: its flows stay until they were sent or flushed" {
	flows enable dev s0 direction ingress
	udp 3 53
	in_ns srv ip link del s0
	[[ $(cells '[.dev, .packets] | @csv') == '"s0(gone)",3' ]]
	[[ $(stat_of '.places[] | [.dev, .on, .packets] | @csv') == '"s0(gone)",false,3' ]]
	run -0 --separate-stderr l3af flows disable
	[[ -z $output && $stderr == 'l3afctl: warning: instance flows stays: 1 of its flows have 3 packets that were not exported; l3afctl flows export sends them, l3afctl flows flush drops them' ]]
	does $'- flows instance flows flows 1 unsent-packets 3 unsent-octets 114\n- flows instance flows' l3af flows flush
}

# ---- looking ----

@test "list: one line for each flow, key last" {
	flows enable dev s0 direction ingress
	udp 3 53 100
	udp 1 53 10 fd77::1
	run -0 --separate-stderr l3af flows list
	[[ ${#lines[@]} == 3 && ${lines[0]} == *PACKETS*OCTETS*DEV*DIRECTION*VLAN*STATE*IDLE_S*FLAGS*FLOW ]]
	[[ ${lines[1]} =~ ^\ +3\ +384\ +s0\ +ingress\ +-\ +live\ +0\ +-\ +udp/10.77.0.2:4000-10.77.0.1:53$ ]]
	[[ ${lines[2]} =~ ^\ +1\ +58\ +s0\ +.*\ udp/\[fd77::2\]:4000-\[fd77::1\]:53$ ]]
	run -0 l3af -v flows list
	[[ ${lines[0]} == *TTL*FIRST*LAST*FLOW && ${lines[1]} == *Z\ *Z\ * ]]
	away
}

@test "list --json: one record a line, every part of the key, times and flags" {
	flows enable dev s0 direction ingress
	page http://10.77.0.1/
	in_ns cli busybox ping -q -c 1 10.77.0.1 >/dev/null
	run -0 --separate-stderr l3af --json flows list
	[[ ${#lines[@]} == 2 && ${lines[0]} == '[{'*'},' && ${lines[1]} == ' {'*'}]' ]]
	jq -e '.[0] | .proto == 6 and .src == "10.77.0.2" and .dst == "10.77.0.1" and .dport == 80 and .sport > 1023 and
		.tcp_flags == "APSF" and .dev == "s0" and .direction == "ingress" and .vlan == null and .state == "live" and
		.end_reason == null and .ttl_min == 64 and .ttl_max == 64 and .tos == 0 and .icmp_type == null' <<<"$output"
	jq -e '.[1] | .proto == 1 and .icmp_type == 8 and .icmp_code == 0 and .sport == null and .tcp_flags == null and
		.packets == 1 and .octets == 84 and .flow == "icmp/10.77.0.2-10.77.0.1/8.0"' <<<"$output"
	jq -e --arg now "$(date -u +%FT%T.999Z)" --arg before "$(date -u -d '1 minute ago' +%FT%TZ)" \
		'all(.first <= .last and .last <= $now and .first > $before)' <<<"$output"
	away
}

@test "list by octets, packets, rate; limit" {
	flows enable dev s0 direction ingress
	udp 5 1001 10
	udp 2 1002 500
	udp 9 1003 1
	udp 1 1004 200
	[[ $(cells .dport | paste -sd,) == 1001,1002,1003,1004 ]]
	[[ $(cells .dport by octets | paste -sd,) == 1002,1003,1004,1001 ]]
	[[ $(cells .dport by packets | paste -sd,) == 1003,1001,1002,1004 ]]
	[[ $(cells .dport by packets limit 2 | paste -sd,) == 1003,1001 ]]
	[[ $(cells .dport limit 3 | paste -sd,) == 1001,1002,1003 ]]
	[[ $(cells .dport by octets limit 1 match dport 1001-1003) == 1002 ]]
	# what had its packets before has no rate
	nsenter --net=/run/netns/cli bash -c 'exec 4>/dev/udp/10.77.0.1/1005; while :; do echo x >&4; sleep 0.05; done' 2>/dev/null 3>&- &
	run -0 --separate-stderr l3af --json flows list by rate limit 2
	kill $!
	jq -e 'length == 2 and .[0].dport == 1005 and .[0].packets_per_second > 0 and .[0].octets_per_second > .[0].packets_per_second
		and .[1].octets_per_second == 0' <<<"$output"
	away
}

@test "a limit keeps the best of many" {
	flows enable dev s0 direction ingress
	many 1 3000
	udp 2 2500
	udp 3 7
	[[ $(cells .dport by packets limit 2 | paste -sd,) == 7,2500 ]]
	[[ $(cells .dport by packets limit 3 | paste -sd,) == 7,2500,1 ]]
	[[ $(l3af flows list | wc -l) == 3001 && $(cells .dport | sort -n | uniq | wc -l) == 3000 ]]
	away
}

@test "match: addresses, ports, protocol, VLAN, interface, direction" {
	flows enable dev s0
	udp 1 53
	udp 1 53 10 fd77::1
	tagged 100
	tagged 0
	in_ns cli busybox ping -q -c 1 10.77.0.1 >/dev/null
	n() { cells .flow "$@" | wc -l; }
	local -i all
	all=$(n)
	((all == 8)) || l3af flows list
	[[ $(n match src 10.77.0.2) == 4 && $(n src 10.77.0.0/24 dst 10.77.0.1) == 4 && $(n src ::/0) == "$all" ]]
	[[ $(n src 0.0.0.0/0) == 6 && $(n src fd77::/16) == 2 && $(n dst fd77::2) == 1 && $(n dst 10.77.0.3) == 0 ]]
	[[ $(n dport 53) == 4 && $(n dport 52-53 proto udp) == 4 && $(n sport 4000) == 4 && $(n sport 1-3999) == 0 ]]
	# type 8 of ICMP is no port
	[[ $(n sport 8) == 0 && $(n sport 3) == 0 && $(n proto icmp) == 3 && $(n proto 58) == 1 ]]
	[[ $(n vlan 100) == 1 && $(n vlan 0) == 1 && $(n vlan none) == $((all - 2)) && $(n vlan 7) == 0 ]]
	[[ $(n direction ingress) == 5 && $(n match direction egress) == 3 && $(n direction both dev s0) == "$all" ]]
	[[ $(n dev lo) == 0 && $(n dev s0 match proto udp vlan 100 direction ingress) == 1 ]]
	[[ $(cells .vlan vlan 100) == 100 && $(cells .vlan vlan 0) == 0 ]]
	away
}

@test "show: the key as list prints it; each interface, direction and VLAN that has it" {
	flows enable dev s0
	udp 2 53
	tagged 100
	in_ns cli busybox ping -q -c 1 10.77.0.1 >/dev/null
	local flow
	while read -r flow; do
		run -0 --separate-stderr l3af flows show "$flow"
		[[ $output == *"FLOW: $flow"* && -z $stderr ]]
	done < <(cells .flow)
	run -0 --keep-empty-lines l3af flows show "$D"
	[[ ${lines[0]} == 'PACKETS: 2' && $output == *$'\n\nPACKETS: 1\n'* && $output == *$'\nVLAN: 100\n'* ]]
	run -0 --separate-stderr l3af --json flows show "$D"
	jq -e '[.[] | [.vlan, .packets]] == [[null, 2], [100, 1]]' <<<"$output"
	[[ $(l3af --json flows show "$D" dev s0 direction ingress | jq length) == 2 ]]
	refuses 1 "l3afctl: $D: there is no such flow there in instance flows" l3af flows show "$D" direction egress
	refuses 1 'l3afctl: udp/10.77.0.2:4000-10.77.0.1:54: there is no such flow in instance flows' \
		l3af flows show "${D%3}4"
	away
}

@test "top prints once where there is no terminal" {
	flows enable dev s0 direction ingress
	many 1000 12
	run -0 --separate-stderr l3af flows top
	[[ ${#lines[@]} == 11 && ${lines[0]} == PACKETS/S*FLOW && -z $stderr && $output != *$'\e'* ]]
	run -0 l3af flows top by packets limit 3
	((${#lines[@]} == 4))
	# of those without a rate the biggest first
	udp 3 1005 100
	udp 2 1007 100
	run -0 l3af --json flows top limit 2
	jq -e 'map(.dport) == [1005, 1007] and all(.packets_per_second == 0)' <<<"$output"
	away
}

# on_tty KEY COMMAND...: runs it on a terminal of 40 by 10, presses KEY after the second
# frame; what the terminal got is in $BATS_TEST_TMPDIR/tty
on_tty() {
	local tty=$BATS_TEST_TMPDIR/tty key=$1 fd
	shift
	mkfifo "$tty.in"
	: >"$tty"
	TERM=xterm script -qefc "stty rows 10 cols 40; was=\$(stty -g); $(printf '%q ' nsenter --net=/run/netns/srv \
		"$BUILD/l3afctl" --bpffs "$BPFFS" "$@"); rc=\$?; [ \"\$was\" = \"\$(stty -g)\" ] && echo restored; exit \$rc" \
		/dev/null <"$tty.in" >"$tty" 3>&- &
	exec {fd}>"$tty.in"
	frames() { (($(grep -o $'\e\[H' "$tty" | wc -l) >= 3)); }
	eventually frames
	if [[ $key == SIG* ]]; then kill -"${key#SIG}" "$(busybox pidof l3afctl)"; else printf %s "$key" >&"$fd"; fi
	status=0
	wait $! || status=$?
	exec {fd}>&-
	rm "$tty.in"
}

@test "top on a terminal: in place, in its width, until q, Ctrl-C or a signal" {
	flows enable dev s0 direction ingress
	many 1000 20
	local text
	on_tty q flows top
	text=$(<"$BATS_TEST_TMPDIR/tty")
	((status == 0))
	[[ $text == $'\e[?1049h\e[?25l\e[H'* && $text == *$'\e[?25h\e[?1049l'*restored* ]]
	[[ $text == *'q quits; 20 of 262144 flows, 0 new/s, 0>'* && $text == *$'\e[7m'*OCTETS/S* ]]
	# each frame has ten lines, none longer than the screen
	awk 'BEGIN { RS = "\033\\[H" } NR == 3 { gsub(/\033\[[0-9]*[a-zA-Z]/, ""); n = split($0, line, "\r\n")
		if (n != 10) bad = 1
		for (i in line) if (length(line[i]) > 40) bad = 1 } END { exit bad || NR < 3 }' "$BATS_TEST_TMPDIR/tty"
	on_tty $'\x03' flows top by packets limit 2
	((status == 0))
	text=$(<"$BATS_TEST_TMPDIR/tty")
	[[ $text == *restored* ]]
	NO_COLOR=1 on_tty SIGTERM flows top
	((status == 143))
	text=$(<"$BATS_TEST_TMPDIR/tty")
	[[ $text == *restored* && $text != *$'\e[7m'* ]]
	away
}

@test "top on a terminal: a wrong instance is said on the terminal as it was" {
	run -1 script -qec "TERM=xterm nsenter --net=/run/netns/srv $BUILD/l3afctl --bpffs $BPFFS flows top instance nope" /dev/null
	[[ $output == $'l3afctl: there is no instance nope; '* && $output != *$'\e'* ]]
}

# ---- stats ----

@test "stats: frames, packets, flows and ignored of each place; they sum up" {
	flows enable dev s0
	udp 3 53 1000
	page http://10.77.0.1/
	in_ns cli busybox arping -q -c 1 -I c0 10.77.0.1 >/dev/null || true
	[[ $(stat_of '.instances[0] | [.instance, .live, .closed, .max, .collectors, .idle_us, .active_us] | @csv') == \
		'"flows",4,0,262144,0,15000000,0' ]]
	[[ $(stat_of '.instances[0] | .free + .live + .closed <= .max and .free + .live + .closed > .max - 64 and .memory_bytes > 128 * .max') == true ]]
	local direction
	for direction in ingress egress; do
		l3af --json flows stats | jq -e --argjson flows "$(l3af --json flows list direction $direction)" \
			'.places[] | select(.direction == "'$direction'") | .on and .sample == 1 and
			.packets == ([$flows[].packets] | add) + ([.ignored_packets[]] | add) and
			.octets == ([$flows[].octets] | add) + ([.ignored_octets[]] | add) and .flows == ($flows | length)'
	done
	[[ $(stat_of '.places[0] | .frames == (.packets) and .bytes == .octets + 14 * .frames') == true ]]
	[[ $(stat_of '.places[0].ignored_packets.not_ip') == 1 ]]
	run -0 --separate-stderr l3af flows stats
	[[ $output == *INSTANCE*DEV*DIRECTION* && $output == *'not_ip 1'* && -z $stderr ]]
	away
}

@test "a full table refuses flows, counts them, keeps what it has, and says so" {
	flows enable dev s0 direction ingress max 16
	many 1000 16
	run -0 --separate-stderr l3af flows stats
	[[ $stderr == 'l3afctl: warning: instance flows: all 16 flows of its table are in use: packets of others are only counted as ignored (full)
l3afctl: warning: instance flows: no flow is closed before a first l3afctl flows export' ]]
	many 1000 40
	[[ $(l3af --json flows list | jq 'map(.packets) | add') == 32 && $(cells .dport | sort -n | paste -sd,) == "$(seq -s, 1000 1015)" ]]
	[[ $(stat_of '.places[0].ignored_packets.full, .places[0].ignored_octets.full, .instances[0].free' | paste -sd,) == 24,696,0 ]]
	run -0 --separate-stderr l3af -q flows stats
	[[ -z $stderr && $output == *'full 24'* ]]
	away
}

@test "a collector that is not served holds flows back, and stats names it" {
	flows enable dev s0 direction ingress max 16 idle 1ms
	udp 1 53
	flows export to file "$BATS_TEST_TMPDIR/a"
	flows export to file "$BATS_TEST_TMPDIR/b"
	many 1000 40
	sleep 0.1
	flows export to file "$BATS_TEST_TMPDIR/a"
	run -0 --separate-stderr l3af flows stats
	[[ $stderr == *"l3afctl: warning: collector file $BATS_TEST_TMPDIR/b holds back "*" closed flows; its last export that succeeded: 2"*Z ]]
	[[ $stderr != *"$BATS_TEST_TMPDIR/a"* ]]
	flows export to file "$BATS_TEST_TMPDIR/b"
	run -0 --separate-stderr l3af flows stats
	[[ -z $stderr && $(stat_of '.instances[0].free') == 16 ]]
	away
}

@test "sampling counts one packet of N, and the others as sampled" {
	flows enable dev s0 direction ingress sample 1/10
	udp 100 53
	[[ $(stat_of '.places[0] | .packets, .ignored_packets.sampled' | paste -sd,) =~ ^100,(8[0-9]|9[0-9])$ ]]
	[[ $(stat_of '.places[0] | .packets - .ignored_packets.sampled') == "$(cells .packets)" ]]
	away
}

# ---- flush, disable and what is unsent ----

@test "flush drops all, and what goes on is counted anew" {
	flows enable dev s0 direction ingress
	udp 3 53 100
	does '- flows instance flows flows 1 unsent-packets 3 unsent-octets 384' l3af flows flush
	does '' l3af flows flush
	does '' l3af flows list
	[[ $(stat_of '.instances[0] | .flushed_flows, .flushed_packets, .flushed_octets' | paste -sd,) == 1,3,384 ]]
	udp 1 53 100
	[[ $(cells .packets) == 1 ]]
	[[ $(stat_of '.places[0].packets') == 4 ]]
	away
}

@test "flush of an instance without interface: it goes with its collectors" {
	flows enable dev s0 direction ingress
	udp 3 53
	flows export to file "$BATS_TEST_TMPDIR/a"
	udp 2 53
	flows export to file "$BATS_TEST_TMPDIR/b"
	l3af -q flows disable >/dev/null
	does $'- flows instance flows flows 1 unsent-packets 2 unsent-octets 76\n- flows instance flows' l3af --wait 0 flows flush
	does '' l3af flows collector list
	[[ ! -e $STATE/kf/flows ]]
	away
}

@test "disable keeps what is unsent, and goes once it was sent" {
	flows enable dev s0 direction ingress
	udp 3 53
	run -0 --separate-stderr l3af flows disable dev s0
	[[ $output == $'- flows dev s0 direction ingress\n- chain flows dev s0 hook tc-ingress' ]]
	[[ $stderr == 'l3afctl: warning: instance flows stays: 1 of its flows have 3 packets that were not exported; l3afctl flows export sends them, l3afctl flows flush drops them' ]]
	udp 1 53
	[[ $(cells .packets) == 3 && $(stat_of '.places[0].on') == false ]]
	does '' l3af flows export to file "$BATS_TEST_TMPDIR/f"
	does '- flows instance flows' l3af flows disable
	does '' l3af flows list
	away
}

# ---- collectors ----

@test "collector list and remove" {
	flows enable dev s0 direction ingress
	udp 3 53 100
	does '' l3af flows export to file "$BATS_TEST_TMPDIR/a"
	refuses 1 'l3afctl: 10.77.0.1:9/udp: nobody listens there, says 10.77.0.1' l3af -q flows export to 10.77.0.1:9/udp
	udp 1 53 100
	run -0 l3af --json flows collector list
	jq -e --arg file "file $BATS_TEST_TMPDIR/a" 'length == 2 and all(.instance == "flows") and
		(.[] | select(.name == $file) | .sequence > 0 and .succeeded != null and .failed == null and .failure == null and
			.flows == 1 and .flow_packets == 3 and .flow_octets == 384 and .pending_flows == 1 and
			.pending_packets == 1 and .pending_octets == 128 and .messages > 0 and .records > 0) and
		(.[] | select(.name == "10.77.0.1:9/udp") | .flows == 0 and .succeeded == null and .failed != null and
			.failure == "Connection refused" and .pending_packets == 4 and .source_port > 0) and
		.[0].domain == .[1].domain and .[0].domain > 0' <<<"$output"
	run -0 l3af flows collector list
	[[ ${#lines[@]} == 3 && $output == *"file $BATS_TEST_TMPDIR/a "* && $output == *'Connection refused'* ]]
	run -0 --separate-stderr l3af --dry-run flows collector remove 10.77.0.1:9/udp
	[[ $output == '- flows collector 10.77.0.1:9/udp unsent-flows 1 unsent-packets 4 unsent-octets 512' ]]
	does "$output" l3af flows collector remove 10.77.0.1:9/udp
	does '' l3af flows collector remove 10.77.0.1:9/udp
	does "- flows collector file $BATS_TEST_TMPDIR/a unsent-flows 1 unsent-packets 1 unsent-octets 128" \
		l3af flows collector remove "file $BATS_TEST_TMPDIR/a"
	does '' l3af flows collector remove file "$BATS_TEST_TMPDIR/a"
	does '[]' l3af --json flows collector list
	[[ $(cells .packets) == 4 ]]
	away
}

@test "a collector is found by its address however it was written, a file by its absolute path" {
	flows enable dev s0 direction ingress
	run -1 l3af flows export to '[FD77:0::1]:9/udp'
	[[ $output == 'l3afctl: [fd77::1]:9/udp: '* ]]
	does '- flows collector [fd77::1]:9/udp' l3af flows collector remove '[fd77:0:0::0:1]:9/udp'
	cd "$BATS_TEST_TMPDIR"
	does '' l3af flows export to file x
	[[ $(l3af --json flows collector list | jq -r '.[].name') == "file $PWD/x" ]]
	does "- flows collector file $PWD/x" l3af flows collector remove file x
	away
}

@test "export is silent; -v, --json and --dry-run say what was sent" {
	flows enable dev s0 direction ingress
	udp 3 53 100
	local f=$BATS_TEST_TMPDIR/f want
	run -0 --separate-stderr l3af --dry-run flows export to file "$f"
	[[ $output == $'collector: file '"$f"$'\nflows: 1\npackets: 3\noctets: 384\nmessages: '* && -z $stderr && ! -e $f ]]
	want=$output
	does '[]' l3af --json flows collector list
	does "$want" l3af -v flows export to file "$f"
	run -0 --separate-stderr l3af --json flows export to file "$f"
	jq -e '.flows == 0 and .packets == 0 and .messages > 0 and .dry_run == false' <<<"$output"
	udp 2 53 100
	run -0 --separate-stderr l3af --json --dry-run flows export to file "$f"
	jq -e '.flows == 1 and .packets == 2 and .octets == 256 and .dry_run' <<<"$output"
	away
}

# ---- wrong words ----

# usage MESSAGE WORDS...: exit 2, nothing on stdout, that first line on stderr
usage() {
	local message=$1
	shift
	run -2 --separate-stderr l3af flows "$@"
	[[ -z $output && ${stderr_lines[0]} == "l3afctl: $message" ]] ||
		{ printf '%s\n' "$*" "$output" "$stderr" "wanted: $message"; return 1; }
}

@test "wrong words: one line, exit 2, nothing attempted" {
	local to='flows export: to:'
	usage 'flows enable: dev IF is missing' enable
	usage 'flows enable: dev: nosuch is not an interface of this network namespace' enable dev nosuch
	usage 'flows enable: direction: in is not one of ingress, egress, both' enable dev s0 direction in
	usage 'flows enable: max: 15 is not a number in 16..16777216' enable dev s0 max 15
	usage 'flows enable: max: 16777217 is not a number in 16..16777216' enable dev s0 max 16777217
	usage 'flows enable: sample: 10 is not 1/N with N in 1..1000000' enable dev s0 sample 10
	usage 'flows enable: sample: 1/0 is not 1/N with N in 1..1000000' enable dev s0 sample 1/0
	usage 'flows enable: idle: 1d is not a duration in 0s..24h, as 250ms, 2s, 5m or 1h' enable dev s0 idle 1d
	usage 'flows enable: active: 25h is not a duration in 0s..24h, as 250ms, 2s, 5m or 1h' enable dev s0 active 25h
	usage 'flows enable: instance: a.b is not a name of 1 to 15 letters, digits, _ or -' enable dev s0 instance a.b
	usage 'flows list: by: bytes is not one of octets, packets, rate' list by bytes
	usage 'flows list: limit: 0 is not a number in 1..4294967295' list limit 0
	usage 'flows list: src: 10.0.0.1/8 has bits behind its length; the network is 10.0.0.0/8' list src 10.0.0.1/8
	usage 'flows list: proto: tpc is not a protocol, as tcp, udp, icmp, icmpv6, sctp, gre, esp or a number in 0..255' \
		list match proto tpc
	usage 'flows list: vlan: 4095 is not a VLAN ID in 0..4094, or none' list match vlan 4095
	usage 'flows list: sport: 0 is not a port or range P-Q in 1..65535' list sport 0
	usage 'flows list: match: what? one of src, dst, proto, sport, dport, vlan, dev, direction' list match limit 3
	usage 'flows show: KEY is missing' show
	usage 'flows show: KEY: tcp/10.0.0.1-10.0.0.2 is not a flow as listings name it, PROTO/ADDR:PORT-ADDR:PORT, icmp/ADDR-ADDR/TYPE.CODE or PROTO/ADDR-ADDR' \
		show tcp/10.0.0.1-10.0.0.2
	usage "flows: 'colector' is not a command; did you mean 'collector'?" colector list
	usage 'flows list takes no --dry-run' list --dry-run
	usage "$to 10.77.0.1:4739 is not HOST:PORT/udp, HOST:PORT/tcp or file PATH" export to 10.77.0.1:4739
	usage "$to 10.77.0.1:0/udp has no port in 1..65535" export to 10.77.0.1:0/udp
	usage "$to 10.77.0.1:65536/tcp has no port in 1..65535" export to 10.77.0.1:65536/tcp
	usage "$to 10.77.0.1:4739/sctp is not HOST:PORT/udp or HOST:PORT/tcp, as 192.0.2.1:4739/udp or [2001:db8::1]:4739/tcp" \
		export to 10.77.0.1:4739/sctp
	usage "$to fd77::1:4739/udp has an IPv6 address without brackets; write [2001:db8::1]:4739/udp" \
		export to fd77::1:4739/udp
	usage "$to [fe80::1]:4739/udp is link-local and needs its interface, as [fe80::1%eth0]:4739/udp" \
		export to '[fe80::1]:4739/udp'
	usage "$to [fe80::1%nosuch]:4739/udp has nosuch, which is not an interface of this network namespace" \
		export to '[fe80::1%nosuch]:4739/udp'
	usage "$to 0.0.0.0:4739/udp has an address that is no destination" export to 0.0.0.0:4739/udp
	usage "$to 10.77.0.256:4739/udp has neither an IP address nor a host name before the port" \
		export to 10.77.0.256:4739/udp
	usage 'flows export: domain: 0 is not a number in 1..4294967295' export to file /x domain 0
	usage 'flows export: pace: fast is not a rate N/s, N/m or N/h of at least 1, or none' \
		export to 10.77.0.1:4739/udp pace fast
	usage 'flows export: pace is for HOST:PORT/udp only' export to file /x pace none
	usage 'flows export: mtu is for HOST:PORT/udp only' export to 10.77.0.1:4739/tcp mtu 1000
	usage 'flows export: template-interval is for HOST:PORT/udp only' export to file /x template-interval 1m
	usage 'flows export: template-interval: 500ms is not a duration in 1s..24h, as 250ms, 2s, 5m or 1h' \
		export to 10.77.0.1:4739/udp template-interval 500ms
	usage 'flows export: mtu: 67 is not a number in 68..65535' export to 10.77.0.1:4739/udp mtu 67
	# shellcheck disable=SC2046
	usage "flows export: to file: $(printf 'a%.0s' {1..60})... is longer" export to file $(printf 'a%.0s' {1..300}) || true
	[[ ! -e $STATE ]]
}

@test "a host that does not resolve: the reason, exit 2" {
	run -2 --separate-stderr l3af flows export to no-such-host.invalid:4739/udp
	[[ -z $output && $stderr == 'l3afctl: flows export: to: no-such-host.invalid:4739/udp has a host name that does not resolve: '?* ]]
	[[ ! -e $STATE ]]
}
