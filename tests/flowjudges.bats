#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# flows export, end to end: what nfcapd, tshark and ipfixDump have read is what the
# interfaces carried.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run

load lib
load judges

TO=127.0.0.1:4739/udp

setup() { pair; }
teardown() { wipe; }

export_to() { l3af -q flows export to "$TO" "$@"; }

# carried NS IF rx|tx|both [HEADER]: "packets octets" that the interface has carried, octets
# without Ethernet headers: HEADER octets of each packet, 14
carried() {
	in_ns "$1" ip -j -s link show dev "$2" | jq -r --arg way "$3" --argjson header "${4-14}" '.[0].stats64
		| [if $way != "tx" then .rx else empty end, if $way != "rx" then .tx else empty end]
		| (map(.packets) | add) as $packets | "\($packets) \((map(.bytes) | add) - $header * $packets)"'
}

# less A B: B - A, of each word
less() {
	local -a a b
	read -ra a <<<"$1"
	read -ra b <<<"$2"
	echo "$((b[0] - a[0])) $((b[1] - a[1]))"
}

# counted [SELECT]: packets and octets that all judges have read
counted() {
	local totals
	totals=$(judge_totals "$@") || { echo "$totals"; return 1; }
	echo "${totals#* }"
}

# datagrams FIRST N [SIZE]: one from cli to each of N ports of srv, IPv4 and IPv6
datagrams() {
	in_ns cli bash -c 'for ((i = 0; i < $2; i++)); do
		for to in 10.77.0.1 fd77::1; do printf "%*s" "$3" "" >"/dev/udp/$to/$(($1 + i))"; done
	done' - "$1" "$2" "${3-100}"
}

@test "200 runs with traffic between them: nothing is lost, no judge sees a sequence error" {
	local before run
	before=$(carried srv s0 both)
	l3af -q flows enable dev s0 >/dev/null
	judge_start 4739
	for ((run = 0; run < 200; run++)); do
		datagrams $((1000 + run)) 3 $((run * 5 + 1)) # two of three ports go on
		export_to
	done
	judge_stop
	judge_check
	[[ $(counted) == "$(less "$before" "$(carried srv s0 both)")" ]]
	# each run has reported what came since the one before
	[[ $(judge_records tshark | jq -r 'select(.destinationTransportPort == "1002" and .sourceIPv4Address == "10.77.0.2")
		| .packetDeltaCount' | sort | uniq -c | tr -s ' ') == ' 3 1' ]]
}

@test "a collector that is new decodes what the first run after its start sends" {
	local before
	l3af -q flows enable dev s0 >/dev/null
	judge_start 4739
	for port in 1000 2000 3000; do
		before=$(carried srv s0 both)
		datagrams $port 20
		judge_collector
		export_to
		eventually judge_has_read
		# whole datagrams are read before nfcapd ends
		judge_collector_stop
		[[ $(judge_total nfdump | cut -d ' ' -f 2-) == "$(less "$before" "$(carried srv s0 both)")" ]]
		judge_check nfdump
	done
	judge_stop
	judge_check
}

# route: srv forwards between cli and far, whose side of the way carries each segment as
# one packet: its counters are the truth
route() {
	quiet_netns far
	ip link add r1 netns srv address 02:78:00:00:00:01 type veth peer name f0 netns far address 02:78:00:00:00:02
	for end in 'srv r1 1 2' 'far f0 2 1'; do
		# shellcheck disable=SC2086
		set -- $end
		in_ns "$1" ip -b - <<-END
			link set $2 multicast off up
			addr add 10.78.0.$3/24 dev $2
			addr add fd78::$3/64 dev $2 nodad
			neigh replace 10.78.0.$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
			neigh replace fd78::$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
		END
		in_ns "$1" ethtool -K "$2" tso off gso off >/dev/null
	done
	in_ns srv ethtool -K r1 gro on
	in_ns srv bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	in_ns cli ip route add 10.78.0.0/24 via 10.77.0.1
	in_ns cli ip route add fd78::/64 via fd77::1
	in_ns far ip route add 10.77.0.0/24 via 10.78.0.1
	in_ns far ip route add fd77::/64 via fd78::1
	sleep 0.1 # for the multicast reports to be over
}

# place IF DIRECTION: the jq condition for records of it
place() {
	local index
	index=$(in_ns srv ip -j link show dev "$1" | jq '.[0].ifindex')
	if [[ $2 == ingress ]]; then echo ".flowDirection == \"0\" and .ingressInterface == \"$index\""
	else echo ".flowDirection == \"1\" and .egressInterface == \"$index\""; fi
}

@test "TCP with GSO and GRO: octets at the collector are those on the wire, IPv4 and IPv6, both ways" {
	local tx rx segments to
	route
	# a veth that does GRO counts received octets behind the Ethernet header
	tx=$(carried srv r1 tx) rx=$(carried srv r1 rx 0)
	l3af -q flows enable dev s0 >/dev/null
	l3af -q flows enable dev r1 >/dev/null
	in_ns far iperf3 -s -D --pidfile "$BATS_TEST_TMPDIR/iperf3" 3>&-
	judge_start 4739
	for to in 10.78.0.2 fd78::2; do
		for way in '' -R; do
			# shellcheck disable=SC2086
			eventually in_ns cli iperf3 -c $to -n 30M $way >/dev/null
		done
	done
	kill "$(tr -d '\0' <"$BATS_TEST_TMPDIR/iperf3")"
	export_to
	judge_stop
	judge_check
	tx=$(less "$tx" "$(carried srv r1 tx)") rx=$(less "$rx" "$(carried srv r1 rx 0)")
	((${tx#* } > 40000000 && ${rx#* } > 40000000)) # iperf3 ends before the last of it is there
	# there was something to it: segments came and went together
	segments=$(l3af --json flows stats | jq '[.places[] | .packets - .frames] | add')
	((segments > 10000))
	for place in 's0 ingress' 'r1 egress'; do
		# shellcheck disable=SC2086
		[[ $(counted "$(place $place)") == "$tx" ]] || { echo "$place is not $tx"; return 1; }
	done
	for place in 's0 egress' 'r1 ingress'; do
		# shellcheck disable=SC2086
		[[ $(counted "$(place $place)") == "$rx" ]] || { echo "$place is not $rx"; return 1; }
	done
}

@test "biflows: one record of both directions, whose source is the client" {
	local before totals
	l3af -q flows enable dev s0 >/dev/null
	mkdir "$BATS_TEST_TMPDIR/www"
	in_ns srv ethtool -K s0 tso off gso off # its counters are segments then
	head -c 100000 /dev/zero >"$BATS_TEST_TMPDIR/www/file"
	before=$(carried srv s0 both)
	in_ns srv busybox httpd -p 80 -h "$BATS_TEST_TMPDIR/www" 3>&-
	in_ns cli curl -s -o /dev/null http://10.77.0.1/file
	in_ns cli curl -s -o /dev/null "http://[fd77::1]/file"
	in_ns cli bash -c 'echo x >/dev/udp/10.77.0.1/9999' # answered by ICMP, which is another flow
	judge_start 4739
	export_to biflow
	judge_stop
	judge_check
	totals=$(less "$before" "$(carried srv s0 both)")
	[[ $(counted) == "$totals" ]]
	for judge in tshark ipfixDump; do
		run -0 judge_records $judge
		[[ $(jq -r 'select(.protocolIdentifier == "6") | [.destinationTransportPort, .biflowDirection, .flowDirection,
			(.octetDeltaCount | tonumber) < 100000, (.reverseOctetDeltaCount | tonumber) > 100000,
			.reverseFlowStartMilliseconds >= .flowStartMilliseconds] | join(" ")' <<<"$output" | sort | uniq -c |
			tr -s ' ') == ' 2 80 1 0 true true true' ]]
		# directions without another have no reverse elements
		[[ $(jq -r 'select(.protocolIdentifier != "6" and has("flowDirection")) |
			[.protocolIdentifier, has("reverseOctetDeltaCount")] | join(" ")' <<<"$output" | sort) == $'1 false\n17 false' ]]
	done
}

@test "biflows over many runs: totals are right, whichever direction has news" {
	local before run
	before=$(carried srv s0 both)
	l3af -q flows enable dev s0 >/dev/null
	judge_start 4739
	for ((run = 0; run < 20; run++)); do
		in_ns cli bash -c 'echo x >/dev/udp/10.77.0.1/5000'
		((run % 3)) || datagrams $((1000 + run)) 3
		if ((run % 2)); then export_to biflow; else export_to; fi
	done
	judge_stop
	judge_check
	[[ $(counted) == "$(less "$before" "$(carried srv s0 both)")" ]]
}

@test "all fields: names and sampling, in flows and in options" {
	local index
	in_ns srv ip link set s0 alias "to the client"
	l3af -q flows enable dev s0 direction ingress sample 1/2 >/dev/null
	datagrams 1000 50
	judge_start 4739
	export_to fields all
	judge_stop
	judge_check
	index=$(in_ns srv ip -j link show dev s0 | jq '.[0].ifindex')
	for judge in tshark ipfixDump; do
		run -0 judge_records $judge
		[[ $(jq -r 'select(has("flowDirection")) | [.interfaceName, .observationDomainName, .samplingPacketInterval,
			.samplingPacketSpace] | join(" ")' <<<"$output" | sort -u) == 's0 flows 1 1' ]]
		[[ $(jq -r --arg i "$index" 'select(.ingressInterface == $i and (has("flowDirection") | not))
			| .interfaceName // .interfaceDescription' <<<"$output") == $'s0\nto the client' ]]
		[[ $(jq -r 'select(has("selectorAlgorithm")) | [.selectorAlgorithm, .samplingPacketInterval,
			.samplingPacketSpace] | join(" ")' <<<"$output") == '1 1 1' ]]
	done
	# packets that were counted: nfcapd would multiply them by a rate that it had in the flows' domain
	run -0 judge_totals
	[[ $output == "$(l3af --json flows stats | jq -r '.places[]
		| "\(.flows) \(.packets - (.ignored | map(.packets) | add)) "')"* ]]
}
