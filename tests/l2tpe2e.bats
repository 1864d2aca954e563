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
