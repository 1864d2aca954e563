#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What reads the load balancer: its numbers are those of the packets that were sent, and of
# those that came back in GUE.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run and start

load lib

V=192.0.2.1:80/tcp U=192.0.2.1:53/udp W='[2001:db8::1]:53/udp'

setup() {
	pair
	in_ns cli ip link set c0 xdp obj "$FP/bpf/empty.o" sec xdp # else nothing sent back arrives
	in_ns cli ethtool -K c0 tx off >/dev/null
	in_ns cli ip route add 192.0.2.0/24 via 10.77.0.1
	in_ns cli ip route add 2001:db8::/64 via fd77::1
}
teardown() {
	finish_all
	wipe
}

# lb WORDS...: a change, its lines not shown
lb() { l3af lb "$@" >/dev/null; }
# balance: a VIP of each kind, two backends each
balance() {
	lb enable dev s0 gateway 02:77:00:00:00:02 flows 65536 "$@"
	lb vip add $V
	lb vip add $U
	lb vip add "$W"
	lb backend add 10.77.0.7 vip $V
	lb backend add 10.77.0.8 vip $V weight 3
	lb backend add 10.77.0.7 vip $U
	lb backend add fd77::8 vip $U
	lb backend add fd77::7 vip "$W"
	lb backend add 10.77.0.8 vip "$W"
}
# frame WORD...: out of c0, see tests/tools/gue.py
frame() { in_ns cli python3 "$TOP/tests/tools/gue.py" send c0 odst=none src=10.77.0.2 "$@"; }
# udp N SIZE [ADDR [TIMES]]: datagrams from each of the ports 5000 to 4999 + N
udp() {
	in_ns cli python3 -c '
import socket, sys
n, size, to, times = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for i in range(n):
	s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
	s.bind(("", 5000 + i))
	for j in range(times): s.sendto(b"x" * size, (to, 53))' "$1" "$2" "${3-192.0.2.1}" "${4-1}"
}
# vip VIP FILTER, backend VIP ADDR FILTER, flows VIP ADDR FILTER: of listings
vip() { l3af --json lb stats vip "$1" | jq -rc ".vips[0] | $2"; }
backend() { l3af --json lb stats vip "$1" | jq -rc ".backends[] | select(.backend == \"$2\") | $3"; }
flows() { l3af --json lb flows list vip "$1" backend "$2" | jq -rc ".[] | $3"; }
# counts VIP: what is not 0 of drops and events
counts() { vip "$1" '.drops + .events | to_entries | map(select(.value > 0) | "\(.key) \(.value)") | join(" ")'; }
# sniff, then seen: a line "OUTER-DESTINATION N" for each that came back to c0
sniff() {
	start sniff cli python3 -uc '
import collections, select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("c0", 0))
print("ready")
count = collections.Counter()
while True:
	ready = select.select([s, sys.stdin], [], [])[0]
	if s in ready:
		f, at = s.recvfrom(2048)
		v4 = f[12:14] == b"\x08\0"
		l3, l4 = f[14:], f[34:] if v4 else f[54:]
		if at[2] != 4 and l4[2:4] == b"\x17\xc0" and (l3[9] if v4 else l3[6]) == 17:
			dst = socket.inet_ntop(socket.AF_INET if v4 else socket.AF_INET6, l3[16:20] if v4 else l3[24:40])
			count[dst] += 1
	elif sys.stdin in ready:
		break
with open(sys.argv[1], "w") as out:
	for dst in sorted(count): print(dst, count[dst], file=out)' "$BATS_TEST_TMPDIR/seen"
}
seen() {
	finish sniff
	cat "$BATS_TEST_TMPDIR/seen"
}

# ---- nothing there ----

@test "nothing was ever enabled: listings are empty, what is named is an error" {
	local words
	for words in list 'vip list' 'backend list' stats 'flows list' 'flows purge' 'vip show'; do
		# shellcheck disable=SC2086
		does '' l3af lb $words
	done
	does '[]' l3af --json lb vip list
	does '[]' l3af --json lb list
	does $'{"vips":[],\n"backends":[]}' l3af --json lb stats
	for words in "vip show $V" "backend list vip $V" "stats vip $V" "flows list vip $V" "flows purge vip $V" \
		"which 10.77.0.2:5000 $V" "doctor vip $V"; do
		# shellcheck disable=SC2086
		refuses 1 "l3afctl: there is no VIP $V; l3afctl lb vip list shows those there are" l3af lb $words
	done
	for words in list 'vip list' 'backend list' stats 'flows list' 'flows purge' "which 10.77.0.2:5000 $V" doctor; do
		# shellcheck disable=SC2086
		refuses 1 'l3afctl: there is no load balancer x; l3afctl lb enable dev IF instance x makes it' \
			l3af lb $words instance x
	done
	[[ ! -e $STATE/kf ]]
}

@test "an instance without VIPs, a VIP without backends" {
	lb enable dev s0
	does '' l3af lb vip list
	does '' l3af lb backend list
	does '' l3af lb flows purge
	lb vip add $V
	does '' l3af lb backend list vip $V
	[[ $(l3af --json lb vip list | jq -c '.[] | [.vip, .backends, .usable, .idle_us, .sticky]') == "[\"$V\",0,0,3600000000,null]" ]]
	refuses 1 "l3afctl: nobody takes it: VIP $V has no backends; l3afctl lb backend add ADDR vip $V" \
		l3af lb which 10.77.0.2:5000 $V
	run -0 l3af lb vip show $V
	[[ ${lines[0]} == "VIP: $V" && $output == *$'\nBACKENDS: 0\n'* ]]
}

# ---- where ----

@test "list: an interface and what it was told" {
	lb enable dev s0 gateway 02:77:00:00:00:02 flows 4096 instance a
	[[ $(l3af --json lb list | jq -c '.[] | del(.memory_bytes, .backends_max)') == '{"instance":"a","dev":"s0","on":true,"mode":"native","source":"10.77.0.1","source6":"fd77::1","gateway":"02:77:00:00:00:02","port":6080,"mtu_bytes":1500,"vips":0,"vips_max":512,"backends":0,"flows_max":4096}' ]] || {
		l3af --json lb list
		return 1
	}
}

@test "list: off, gone, of another network namespace" {
	balance
	[[ $(l3af lb list | awk 'NR == 2 { print $2, $3, $4, $11, $10 }') == 's0 yes native 6 3' ]]
	in_ns srv ip link add s9 type veth peer name p9
	lb enable dev s9 gateway auto source 10.77.0.1
	l3af chain remove lb dev s0 hook xdp >/dev/null
	[[ $(l3af --json lb list | jq -c '[.[] | [.dev, .on, .mode, .gateway]]') == \
		'[["s0",false,null,"02:77:00:00:00:02"],["s9",true,"native","auto"]]' ]]
	in_ns srv ip link del s9
	[[ $(l3af --json lb list | jq -r '.[1].dev') == *'(gone)' ]]
	[[ $(NS=cli l3af --json lb list | jq -c '[.[] | [.on, (.dev | test("^[0-9]+@[0-9]+$"))]]') == '[[null,true],[null,true]]' ]]
}

# ---- how much ----

@test "packets, octets and flows are those that were sent, and those that came back" {
	balance
	sniff
	udp 40 100
	udp 40 100 192.0.2.1 2
	udp 30 7 2001:db8::1
	eventually eval '[[ $(vip "$W" .packets) == 30 ]]'
	[[ $(vip $U '[.packets, .bytes, .flows, .active]') == "[120,$((120 * 128)),40,40]" ]]
	[[ $(vip "$W" '[.packets, .bytes, .flows, .active]') == "[30,$((30 * 55)),30,30]" ]]
	[[ $(vip $V '[.packets, .bytes, .flows, .active]') == '[0,0,0,0]' ]]
	[[ -z $(counts $U)$(counts "$W") ]]
	# each backend's
	seen >"$BATS_TEST_TMPDIR/came"
	l3af --json lb stats | jq -r '.backends[] | select(.packets > 0) | "\(.backend) \(.packets)"' | sort \
		>"$BATS_TEST_TMPDIR/told"
	diff "$BATS_TEST_TMPDIR/came" "$BATS_TEST_TMPDIR/told"
	(($(wc -l <"$BATS_TEST_TMPDIR/told") == 4))
	l3af --json lb stats | jq -e '.vips[] as $v | [.backends[] | select(.vip == $v.vip)] |
		(map(.packets) | add) == $v.packets and (map(.bytes) | add) == $v.bytes and
		(map(.flows) | add) == $v.flows and (map(.active) | add) == $v.active'
	# the same numbers everywhere
	[[ $(l3af --json lb vip list | jq -c '[.[] | [.vip, .packets, .bytes, .flows]]') == \
		"$(l3af --json lb stats | jq -c '[.vips[] | [.vip, .packets, .bytes, .flows]]')" ]]
	[[ $(l3af --json lb backend list | jq -c '[.[] | [.backend, .packets, .bytes, .flows, .active]]') == \
		"$(l3af --json lb stats | jq -c '[.backends[] | [.backend, .packets, .bytes, .flows, .active]]')" ]]
	[[ $(l3af --json lb vip show | jq -c '[.vips[] | .packets]') == '[120,0,30]' ]]
	# a backend that goes takes none of its VIP's counts along
	lb backend remove 10.77.0.7 vip $U
	[[ $(vip $U '[.packets, .bytes, .flows]') == "[120,$((120 * 128)),40]" ]]
	# and what comes after it begins at 0
	lb backend add 10.77.0.7 vip $U
	[[ $(backend $U 10.77.0.7 '[.packets, .bytes, .flows, .active]') == '[0,0,0,0]' ]]
}

@test "rates are those of the interval" {
	balance
	udp 20 10
	[[ $(l3af --json lb stats vip $U | jq -c '[.vips[0] | .packets_per_second, .drops_per_second]') == '[null,{}]' ]]
	[[ $(l3af --json lb stats vip $U interval 50ms | jq -c '.vips[0] | [.packets, .packets_per_second, .flows_per_second]') == '[20,0,0]' ]]
	start send cli python3 -uc '
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready")
while not select.select([sys.stdin], [], [], 0.001)[0]: s.sendto(b"x" * 100, ("192.0.2.1", 53))'
	run -0 --separate-stderr l3af --json lb stats vip $U interval 500ms
	finish send
	jq -e '.vips[0] | .packets_per_second > 0 and .packets_per_second < 2000 and .flows_per_second <= 2 and
		(.bytes_per_second / .packets_per_second - 128 | fabs) < 2' <<<"$output"
	[[ $(jq -c '([.backends[].packets_per_second] | add) - .vips[0].packets_per_second | fabs <= 1' <<<"$output") == true ]]
	run -0 l3af lb stats vip $U interval 50ms
	[[ ${lines[0]} == *'FLOWS/S  PACKETS/S  BYTES/S  DROPS/S  EVENTS/S' && ${lines[0]} != *FLOWS\ * ]]
}

@test "flows by state; they are forgotten after idle" {
	lb enable dev s0 gateway 02:77:00:00:00:02 flows 1024
	lb vip add $V idle 3s
	lb vip add $U idle 4h
	lb backend add 10.77.0.7 vip $V
	lb backend add 10.77.0.7 vip $U
	udp 3 1
	udp 2 1
	frame dst=192.0.2.1 l4=tcp from=1 to=80 tcp=S
	frame dst=192.0.2.1 l4=tcp from=2 to=80 tcp=S
	frame dst=192.0.2.1 l4=tcp from=2 to=80 tcp=A
	frame dst=192.0.2.1 l4=tcp from=3 to=80 tcp=A
	frame dst=192.0.2.1 l4=tcp from=3 to=80 tcp=FA
	eventually eval '[[ $(vip $V .packets) == 5 ]]'
	[[ $(flows $U 10.77.0.7 '[.new, .established, .closing, .clients]') == '[1,2,0,0]' ]]
	[[ $(vip $V .flows) == 3 ]]
	soon '[0,0,0]' flows $V 10.77.0.7 '[.new, .established, .closing]'
	[[ $(vip $V .active) == 0 && $(vip $U .active) == 3 ]]
	[[ $(flows $V 10.77.0.7 .idle_max_us) == null ]]
	(($(flows $U 10.77.0.7 .idle_min_us) > 0))
	# a packet of a forgotten flow is a new one
	frame dst=192.0.2.1 l4=tcp from=2 to=80 tcp=A
	soon 4 vip $V .flows
}

@test "clients of a sticky VIP" {
	lb enable dev s0 gateway 02:77:00:00:00:02 flows 1024
	lb vip add $U sticky source
	lb backend add 10.77.0.7 vip $U
	lb backend add 10.77.0.8 vip $U
	udp 5 1
	eventually eval '[[ $(vip $U .packets) == 5 ]]'
	l3af --json lb backend list | jq -e '[.[].packets] | sort == [0,5]'
	[[ $(l3af --json lb flows list | jq '[.[].clients] | add') == 1 ]]
	[[ $(l3af --json lb vip list | jq -c '.[] | [.sticky, .clients]') == '["source",1]' ]]
	l3af --json lb which 10.77.0.2:999 $U | jq -e '.by == "client" and (.why | startswith("known client of a sticky VIP, "))'
	l3af --json lb which 10.77.0.3:999 $U | jq -e '.by == "ring"'
}

# ---- what was dropped ----

@test "drops by reason, each by a packet" {
	balance
	wire srv s1 3 cli c1 4
	in_ns srv ip addr del fd77::3/64 dev s1
	lb enable dev s1 gateway 02:77:00:00:00:04
	lb vip add 192.0.2.2:80/tcp
	frame dst=192.0.2.2 l4=tcp to=80 tcp=S
	soon 'no_backend 1' counts 192.0.2.2:80/tcp
	# an IPv6 backend, and no such source there
	lb backend add fd77::8 vip 192.0.2.2:80/tcp
	in_ns cli python3 "$TOP/tests/tools/gue.py" send c1 odst=none src=10.77.0.4 dst=192.0.2.2 l4=tcp to=80 tcp=S dmac=02:77:00:00:00:03
	soon 'no_backend 1 no_source 1' counts 192.0.2.2:80/tcp
	frame dst=192.0.2.1 l4=udp to=53 len=100 ilen=500
	soon 'bad_length 1' counts $U
	frame dst=192.0.2.1 l4=udp to=53 len=100 frag=5,0 id=77
	soon 'bad_length 1 lost_fragment 1' vip_total
	frame dst=192.0.2.1 l4=udp to=53 len=1472
	soon 'bad_length 1 lost_fragment 1 too_big 1' vip_total
	lb enable dev s0 gateway auto
	frame dst=192.0.2.1 l4=udp to=53 len=100
	soon 'bad_length 1 lost_fragment 1 no_next_hop 1 too_big 1' vip_total
	[[ $(vip $U .packets) == 0 ]]
	run -0 l3af lb vip list
	[[ $output =~ $U\ .*\ no_next_hop\ 1\ bad_length\ 1\ (lost_fragment\ 1\ )?too_big\ 1 ]]
}
# vip_total: drops and events of this address, whichever VIP they were counted to
vip_total() {
	l3af --json lb stats | jq -r '[.vips[] | select(.vip | startswith("192.0.2.1:")) | .drops + .events | to_entries[]] |
		group_by(.key) | map({ key: .[0].key, n: (map(.value) | add) }) | map(select(.n > 0) | "\(.key) \(.n)") | join(" ")'
}

@test "what is not dropped: echo, errors, fragments, flows that moved" {
	balance
	frame dst=192.0.2.1 l4=icmp icmp=8,0,1
	soon 'echo 1' vip_total
	frame dst=192.0.2.1 l4=icmp icmp=3,4,1400 quote=src=192.0.2.1,dst=10.77.0.2,l4=tcp,from=80,to=40000,len=100
	soon 'echo 1 icmp 1' vip_total
	frame dst=192.0.2.1 l4=udp to=53 len=100 frag=0,1 part=64 id=5
	frame dst=192.0.2.1 l4=udp to=53 len=100 frag=8,0 id=5
	soon 'echo 1 fragment 2 icmp 1' vip_total
	# an error that quotes nothing of ours
	frame dst=192.0.2.1 l4=icmp icmp=3,4,1400 len=28
	soon 'bad_icmp 1 echo 1 fragment 2 icmp 1' vip_total
}

@test "strays, second hops and moves are as which said before" {
	local port before after differ=0
	balance
	declare -A was=()
	for port in {7000..7019}; do was[$port]=$(l3af --json lb which 10.77.0.2:"$port" $V | jq -r .backend); done
	lb backend set 10.77.0.8 vip $V weight 1
	for port in {7000..7019}; do
		after=$(l3af --json lb which 10.77.0.2:"$port" $V | jq -r .backend)
		[[ $after == "${was[$port]}" ]] || ((++differ))
		frame dst=192.0.2.1 l4=tcp from="$port" to=80 tcp=A
	done
	soon "stray 20$( ((!differ)) || echo " second_hop $differ")" counts $V
	((differ))
	# a known flow, and its backend goes down
	frame dst=192.0.2.1 l4=udp from=7000 to=53 len=1
	soon 1 vip $U .packets
	before=$(l3af --json lb which 10.77.0.2:7000 $U | jq -r .backend)
	l3af --json lb which 10.77.0.2:7000 $U | jq -e '.by == "flow" and .flow == "new" and .moved_from == null'
	lb backend set "$before" vip $U down
	run -0 l3af --json lb which 10.77.0.2:7000 $U
	jq -e --arg b "$before" '.by == "ring" and .moved_from == $b and .backend != $b and .ring_backend == .backend' <<<"$output"
	after=$(jq -r .backend <<<"$output")
	frame dst=192.0.2.1 l4=udp from=7000 to=53 len=1
	soon 'moved 1' counts $U
	[[ $(backend $U "$after" .packets) == 1 ]]
	[[ $(l3af --json lb backend list vip $U | jq -r --arg b "$before" '.[] | select(.backend == $b) | "\(.state) \(.usable)"') == 'down false' ]]
	lb backend set "$after" vip $U drain
	refuses 1 "l3afctl: nobody takes it: no backend of VIP $U takes flows; l3afctl lb backend list vip $U shows why" \
		l3af lb which 10.77.0.2:9 $U
	l3af --json lb which 10.77.0.2:7000 $U | jq -e --arg b "$after" '.by == "flow" and .backend == $b and .state == "drain"'
}

# ---- which ----

@test "which backend: packets go where it says, before and after" {
	local port
	balance
	for port in {5000..5029}; do l3af --json lb which 10.77.0.2:"$port" $U | jq -r .backend; done |
		sort | uniq -c | awk '{ print $2, $1 }' >"$BATS_TEST_TMPDIR/said"
	sniff
	udp 30 1
	eventually eval '[[ $(vip $U .packets) == 30 ]]'
	seen >"$BATS_TEST_TMPDIR/came"
	diff "$BATS_TEST_TMPDIR/said" "$BATS_TEST_TMPDIR/came"
	[[ $(for port in {5000..5029}; do l3af --json lb which 10.77.0.2:"$port" $U | jq -r '"\(.by) \(.backend)"'; done |
		sort | uniq -c | awk '{ print $2, $3, $1 }') == "$(sed 's/^/flow /' "$BATS_TEST_TMPDIR/said")" ]]
	# whatever becomes of the ring
	lb backend set fd77::8 vip $U weight 0
	[[ $(l3af --json lb which 10.77.0.2:5999 $U | jq -r .backend) == 10.77.0.7 ]]
	[[ $(for port in {5000..5029}; do l3af --json lb which 10.77.0.2:"$port" $U | jq -r '.backend'; done |
		sort | uniq -c | awk '{ print $2, $1 }') == "$(<"$BATS_TEST_TMPDIR/said")" ]]
	run -0 l3af lb which 10.77.0.2:5000 $U
	[[ ${lines[0]} == 'client: 10.77.0.2:5000' && ${lines[1]} == "VIP: $U" && ${lines[5]} == 'why: known flow, new, last packet '*' ago' ]]
}

@test "which: words that are wrong, a VIP for any port" {
	balance
	lb vip add 192.0.2.3/tcp
	lb backend add 10.77.0.7 vip 192.0.2.3/tcp
	[[ $(l3af --json lb which 10.77.0.2:5 192.0.2.3:8080/tcp | jq -r '"\(.vip) \(.backend)"') == '192.0.2.3/tcp 10.77.0.7' ]]
	refuses 2 'l3afctl: lb which: VIP: 192.0.2.3/tcp: to which port? as in 192.0.2.3:443/tcp' l3af lb which 10.77.0.2:5 192.0.2.3/tcp
	refuses 2 'l3afctl: lb which: SRC:PORT and VIP: one is IPv4, one IPv6' l3af lb which '[fd77::2]:5' $V
	refuses 1 'l3afctl: there is no VIP 192.0.2.3:53/udp; l3afctl lb vip list shows those there are' \
		l3af lb which 10.77.0.2:5 192.0.2.3:53/udp
	run -2 --separate-stderr l3af lb which 10.77.0.2 $V
	[[ -z $output && $stderr == 'l3afctl: lb which: SRC:PORT: 10.77.0.2 is not '* ]]
}

# ---- purge ----

@test "purge forgets flows: of a backend, of a VIP, all; --dry-run none" {
	local n
	balance
	udp 20 1
	udp 10 1 2001:db8::1
	eventually eval '[[ $(vip "$W" .packets) == 10 ]]'
	n=$(backend $U 10.77.0.7 .active)
	((n))
	does "- lb flows $U backend 10.77.0.7 flows $n" l3af --dry-run lb flows purge vip $U backend 10.77.0.7
	[[ $(vip $U .active) == 20 ]]
	does "- lb flows $U backend 10.77.0.7 flows $n" l3af lb flows purge vip $U backend 10.77.0.7
	does '' l3af lb flows purge vip $U backend 10.77.0.7
	does '' l3af lb flows purge backend 10.99.99.99
	[[ $(vip $U .active) == $((20 - n)) && $(vip "$W" .active) == 10 ]]
	udp 20 1
	eventually eval '[[ $(vip $U .packets) == 40 ]]'
	[[ $(vip $U .flows) == $((20 + n)) && $(vip $U .active) == 20 ]]
	does "- lb flows $U flows 20" l3af lb flows purge vip $U
	does '{"changed":true,"dry_run":false,"changes":[{"op":"remove","object":"lb flows","name":"[2001:db8::1]:53/udp","flows":10}]}' l3af --json lb flows purge
	does '' l3af lb flows purge
	[[ $(l3af --json lb flows list | jq '[.[] | .new + .established] | add') == 0 ]]
}

# ---- the rest ----

@test "what reads needs CAP_BPF and CAP_NET_ADMIN, no more" {
	local words
	balance
	for words in 'lb list' 'lb vip list' 'lb vip show' 'lb backend list' 'lb stats' 'lb flows list' "lb which 10.77.0.2:5 $U"; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr in_ns srv setpriv --inh-caps=-all,+bpf,+net_admin --bounding-set=-all,+bpf,+net_admin \
			"$BUILD/l3afctl" --bpffs "$BPFFS" $words
		# shellcheck disable=SC2086
		[[ -z $stderr && $output == "$(l3af $words)" ]]
	done
}

@test "VIPs in order; backends in order; completion knows them" {
	lb enable dev s0
	for v in '[2001:db8::1]:443/tcp' 192.0.2.9/tcp 192.0.2.1:443/udp 192.0.2.1:443/tcp 192.0.2.1:80/tcp; do lb vip add "$v"; done
	[[ $(l3af lb vip list | awk 'NR > 1 { print $1 }' | paste -sd ' ') == \
		'192.0.2.1:80/tcp 192.0.2.1:443/tcp 192.0.2.1:443/udp 192.0.2.9/tcp [2001:db8::1]:443/tcp' ]]
	for b in fd77::7 10.77.0.30 10.77.0.4; do lb backend add $b vip 192.0.2.9/tcp; done
	[[ $(l3af lb backend list | awk 'NR > 1 { print $2 }' | paste -sd ' ') == '10.77.0.4 10.77.0.30 fd77::7' ]]
	export L3AF_BPFFS=$BPFFS
	[[ $(in_ns srv "$BUILD/l3afctl" --complete lb vip show '') == "$(l3af lb vip list | awk 'NR > 1 { print $1 }')"* ]]
	in_ns srv "$BUILD/l3afctl" --complete lb flows list backend '' | grep -qx fd77::7
}

@test "a change that was interrupted is told" {
	local value
	balance
	# is_changing of the first VIP, as a killed run leaves it
	read -ra value < <(bpftool -j map lookup pinned "$STATE/kf/lb/vips" key hex 00 00 00 00 |
		jq -r '.value | map(sub("0x"; "")) | .[36] = "01" | join(" ")')
	bpftool map update pinned "$STATE/kf/lb/vips" key hex 00 00 00 00 value hex "${value[@]}"
	run -0 --separate-stderr l3af lb backend list
	[[ $stderr == "l3afctl: warning: vip $V: a change of it was cut short, "*'; the next change completes it' ]]
	does "$output" l3af -q lb backend list
	lb backend set 10.77.0.7 vip $V weight 2
	run -0 --separate-stderr l3af lb backend list
	[[ -z $stderr ]]
}
