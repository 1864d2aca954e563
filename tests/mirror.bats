#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# mirror: what its verbs say and do, through packets that arrive at the kernel's own vxlan device.
# shellcheck disable=SC2030,SC2031,SC2086,SC2154 # variables of run, lists of words

load lib

# cli c0 ---- s0 srv m0 ---- k0 col, who has a vxlan device v1 (VNI 1) and v2
setup() {
	pair
	quiet_netns col
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name k0 address 02:78:00:00:00:02 netns col
	end srv m0 1 2
	end col k0 2 1
	for i in 1 2; do
		in_ns col ip link add v$i type vxlan id $i dstport 4789 dev k0 nolearning
		in_ns col ip link set v$i arp off multicast off up
	done
}
# end NS IF N PEER
end() {
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.78.0.$3/24 dev $2
		addr add fd78::$3/64 dev $2 nodad
		neigh replace 10.78.0.$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
		neigh replace fd78::$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
	END
}
teardown() { wipe; }

mirror() { l3af mirror "$@"; }
# quietly WORDS...: a change, its lines not shown
quietly() { l3af mirror "$@" >/dev/null; }
# dry OUTPUT WORDS...: --dry-run says it and does nothing, the command says the same and does it, and then nothing
dry() {
	local want=$1
	shift
	does "$want" l3af --dry-run mirror "$@"
	does "$want" l3af --dry-run mirror "$@"
	does "$want" l3af mirror "$@"
	does '' l3af mirror "$@"
}
# udp N PORT [SIZE [ADDR]]: datagrams from cli
udp() {
	in_ns cli python3 -c '
import socket, sys
n, port, size, to = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4000))
for i in range(n): s.sendto(b"x" * size, (to, port))' "$1" "$2" "${3-10}" "${4-10.77.0.1}"
}
# got I: frames that vI received
got() { in_ns col ip -j -s link show "v$1" | jq -r '.[0].stats64.rx.packets'; }
# members: "DEV HOOK NAME" of the chains of srv
members() { l3af --json chain list | jq -r '.[] | select(.name) | "\(.dev) \(.hook) \(.name)"' | paste -sd, ; }

T='target add t1 dev m0 to 10.78.0.2 encap vxlan'
PLUS_T='+ mirror target t1 dev m0 to 10.78.0.2:4789 encap vxlan vni 1 source 10.78.0.1 gateway auto cap none udp-csum off
+ chain mirrortarget dev m0 hook tc-egress position 1 engine tcx'
PLUS_F='+ mirror filter 10 dev s0 direction both action accept to t1
+ chain mirror dev s0 hook tc-ingress position 1 engine tcx
+ chain mirror dev s0 hook tc-egress position 1 engine tcx'

# ---- targets ----

@test "target add, remove: twice says nothing, --dry-run says the same, nothing stays" {
	dry "$PLUS_T" $T
	[[ $(members) == 'm0 tc-egress mirrortarget' ]]
	dry $'- mirror target t1\n- chain mirrortarget dev m0 hook tc-egress' target remove t1
	[[ ! -e $STATE/kf/mirror ]]
	does '' l3af mirror target remove t1
	l3af -q chain detach dev m0 hook tc-egress >/dev/null
	no_residue
}
@test "target add: --json" {
	run l3af --json mirror $T vni 7 cap 100mbit
	jq -e '.changed and (.dry_run | not) and .changes[0] == {op: "add", object: "mirror target", name: "t1", dev: "m0",
		to: "10.78.0.2:4789", encap: "vxlan", vni: "7", source: "10.78.0.1", gateway: "auto", cap: "100mbit",
		udp_csum: "off"} and .changes[1].object == "chain" and (.changes | length) == 2' <<<"$output"
	does '{"changed":false,"dry_run":false,"changes":[]}' l3af --json mirror $T vni 7 cap 100mbit
}
@test "target add: each setting changes, what is not given stays" {
	quietly $T
	dry '~ mirror target t1 vni 1 -> 16777215' target add t1 vni 16777215
	dry '~ mirror target t1 cap none -> 20mbit' target add t1 cap 20mbit
	dry '~ mirror target t1 cap 20mbit -> none' target add t1 cap none
	dry '~ mirror target t1 gateway auto -> 02:78:00:00:00:02' target add t1 gateway 02:78:00:00:00:02
	dry '~ mirror target t1 gateway 02:78:00:00:00:02 -> auto' target add t1 gateway auto
	dry '~ mirror target t1 udp-csum off -> on' target add t1 udp-csum on
	dry '~ mirror target t1 source 10.78.0.1 -> 10.78.0.7' target add t1 source 10.78.0.7
	dry '~ mirror target t1 to 10.78.0.2:4789 -> 10.78.0.3:4790' target add t1 to 10.78.0.3:4790
	dry '~ mirror target t1 to 10.78.0.3:4790 -> 10.78.0.2:4790' target add t1 to 10.78.0.2
	dry '~ mirror target t1 udp-csum on -> off' target add t1 udp-csum off
	dry '~ mirror target t1 encap vxlan -> gue vni 16777215 -> none' target add t1 encap gue
	dry '~ mirror target t1 variant 0 -> 1' target add t1 variant 1
	dry '~ mirror target t1 to 10.78.0.2:4790 -> 10.78.0.2:6080' target add t1 to 10.78.0.2:6080
	dry '~ mirror target t1 to 10.78.0.2:6080 -> 10.78.0.2:4789 encap gue -> vxlan variant 1 -> 0 vni none -> 1' target add t1 encap vxlan
	dry '~ mirror target t1 to 10.78.0.2:4789 -> [fd78::2]:4789 source 10.78.0.7 -> fd78::1 udp-csum off -> on' target add t1 to fd78::2
}
@test "target add: defaults of GUE and of IPv6" {
	does '+ mirror target g dev m0 to 10.78.0.2:6080 encap gue source 10.78.0.1 gateway auto cap none udp-csum off
+ chain mirrortarget dev m0 hook tc-egress position 1 engine tcx' l3af mirror target add g dev m0 to 10.78.0.2 encap gue
	does '+ mirror target h dev m0 to [fd78::2]:99 encap gue source fd78::1 gateway auto cap none udp-csum on' \
		l3af mirror target add h dev m0 to '[fd78::2]:99' encap gue
	does '+ mirror target i dev m0 to 10.78.0.2:6080 encap gue variant 1 source 10.78.0.1 gateway auto cap none udp-csum off' \
		l3af mirror target add i dev m0 to 10.78.0.2 encap gue variant 1
}
@test "target add: another interface: its chain is made, the other one's member goes with its last target" {
	in_ns srv ip link add m1 type veth peer name m2
	in_ns srv ip link set m1 up
	in_ns srv ip addr add 10.79.0.1/24 dev m1
	in_ns srv ip link set m2 up
	quietly $T
	quietly target add t2 dev m0 to 10.78.0.2 encap gue
	dry $'~ mirror target t2 dev m0 -> m1 source 10.78.0.1 -> 10.79.0.1 gateway auto -> 02:78:00:00:00:02\n+ chain mirrortarget dev m1 hook tc-egress position 1 engine tcx' \
		target add t2 dev m1 gateway 02:78:00:00:00:02
	[[ $(members) == 'm0 tc-egress mirrortarget,m1 tc-egress mirrortarget' ]]
	dry $'~ mirror target t1 dev m0 -> m1 source 10.78.0.1 -> 10.79.0.1 gateway auto -> 02:78:00:00:00:02\n- chain mirrortarget dev m0 hook tc-egress' \
		target add t1 dev m1 gateway 02:78:00:00:00:02
	[[ $(members) == 'm1 tc-egress mirrortarget' ]]
}
@test "target add: a source that was not given follows the route, one that was given stays" {
	quietly $T
	in_ns srv ip addr add 10.80.0.1/24 dev m0
	dry '~ mirror target t1 to 10.78.0.2:4789 -> 10.80.0.2:4789 source 10.78.0.1 -> 10.80.0.1' target add t1 to 10.80.0.2
	does '' l3af mirror target add t1 source 10.80.0.1
	dry '~ mirror target t1 to 10.80.0.2:4789 -> 10.78.0.2:4789' target add t1 to 10.78.0.2
}
@test "target add: the interface's own address changed, and is taken anew" {
	quietly $T
	in_ns srv ip link set m0 address 02:78:00:00:00:99
	dry '~ mirror target t1 mac 02:78:00:00:00:01 -> 02:78:00:00:00:99' target add t1
}
@test "target add: where the route leads elsewhere, or nowhere, it says so and goes on" {
	run --separate-stderr -0 l3af mirror target add t1 dev m0 to 10.77.0.9 source 10.78.0.1 encap gue
	[[ $output == '+ mirror target t1 dev m0 to 10.77.0.9:6080 encap gue source 10.78.0.1 '* ]]
	[[ $stderr == 'l3afctl: warning: the route to 10.77.0.9 leaves by s0; what is sent by m0 needs one there, or a gateway MAC' ]]
	run --separate-stderr -0 l3af mirror target add t2 dev m0 to 203.0.113.9 source 10.78.0.1 encap gue
	[[ $stderr == 'l3afctl: warning: there is no route to 203.0.113.9; nothing is sent until there is one by m0' ]]
	run --separate-stderr -0 l3af mirror target add t3 dev m0 to 203.0.113.9 source 10.78.0.1 encap gue gateway 02:78:00:00:00:02
	[[ -z $stderr ]]
}
@test "target add: what is refused" {
	refuses 2 "l3afctl: mirror target add: t1 is new and needs dev IF" l3af mirror target add t1 to 10.78.0.2 encap gue
	refuses 2 "l3afctl: mirror target add: t1 is new and needs to ADDR" l3af mirror target add t1 dev m0 encap gue
	refuses 2 "l3afctl: mirror target add: t1 is new and needs encap gue|vxlan" l3af mirror target add t1 dev m0 to 10.78.0.2
	refuses 2 "l3afctl: to 10.77.0.1: is an address of this host, of s0; mirrored packets go to another one" \
		l3af mirror target add t1 dev m0 to 10.77.0.1 encap gue
	refuses 2 "l3afctl: vni 7: goes with encap vxlan only" l3af mirror target add t1 dev m0 to 10.78.0.2 encap gue vni 7
	refuses 2 "l3afctl: variant 1: goes with encap gue only" l3af mirror $T variant 1
	refuses 2 "l3afctl: source fd78::1: is not of the IP version of the collector" \
		l3af mirror $T source fd78::1
	in_ns srv ip link add x0 type veth peer name x1
	refuses 1 "l3afctl: x0 has no address to send to 2001:db8::9 from; give source ADDR" \
		l3af mirror target add t1 dev x0 to 2001:db8::9 encap gue
	refuses 1 "l3afctl: lo: is no Ethernet interface, mirrored packets cannot be sent there" \
		l3af mirror target add t1 dev lo to 10.78.0.2 encap gue
	refuses 2 "l3afctl: mirror target add: dev: m9 is not an interface of this network namespace" l3af mirror target add t1 dev m9
	for bad in 224.0.0.1 127.0.0.1 0.0.0.0 fe80::1 10.78.0.2:0 10.78.0.2:65536 '[10.78.0.2]:5' host.example ''; do
		run --separate-stderr -2 l3af mirror target add t1 dev m0 to "$bad" encap gue
		[[ -z $output && $stderr == "l3afctl: mirror target add: to: $bad "* || $stderr == *": '' "* ]]
	done
	for bad in 'vni 16777216' 'cap 999bit' 'cap 100' 'cap 2tbit' 'cap 0mbit' 'gateway 01:00:5e:00:00:01' 'udp-csum yes'; do
		run --separate-stderr -2 l3af mirror $T $bad
		[[ -z $output && $stderr == "l3afctl: mirror target add: ${bad% *}: ${bad#* } is not"* ]]
	done
	refuses 1 "l3afctl: there are 16 targets, no more fit; remove one first: l3afctl mirror target remove NAME" sixteen
	l3af -q chain list >/dev/null
}
# sixteen: one more than that
sixteen() {
	local i
	for i in {1..16}; do quietly target add n$i dev m0 to 10.78.0.2 encap vxlan vni $i; done
	mirror target add n17 dev m0 to 10.78.0.2 encap gue
}
@test "target add: nothing is made where it is refused" {
	run l3af mirror target add t1 dev m0 to 10.77.0.1 encap gue
	run l3af mirror filter add dev s0 action accept
	run l3af --dry-run mirror $T
	does '' l3af mirror filter flush
	[[ ! -e $STATE/kf && ! -e $STATE/chain ]]
}
@test "target remove: refused while filters send to it" {
	quietly $T
	quietly target add t2 dev m0 to 10.78.0.2 encap gue
	quietly filter add 7 dev s0 action accept to t1
	refuses 1 "l3afctl: t1: 1 filter sends to it, 7 dev s0; l3afctl mirror filter remove, or send them to another one" \
		l3af mirror target remove t1
	for i in 1 2 3; do quietly filter add dev s0 proto $i action accept to t1; done
	refuses 1 "l3afctl: t1: 4 filters send to it, 7 dev s0, 17 dev s0, 27 dev s0 and more; l3afctl mirror filter remove, or send them to another one" \
		l3af mirror target remove t1
	dry '- mirror target t2' target remove t2
	quietly filter flush
	dry $'- mirror target t1\n- chain mirrortarget dev m0 hook tc-egress' target remove t1
}

# ---- filters ----

@test "filter add, remove: twice says nothing, --dry-run says the same, nothing stays" {
	quietly $T
	dry "$PLUS_F" filter add dev s0 action accept
	dry '+ mirror filter 20 dev s0 direction egress src 10.77.0.1/32 dst 10.0.0.0/8 proto tcp sport 1000-2000 dport 443 flags syn/syn,ack vlan 7 action accept to t1 snaplen 128 sample 1/10 by flow' \
		filter add dev s0 direction egress src 10.77.0.1 dst 10.0.0.0/8 proto tcp sport 1000-2000 dport 443 \
		flags syn/syn,ack vlan 7 action accept snaplen 128 sample 1/10 by flow
	dry '- mirror filter 20 dev s0' filter remove 20 dev s0
	dry $'- mirror filter 10 dev s0\n- chain mirror dev s0 hook tc-ingress\n- chain mirror dev s0 hook tc-egress' \
		filter remove 10 dev s0
	quietly target remove t1
	for hook in 's0 hook tc-ingress' 's0 hook tc-egress' 'm0 hook tc-egress'; do l3af chain detach dev $hook >/dev/null; done
	no_residue
}
@test "filter add: its number, and what it is like" {
	quietly $T
	does "${PLUS_F/10/65530}" l3af mirror filter add 65530 dev s0 action accept
	does '+ mirror filter 65535 dev s0 direction both proto udp action reject' l3af mirror filter add dev s0 proto udp action reject
	refuses 2 "l3afctl: s0: filter 65535 is the last one that there can be; give a number below it" \
		l3af mirror filter add dev s0 proto tcp action reject
	does '' l3af mirror filter add dev s0 proto udp action reject
	does '+ mirror filter 1 dev s0 direction both proto udp action reject' l3af mirror filter add 1 dev s0 proto udp action reject
}
@test "filter add: the same number with other words changes it, members follow the directions" {
	quietly $T
	quietly target add t2 dev m0 to 10.78.0.2 encap gue
	dry $'+ mirror filter 5 dev s0 direction ingress proto tcp action accept to t1\n+ chain mirror dev s0 hook tc-ingress position 1 engine tcx' \
		filter add 5 dev s0 direction ingress proto tcp action accept to t1
	dry '~ mirror filter 5 dev s0 proto tcp -> udp dport any -> 53 to t1 -> t2 snaplen all -> headers' \
		filter add 5 dev s0 direction ingress proto udp dport 53 action accept to t2 snaplen headers
	dry $'~ mirror filter 5 dev s0 direction ingress -> egress dport 53 -> any action accept -> reject to t2 -> none snaplen headers -> all\n+ chain mirror dev s0 hook tc-egress position 1 engine tcx\n- chain mirror dev s0 hook tc-ingress' \
		filter add 5 dev s0 direction egress proto udp action reject
	[[ $(members) == 's0 tc-egress mirror,m0 tc-egress mirrortarget' ]]
	dry '+ mirror filter 15 dev s0 direction egress action accept to t1' filter add dev s0 direction egress action accept to t1
	dry $'+ mirror filter 6 dev s0 direction ingress src ::/0 action reject\n+ chain mirror dev s0 hook tc-ingress position 1' \
		filter add 6 dev s0 direction ingress src ::/0 action reject
}
@test "filter add: first in tc-ingress, last in tc-egress, and mirrortarget first there" {
	for hook in tc-ingress tc-egress; do l3af chain add pass dev s0 hook $hook object "$FP/bpf/tcempty.o" >/dev/null; done
	quietly target add t1 dev s0 to 10.77.0.2 encap gue
	quietly filter add dev s0 action accept
	[[ $(members) == 's0 tc-ingress mirror,s0 tc-ingress pass,s0 tc-egress mirrortarget,s0 tc-egress pass,s0 tc-egress mirror' ]]
}
@test "filter add: what is refused" {
	refuses 2 "l3afctl: there is no target yet; l3afctl mirror target add makes one" l3af mirror filter add dev s0 action accept
	refuses 2 "l3afctl: to t9: there is no such target; l3afctl mirror target add t9 makes it" \
		l3af mirror filter add dev s0 action accept to t9
	quietly $T
	quietly target add t2 dev m0 to 10.78.0.2 encap gue
	refuses 2 "l3afctl: there are 2 targets; give one: to TARGET" l3af mirror filter add dev s0 action accept
	for words in 'to t1' 'snaplen 100' 'sample 1/2'; do
		refuses 2 "l3afctl: ${words% *}: what is rejected is not sent; it goes with action accept" \
			l3af mirror filter add dev s0 action reject $words
	done
	refuses 2 "l3afctl: by flow: goes with sample 1/N, N > 1" l3af mirror filter add dev s0 action accept to t1 by flow
	refuses 2 "l3afctl: mirror filter add: src and dst are of different IP versions" \
		l3af mirror filter add dev s0 src 10.0.0.0/8 dst fd00::/8 action accept to t1
	refuses 2 "l3afctl: mirror filter add: src: 10.0.0.1/8 has bits behind its length; the network is 10.0.0.0/8" \
		l3af mirror filter add dev s0 src 10.0.0.1/8 action accept to t1
	refuses 2 "l3afctl: dport: icmp has no ports" l3af mirror filter add dev s0 proto icmp dport 7 action accept to t1
	refuses 2 "l3afctl: flags: udp has none, TCP has" l3af mirror filter add dev s0 proto udp flags syn action accept to t1
	for bad in 'snaplen 63' 'snaplen 65535' 'sample 2' 'sample 1/0' 'flags syn/ack' 'flags none' 'flags syn,syn' 'vlan 4095' \
		'sport 0' 'dport 7-6' 'proto foo' 'direction up' 'by hash'; do
		run --separate-stderr -2 l3af mirror filter add dev s0 action accept to t1 $bad
		[[ -z $output && $stderr == "l3afctl: mirror filter add: ${bad% *}: ${bad#* } "* ]]
	done
	for bad in 0 65536 x; do
		run --separate-stderr -2 l3af mirror filter add $bad dev s0 action accept to t1
		[[ -z $output && $stderr == "l3afctl: mirror filter add: "* ]]
	done
	does '' l3af mirror filter remove 10 dev s0
	[[ $(members) == 'm0 tc-egress mirrortarget' ]]
}
@test "a full table: 1000 filters at once, one more, and 1000 others in their place" {
	quietly $T
	quietly filter add dev s0 action reject # the programs are there
	run -0 in_ns srv "$FP/mirrorset" "$BPFFS" s0 make 1000 1
	figure "$output"
	refuses 1 "l3afctl: s0 has 1000 filters, no more fit" l3af mirror filter add 5000 dev s0 action accept
	does '- mirror filter 7 dev s0' l3af mirror filter remove 7 dev s0
	does '+ mirror filter 5000 dev s0 direction both action accept to t1' l3af mirror filter add 5000 dev s0 action accept
	udp 3 9
	soon 6 got 1 # and ICMP says there is nobody
	run -0 in_ns srv "$FP/mirrorset" "$BPFFS" s0 make 1000 10000
	udp 3 9
	[[ $(l3af --json mirror filter list | jq 'length, .[0].number, .[999].number' | paste -sd' ') == '1000 10000 10999' ]]
	[[ $(got 1) == 6 ]]
	run -0 l3af mirror filter flush
	[[ ${#lines[@]} == 1002 ]]
}

# ---- packets ----

@test "packets: the first filter decides, in either direction; IPv4, IPv6, and what is no IP" {
	quietly target add t1 dev m0 to 10.78.0.2 encap vxlan vni 1
	quietly target add t2 dev m0 to 10.78.0.2 encap vxlan vni 2
	quietly filter add 10 dev s0 proto udp dport 9 action accept to t1
	udp 5 9
	soon 5 got 1
	udp 3 9 10 fd77::1
	soon 8 got 1
	quietly filter add 5 dev s0 src ::/0 proto udp action reject
	udp 3 9 10 fd77::1
	udp 2 9
	soon 10 got 1
	quietly filter add 7 dev s0 direction ingress src 10.77.0.2 proto udp action accept to t2
	udp 4 9
	soon 4 got 2
	quietly filter remove 7 dev s0
	# what goes out: answers of srv to cli
	quietly filter add 7 dev s0 direction egress proto icmp action accept to t2
	in_ns srv sysctl -qw net.ipv4.icmp_ratelimit=0
	udp 6 9
	soon 10 got 2
	[[ $(got 1) == 16 ]]
	quietly filter flush
	quietly filter add dev s0 direction ingress action accept to t1
	in_ns cli python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("c0", 0))
s.send(bytes.fromhex("027700000001" "027700000002" "88cc") + b"x" * 50)'
	soon 17 got 1
}
@test "packets: a target's settings change while they flow" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	udp 5 9
	soon 5 got 1
	quietly target add t1 vni 2
	udp 7 9
	soon 7 got 2
	[[ $(got 1) == 5 ]]
	in_ns col ip link add w3 type vxlan id 3 dstport 4789 local fd78::2 nolearning
	in_ns col ip link set w3 arp off multicast off up
	quietly target add t1 to fd78::2 vni 3
	udp 7 9
	soon 7 frames_of w3
}

# ---- by other hands ----

@test "mirrortarget taken out of the chain: nothing leaves as it is, target add repairs it" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	raw_frames start
	for words in 'remove mirrortarget dev m0 hook tc-egress' 'flush dev m0 hook tc-egress' 'detach dev m0 hook tc-egress'; do
		before=$(got 1)
		l3af chain $words >/dev/null
		udp 5 9
		run -0 l3af mirror target add t1
		[[ ${lines[0]} == '~ mirror target t1 stray yes -> no' && ${lines[1]} == '+ chain mirrortarget dev m0 hook tc-egress position 1'* ]]
		udp 5 9
		soon $((before + 5)) got 1
	done
	[[ $(raw_frames stop) == 0 ]]
}
@test "mirrortarget away without l3afctl: one packet leaves as it is, no more" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	udp 5 9
	soon 5 got 1
	raw_frames start
	rm "$STATE"/chain/*/*/tcout/link # m0's alone
	udp 9 9
	[[ $(raw_frames stop) == 1 ]]
	run --separate-stderr -0 l3af mirror target add t1
	[[ $stderr == *'is not attached to it'* ]]
	[[ ${lines[0]} == '~ mirror target t1 stray yes -> no' ]]
	udp 5 9
	soon 10 got 1
}
# raw_frames start|stop: counts frames of 10.77.0.0/24 at k0 outside of tunnels
raw_frames() {
	if [[ $1 == start ]]; then
		in_ns col nft -f - <<-'END'
			table netdev raw {
				chain in {
					type filter hook ingress device k0 priority 0
					ip daddr 10.77.0.0/24 counter
				}
			}
		END
	else
		in_ns col nft -j list table netdev raw | jq '[.. | .counter? // empty | .packets] | add'
	fi
}
@test "mirror taken out of a chain: filter add puts it back" {
	quietly $T
	quietly filter add dev s0 action accept
	l3af chain remove mirror dev s0 hook tc-egress >/dev/null
	does '+ chain mirror dev s0 hook tc-egress position 1' l3af mirror filter add dev s0 action accept
	does '' l3af mirror filter add dev s0 action accept
}
@test "chain add: mirror needs filters, both have one instance" {
	refuses 2 "l3afctl: s0 has no filters; l3afctl mirror filter add dev s0 puts it into the chains" \
		l3af chain add mirror dev s0 hook tc-ingress
	refuses 2 "l3afctl: mirrors have one instance, which is called mirror" \
		l3af chain add mirror dev s0 hook tc-ingress instance other
	refuses 2 "l3afctl: l3afctl mirror target add puts mirrortarget into the chains; by hand: chain add mirrortarget instance mirror" \
		l3af chain add mirrortarget dev m0 hook tc-egress
	[[ ! -e $STATE/kf ]]
}
@test "pins removed by hand: the next commands make all of it anew" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	rm -r "$STATE/kf/mirror"
	run -0 l3af mirror $T
	[[ ${lines[0]} == '+ mirror target t1 '* ]]
	run -0 l3af mirror filter add dev s0 direction ingress proto udp action accept
	[[ ${lines[0]} == '+ mirror filter 10 '* ]]
	udp 5 9
	soon 5 got 1
}
@test "pins removed by hand: filter flush ends what goes on without them" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	rm -r "$STATE/kf/mirror"
	udp 2 9
	soon 2 got 1
	dry '- chain mirror dev s0 hook tc-ingress' filter flush
	quietly $T
	quietly filter add dev s0 direction egress action accept
	rm -r "$STATE/kf/mirror"
	quietly $T
	dry '- chain mirror dev s0 hook tc-egress' filter flush dev s0
	does '' l3af mirror filter flush
}

# ---- interfaces come and go ----

@test "an interface is gone: its filters are listed, flushed, or make way for those of a new one" {
	quietly $T
	in_ns srv ip link add x0 type veth peer name x1
	quietly filter add 3 dev x0 action accept
	in_ns srv ip link del x0
	[[ $(l3af --json mirror filter list | jq -r '.[].dev') == 'x0(gone)' ]]
	in_ns srv ip link add x0 type veth peer name x1
	# what fails, and what does not concern them, leaves them
	refuses 2 "l3afctl: to t2: there is no such target; l3afctl mirror target add t2 makes it" \
		l3af mirror filter add dev x0 action accept to t2
	does '' l3af mirror filter remove 9 dev x0
	[[ $(l3af --json mirror filter list | jq -r '.[].dev') == 'x0(gone)' ]]
	refuses 1 'l3afctl: t1: 1 filter sends to it, 3 dev x0(gone); l3afctl mirror filter remove, filter flush dev IF where it is gone, or send them to another one' \
		l3af mirror target remove t1
	dry $'+ mirror filter 10 dev x0 direction ingress action accept to t1\n+ chain mirror dev x0 hook tc-ingress position 1 engine tcx\n- mirror filter 3 dev x0(gone)' \
		filter add dev x0 direction ingress action accept
	in_ns srv ip link del x0
	dry '- mirror filter 10 dev x0(gone)' filter flush
	in_ns srv ip link add x0 type veth peer name x1
	quietly filter add 3 dev x0 action accept
	in_ns srv ip link del x0
	does '- mirror filter 3 dev x0(gone)' l3af mirror filter flush dev x0
	refuses 2 "l3afctl: dev x0: is not an interface of this network namespace, and was none with filters" l3af mirror filter flush dev x0
}
@test "an interface is renamed: filters stay with it" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	in_ns srv ip link property add dev s0 altname other || true
	in_ns srv ip link set s0 down
	in_ns srv ip link set s0 name s9 up
	does '' l3af mirror filter add dev s9 direction ingress proto udp action accept
	dry $'- mirror filter 10 dev s9\n- chain mirror dev s9 hook tc-ingress' filter flush dev s9
}
@test "a target's interface is gone: said, and another one is given" {
	quietly $T
	quietly filter add dev s0 direction ingress proto udp action accept
	in_ns srv ip link del m0
	udp 3 9
	refuses 1 "l3afctl: t1: its interface m0 is gone; give another one: dev IF" l3af mirror target add t1 vni 9
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name k0 address 02:78:00:00:00:02 netns col
	end srv m0 1 2
	end col k0 2 1
	in_ns col ip link add w1 type vxlan id 1 dstport 4789 local 10.78.0.2 nolearning
	in_ns col ip link set w1 up
	dry $'~ mirror target t1 dev m0(gone) -> m0\n+ chain mirrortarget dev m0 hook tc-egress position 1 engine tcx' target add t1 dev m0
	udp 5 9
	soon 5 frames_of w1
	in_ns srv ip link del m0
	quietly filter flush
	dry '- mirror target t1' target remove t1
}
frames_of() { in_ns col ip -j -s link show "$1" | jq -r '.[0].stats64.rx.packets'; }
@test "network namespaces: targets and filters of another one are not seen" {
	quietly $T
	NS=cli refuses 2 "l3afctl: to t1: there is no such target; l3afctl mirror target add t1 makes it" \
		l3af mirror filter add dev c0 action accept to t1
	NS=cli does '' l3af mirror target remove t1
	NS=cli does '+ mirror target t1 dev c0 to 10.77.0.1:6080 encap gue source 10.77.0.2 gateway auto cap none udp-csum off
+ chain mirrortarget dev c0 hook tc-egress position 1 engine tcx' l3af mirror target add t1 dev c0 to 10.77.0.1 encap gue
	NS=cli does $'- mirror target t1\n- chain mirrortarget dev c0 hook tc-egress' l3af mirror target remove t1
	does '' l3af mirror $T
}
@test "network namespaces that were deleted make room" {
	NS=cli quietly target add t1 dev c0 to 10.77.0.9 encap gue
	NS=cli quietly filter add dev c0 action accept
	for i in {1..15}; do quietly target add n$i dev m0 to 10.78.0.2 encap vxlan vni $i; done
	refuses 1 "l3afctl: there are 16 targets, no more fit; remove one first: l3afctl mirror target remove NAME" mirror $T
	[[ $(NS=cli l3af --json mirror filter list | jq -r '.[].state') == on ]]
	ip netns delete cli
	eventually mirror $T
	[[ $(l3af --json mirror target list | jq length) == 16 ]]
}
@test "a network namespace where all chains were detached makes room as well, and no filter that sends to others" {
	NS=cli quietly target add t1 dev c0 to 10.77.0.1 encap gue
	NS=cli quietly filter add dev c0 direction ingress action accept
	NS=cli l3af chain detach dev c0 hook tc-ingress >/dev/null
	NS=cli l3af chain detach dev c0 hook tc-egress >/dev/null
	for i in {1..16}; do quietly target add n$i dev m0 to 10.78.0.2 encap gue; done
	NS=cli does '' l3af mirror target list
	NS=cli does '' l3af mirror filter list
}
@test "twenty at once: each filter is there, and each counts for itself" {
	quietly $T
	for i in {1..20}; do quietly filter add $((i * 3)) dev s0 direction ingress proto udp dport $((9000 + i)) action accept & done
	wait
	[[ $(l3af --json mirror filter list | jq -c '[.[].number] == [range(3; 61; 3)]') == true ]]
	for i in {1..20}; do udp $i $((9000 + i)); done
	[[ $(l3af --json mirror stats | jq -c '[.filters[].packets] == [range(1; 21)]') == true ]]
}
@test "without CAP_SYS_ADMIN filters cannot be read: said so" {
	quietly $T
	quietly filter add dev s0 action accept
	refuses 1 "l3afctl: s0: its filters are read and changed with CAP_SYS_ADMIN only: the kernel opens maps by their ids for nobody else" \
		in_ns srv setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$BUILD/l3afctl" --bpffs "$BPFFS" \
		mirror filter add dev s0 proto udp action reject
}
