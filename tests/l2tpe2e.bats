#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# l2tp: frames through pseudowires of ours at both ends, and what must not get through.
# shellcheck disable=SC2154,SC2030,SC2031

load lib
load l2tp

setup() { pair; }
teardown() { finish_all; wipe; }

# capture NS DEV: all that passes there into $PCAP, until captured
PCAP=$BATS_TEST_TMPDIR/pcap
capture() {
	in_ns "$1" dumpcap -qi "$2" -w "$PCAP" >/dev/null 2>&1 3>&- &
	PID[dumpcap]=$!
	eventually test -s "$PCAP"
	sleep 0.5 # its file comes before its first packet
}
captured() {
	kill "${PID[dumpcap]}"
	wait "${PID[dumpcap]}" || true
	unset 'PID[dumpcap]'
}
# sums WORD...: how many packets of $PCAP have which status of their checksums (0 bad, 1 good, 3 none)
sums() {
	tshark -r "$PCAP" -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE \
		"${@:2}" -Y "$1" 2>/dev/null | wc -l
}

@test "each sort of session: pings, and every sort of frame both ways, as it was sent" {
	local out
	every_sort our_ends
	capture cli c0
	every_sort pings_of
	# shellcheck disable=SC2046
	out=$("$L2TP_PY" frames srv cli $(seq -f 'p%g' 24)) || { echo "$out"; return 1; }
	captured
	[[ $(l3af --json l2tp stats | jq -c '[.pseudowires[] | select(.rx_packets < 25 or ([.tx_errors, .rx_errors] | map(add) | add) > 0) | .name]') == '[]' ]]
	[[ $(sums 'ip.checksum.status == 0 || udp.checksum.status == 0' --disable-protocol l2tp) == 0 ]]
	[[ $(sums 'ipv6 && udp.port == 1701 && udp.checksum.status == 1' --disable-protocol l2tp) -gt 200 ]]
	[[ $(sums 'ip && udp.port == 1701 && udp.checksum.status == 3' --disable-protocol l2tp) -gt 200 ]]
	[[ $(sums 'ip.proto == 115 && ip.checksum.status == 1 && ip.flags.df == 1 && ip.ttl == 64' --disable-protocol l2tp) -gt 200 ]]
	figure "24 sorts of pseudowires, $out frames of 23 sorts as they were sent"
}

# site FAMILY ENCAP COOKIE SUBLAYER [WORD...]: a host behind an interface of srv, x0, whose frames go to
# p1 in cli: session 1, addresses as our_end has them
site() {
	# shellcheck disable=SC2034 # end_of sets them
	local family=$1 dev this that
	quiet_netns site
	in_ns srv ip link add x0 type veth peer name x1 netns site
	in_ns srv ip link set x0 up
	host_on site x1 1 1
	end_of srv
	l3af -q l2tp add srv1 dev x0 underlay s0 local "$this" remote "$that" session 1 peer-session 101 encap "$2" \
		tx-cookie "$(cookie_of srv "$3" 1)" rx-cookie "$(cookie_of cli "$3" 1)" sublayer "$4" "${@:5}" >/dev/null
	our_end cli 1 "${@:1:4}"
	eventually in_ns site busybox ping -qc 1 -W 1 10.1.1.2 >/dev/null
	eventually in_ns site busybox ping -qc 1 -W 1 fd01:1::2 >/dev/null
}

# streams NS WORD...: iperf3 from there to cli, over IPv4 and IPv6
streams() {
	local to
	for to in 10.1.1.2 fd01:1::2; do
		in_ns "$1" timeout 30 iperf3 --json -c "$to" "${@:2}" >"$BATS_TEST_TMPDIR/iperf" || { jq -r .error "$BATS_TEST_TMPDIR/iperf"; return 1; }
		jq -e '.end | (.sum_received // .sum) | .bytes > 1e6 and (.lost_packets // 0) < 200' "$BATS_TEST_TMPDIR/iperf" >/dev/null
		[[ $* != *40M* ]] || figure "$SORT, iperf3 ${*:2} to $to: $(jq -r '.end | (.sum_received // .sum) | .bits_per_second / 1e6 | round' \
			"$BATS_TEST_TMPDIR/iperf") Mbit/s"
	done
}

@test "iperf3, offloads of the underlay on and off; checksums inside and outside" {
	local off
	for SORT in 'IPv4 udp' 'IPv6 udp' 'IPv6 ip'; do
		read -r family encap <<<"${SORT#IPv}"
		our_ends 1 "$family" "$encap" 4 default
		in_ns cli iperf3 -s -D 3>&-
		eventually in_ns srv iperf3 -c 10.1.1.2 -n 1K >/dev/null
		streams srv -n 40M -w 256K
		for off in srv:s0 cli:c0; do in_ns ${off%:*} ethtool -K ${off#*:} tx off gso off tso off gro off >/dev/null 2>&1; done
		capture cli p1
		streams srv -n 4M -w 256K
		streams srv -n 4M -R -w 256K
		streams srv -u -b 20M -n 2M -l 1201
		captured
		[[ $(sums 'ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0') == 0 ]]
		[[ $(sums 'tcp.checksum.status == 1 && frame.len > 1400') -gt 3000 ]]
		[[ $(l3af --json l2tp stats | jq '[.pseudowires[] | .tx_errors, .rx_errors | add] | add') == 0 ]]
		in_ns cli killall -q iperf3 || in_ns cli busybox killall iperf3
		l3af -q l2tp flush >/dev/null
		NS=cli l3af -q l2tp flush >/dev/null
		for off in srv:s0 cli:c0; do in_ns ${off%:*} ethtool -K ${off#*:} tx on gso on tso on >/dev/null 2>&1; done
	done
}

@test "an interface of others: super-packets into UDP, else whole ones; too big, and the MSS" {
	site 4 udp 8 default
	SORT='dev, IPv4 udp'
	in_ns cli iperf3 -s -D 3>&-
	eventually in_ns site iperf3 -c 10.1.1.2 -n 1K >/dev/null
	streams site -n 40M -w 256K
	streams site -n 20M -R -w 256K
	# as on a NIC that neither segments nor sums: the kernel does
	in_ns srv ethtool -K s0 tx off >/dev/null 2>&1
	capture cli c0
	streams site -n 4M -w 256K
	captured
	[[ $(sums 'udp.port == 1701 && frame.len > 1514' --disable-protocol l2tp) == 0 ]]
	[[ $(sums 'udp.srcport == 1701 && udp.dstport == 1701 && frame.len == 1514' --disable-protocol l2tp) -gt 2000 ]]
	[[ $(sums 'ip.checksum.status == 0 || udp.checksum.status == 0' --disable-protocol l2tp) == 0 ]]
	capture cli p1
	streams site -n 4M -w 256K
	captured
	[[ $(sums 'ip.checksum.status == 0 || tcp.checksum.status == 0 || frame.len > 1452') == 0 ]]
	[[ $(sums 'tcp.checksum.status == 1 && frame.len == 1452') -gt 2000 ]]
	in_ns site ethtool -K x1 tx off >/dev/null 2>&1
	streams site -n 10M -w 256K
	# the whole of a SYN's option: the MTU inside is 1438
	capture cli p1
	streams site -n 4M -w 256K
	captured
	[[ $(tshark -r "$PCAP" -Y 'tcp.flags.syn == 1' -T fields -e tcp.options.mss_val 2>/dev/null | sort -u | xargs) == '1378 1398' ]]
	in_ns site ip link set x1 mtu 3000
	in_ns srv ip link set x0 mtu 3000
	[[ $("$L2TP_PY" beyond site x1 10.1.1.77 10.1.1.2 1438) == '' ]]
	[[ $("$L2TP_PY" beyond site x1 10.1.1.77 10.1.1.2 1439) == '10.1.1.2 1438' ]]
	[[ $("$L2TP_PY" beyond site x1 10.1.1.77 10.1.1.2 2500) == '10.1.1.2 1438' ]]
	[[ $("$L2TP_PY" beyond site x1 fd01:1::77 fd01:1::2 1438) == '' ]]
	[[ $("$L2TP_PY" beyond site x1 fd01:1::77 fd01:1::2 1439) == 'fd01:1::2 1438' ]]
	[[ $("$L2TP_PY" beyond site x1 10.1.1.77 10.1.1.2 1439 0) == '' ]]
	[[ $(l2tp_count srv1 '.tx_errors | [.too_big, .too_big_told]' | xargs) == '[ 1, 3 ]' ]]
	# the way back, by the stack itself
	in_ns site busybox ping -c 1 -W 1 -s 1800 fd01:1::2 >/dev/null || true
	in_ns site ip -6 route get fd01:1::2 | grep -q 'mtu 1438'
}

# wrong PLACE COUNT WORD...: the packet is counted there, and no frame of it arrives in srv
wrong() {
	local place=$1 count=$2 before frames
	before=$(l3af --json l2tp stats | jq "$place.$count")
	frames=$(in_ns srv ip -j -s link show p1 | jq '.[].stats64.rx.packets')
	"$L2TP_PY" outer cli c0 "${@:3}"
	soon $((before + 1)) eval "l3af --json l2tp stats | jq '$place.$count'" || { echo "$place $count ${*:3}"; return 1; }
	[[ $(in_ns srv ip -j -s link show p1 | jq '.[].stats64.rx.packets') == "$frames" ]] || { echo "arrived: ${*:3}"; return 1; }
}
# right WORD...: a frame of it arrives in srv
right() {
	local frames
	frames=$(in_ns srv ip -j -s link show p1 | jq '.[].stats64.rx.packets')
	"$L2TP_PY" outer cli c0 "$@"
	soon $((frames + 1)) eval "in_ns srv ip -j -s link show p1 | jq '.[].stats64.rx.packets'"
}
# unserved: datagrams and packets that srv's stack had no taker for
unserved() { in_ns srv awk '/^Udp: [0-9]/ { n += $3 } /^Ip: [0-9]/ { n += $8 } END { print n }' /proc/net/snmp; }

@test "what is not the session's: counted apart, never forwarded; control packets are the stack's" {
	local encap session='.pseudowires[0].rx_errors' stack='.interfaces[0].left_to_stack' n
	local cookie=cookie=5a00000100000001 words
	in_ns srv sysctl -qw net.ipv4.icmp_ratelimit=0
	for encap in udp ip; do
		our_end srv 1 4 $encap 8 default
		words="encap=$encap $cookie"
		# shellcheck disable=SC2086
		{
			right $words
			wrong $session wrong_cookie $words cookie=5a00000100000002
			wrong $session wrong_cookie encap=$encap cookie=5a000001
			wrong $session wrong_peer $words src=10.77.0.9
			wrong $session malformed encap=$encap $cookie inner=029900000001029800000001
			wrong $session malformed encap=$encap $cookie inner=
			n=$(unserved)
			wrong $stack unknown_session $words sid=2
			wrong $stack control $words "$([[ $encap == udp ]] && echo t=1 || echo sid=0)"
			soon $((n + 2)) unserved
			if [[ $encap == udp ]]; then
				wrong $session wrong_peer $words sport=1702
				wrong $stack other_version $words ver=2
				soon $((n + 3)) unserved
				# to another port: not ours
				"$L2TP_PY" outer cli c0 $words dport=1702
				soon $((n + 4)) unserved
			fi
			wrong $stack fragment $words more=1
			wrong $stack malformed $words "cut=$([[ $encap == udp ]] && echo 10 || echo 3)"
			# two cookies at a time, and then the new one only
			l3af -q l2tp set srv1 rx-cookie 5a00000100000001 rx-cookie 0102030405060708 >/dev/null
			right $words
			right encap=$encap cookie=0102030405060708
			l3af -q l2tp set srv1 rx-cookie 0102030405060708 >/dev/null
			wrong $session wrong_cookie $words
			right encap=$encap cookie=0102030405060708
		}
		l3af -q l2tp flush >/dev/null
	done
}

@test "sequence numbers: what is old or comes twice is dropped, what is left out is counted" {
	local session='.pseudowires[] | select(.name == "srv1") | .rx_errors' n
	our_ends 1 6 udp 4 default sequence on
	pings 1
	[[ $(l2tp_count srv1 '.rx_errors.old_sequence + .events.lost') == 0 ]]
	NS=cli l3af -q l2tp remove cli1 >/dev/null
	l3af -q l2tp flush >/dev/null
	our_end srv 1 4 udp 4 default sequence on
	n='cookie=5a000001'
	right $n sub=40000005
	wrong "$session" old_sequence $n sub=40000005
	wrong "$session" old_sequence $n sub=40000004
	right $n sub=40000006
	right $n sub=40000009
	[[ $(l2tp_count srv1 .events.lost) == 2 ]]
	wrong "$session" old_sequence $n sub=40000008
	# one without a number is let through (RFC 3931, section 4.6)
	right $n sub=00000000
	right $n sub=4000000a
}

@test "frames of an interface by their tags: each to its pseudowire, the rest to one without vlan" {
	local n tags=('' 'vlan 100' 'vlan 100.200')
	quiet_netns site
	in_ns srv ip link add x0 type veth peer name x1 netns site
	in_ns srv ip link set x0 multicast off up
	in_ns site ip link set x1 multicast off up
	for n in 1 2 3; do
		# shellcheck disable=SC2086
		l3af -q l2tp add v$n dev x0 ${tags[n - 1]} underlay s0 local 10.77.0.1 \
			remote 10.77.0.2 session $n peer-session 10$n encap ip >/dev/null
		NS=cli l3af -q l2tp add w$n netdev p$n underlay c0 local 10.77.0.2 remote 10.77.0.1 session 10$n \
			peer-session $n encap ip >/dev/null
		in_ns cli ip link set p$n multicast off up
	done
	[[ $(WAIT=1 "$L2TP_PY" sort site x1 cli p1 p2 p3 | xargs) == 'none:p1 100:p2 100.200:p3 100.7:p2 7:p1 200.100:p1' ]]
	# from the other side: a frame with other tags than the pseudowire's does not get out
	[[ $("$L2TP_PY" sort cli p2 site x1 | xargs) == '100:x1 100.200:x1 100.7:x1' ]]
	[[ $(l2tp_count v2 .rx_errors.wrong_vlan) == 3 ]]
}
