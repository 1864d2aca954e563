#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# mirror test says which filter a packet matches, why none before it, and what becomes of the
# packet: as packets find that are sent.
# shellcheck disable=SC2086 # lists of words

load lib

# cli c0 --- s0 srv m0 --- k0 col
setup() {
	pair
	quiet_netns col
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name k0 address 02:78:00:00:00:02 netns col
	in_ns srv ip -b - <<-END
		link set m0 multicast off up
		addr add 10.78.0.1/24 dev m0
	END
	in_ns col ip link set k0 multicast off up
}
teardown() { wipe; }

# mirror WORDS...: a change, its lines not shown
mirror() { l3af mirror "$@" >/dev/null; }
tap() { mirror target add tap dev m0 to 10.78.0.2 encap vxlan vni 7 gateway 02:78:00:00:00:02 "$@"; }
# says JQ WORDS...: of mirror test in JSON
says() { l3af --json mirror test "${@:2}" | jq -r "$1"; }
# why NUMBER WORDS...: of that filter; "matches"
why() { says ".filters[] | select(.number == $1) | if .matches then \"matches\" else .why end" "${@:2}"; }
# result WORDS...: FATE: RESULT
result() { says '.results[] | "\(.fate): \(.result)"' "$@"; }
# is WANTED COMMAND...
is() {
	local got
	got=$("${@:2}")
	[[ $got == "$1" ]] || { printf '%s\n' "${*:2}" "is:     $got" "wanted: $1"; return 1; }
}

@test "there are no filters: nothing is mirrored, and that is no error" {
	local answer=$'{"filters":[],\n"results":[]}'
	does "$answer" l3af --json mirror test 10.77.0.2 10.77.0.1
	does "$answer" l3af --json mirror test 10.77.0.2 10.77.0.1 dev s0
	run --separate-stderr l3af mirror test 10.77.0.2 10.77.0.1
	[[ $status -eq 0 && -z $output && $stderr == 'l3afctl: warning: no interface has filters: nothing is mirrored' ]]
	run --separate-stderr l3af mirror test 10.77.0.2 10.77.0.1 dev s0
	[[ $status -eq 0 && -z $output && $stderr == 'l3afctl: warning: s0 has no filters: nothing is mirrored' ]]
	refuses 1 'l3afctl: s9: is no interface of this network namespace, and has no filters' \
		l3af mirror test 10.77.0.2 10.77.0.1 dev s9
	[[ ! -e $STATE/kf ]]
}

@test "what is no packet is refused" {
	local usage=$'\nusage: l3afctl mirror test SRC[:PORT] DST[:PORT] [dev IF] [direction ingress|egress|both] [proto PROTO] [flags FLAGS] [vlan VID|none]'
	local flags='is not FLAGS of fin, syn, rst, psh, ack, urg, ece, cwr, as syn,ack, or none'
	local addr='is not ADDR or ADDR:PORT, as 192.0.2.7, 192.0.2.7:4789 or [2001:db8::7]:4789'
	refuses 2 "l3afctl: mirror test: DST[:PORT] is missing$usage" l3af mirror test 10.77.0.2
	refuses 2 "l3afctl: mirror test: SRC[:PORT]: 10.77.0 $addr" l3af mirror test 10.77.0 10.77.0.1
	refuses 2 "l3afctl: mirror test: DST[:PORT]: fd77::1:80] $addr" l3af mirror test fd77::1 'fd77::1:80]'
	refuses 2 "l3afctl: mirror test: DST[:PORT]: 10.77.0.1:0 has no port in 1..65535" l3af mirror test 10.77.0.2:1 10.77.0.1:0
	refuses 2 'l3afctl: mirror test: SRC and DST: one is IPv4, one IPv6' l3af mirror test 10.77.0.2 fd77::1
	refuses 2 'l3afctl: mirror test: SRC and DST: one has a port, one has none' l3af mirror test 10.77.0.2:1 10.77.0.1
	refuses 2 'l3afctl: mirror test: proto icmp has no ports' l3af mirror test 10.77.0.2:1 10.77.0.1:2 proto icmp
	refuses 2 'l3afctl: mirror test: flags are those of TCP, with ports' \
		l3af mirror test 10.77.0.2:1 10.77.0.1:2 proto udp flags syn
	refuses 2 'l3afctl: mirror test: flags are those of TCP, with ports' l3af mirror test 10.77.0.2 10.77.0.1 flags syn
	refuses 2 "l3afctl: mirror test: flags: syn/syn,ack $flags" l3af mirror test 10.77.0.2:1 10.77.0.1:2 flags syn/syn,ack
	refuses 2 "l3afctl: mirror test: flags: sin $flags" l3af mirror test 10.77.0.2:1 10.77.0.1:2 flags sin
	refuses 2 "l3afctl: mirror test: vlan: 4095 is not a VLAN ID in 0..4094, or none" l3af mirror test 10.77.0.2 10.77.0.1 vlan 4095
}

@test "filter by filter up to the one that matches, in each direction" {
	tap
	mirror filter add 10 dev s0 direction ingress proto tcp dport 22 action reject
	mirror filter add 20 dev s0 src 10.77.0.0/24 flags syn/syn,ack action accept snaplen headers
	mirror filter add 30 dev s0 proto udp action accept
	does 'DEV  DIRECTION  MATCHES  FILTER                                                                                       WHY NOT
s0   ingress    no       10 dev s0 direction ingress proto tcp dport 22 action reject                                 dport 80 is not in 22
s0   ingress    yes      20 dev s0 src 10.77.0.0/24 proto tcp flags syn/syn,ack action accept to tap snaplen headers  -
s0   egress     no       10 dev s0 direction ingress proto tcp dport 22 action reject                                 direction egress is not ingress
s0   egress     yes      20 dev s0 src 10.77.0.0/24 proto tcp flags syn/syn,ack action accept to tap snaplen headers  -

DEV  DIRECTION  PACKET                                           FILTER  RESULT
s0   ingress    10.77.0.2:1000 > 10.77.0.1:80 tcp syn, untagged      20  mirrored to tap, its headers
s0   egress     10.77.0.2:1000 > 10.77.0.1:80 tcp syn, untagged      20  mirrored to tap, its headers' \
		l3af mirror test 10.77.0.2:1000 10.77.0.1:80 flags syn
	is 'null unmatched null on' says '.results[] | "\(.number) \(.fate) \(.to) \(.state)"' 10.77.0.2 10.77.0.1 dev s0 direction egress
	is '10 20 30' says '[.filters[].number] | map(tostring) | join(" ")' 10.77.0.2 10.77.0.1 direction ingress
	is 'dport' says '.filters[0].differs' 10.77.0.2:1 10.77.0.1:2 direction ingress
}

@test "each part that differs is named, with what it is and what it would have to be" {
	tap
	mirror filter add 1 dev s0 direction egress action accept
	mirror filter add 2 dev s0 src ::/0 action accept
	mirror filter add 3 dev s0 proto udp action accept
	mirror filter add 4 dev s0 src 10.77.0.128/25 action accept
	mirror filter add 5 dev s0 dst 10.77.0.9 action accept
	mirror filter add 6 dev s0 sport 1-999 action accept
	mirror filter add 7 dev s0 dport 81 action accept
	mirror filter add 8 dev s0 flags rst action accept
	mirror filter add 9 dev s0 vlan 7 action accept
	mirror filter add 10 dev s0 vlan none dst 224.0.0.0/4 action accept
	mirror filter add 11 dev s0 src fd77::2 vlan none action accept
	local packet='10.77.0.2:1000 10.77.0.1:80 direction ingress' n=0 line
	while read -r line; do
		n=$((n + 1))
		is "$line" why $n $packet
	done <<-END
		direction ingress is not egress
		version IPv4 is not IPv6
		proto tcp is not udp
		src 10.77.0.2 is not in 10.77.0.128/25
		dst 10.77.0.1 is not in 10.77.0.9/32
		sport 1000 is not in 1-999
		dport 80 is not in 81
		flags ack is not rst
		vlan none is not 7
		dst 10.77.0.1 is not in 224.0.0.0/4
	END
	is 'vlan 8 is not 7' why 9 $packet vlan 8
	is 'matches' why 9 $packet vlan 7
	is 'matches' why 8 $packet flags rst,ack
	is 'flags none is not rst' why 8 $packet flags none
	is 'matches' why 10 10.77.0.2 224.0.0.5 direction ingress proto 89
	is 'sport of a packet that has none is not in 1-999' why 6 10.77.0.2 10.77.0.1 direction ingress proto tcp
	is 'flags of a packet that has none is not rst' why 8 10.77.0.2 10.77.0.1 direction ingress proto tcp
	is '10.77.0.2 > 10.77.0.1 tcp later fragment, vlan 3' says '.results[0].packet' 10.77.0.2 10.77.0.1 proto tcp vlan 3
	is '10.77.0.2 > 10.77.0.1 icmp, untagged' says '.results[0].packet' 10.77.0.2 10.77.0.1
	is 'matches' why 2 fd77::2 fd77::1 direction ingress
	is '[fd77::2]:1 > [ff02::1]:2 tcp syn,ack, untagged' says '.results[0].packet' '[fd77::2]:1' '[ff02::1]:2' flags syn,ack
}

@test "what becomes of it: cut, sampled, rejected, a collector's, nobody to send it" {
	local packet='10.77.0.2:1000 10.77.0.1:80 dev s0 direction ingress'
	tap
	mirror filter add 10 dev s0 action accept snaplen 128 sample 1/10
	is 'mirrored: mirrored to tap, 128 octets of it, if it is one in 10' result $packet
	is '128 false 10 packet tap on' says '.results[] | "\(.snaplen_bytes) \(.headers_only) \(.sample) \(.sample_by) \(.to) \(.target_state)"' $packet
	mirror filter add 10 dev s0 action accept snaplen headers sample 1/9 by flow
	is 'mirrored: mirrored to tap, its headers, if it is of one flow in 9' result $packet
	mirror filter add 10 dev s0 action accept
	is 'guarded: not mirrored: from or to the collector of target tap' result 10.77.0.2 10.78.0.2 direction egress
	is 'guarded tap 10' says '.results[] | "\(.fate) \(.collector_of) \(.number)"' 10.78.0.2:9 10.77.0.2:9 direction egress
	mirror filter add 10 dev s0 action reject
	is 'rejected: not mirrored: rejected' result $packet
	mirror filter add 10 dev s0 action accept to tap
	mirror target remove tap 2>/dev/null && return 1
	in_ns srv ip link set m0 down
	is 'unsent: not mirrored: target tap is down' result $packet
	in_ns srv ip link set m0 up
	l3af -q chain remove mirrortarget dev m0 hook tc-egress >/dev/null
	is 'unsent: not mirrored: target tap is detached' result $packet
	tap
	is 'mirrored: mirrored to tap' result $packet
	l3af -q chain remove mirror dev s0 hook tc-ingress >/dev/null
	is 'unseen: not mirrored: mirror is not in the chain' result $packet
	is 'mirrored: mirrored to tap' result 10.77.0.2 10.77.0.1 direction egress
	in_ns srv ip link delete s0
	is $'unseen: not mirrored: the interface is gone\nunseen: not mirrored: the interface is gone' result 10.77.0.2 10.77.0.1
}

@test "a set that is not what its filters say is an error" {
	tap
	mirror filter add 10 dev s0 action accept
	is 'mirrored: mirrored to tap' result 10.77.0.2 10.77.0.1 direction ingress
	"$FP/match" spoil "$BPFFS" 0
	refuses 1 'l3afctl: s0: by its filters the packet is of filter 10, what packets are compared with says 0 (0: none); please report it, with l3afctl mirror filter list' \
		l3af mirror test 10.77.0.2 10.77.0.1
}

# send FRAME...: Ethernet frames by c0, of words as l3afctl mirror test has them: V PROTO SPORT DPORT FLAGS VLAN
send() {
	in_ns cli python3 - "$@" <<-'END'
		import socket, struct, sys
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
		s.bind(("c0", 0))
		for words in sys.argv[1:]:
		    v, proto, sport, dport, flags, vlan = (int(w) for w in words.split())
		    l4 = struct.pack("!HH", sport, dport) if sport else b"\0" * 4
		    if proto == 6: l4 += struct.pack("!IIBBHHH", 1, 1, 0x50, flags, 100, 0, 0)
		    else: l4 += b"\0" * 20
		    if v == 4:
		        frag = 0 if sport or proto not in (6, 17) else 100
		        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(l4), 1, frag, 64, proto, 0,
		                         socket.inet_aton("10.77.0.2"), socket.inet_aton("10.77.0.1"))
		    else:
		        ip = struct.pack("!IHBB", 6 << 28, len(l4), proto, 64) + socket.inet_pton(socket.AF_INET6, "fd77::2") + \
		            socket.inet_pton(socket.AF_INET6, "fd77::1")
		    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
		    s.send(b"\2\x77\0\0\0\1\2\x77\0\0\0\2" + tag + struct.pack("!H", 0x800 if v == 4 else 0x86dd) + ip + l4)
	END
}
# counts: NUMBER PACKETS of each filter
counts() { l3af --json mirror stats | jq -r '.filters[] | "\(.number) \(.packets)"'; }
# first V PROTO SPORT DPORT FLAGS VLAN: the filter that mirror test names, 0: none
first() {
	local src=10.77.0.2 dst=10.77.0.1 words="proto $2" bit flags='' names=(fin syn rst psh ack)
	[[ $1 == 4 ]] || src='fd77::2' dst='fd77::1'
	(($3 == 0)) || [[ $1 == 4 ]] || src="[$src]" dst="[$dst]"
	(($3 == 0)) || src+=:$3 dst+=:$4
	for bit in 0 1 2 3 4; do (($5 & 1 << bit)) && flags+=${flags:+,}${names[bit]}; done
	(($2 != 6 || $3 == 0)) || words+=" flags ${flags:-none}"
	(($6 == 0)) || words+=" vlan $6"
	says '.results[0].number // 0' "$src" "$dst" dev s0 direction ingress $words
}

@test "packets that are sent are counted by the filter that is named" {
	local packet want before after n=0
	local packets=(
		'4 6 1000 80 2 0' '4 6 1000 80 18 0' '4 6 1000 80 16 7' '4 6 1000 443 4 0' '4 6 0 0 0 0' '4 17 53 5000 0 0'
		'4 17 5000 53 0 0' '4 17 0 0 0 0' '4 47 0 0 0 0' '4 1 0 0 0 7' '4 17 2000 3000 0 9' '4 132 70 80 0 0'
		'6 6 1000 80 2 0' '6 6 999 80 16 0' '6 17 53 53 0 7' '6 58 0 0 0 0' '6 47 0 0 0 9' '6 6 65535 65535 1 0'
	)
	tap
	mirror filter add 5 dev s0 direction egress action reject
	mirror filter add 10 dev s0 flags syn/syn,ack action accept
	mirror filter add 20 dev s0 vlan 7 proto tcp action reject
	mirror filter add 30 dev s0 src 10.77.0.0/24 sport 1000-1999 dport 443 action accept
	mirror filter add 40 dev s0 dst fd77::/64 dport 53 action accept
	mirror filter add 50 dev s0 src fd00::/8 proto icmpv6 action accept
	mirror filter add 60 dev s0 src 10.77.0.2 dst 10.77.0.1 sport 1-65535 proto udp vlan none action accept
	mirror filter add 70 dev s0 vlan 9 action accept
	mirror filter add 80 dev s0 proto sctp dport 80 action accept
	mirror filter add 90 dev s0 src 0.0.0.0/0 proto udp action reject
	mirror filter add 100 dev s0 src fd77::2 sport 60000-65535 action accept
	for packet in "${packets[@]}"; do
		want=$(first $packet)
		before=$(counts)
		send "$packet"
		after=$(awk -v n="$want" '{ print $1, $2 + ($1 == n) }' <<<"$before")
		soon "$after" counts || { echo "packet: $packet, filter: $want"; return 1; }
		((want == 0)) || n=$((n + 1))
	done
	((n >= 12))
	figure "${#packets[@]} packets, $n of them of a filter, each that which mirror test names"
}
