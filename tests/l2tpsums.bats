#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# l2tp: frames whose TCP or UDP checksum is left to the interface, inside a UDP checksum.
# shellcheck disable=SC2154

load lib
load l2tp

setup() { pair; }
teardown() { finish_all; wipe; }

# sums FILTER: how many packets of $PCAP
sums() {
	tshark -r "$PCAP" -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE --disable-protocol l2tp -Y "$1" 2>/dev/null | wc -l
}

# learns ADDRESS MTU: a datagram makes host know the MTU of the way there
learns() {
	in_ns host bash -c 'head -c 1450 /dev/zero >"/dev/udp/$1/9"' bash "$1"
	in_ns host ip route get "$1" | grep -q " mtu $2\b"
}

# through FAMILY [ETHTOOL-WORDS]: TCP and UDP both ways from a host on srv's a0 to cli, through UDP with checksums
through() {
	local PCAP=$BATS_TEST_TMPDIR/pcap host bad this
	this=$([[ $1 == 4 ]] && echo 10.77.0.1 10.77.0.2 || echo fd77::1 fd77::2)
	quiet_netns host
	ip link add a0 netns srv type veth peer name h0 netns host
	in_ns srv ip link set a0 up
	host_on host h0 1 1
	in_ns host ethtool -K h0 tso off gso off >/dev/null
	# the stack makes the checksum on the way out, as a NIC does
	in_ns srv ethtool -K s0 "${@:2}" >/dev/null
	NS=srv l3af -q l2tp add srv1 dev a0 underlay s0 local "${this% *}" remote "${this#* }" session 1 peer-session 101 \
		encap udp udp-csum on >/dev/null
	our_end cli 1 "$1" udp 0 default udp-csum on
	in_ns cli dumpcap -qi c0 -w "$PCAP" >/dev/null 2>&1 3>&- &
	PID[dumpcap]=$!
	eventually test -s "$PCAP"
	sleep 0.5 # its file comes before its first packet
	for host in 10.1.1.2 fd01:1::2; do
		in_ns cli iperf3 -s -D -1 -B $host 3>&-
		eventually in_ns host timeout 10 iperf3 -c $host -n 700K >/dev/null
		in_ns cli iperf3 -s -D -1 -B $host 3>&-
		eventually in_ns host timeout 10 iperf3 -c $host -u -b 10M -l 701 -n 70K >/dev/null
	done
	# the answer to what is too big, about a packet whose checksum is left to the interface, too
	for host in 10.1.1.2 fd01:1::2; do
		eventually learns $host $((1486 - ($1 == 4 ? 20 : 40) - 20))
	done
	kill "${PID[dumpcap]}"
	wait "${PID[dumpcap]}" || true
	unset 'PID[dumpcap]'
	bad=$(sums 'ip.src == 10.77.0.1 && udp.checksum.status == 0 || ipv6.src == fd77::1 && udp.checksum.status == 0')
	[[ $bad == 0 ]] || { echo "$bad checksums are wrong"; return 1; }
	(($(sums 'udp.port == 1701 && udp.checksum.status == 1') > 1000))
	[[ $(in_ns cli nstat -asz Udp6InCsumErrors UdpInCsumErrors TcpInCsumErrors | awk '/InCsum/ { n += $2 } END { print n }') == 0 ]]
	[[ $(l3af --json l2tp stats srv1 | jq '.tx_errors | del(.too_big_told) | add') == 0 ]]
}

@test "over IPv4: filled in on the way out" { through 4 tx off; }
@test "over IPv6: filled in on the way out" { through 6 tx off; }
