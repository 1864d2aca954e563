# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Which packet counts to which flow, and as how much. The table is read by the library
# (tests/flow.c), frames are made by tests/flowsend.c.

load lib
load flowframes

setup() { pair; }
teardown() { wipe; }

@test "protocols, ports, types and codes" {
	enable direction ingress
	each <<-'END'
		proto=udp sport=1 | 17 10.77.0.2:1 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		proto=udp sport=1 dport=54 | 17 10.77.0.2:1 > 10.77.0.1:54 packets 1 octets 28 ttl 64-64
		proto=tcp sport=2 flags=2 | 6 10.77.0.2:2 > 10.77.0.1:53 packets 1 octets 40 ttl 64-64 flags 2
		proto=tcp sport=3 flags=1ff data=99 | 6 10.77.0.2:3 > 10.77.0.1:53 packets 1 octets 139 ttl 64-64 flags 1ff
		proto=sctp sport=4 dport=65535 | 132 10.77.0.2:4 > 10.77.0.1:65535 packets 1 octets 32 ttl 64-64
		proto=dccp sport=5 | 33 10.77.0.2:5 > 10.77.0.1:53 packets 1 octets 36 ttl 64-64
		proto=udplite sport=6 | 136 10.77.0.2:6 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		proto=icmp sport=8 dport=0 | 1 10.77.0.2:8 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		proto=icmp sport=3 dport=4 | 1 10.77.0.2:3 > 10.77.0.1:4 packets 1 octets 28 ttl 64-64
		proto=icmp sport=3 dport=13 | 1 10.77.0.2:3 > 10.77.0.1:13 packets 1 octets 28 ttl 64-64
		proto=47 | 47 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		proto=0 | 0 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		proto=58 | 58 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		proto=255 src=192.0.2.1 | 255 192.0.2.1:0 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		v6 proto=udp | 17 fd77::2:1000 > fd77::1:53 packets 1 octets 48 ttl 64-64
		v6 proto=udp dst=fd77::1:0:0:0:1 | 17 fd77::2:1000 > fd77:0:0:1::1:53 packets 1 octets 48 ttl 64-64
		v6 proto=tcp flags=12 ttl=255 tos=184 | 6 fd77::2:1000 > fd77::1:53 packets 1 octets 60 ttl 255-255 tos b8 flags 12
		v6 proto=sctp | 132 fd77::2:1000 > fd77::1:53 packets 1 octets 52 ttl 64-64
		v6 proto=icmp6 sport=128 dport=0 | 58 fd77::2:128 > fd77::1:0 packets 1 octets 48 ttl 64-64
		v6 proto=icmp sport=8 dport=0 | 1 fd77::2:0 > fd77::1:0 packets 1 octets 48 ttl 64-64
		v6 proto=59 | 59 fd77::2:0 > fd77::1:0 packets 1 octets 48 ttl 64-64
		v6 proto=50 | 50 fd77::2:0 > fd77::1:0 packets 1 octets 48 ttl 64-64
	END
}

@test "options, extension headers, tags and padding" {
	enable direction ingress
	each <<-'END'
		opts sport=1 | 17 10.77.0.2:1 > 10.77.0.1:53 packets 1 octets 36 ttl 64-64
		opts proto=tcp sport=2 flags=10 | 6 10.77.0.2:2 > 10.77.0.1:53 packets 1 octets 48 ttl 64-64 flags 10
		v6 ext=1 sport=3 | 17 fd77::2:3 > fd77::1:53 packets 1 octets 56 ttl 64-64
		v6 ext=8 proto=tcp sport=4 flags=11 | 6 fd77::2:4 > fd77::1:53 packets 1 octets 156 ttl 64-64 flags 11
		v6 ext=9 sport=5 | 60 fd77::2:0 > fd77::1:0 packets 1 octets 152 ttl 64-64
		vlan=5 sport=6 | 17 10.77.0.2:6 > 10.77.0.1:53 vlan 5 packets 1 octets 28 ttl 64-64
		vlan=6 sport=6 | 17 10.77.0.2:6 > 10.77.0.1:53 vlan 6 packets 1 octets 28 ttl 64-64
		vlan=0 sport=6 | 17 10.77.0.2:6 > 10.77.0.1:53 vlan 0 packets 1 octets 28 ttl 64-64
		sport=6 | 17 10.77.0.2:6 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		vlan=5 vlan=4095 sport=6 | 17 10.77.0.2:6 > 10.77.0.1:53 vlan 5,4095 packets 1 octets 28 ttl 64-64
		v6 vlan=4095 vlan=5 ext=2 sport=7 | 17 fd77::2:7 > fd77::1:53 vlan 4095,5 packets 1 octets 72 ttl 64-64
		proto=tcp sport=8 pad=60 | 6 10.77.0.2:8 > 10.77.0.1:53 packets 1 octets 40 ttl 64-64
		sport=9 pad=60 | 17 10.77.0.2:9 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		vlan=7 sport=9 pad=64 | 17 10.77.0.2:9 > 10.77.0.1:53 vlan 7 packets 1 octets 28 ttl 64-64
		v6 proto=59 src=fd77::9 size=0 pad=60 cut=8 | 59 fd77::9:0 > fd77::1:0 packets 1 octets 40 ttl 64-64
		size=22 pad=60 sport=10 | 17 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 22 ttl 64-64
		size=2000 sport=11 | 17 10.77.0.2:11 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		proto=tcp flags=2 size=33 sport=12 | 6 10.77.0.2:12 > 10.77.0.1:53 packets 1 octets 33 ttl 64-64
	END
	[[ $(stat flows) == 18 ]]
}

@test "what is not a flow is ignored, by cause" {
	enable direction ingress
	send 1 type=806
	send 1 type=86dd pad=80
	send 1 type=9999 data=100
	send 1 vlan=1 vlan=2 vlan=3
	send 1 vlan=1 type=806
	send 1 first=65
	send 1 first=44
	send 1 first=4f
	send 1 size=19
	send 1 size=20 first=46
	send 1 v6 first=40
	send 1 v6 cut=9
	run ! table
	# what is behind the Ethernet header and tags
	[[ $("$FLOW" stat flows) == 's0 in frames 12 '*' packets 12 octets '*' flows 0 full 0/0 sampled 0/0 other 4/216 malformed 8/293 error 0/0' ]]
	sums
}

@test "first packet's TOS, all flags, the widest TTL; the same flow again and again" {
	enable direction ingress
	send 1 proto=tcp flags=2 ttl=60 tos=16
	send 1 proto=tcp flags=10 ttl=64 tos=0
	send 3 proto=tcp flags=18 ttl=58 tos=4 data=10
	send 1 proto=tcp flags=101 ttl=61
	holds 's0 in 6 10.77.0.2:1000 > 10.77.0.1:53 packets 6 octets 270 ttl 58-64 tos 10 flags 11b live'
	sums
}

@test "fragments are of their first one's flow, where it came first" {
	enable direction ingress
	send 1 sport=7 frag=0,1,1 data=992
	send 1 frag=1000,1,1 data=992
	send 2 frag=2000,0,1 data=2
	# another datagram of the same ports; another's tag; another protocol; nobody's
	send 1 sport=8 frag=0,1,2 data=992
	send 1 frag=1000,0,2 data=92
	send 1 vlan=5 frag=1000,0,2 data=92
	send 1 proto=tcp frag=1000,0,2 data=80
	send 1 frag=1000,0,3 data=92
	# out of order: what comes before the first has no ports
	send 1 src=192.0.2.1 frag=1000,1,4 data=992
	send 1 src=192.0.2.1 sport=9 frag=0,1,4 data=992
	send 1 src=192.0.2.1 frag=2000,0,4 data=92
	holds "$(cat <<-'END'
		s0 in 17 10.77.0.2:7 > 10.77.0.1:53 packets 4 octets 2100 ttl 64-64 live
		s0 in 17 10.77.0.2:8 > 10.77.0.1:53 packets 2 octets 1140 ttl 64-64 live
		s0 in 17 10.77.0.2:0 > 10.77.0.1:0 vlan 5 packets 1 octets 120 ttl 64-64 live
		s0 in 6 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 120 ttl 64-64 live
		s0 in 17 10.77.0.2:0 > 10.77.0.1:0 packets 1 octets 120 ttl 64-64 live
		s0 in 17 192.0.2.1:0 > 10.77.0.1:0 packets 1 octets 1020 ttl 64-64 live
		s0 in 17 192.0.2.1:9 > 10.77.0.1:53 packets 2 octets 1140 ttl 64-64 live
	END
	)"
	sums
}

@test "IPv6 fragments: what only the first one knows of the protocol" {
	enable direction ingress
	send 1 v6 proto=tcp sport=7 flags=10 frag=0,1,70000 data=988
	send 1 v6 proto=tcp frag=1008,0,70000 data=10
	# the protocol is behind an extension header, which later fragments do not have
	send 1 v6 ext=2 sport=8 frag=0,1,70001 fragext data=984
	send 2 v6 ext=2 frag=1000,0,70001 fragext data=10
	send 1 v6 frag=1000,0,70002 fragext data=10
	# one that is alone
	send 1 v6 sport=9 frag=0,0,70003 data=10
	holds "$(cat <<-'END'
		s0 in 6 fd77::2:7 > fd77::1:53 packets 2 octets 1134 ttl 64-64 flags 10 live
		s0 in 17 fd77::2:8 > fd77::1:53 packets 3 octets 1252 ttl 64-64 live
		s0 in 60 fd77::2:0 > fd77::1:0 packets 1 octets 66 ttl 64-64 live
		s0 in 17 fd77::2:9 > fd77::1:53 packets 1 octets 66 ttl 64-64 live
	END
	)"
	sums
}

@test "cut off anywhere, a packet is counted once" {
	local frame sent=0
	# on the way out: on the way in the kernel drops what ends within a tag
	NS=cli l3af flows enable dev c0 direction egress >/dev/null
	enable direction ingress
	for frame in '' 'opts proto=tcp flags=2' 'v6' 'v6 proto=tcp ext=3' 'vlan=5 vlan=6 proto=sctp' \
		'v6 vlan=7 frag=0,1,99' 'v6 ext=2 frag=1480,0,99' 'proto=icmp' 'v6 proto=icmp6' 'v6 ext=9' type=806 \
		'vlan=1 vlan=2 vlan=3' 'frag=0,1,9' 'v6 frag=0,1,9 fragext proto=tcp'; do
		# shellcheck disable=SC2086
		run -0 in_ns cli "$SEND" cuts c0 $frame
		((sent += ${output% frames}))
		eventually counted "$sent"
		[[ $(stat packets) == "$sent" ]]
	done
	sums
	# nothing was made up: ports that were there, or none
	run -0 table
	run ! grep -vE ':(0|1000|232|53) > [^ ]*:(0|53) ' <<<"$output"
}

@test "headers behind the linear part are found" {
	in_ns cli ip link set c0 mtu 9000
	in_ns srv ip link set s0 mtu 9000
	enable direction ingress
	local n=0 linear
	for linear in 14 16 33 34 41 54; do
		((n += 1))
		send 1 linear="$linear" proto=tcp sport=$n flags=18 data=5000
		send 1 linear="$linear" v6 ext=8 sport=$n data=5000
		send 1 linear="$linear" vlan=3 vlan=4 v6 proto=tcp ext=2 sport=$n flags=10 data=5000
	done
	run -0 table
	[[ $(grep -cE '^s0 in 6 10.77.0.2:[1-6] > 10.77.0.1:53 packets 1 octets 5040 ttl 64-64 flags 18 live$' <<<"$output") == 6 ]]
	[[ $(grep -cE '^s0 in 17 fd77::2:[1-6] > fd77::1:53 packets 1 octets 5144 ttl 64-64 live$' <<<"$output") == 6 ]]
	[[ $(grep -cE '^s0 in 6 fd77::2:[1-6] > fd77::1:53 vlan 3,4 packets 1 octets 5084 ttl 64-64 flags 10 live$' <<<"$output") == 6 ]]
	[[ $(wc -l <<<"$output") == 18 ]]
	sums
}

@test "tags in the data and in the metadata are the same" {
	enable
	NS=cli l3af flows enable dev c0 >/dev/null
	send 1 vlan=5 sport=1
	send 1 vlan=5 vlan=6 sport=2
	send 1 v6 vlan=7 vlan=8 ext=1 sport=3
	# sent, all tags are in the data; received, the outer one is not
	diff <(table | sed -n 's/^s0 in //p') <(table | sed -n 's/^c0 out //p')
	[[ $(table | wc -l) == 6 ]]
	# both count the tag
	[[ $("$FLOW" stat flows | awk '/^(s0 in|c0 out)/ { print $4, $6 }' | uniq) == '3 174' ]]
	sums
}

@test "segments of a GSO packet, as they are on the wire" {
	local in out
	enable
	in=$(l3af --json chain list dev s0 | jq '.[] | select(.hook == "tc-ingress") | .program_id')
	out=$(l3af --json chain list dev s0 | jq '.[] | select(.hook == "tc-egress") | .program_id')
	runs() { in_ns srv "$SEND" run "$1" 1 "${@:2}"; }
	# 1500 octets of data in three, in two and a bit; the same where nobody counted segments
	runs "$in" proto=tcp flags=10 sport=1 data=1500 gso=500,3,0
	runs "$in" proto=tcp flags=10 sport=2 data=1500 gso=700,0,0
	runs "$in" v6 proto=tcp flags=10 sport=3 data=1500 gso=700,3,0
	runs "$in" v6 vlan=5 sport=4 data=1500 gso=1400,0,0
	runs "$in" opts proto=udp sport=5 data=1500 gso=100,15,0
	# a tunnel: only the kernel knows the headers of each; 3 segments
	runs "$out" proto=47 data=1500 gso=500,3,1700
	runs "$in" proto=tcp flags=10 sport=6 data=100 gso=500,0,0
	# on ingress it leaves the Ethernet header out
	runs "$in" proto=tcp flags=10 sport=7 data=1500 gso=500,3,1620
	holds "$(cat <<-'END'
		s0 in 6 10.77.0.2:1 > 10.77.0.1:53 packets 3 octets 1620 ttl 64-64 flags 10 live
		s0 in 6 10.77.0.2:2 > 10.77.0.1:53 packets 3 octets 1620 ttl 64-64 flags 10 live
		s0 in 6 fd77::2:3 > fd77::1:53 packets 3 octets 1680 ttl 64-64 flags 10 live
		s0 in 17 fd77::2:4 > fd77::1:53 vlan 5 packets 2 octets 1596 ttl 64-64 live
		s0 in 17 10.77.0.2:5 > 10.77.0.1:53 packets 15 octets 2040 ttl 64-64 live
		s0 out 47 10.77.0.2:0 > 10.77.0.1:0 packets 3 octets 1658 ttl 64-64 live
		s0 in 6 10.77.0.2:6 > 10.77.0.1:53 packets 1 octets 140 ttl 64-64 flags 10 live
		s0 in 6 10.77.0.2:7 > 10.77.0.1:53 packets 3 octets 1620 ttl 64-64 flags 10 live
	END
	)"
	sums
}

@test "a packet that was forwarded tells where it came in" {
	local out
	enable
	out=$(l3af --json chain list dev s0 | jq '.[] | select(.hook == "tc-egress") | .program_id')
	in_ns srv "$SEND" run "$out" 2 from=77
	in_ns srv "$SEND" run "$(member)" 1 from=77 sport=2
	holds "$(cat <<-'END'
		s0 out 17 10.77.0.2:1000 > 10.77.0.1:53 packets 2 octets 56 ttl 64-64 from 4d live
		s0 in 17 10.77.0.2:2 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64 live
	END
	)"
}

@test "1 in N packets, the others are ignored as sampled out" {
	enable direction ingress sample 1/4
	in_ns srv "$SEND" run "$(member)" 4000
	send 3 type=806
	holds 's0 in 17 10.77.0.2:1000 > 10.77.0.1:53 packets 1000 octets 28000 ttl 64-64 live'
	[[ $("$FLOW" stat flows) == *' frames 4003 '*' full 0/0 sampled 3000/84000 other 3/84 malformed 0/0 '* ]]
	sums
	enable direction ingress sample 1/1
	in_ns srv "$SEND" run "$(member)" 100
	holds 's0 in 17 10.77.0.2:1000 > 10.77.0.1:53 packets 1100 octets 30800 ttl 64-64 live'
}

@test "a full table refuses new flows, and counts them; what it has it keeps" {
	local i
	enable direction ingress max 16
	for i in {1..20} {20..1}; do in_ns srv "$SEND" run "$(member)" 2 sport="$i"; done
	[[ $(table | grep -c ' packets 4 octets 112 ') == 16 && $(table | wc -l) == 16 ]]
	[[ $(table | sed -n '16s/ > .*//p') == 's0 in 17 10.77.0.2:16' ]]
	[[ $("$FLOW" stat flows) == *' packets 80 octets 2240 flows 16 full 16/448 sampled 0/0 '* ]]
	[[ $(sums) == 'free 0 live 16 closed 0 spare 0' ]]
	# without a collector nothing is closed; with one, what it has is given back
	"$FLOW" expire flows
	[[ $(sums) == 'free 0 live 16 closed 0 spare 0' ]]
	"$FLOW" peer flows nobody
	[[ $("$FLOW" flush flows) == 16 && $("$FLOW" recycle flows) == 0 ]]
	[[ $(sums) == 'free 0 live 0 closed 16 spare 0' ]]
	"$FLOW" waive flows
	[[ $("$FLOW" recycle flows) == 16 ]]
	in_ns srv "$SEND" run "$(member)" 1 sport=99
	[[ $("$FLOW" audit flows) == 'free 15 live 1 closed 0 spare 0' ]]
	# of two collectors both have to have it
	"$FLOW" peer flows somebody
	"$FLOW" waive flows
	in_ns srv "$SEND" run "$(member)" 1 sport=99
	"$FLOW" flush flows
	"$FLOW" waive flows
	"$FLOW" peer flows 192.0.2.1:1/udp
	[[ $("$FLOW" recycle flows) == 0 ]]
	l3af flows collector remove 192.0.2.1:1/udp >/dev/null
	[[ $("$FLOW" recycle flows) == 1 ]]
}

@test "two processors at the same new flow: one flow, each packet once" {
	local states
	enable direction ingress max 65536
	in_ns srv "$SEND" race "$(member)" 60000 sport=1
	states=$(sums)
	figure "two processors at 60000 new flows: $states"
	[[ $(stat packets) == 120000 && $(stat flows) == 60000 ]]
	[[ $(table | grep -c ' packets 2 octets 56 ') == 60000 && $(table | wc -l) == 60000 ]]
	[[ $states == 'free '*' live 60000 closed 0 spare '[012] ]]
	# there was a race, again and again: who lost it took the slot for its next flow
	(($("$FLOW" reused flows) > 100))
}

@test "an interface's direction keeps its place; those of no use are given to others" {
	enable
	in_ns srv "$SEND" run "$(member)" 5
	l3af -q flows disable dev s0 >/dev/null
	enable
	in_ns srv "$SEND" run "$(member)" 5
	[[ $("$FLOW" stat flows | wc -l) == 2 && $(stat frames) == 10 ]]
	holds 's0 in 17 10.77.0.2:1000 > 10.77.0.1:53 packets 10 octets 280 ttl 64-64 live'
	run --separate-stderr in_ns srv "$FLOW" places flows
	[[ $status == 0 && $output == -7 ]]
	[[ $stderr == 'l3afctl: instance flows counts at 256 places, no more fit; use another instance' ]]
	[[ $(stat frames) == 10 ]]
}

@test "instances are apart; one without a member stays" {
	enable direction ingress
	l3af flows enable dev s0 direction egress instance acct max 100 >/dev/null
	in_ns srv "$SEND" run "$(member)" 2
	export INSTANCE=acct
	run ! table
	in_ns srv "$SEND" run "$(l3af --json chain list dev s0 | jq '.[] | select(.hook == "tc-egress") | .program_id')" 3
	holds 's0 out 17 10.77.0.2:1000 > 10.77.0.1:53 packets 3 octets 84 ttl 64-64 live'
	[[ $("$FLOW" audit acct sum) == 'free 99 live 1 closed 0 spare 0' ]]
	l3af chain flush dev s0 hook tc-egress >/dev/null
	l3af chain flush dev s0 hook tc-ingress >/dev/null
	l3af chain add empty dev s0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	holds 's0 out 17 10.77.0.2:1000 > 10.77.0.1:53 packets 3 octets 84 ttl 64-64 live'
	export INSTANCE=flows
	holds 's0 in 17 10.77.0.2:1000 > 10.77.0.1:53 packets 2 octets 56 ttl 64-64 live'
}

@test "a flush that is killed anywhere loses no slot and no count" {
	enable direction ingress max 16
	run -0 "$FLOW" kill flows "$(member)" 47
	figure "$output"
	[[ $output =~ ^kills\ ([0-9]+)\ of ]]
	((BASH_REMATCH[1] > 50))
}
