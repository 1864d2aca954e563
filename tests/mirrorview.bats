#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What operators see of mirroring: listings say what the kernel runs, and counters are those of
# packets that were sent. Every reason for not sending is reached by a packet; no_memory would
# take fault injection, which neither this kernel nor those of Debian have.
# shellcheck disable=SC2030,SC2031,SC2086,SC2154 # variables of run and start, lists of words

load lib

# cli c0 --- s0 srv m0 --- k0 col, who has the kernel's vxlan device mir0
setup() {
	pair
	quiet_netns col
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name k0 address 02:78:00:00:00:02 netns col
	end srv m0 1 2
	end col k0 2 1
	in_ns col ip link add mir0 type vxlan id 7 dstport 4789 dev k0 nolearning
	in_ns col ip link set mir0 arp off multicast off up
}
# end NS IF N PEER
end() {
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.78.0.$3/24 dev $2
		neigh replace 10.78.0.$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
	END
}
teardown() {
	finish_all
	wipe
}

# mirror WORDS...: a change, its lines not shown
mirror() { l3af mirror "$@" >/dev/null; }
# tap [WORDS...]: the target of that name
tap() { mirror target add tap dev m0 to 10.78.0.2 encap vxlan vni 7 "$@"; }
# udp N SIZE [ADDR]: datagrams to srv, frames of 42 (IPv6: 62) octets more
udp() {
	in_ns cli python3 -c '
import socket, sys
n, size, to = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5000))
for i in range(n): s.sendto(b"x" * size, (to, 9))' "$1" "$2" "${3-10.77.0.1}"
}
# filter N FILTER, target NAME FILTER: of stats
filter() { l3af --json mirror stats | jq -c ".filters[] | select(.number == $1) | $2"; }
target() { l3af --json mirror stats | jq -c ".targets[] | select(.name == \"$1\") | $2"; }
# why N: the reasons of filter N that counted; they, and what was sent, are all that matched
why() {
	filter "$1" 'if .packets == .sent + ([.not_sent[]] | add) then .not_sent else "does not add up" end |
		if type == "object" then to_entries | map(select(.value > 0) | "\(.key) \(.value)") | join(" ") else . end' |
		jq -r .
}
# state of the target tap; of filter N
tap_state() { l3af --json -q mirror target list | jq -r '.[] | select(.name == "tap").state'; }
filter_state() { l3af --json -q mirror filter list | jq -r ".[] | select(.number == $1).state"; }
# arrived: frames that the collector's kernel took out of tunnels, and their octets
arrived() { in_ns col ip -j -s link show mir0 | jq -r '.[0].stats64.rx | "\(.packets) \(.bytes)"'; }

# ---- nothing there ----

@test "nothing was ever mirrored: listings are empty, what is named is an error" {
	local words
	for words in 'target list' 'filter list' 'filter list dev s0' stats 'stats dev s0'; do
		does '' l3af mirror $words
	done
	does '[]' l3af --json mirror target list
	does '[]' l3af --json mirror filter list
	does $'{"filters":[],\n"targets":[]}' l3af --json mirror stats
	for words in 'target show tap' 'stats target tap'; do
		refuses 1 'l3afctl: there is no target tap; l3afctl mirror target list shows those there are' l3af mirror $words
	done
	for words in 'filter list dev s9' 'stats dev s9'; do
		refuses 1 'l3afctl: s9: is no interface of this network namespace, and has no filters' l3af mirror $words
	done
	refuses 2 "l3afctl: mirror stats: dev: '' is no name of an interface" l3af mirror stats dev ''
	refuses 2 'l3afctl: mirror stats: target and dev exclude each other' l3af mirror stats target tap dev s0
	[[ ! -e $STATE/kf ]]
}

# ---- as it was said ----

@test "targets: all that was said of them, and again from the listing" {
	tap cap 100mbit
	mirror target add gue6 dev m0 to '[2001:db8::9]:7777' encap gue variant 1 source fd77::1 gateway 02:78:00:00:00:02 udp-csum off
	run -0 --separate-stderr l3af --json mirror target list
	[[ -z $stderr ]]
	[[ $(jq -c '.[] | [.name, .dev, .to, .port, .encap, .variant, .vni, .source, .gateway, .udp_csum, .cap_bits_per_second, .cap, .filters, .state, .repair]' \
		<<<"$output") == '["gue6","m0","2001:db8::9",7777,"gue",1,null,"fd77::1","02:78:00:00:00:02",false,null,null,0,"on",null]
["tap","m0","10.78.0.2",4789,"vxlan",null,7,"10.78.0.1","auto",false,100000000,"100mbit",0,"on",null]' ]] || { echo "$output"; return 1; }
	[[ $(jq -r '.[0].target' <<<"$output") == \
		'gue6 dev m0 to [2001:db8::9]:7777 encap gue variant 1 source fd77::1 gateway 02:78:00:00:00:02 cap none udp-csum off' ]]
	[[ $(jq -r '.[1].target' <<<"$output") == \
		'tap dev m0 to 10.78.0.2:4789 encap vxlan vni 7 source 10.78.0.1 gateway auto cap 100mbit udp-csum off' ]]
	[[ $(jq -c '.[1]' <<<"$output") == "$(l3af --json mirror target show tap | jq -c .)" ]]
	jq -r '.[].target' <<<"$output" >"$BATS_TEST_TMPDIR/targets"
	while read -r line; do does '' l3af mirror target add $line; done <"$BATS_TEST_TMPDIR/targets"
	for name in tap gue6; do mirror target remove $name; done
	while read -r line; do mirror target add $line; done <"$BATS_TEST_TMPDIR/targets"
	[[ $(l3af --json mirror target list | jq -r '.[].target') == "$(<"$BATS_TEST_TMPDIR/targets")" ]]
	run -0 l3af mirror target list
	[[ ${lines[0]} =~ ^NAME\ +DEV\ +TO\ +PORT\ +ENCAP\ +VNI\ +SOURCE\ +CAP\ +FILTERS\ +STATE\ +PACKETS\ +SENT$ ]]
	[[ ${lines[2]} =~ ^tap\ +m0\ +10.78.0.2\ +4789\ +vxlan\ +7\ +10.78.0.1\ +100mbit\ +0\ +on\ +0\ +0$ ]]
	run -0 l3af mirror target show tap
	[[ ${lines[0]} == 'NAME: tap' && $output == *$'\nSTATE: on\n'* ]]
}

# each line in the form that listings give it
words() {
	cat <<-END
		10 dev s0 action accept to tap
		11 dev s0 direction ingress src 10.0.0.0/8 dst 10.77.0.1/32 action reject
		12 dev s0 direction egress src fd77::/64 dst 2001:db8::1/128 action accept to tap snaplen 64
		13 dev s0 src 0.0.0.0/0 action reject
		14 dev s0 src ::/0 action reject
		15 dev s0 proto tcp sport 80 dport 1024-65535 action accept to tap snaplen headers sample 1/100 by flow
		16 dev s0 proto udp dport 53 vlan 7 action accept to other sample 1/2
		17 dev s0 proto tcp flags syn action accept to tap
		18 dev s0 proto tcp flags syn/syn,ack vlan none action accept to tap snaplen 65534
		19 dev s0 proto 253 action reject
		65535 dev s0 vlan 4094 action reject
		1 dev m0 direction egress proto tcp flags fin,rst,urg,cwr action accept to other
	END
}

@test "filters: each as the words that made it, and again from the listing" {
	local all
	tap
	mirror target add other dev m0 to 10.78.0.3 encap gue
	while read -r line; do
		mirror filter add $line
	done < <(words | shuf)
	run -0 --separate-stderr l3af --json mirror filter list
	[[ -z $stderr ]]
	all=$output
	diff <(words | grep 'dev m0'; words | grep 'dev s0') <(jq -r '.[].filter' <<<"$all")
	# the text's last column is the same
	diff <(jq -r '.[].filter' <<<"$all") \
		<(l3af mirror filter list | awk -v at="$(l3af mirror filter list | awk 'NR == 1 { print index($0, "FILTER") }')" 'NR > 1 { print substr($0, at) }')
	[[ $(l3af --json mirror filter list dev s0 | jq length) == 11 ]]
	# so said again it changes nothing
	while read -r line; do
		does '' l3af mirror filter add $line
	done < <(words)
	# and every part has a field of its own
	[[ $(jq -c '.[] | select(.number == 15) | del(.packets, .bytes, .sent, .since, .filter)' <<<"$all") == '{"number":15,"dev":"s0","state":"on","target_state":"on","direction":"both","src":null,"dst":null,"proto":"tcp","sport":"80","dport":"1024-65535","flags":null,"vlan":null,"action":"accept","to":"tap","snaplen_bytes":null,"headers_only":true,"sample":100,"sample_by":"flow","repair":null}' ]]
	[[ $(jq -c '.[] | select(.number == 18) | [.flags, .vlan, .snaplen_bytes, .headers_only, .sample, .sample_by]' <<<"$all") == \
		'["syn/syn,ack","none",65534,false,1,null]' ]]
	[[ $(jq -c '.[] | select(.number == 11) | [.direction, .src, .dst, .action, .to, .headers_only, .sent]' <<<"$all") == \
		'["ingress","10.0.0.0/8","10.77.0.1/32","reject",null,null,null]' ]]
	[[ $(l3af --json mirror target list | jq -c '[.[] | [.name, .filters]]') == '[["other",2],["tap",5]]' ]]
}

# ---- how much ----

@test "packets and octets: those that were sent, and those that arrived" {
	tap
	mirror filter add 5 dev s0 direction ingress proto udp dport 53 action accept
	mirror filter add 10 dev s0 direction ingress proto udp action accept
	mirror filter add 20 dev s0 direction ingress action reject
	udp 20 100
	udp 10 7 fd77::1
	soon '[30,3530]' filter 10 '[.packets, .bytes]'
	# outer: Ethernet, IP, UDP, VXLAN
	[[ $(filter 10 '[.sent, .sent_bytes, .cut, .fitted]') == "[30,$((3530 + 30 * 50)),0,0]" ]]
	[[ -z $(why 10) ]]
	[[ $(filter 5 '[.packets, .sent]') == '[0,0]' ]]
	in_ns cli busybox ping -qc 3 -i 0.1 -s 10 10.77.0.1 >/dev/null
	soon '[3,156,null,null,{}]' filter 20 '[.packets, .bytes, .sent, .cut, .not_sent]'
	# the target's are its filters'; the collector has them all
	[[ $(target tap '[.packets, .bytes, .sent, .sent_bytes]') == "$(filter 10 '[.packets, .bytes, .sent, .sent_bytes]')" ]]
	soon "30 $((3530 - 30 * 14))" arrived
	# the same numbers everywhere
	[[ $(l3af --json mirror filter list | jq -c '[.[] | [.number, .packets, .bytes, .sent]]') == \
		"$(l3af --json mirror stats | jq -c '[.filters[] | [.number, .packets, .bytes, .sent]]')" ]]
	[[ $(l3af --json mirror target show tap | jq -c '[.packets, .sent_bytes, .not_sent]') == "$(target tap '[.packets, .sent_bytes, .not_sent]')" ]]
	run -0 l3af mirror stats
	[[ ${lines[0]} =~ ^DEV\ +NUMBER\ +ACTION\ +TO\ +PACKETS\ +BYTES\ +SENT\ +SENT\ BYTES\ +CUT\ +FITTED\ +NOT\ SENT$ ]]
	[[ $output =~ s0\ +10\ +accept\ +tap\ +30\ +3530\ +30\ +5030\ +0\ +0\ +- ]]
	[[ $output =~ tap\ +on\ +30\ +3530\ +30\ +5030 ]]
}

@test "only one interface's, only one target's" {
	tap
	mirror target add other dev m0 to 10.78.0.3 encap gue
	mirror filter add 1 dev s0 action accept to tap
	mirror filter add 2 dev m0 action accept to other
	mirror filter add 3 dev m0 action reject
	[[ $(l3af --json mirror stats dev m0 | jq -c '[[.filters[].number], [.targets[].name]]') == '[[2,3],["other"]]' ]]
	[[ $(l3af --json mirror stats dev s0 | jq -c '[[.filters[].number], [.targets[].name]]') == '[[1],["tap"]]' ]]
	[[ $(l3af --json mirror stats target other | jq -c '[[.filters[].number], [.targets[].name]]') == '[[2],["other"]]' ]]
	[[ $(l3af --json mirror stats | jq -c '[[.filters[].number], [.targets[].name]]') == '[[2,3,1],["other","tap"]]' ]]
	does '' l3af mirror stats dev lo
}

@test "rates are those of the interval" {
	tap
	mirror filter add 1 dev s0 direction ingress proto udp action accept
	udp 20 10
	soon 20 filter 1 .sent
	[[ $(filter 1 '[.packets_per_second, .not_sent_per_second]') == '[null,{}]' ]]
	[[ $(l3af --json mirror stats interval 50ms | jq -c '.filters[0] | [.packets, .packets_per_second, .sent_bytes_per_second]') == '[20,0,0]' ]]
	start send cli python3 -uc '
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready")
while not select.select([sys.stdin], [], [], 0.001)[0]: s.sendto(b"x" * 100, ("10.77.0.1", 53))'
	run -0 --separate-stderr l3af --json mirror stats interval 500ms
	finish send
	jq -e '.filters[0] | .packets_per_second > 0 and .packets_per_second < 2000 and
		(.packets_per_second - .sent_per_second | fabs) <= 2 and
		(.bytes_per_second / .packets_per_second - 142 | fabs) < 2 and
		(.sent_bytes_per_second / .sent_per_second - 192 | fabs) < 2 and .not_sent_per_second.capped == 0' <<<"$output"
	jq -e '(.filters[0].sent_per_second - .targets[0].sent_per_second | fabs) <= 2' <<<"$output"
	run -0 l3af mirror stats interval 50ms
	[[ ${lines[0]} == *'PACKETS/S  BYTES/S  SENT/S  SENT BYTES/S  CUT/S  FITTED/S  NOT SENT/S' && ${lines[0]} != *SENT\ \ * ]]
}

# ---- why not ----

@test "not sent: sampled out, beyond the cap, not IP" {
	tap cap 64kbit
	mirror target add gue dev m0 to 10.78.0.2 encap gue
	mirror filter add 1 dev s0 direction ingress proto udp dport 9 action accept to tap sample 1/1000000
	mirror filter add 3 dev s0 direction ingress src 10.77.0.2 action accept to tap
	mirror filter add 4 dev s0 direction ingress action accept to gue
	udp 40 10
	soon '[40,0]' filter 1 '[.packets, .sent]'
	[[ $(why 1) == 'sampled_out 40' ]]
	[[ $(target tap '[.packets, .not_sent.sampled_out]') == '[40,40]' ]]
	in_ns cli busybox ping -qA -c 50 -s 1000 10.77.0.1 >/dev/null
	soon 50 filter 3 .packets
	[[ $(why 3) =~ ^capped\ [1-9][0-9]?$ ]]
	(($(filter 3 .sent) > 0))
	in_ns cli busybox arping -qc 2 -w 3 -I c0 10.77.0.1 || true
	soon 'not_ip 2' why 4
}

@test "not sent: loops" {
	tap
	# from and to a collector
	mirror filter add 1 dev m0 proto icmp action accept
	in_ns srv busybox ping -qc 2 -i 0.1 10.78.0.2 >/dev/null
	soon 'loop 4' why 1
	# mirrored a second time: VXLAN in VXLAN
	mirror filter add 2 dev s0 direction ingress proto udp action accept
	in_ns cli python3 -c '
import socket, struct
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + 8 + 8, 0, 0, 64, 17, 0, b"\xc6\x33\x64\1", b"\xc6\x33\x64\2")
inner = b"\2" * 12 + b"\x08\0" + ip + struct.pack("!HHHH", 50000, 4789, 16, 0) + bytes(8)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(struct.pack("!II", 8 << 24, 7 << 8) + inner, ("10.77.0.1", 4789))'
	soon 'loop 1' why 2
	[[ $(target tap '[.packets, .sent, .not_sent.loop]') == '[5,0,5]' ]]
	# who has no address yet is no collector
	in_ns cli python3 "$TOP/tests/tools/gue.py" send c0 odst=none src=:: dst=ff02::1 l4=udp to=53 len=10
	soon '[2,1]' filter 2 '[.packets, .sent]'
	# copies on their way out of m0 match nothing there
	mirror filter add 3 dev m0 action accept
	udp 5 10
	soon '[7,6]' filter 2 '[.packets, .sent]'
	[[ $(filter 3 .packets) == 0 ]]
	soon "6 $((5 * 38 + 58))" arrived
}

@test "not sent: no next hop" {
	mirror target add far dev m0 to 198.51.100.9 encap vxlan source 10.78.0.1
	mirror filter add 1 dev s0 direction ingress proto udp action accept
	udp 5 10
	soon 'no_next_hop 5' why 1
}

@test "not sent: the target's interface is down, and gone" {
	tap gateway 02:78:00:00:00:02
	mirror filter add 1 dev s0 direction ingress proto udp action accept
	in_ns srv ip link set m0 down
	udp 4 10
	soon 'down 4' why 1
	in_ns srv ip link set m0 up
	udp 1 10
	soon 1 filter 1 .sent
	in_ns col ip link set k0 down # no link
	udp 3 10
	soon 8 filter 1 .packets
	# a CPU may find out by a queue that takes no more
	[[ $(why 1) =~ ^down\ [5-7](\ queue_full\ [12])?$ ]]
	in_ns srv ip link del m0
	udp 2 10
	soon 10 filter 1 .packets
	[[ $(why 1) =~ ^down\ [7-9](\ queue_full\ [12])?$ && $(filter 1 .sent) == 1 ]]
}

@test "not sent: the queue is full" {
	tap
	in_ns srv tc qdisc add dev m0 root tbf rate 8kbit burst 1600 limit 1600
	mirror filter add 1 dev s0 direction ingress proto udp action accept
	udp 60 100
	soon 60 filter 1 .packets
	[[ $(why 1) =~ ^queue_full\ [1-9][0-9]?$ ]]
	(($(filter 1 .sent) > 0))
}

@test "not sent: stray, until the target is put right" {
	tap
	mirror filter add 1 dev s0 direction ingress proto udp action accept
	l3af chain remove mirrortarget dev m0 hook tc-egress >/dev/null
	udp 3 10
	soon 'stray 3' why 1
	l3af chain add mirrortarget dev m0 hook tc-egress instance mirror >/dev/null
	udp 2 10
	soon 'stray 5' why 1
	[[ $(tap_state) == stray ]]
	run -0 --separate-stderr l3af mirror target list
	[[ $stderr == 'l3afctl: warning: target tap: mirrortarget was out of the chain, and nothing is sent until this is done; l3afctl mirror target add tap '* ]]
	repair "$(l3af --json mirror target list | jq -r '.[].repair')"
	[[ $(tap_state) == on ]]
	udp 2 10
	soon 2 filter 1 .sent
	[[ $(why 1) == 'stray 5' ]]
}

@test "not sent: an error, as of a packet that this host tunnels and that is to be cut" {
	tap
	mirror filter add 1 dev s0 direction egress proto udp dport 8472 action accept snaplen 64
	in_ns srv ip link add v0 type vxlan id 9 dstport 8472 remote 10.77.0.2 dev s0
	in_ns srv ip link set v0 multicast off up
	in_ns srv ip addr add 10.99.0.1/24 dev v0
	in_ns srv ip neigh replace 10.99.0.2 lladdr 02:99:00:00:00:02 dev v0 nud permanent
	in_ns srv bash -c 'echo >/dev/udp/10.99.0.2/9'
	soon 'error 1' why 1
}

@test "sent: cut to snaplen, cut to headers, fitted to the MTU" {
	tap
	mirror filter add 1 dev s0 direction ingress proto udp src 10.77.0.0/24 action accept snaplen 64
	mirror filter add 2 dev s0 direction ingress proto udp src fd77::/64 action accept snaplen headers
	mirror filter add 3 dev s0 direction ingress proto icmp action accept
	udp 4 200
	udp 3 200 fd77::1
	in_ns cli busybox ping -qc 2 -i 0.1 -s 1472 10.77.0.1 >/dev/null
	soon "[4,968,4,$((4 * 114)),4,0]" filter 1 '[.packets, .bytes, .sent, .sent_bytes, .cut, .fitted]'
	soon "[3,786,3,$((3 * 112)),3,0]" filter 2 '[.packets, .bytes, .sent, .sent_bytes, .cut, .fitted]'
	soon "[2,3028,2,$((2 * 1514)),0,2]" filter 3 '[.packets, .bytes, .sent, .sent_bytes, .cut, .fitted]'
	[[ $(target tap '[.packets, .cut, .fitted]') == '[9,7,2]' ]]
	# a packet that is short enough is not cut
	udp 1 5
	soon '[5,4]' filter 1 '[.sent, .cut]'
}

# ---- what the kernel runs ----

# repair COMMAND: what a listing says
repair() {
	[[ $1 != null ]]
	in_ns srv env PATH="$BUILD:$PATH" L3AF_BPFFS="$BPFFS" $1
}
repair_of() { l3af --json mirror "$1" list | jq -r '.[0].repair'; }

@test "a target's state, and what repairs it" {
	tap
	mirror filter add 1 dev s0 action accept
	[[ $(tap_state) == on && $(repair_of target) == null ]]
	does "$(l3af mirror target list)" l3af mirror target list
	l3af chain remove mirrortarget dev m0 hook tc-egress >/dev/null
	[[ $(tap_state) == detached && $(l3af --json mirror filter list | jq -r '.[0] | .state + " " + .target_state') == 'on detached' ]]
	run -0 --separate-stderr l3af mirror filter list
	[[ $stderr == 'l3afctl: warning: target tap: mirrortarget is not in the tc-egress chain of its interface, so nothing is sent; l3afctl mirror target add tap dev m0 to 10.78.0.2:4789 encap vxlan vni 7 source 10.78.0.1 gateway auto cap none udp-csum off' ]]
	does "$output" l3af -q mirror filter list
	repair "$(repair_of target)"
	[[ $(tap_state) == on ]]
	in_ns srv ip link set m0 down
	[[ $(tap_state) == down && $(repair_of target) == 'ip link set m0 up' ]]
	repair "$(repair_of target)"
	soon on tap_state
	in_ns col ip link set k0 down # no link
	soon down tap_state
	in_ns srv ip link del m0
	[[ $(tap_state) == gone && $(repair_of target) == null && $(l3af -q --json mirror target list | jq -r '.[0].dev') == 'm0(gone)' ]]
	# another one of its name
	in_ns srv ip link add m0 type veth peer name k1
	in_ns srv ip link set m0 up
	in_ns srv ip link set k1 up
	in_ns srv ip addr add 10.78.0.1/24 dev m0
	[[ $(tap_state) == gone && $(repair_of target) == 'l3afctl mirror target add tap dev m0 to 10.78.0.2:4789 '* ]]
	repair "$(repair_of target)"
	soon on tap_state
	[[ $(l3af --json mirror filter list | jq -r '.[0] | .target_state') == on ]]
}

@test "a filter's state, and what repairs it" {
	tap
	mirror filter add 1 dev s0 direction ingress action accept
	mirror filter add 2 dev s0 direction egress action accept
	mirror filter add 3 dev s0 action reject
	[[ $(filter_state 1)$(filter_state 2)$(filter_state 3) == ononon ]]
	l3af chain remove mirror dev s0 hook tc-ingress >/dev/null
	[[ "$(filter_state 1) $(filter_state 2) $(filter_state 3)" == 'detached on detached' ]]
	run -0 --separate-stderr l3af mirror filter list
	[[ $stderr == 'l3afctl: warning: s0: mirror is not in its tc-ingress chain; l3afctl mirror filter add 1 dev s0 direction ingress action accept to tap' ]]
	repair "$(repair_of filter)"
	[[ $(filter_state 1)$(filter_state 2)$(filter_state 3) == ononon ]]
	udp 2 10
	soon 2 filter 1 .sent
	l3af chain detach dev s0 hook tc-ingress >/dev/null
	l3af chain detach dev s0 hook tc-egress >/dev/null
	[[ "$(filter_state 1) $(filter_state 2) $(filter_state 3)" == 'detached detached detached' ]]
	run -0 --separate-stderr l3af mirror filter list
	[[ $stderr == 'l3afctl: warning: s0: mirror is not in its tc-ingress and tc-egress chain; '* ]]
	repair "$(repair_of filter)"
	repair "$(l3af --json mirror filter list | jq -r '.[1].repair // "true"')"
	[[ $(filter_state 1)$(filter_state 2)$(filter_state 3) == ononon ]]
	in_ns srv ip link set s0 down
	[[ $(filter_state 3) == down ]]
	in_ns srv ip link set s0 up
	soon on filter_state 3
	in_ns srv ip link del s0
	[[ $(filter_state 3) == gone && $(l3af -q --json mirror filter list | jq -c 'map(.dev) | unique') == '["s0(gone)"]' ]]
	[[ $(l3af -q --json mirror filter list dev s0 | jq length) == 3 ]]
	repair "$(repair_of filter)"
	does '' l3af mirror filter list
	[[ $(tap_state) == on ]]
}

@test "a direction that no filter has is not missed" {
	tap
	mirror filter add 1 dev s0 direction ingress action accept
	does "$(l3af mirror filter list)" l3af mirror filter list
	l3af chain remove mirror dev s0 hook tc-ingress >/dev/null
	run -0 --separate-stderr l3af mirror filter list
	[[ $stderr == 'l3afctl: warning: s0: mirror is not in its tc-ingress chain; '* ]]
}

@test "a program of the same name on maps of its own is none of ours" {
	tap
	mirror filter add 1 dev s0 direction ingress action accept
	l3af chain remove mirror dev s0 hook tc-ingress >/dev/null
	l3af chain add mirror dev s0 hook tc-ingress object "$FP/bpf/counter.o" instance other >/dev/null
	[[ $(filter_state 1) == detached ]]
}

@test "an interface that has another name now" {
	tap
	mirror filter add 1 dev s0 direction ingress action accept
	in_ns srv ip link set s0 down
	in_ns srv ip link set s0 name p0
	in_ns srv ip link set p0 up
	soon on filter_state 1
	[[ $(l3af --json mirror filter list dev p0 | jq -r '.[].filter') == '1 dev p0 direction ingress action accept to tap' ]]
	refuses 1 'l3afctl: s0: is no interface of this network namespace, and has no filters' l3af mirror filter list dev s0
	does '' l3af mirror filter add 1 dev p0 direction ingress action accept to tap
}

@test "another network namespace's targets and filters are its own" {
	tap
	mirror filter add 1 dev s0 action accept
	[[ $(NS=cli l3af --json mirror target list)$(NS=cli l3af --json mirror filter list) == '[][]' ]]
	NS=cli l3af mirror target add tap dev c0 to 10.77.0.1 encap gue >/dev/null
	NS=cli l3af mirror filter add 7 dev c0 action reject >/dev/null
	[[ $(NS=cli l3af --json mirror filter list | jq -r '.[].filter') == '7 dev c0 action reject' ]]
	[[ $(l3af --json mirror filter list | jq -r '.[].filter') == '1 dev s0 action accept to tap' ]]
	[[ $(l3af --json mirror target list | jq -r '.[].dev') == m0 ]]
}

@test "an interface that comes from another network namespace" {
	tap
	mirror filter add 1 dev s0 action accept
	ip netns add other
	in_ns srv ip link set s0 netns other
	in_ns other ip link set s0 up
	[[ $(filter_state 1) == gone ]]
	# it has brought its program along, which is none for filters there
	[[ $(NS=other l3af --json mirror filter list) == '[]' ]]
	NS=other l3af mirror filter add 5 dev s0 direction ingress proto udp action reject >/dev/null
	# not even in the direction that no filter has there
	[[ $(NS=other l3af --json chain list | jq -c '[.[] | select(.name == "mirror") | .hook]') == '["tc-ingress"]' ]]
	local was
	was=$(filter 1 .packets)
	NS=other soon on filter_state 5
	in_ns other ip addr add 10.77.0.1/24 dev s0
	udp 3 10
	soon 3 eval 'NS=other l3af --json mirror stats | jq ".filters[0].packets"'
	[[ $(filter 1 .packets) == "$was" ]]
	repair "$(l3af -q --json mirror filter list | jq -r '.[0].repair')"
	does '' l3af mirror filter list
	[[ $(NS=other filter_state 5) == on ]]
}

@test "without CAP_SYS_ADMIN targets are listed, and filters are not" {
	less() { in_ns srv setpriv --bounding-set -all,+bpf,+net_admin,+perfmon --inh-caps -all "$BUILD/l3afctl" --bpffs "$BPFFS" "$@"; }
	tap
	[[ $(less --json mirror target list | jq -c '.[0] | [.name, .filters, .state]') == '["tap",0,"on"]' ]]
	mirror filter add 1 dev s0 action accept
	[[ $(less --json mirror target list | jq -c '.[0] | [.name, .filters, .state]') == '["tap",null,"on"]' ]]
	[[ $(less --json mirror target show tap | jq -c .state) == '"on"' ]]
	local words
	for words in 'filter list' stats 'stats interval 10ms'; do
		refuses 1 'l3afctl: s0: its filters are read and changed with CAP_SYS_ADMIN only: the kernel opens maps by their ids for nobody else' \
			less mirror $words
	done
}

@test "completion knows targets and interfaces" {
	complete() { in_ns srv env L3AF_BPFFS="$BPFFS" "$BUILD/l3afctl" --complete mirror "$@" ''; }
	tap
	mirror target add other dev m0 to 10.78.0.3 encap gue
	mirror filter add 1 dev s0 action accept to tap
	[[ $(complete target show | xargs) == 'other tap' ]]
	[[ $(complete stats target | xargs) == 'other tap' ]]
	[[ $(complete target remove | xargs) == 'other tap' ]]
	[[ $(complete stats dev | xargs) == s0 ]]
	[[ $(complete stats | xargs) == 'dev target interval' ]]
}
