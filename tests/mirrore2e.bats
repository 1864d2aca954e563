#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What a collector gets of real traffic, read by tshark, by the kernel's vxlan device and compared
# with what production captured itself, octet by octet.
# shellcheck disable=SC2086,SC2154 # lists of words

load lib
load mirrornet

setup() { site; }
teardown() {
	finish_all
	wipe
}

# offloads on|off: of both ends of production
offloads() {
	in_ns cli ethtool -K c0 tx "$1" tso "$1" gso "$1" >/dev/null
	in_ns srv ethtool -K s0 tx "$1" tso "$1" gso "$1" >/dev/null
}
services() {
	iperf_serve
	background serve srv "$LOAD" serve 7
	background sink srv "$LOAD" sink 9999
}
# traffic FAMILY: TCP each way, UDP each way, UDP in segments; none may be lost
traffic() {
	local to=${ADDR[$1]} way
	for way in '' -R; do
		iperf -c "$to" -n 1M $way >/dev/null || return
	done
	in_ns cli "$LOAD" ask "$to" 7 count=100 flows=4 size=300 || return
	in_ns cli "$LOAD" gso "$to" 9999 10 1200 8
}
declare -gA PORT=([gue]=6080 [gue1]=6080 [vxlan]=4789)
declare -gA CSUM=([4]=off [6]=on) # unless it is said
# outer ENCAP FAMILY on|off|some MTU: the headers of all tunnel packets; some: the kernel computes no
# UDP checksum of a tunnel when it makes segments, which TCP of this host always leaves to it
outer() {
	pcap outer "$mirrored" to="${COLLECTOR[$2]}" from="${SOURCE[$2]}" port="${PORT[$1]}" csum="$3" mtu="$4"
}
# judged ENCAP FAMILY on|off|some MTU: those, and what tshark says of all layers
judged() {
	outer "$@"
	decodes "$mirrored" "udp.dstport == ${PORT[$1]}"
}
# target ENCAP FAMILY WORDS...: gue1 is GUE of variant 1
target() {
	local words=$1
	[[ $1 != gue1 ]] || words='gue variant 1'
	mirror target add col dev m0 to "${COLLECTOR[$2]}" encap $words "${@:3}"
}

# everything OFFLOADS HOW
everything() {
	local encap family csum n=0 all=0
	offloads "$1"
	services
	while read -r encap family csum; do
		target $encap $family udp-csum $csum
		mirror filter add 10 dev s0 action accept to col
		taps
		traffic 4
		traffic 6
		untaps
		[[ $csum == off ]] || csum=some
		judged $encap $family $csum 1600
		pcap "$2" $encap "$mirrored" "$production"
		all=$((all + $(grep -oE '[0-9]+ octets' <<<"$said" | cut -d' ' -f1))) n=$((n + 1))
		mirror filter flush dev s0
		mirror target remove col
	done <<-'END'
		gue 4 off
		gue 6 on
		gue1 4 on
		gue1 6 on
		vxlan 4 on
		vxlan 6 on
	END
	ended sink
	grep -qx "datagrams $((n * 2 * 80)) octets $((n * 2 * 80 * 1200))" <<<"$said"
	figure "offloads $1: $n kinds of tunnel, $all octets of TCP, UDP and UDP GSO compared, 0 differ"
}

@test "TCP and UDP, IPv4 and IPv6, of a host that segments itself: the same octets" {
	everything off same
}

@test "TCP GSO and UDP GSO: tunnels leave segmented, with right sums, no octet is missing" {
	everything on octets
}

# frames NS DEV: one of each shape
frames() {
	local words
	while read -r words; do
		in_ns "$1" "$FP/flowsend" send "$2" 2 $words >/dev/null
	done <<-'END'
		proto=udp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=200
		proto=udp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=200 vlan=7
		proto=tcp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=100 vlan=7 vlan=8 flags=10
		proto=tcp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=100 opts
		proto=icmp src=10.77.0.5 dst=10.77.0.6 data=100
		proto=50 src=10.77.0.5 dst=10.77.0.6 data=100
		proto=udp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=800 frag=0,1,77
		proto=udp src=10.77.0.5 dst=10.77.0.6 data=100 frag=808,0,77
		proto=udp src=10.77.0.5 dst=10.77.0.6 sport=1000 dport=2000 data=1 pad=60
		v6 proto=udp src=fd77::5 dst=fd77::6 sport=1000 dport=2000 data=200
		v6 proto=udp src=fd77::5 dst=fd77::6 sport=1000 dport=2000 data=200 vlan=7
		v6 proto=tcp src=fd77::5 dst=fd77::6 sport=1000 dport=2000 data=100 ext=1
		v6 proto=tcp src=fd77::5 dst=fd77::6 sport=1000 dport=2000 data=100 ext=3 vlan=7 flags=2
		v6 proto=udp src=fd77::5 dst=fd77::6 sport=1000 dport=2000 data=800 frag=0,1,77
		v6 proto=udp src=fd77::5 dst=fd77::6 data=100 frag=808,0,77
	END
}
# others NS DEV: frames that are not IP
others() {
	local words
	while read -r words; do
		in_ns "$1" "$FP/flowsend" send "$2" 2 $words >/dev/null
	done <<-'END'
		type=806 src=10.77.0.5 dst=10.77.0.6 data=0
		type=806 src=10.77.0.5 dst=10.77.0.6 data=0 vlan=7
		type=88cc src=10.77.0.5 dst=10.77.0.6 data=100
		type=88b5 src=10.77.0.5 dst=10.77.0.6 data=300 vlan=7 vlan=8
	END
}
# shapes FAMILY ENCAP WORDS...: all frames, both ways, through a filter with WORDS; the same arrive
shapes() {
	local family=$1 encap=$2
	shift 2
	target $encap $family
	mirror filter add 10 dev s0 action accept to col ${1-}
	taps
	frames cli c0
	others cli c0
	frames srv s0
	others srv s0
	untaps
	outer $encap $family "${CSUM[$family]}" 1600
	pcap same $encap "$mirrored" "$production" ${2-}
	figure "$encap over IPv$family${1+, $1}: $said"
	mirror filter flush dev s0
	mirror target remove col
}

@test "tags, ARP, any EtherType, options, extension headers, fragments: the same octets" {
	local family
	for family in 4 6; do
		shapes $family vxlan
		shapes $family gue
		shapes $family gue1
	done
}

@test "headers: up to the end of the transport header; snaplen: so many octets of the frame" {
	shapes 4 vxlan 'snaplen headers' snap=headers
	shapes 6 gue 'snaplen headers' snap=headers
	shapes 4 gue 'snaplen 100' snap=100
	shapes 6 vxlan 'snaplen 64' snap=64
}

@test "headers of TCP with options, from super-packets" {
	local family
	services
	offloads on
	target gue 4
	mirror filter add 10 dev s0 proto tcp action accept to col snaplen headers
	for family in 4 6; do
		taps
		iperf -c ${ADDR[$family]} -n 2M >/dev/null
		untaps
		pcap same gue "$mirrored" "$production" snap=headers nosum
		figure "headers, IPv$family: $said"
		pcap longest "$production"
		((said > 1514)) # there were
	done
}

@test "the kernel's vxlan device receives: the frames that production has" {
	local family
	services
	for family in 4 6; do
		in_ns col ip link add vx0 mtu 9000 type vxlan id 4242 dstport 4790 local "${COLLECTOR[$family]}" dev k0 \
			udp6zerocsumrx
		in_ns col ip link set vx0 up
		in_ns col ethtool -K vx0 gro off >/dev/null
		mirror target add col dev m0 to "$([[ $family == 4 ]] && echo 10.78.0.2:4790 || echo '[fd78::2]:4790')" encap vxlan vni 4242
		mirror filter add 10 dev s0 action accept to col
		offloads off
		taps vx0
		traffic 4
		traffic 6
		frames cli c0
		others srv s0
		untaps
		pcap same frames "$mirrored" "$production"
		figure "the kernel's vxlan device, IPv$family: $said"
		decodes "$mirrored" 'tcp.port == 5201 || udp.port == 7 || udp.port == 9999'
		offloads on
		taps vx0
		traffic 4
		traffic 6
		untaps
		pcap octets frames "$mirrored" "$production"
		figure "the kernel's vxlan device, IPv$family, GSO: $said"
		mirror filter flush dev s0
		mirror target remove col
		in_ns col ip link del vx0
	done
}

@test "by flow: both directions of a flow are taken, or neither" {
	local both
	services
	target gue 4
	mirror filter add 10 dev s0 proto udp dport 7 action accept to col sample 1/4 by flow
	mirror filter add 20 dev s0 proto udp sport 7 action accept to col sample 1/4 by flow
	taps
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=2000 flows=200
	in_ns cli "$LOAD" ask fd77::1 7 count=2000 flows=200
	untaps
	pcap flows gue "$mirrored"
	[[ $said == *' 0 one' ]]
	both=${said%% *}
	# 100 of 400 in the mean, 8.7 the deviation
	((both > 40 && both < 160))
	pcap same gue "$mirrored" "$production" any nosum
	# of each flow all ten packets, both ways
	[[ $said == "$((both * 20)) packets "* ]]
	accounted
	[[ $(total sent) == "$((both * 20))" && $(total packets) == 8000 ]]
	figure "1/4 by flow: $both of 400 flows, each in both directions and with all its packets"
}

@test "by packet: one of N" {
	local got
	services
	target gue 4
	mirror filter add 10 dev s0 direction ingress proto udp dport 7 action accept to col sample 1/10
	taps
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=5000
	untaps
	pcap same gue "$mirrored" "$production" any nosum
	got=${said%% *}
	((got > 350 && got < 650)) # 500 in the mean, 21 the deviation
	accounted
	[[ $(total sent) == "$got" && $(total not_sent.sampled_out) == $((5000 - got)) ]]
	figure "1/10 by packet: $got of 5000"
}

@test "what does not fit is shortened to the interface's MTU, and counted" {
	local family
	in_ns srv ip link set m0 mtu 1500
	in_ns col ip link set k0 mtu 1500
	services
	for family in 4 6; do
		offloads off
		target gue $family
		mirror filter add 10 dev s0 proto udp action accept to col
		taps
		in_ns cli "$LOAD" ask 10.77.0.1 7 count=50 size=1472
		in_ns cli "$LOAD" ask fd77::1 7 count=50 size=1452
		untaps
		outer gue $family "${CSUM[$family]}" 1500
		# the frame that is left: 1500 less outer headers
		pcap same gue "$mirrored" "$production" snap=$((14 + 1500 - (family == 4 ? 32 : 52)))
		[[ $said == '200 packets '* && $(total fitted) == 200 ]]
		# UDP in segments that do not fit: the first of each ten
		offloads on
		taps
		in_ns cli "$LOAD" gso 10.77.0.1 9999 10 1472 8
		untaps
		[[ $(total fitted) == 210 ]]
		outer gue $family "${CSUM[$family]}" 1500
		# TCP makes its segments smaller
		mirror filter flush dev s0
		mirror filter add 10 dev s0 action accept to col
		taps
		iperf -c 10.77.0.1 -n 1M >/dev/null
		iperf -c fd77::1 -n 1M >/dev/null
		untaps
		outer gue $family "$([[ $family == 4 ]] && echo off || echo some)" 1500
		pcap octets gue "$mirrored" "$production"
		mirror filter flush dev s0
		mirror target remove col
	done
	ended sink
	grep -qx 'datagrams 160 octets 235520' <<<"$said"
}

@test "packets of a tunnel device of this host: small ones as they are, large ones not at all" {
	local family encap far net
	iperf_serve
	for family in 4 6; do
		offloads off
		net=$([[ $family == 4 ]] && echo 10.77.0. || echo fd77::)
		in_ns cli ip link add vp type vxlan id 5 dstport 4789 local ${net}2 remote ${net}1 dev c0
		in_ns srv ip link add vp type vxlan id 5 dstport 4789 local ${net}1 remote ${net}2 dev s0
		for far in 'cli 2' 'srv 1'; do
			in_ns ${far% *} ip addr add 10.99.0.${far#* }/24 dev vp
			in_ns ${far% *} ip link set vp up
			in_ns ${far% *} ethtool -K vp tx off tso off gso off >/dev/null
		done
		for encap in gue vxlan; do
			target $encap $((10 - family))
			mirror filter add 10 dev s0 action accept to col
			taps
			iperf -c 10.99.0.1 -n 1M >/dev/null
			iperf -c 10.99.0.1 -n 1M -R >/dev/null
			untaps
			pcap same $encap "$mirrored" "$production"
			judged $encap $((10 - family)) "${CSUM[$((10 - family))]}" 1600
			accounted
			[[ $(total packets) == "$(total sent)" ]]
			mirror filter flush dev s0
			mirror target remove col
		done
		offloads on
		in_ns cli ethtool -K vp tx on tso on gso on >/dev/null
		target gue 4
		mirror filter add 10 dev s0 action accept to col
		iperf -c 10.99.0.1 -n 1M >/dev/null
		(($(total not_sent.error) > 0))
		accounted
		mirror filter flush dev s0
		mirror target remove col
		in_ns cli ip link del vp
		in_ns srv ip link del vp
	done
}

@test "BIG TCP: of an IPv6 packet of more than 64 kB the beginning" {
	iperf_serve
	in_ns cli ip link set c0 gso_max_size 180000 gro_max_size 180000
	in_ns srv ip link set s0 gso_max_size 180000 gro_max_size 180000
	target gue 4
	mirror filter add 10 dev s0 action accept to col
	taps
	iperf -c fd77::1 -n 4M >/dev/null
	iperf -c fd77::1 -n 4M -R >/dev/null
	untaps
	pcap longest "$production"
	((said > 65536))
	outer gue 4 off 1600
	(($(total fitted) > 0))
	[[ -z $("${TSHARK[@]}" -r "$mirrored" -Y 'udp.dstport == 6080 && !tcp && !(udp.dstport == 9)' -T fields -e frame.number 2>/dev/null) ]]
}
