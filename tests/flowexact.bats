# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Conservation: what was exported, what is still in the table and what was ignored are
# what the programs saw, and that is what the interfaces counted. To the packet and octet.

load lib
load flowframes

setup() { pair; }
teardown() {
	exporter_stop
	wipe
}

# words LINE: sets the variables KEY of "KEY VALUE KEY VALUE..."
declare -gA of=()
words() {
	local -a w
	read -ra w <<<"$2"
	for ((i = 0; i + 1 < ${#w[@]}; i += 2)); do of[$1_${w[i]}]=${w[i + 1]}; done
}

# exporter_start NAME..., exporter_stop: sets $line
EXPORTER=''
exporter_start() {
	mkfifo "$BATS_TEST_TMPDIR/in"
	"$FLOW" export flows "$1" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 3>&- &
	EXPORTER=$!
	exec {STDIN}>"$BATS_TEST_TMPDIR/in"
}
exporter_stop() {
	[[ -n $EXPORTER ]] || return 0
	touch "$BATS_TEST_TMPDIR/stop"
	[[ -z ${STDIN-} ]] || exec {STDIN}>&-
	wait "$EXPORTER"
	EXPORTER=''
	line=$(cat "$BATS_TEST_TMPDIR/out" 2>/dev/null)
}

# truth DIRECTION: of the line of "flow stat" that has it; ignored ones summed
truth() {
	"$FLOW" stat flows | awk -v d="$1" '$2 == d {
		for (i = 3; i < 15; i += 2) printf "%s %s ", $i, $(i + 1)
		for (i = 13; i < NF; i += 2) { split($(i + 1), n, "/"); p += n[1]; o += n[2]; if (n[1]) why = why $i }
		printf "ignored_packets %d ignored_octets %d", p, o }'
}

@test "ten million packets through each of two hooks, two senders, an exporter without a pause" {
	local line STDIN
	enable direction ingress idle 1s max 400000
	NS=cli l3af flows enable dev c0 direction egress >/dev/null
	"$FLOW" peer flows 192.0.2.1:4739/udp
	words before "$(apart srv s0 rx 1) $(apart cli c0 tx 2)"
	exporter_start 192.0.2.1:4739/udp
	run -0 in_ns cli "$SEND" flood c0 4500000 900000
	words sent "$output"
	exporter_stop
	words exported "$line"
	# and some that are not exported
	run -0 in_ns cli "$SEND" flood c0 600000 150000
	words more "$output"
	eventually counted_all "${of[before_rx]}"
	words unsent "$("$FLOW" unsent flows)"
	words in "$(truth in)"
	words out "$(truth out)"
	words after "rx $(link srv s0 rx_packets) rx_bytes $(link srv s0 rx_bytes) tx $(link cli c0 tx_packets) tx_bytes $(link cli c0 tx_bytes)"
	figure "exported $line; still in the table: $("$FLOW" unsent flows); in: $(truth in); out: $(truth out)"
	# the interfaces', and what was sent
	((of[in_frames] == of[after_rx] - of[before_rx] && of[in_bytes] == of[after_rx_bytes] - of[before_rx_bytes]))
	((of[out_frames] == of[after_tx] - of[before_tx] && of[out_bytes] == of[after_tx_bytes] - of[before_tx_bytes]))
	((of[out_frames] >= of[sent_packets] + of[more_packets] && of[out_bytes] >= of[sent_bytes] + of[more_bytes]))
	((of[out_packets] == of[out_frames] && of[out_octets] == of[out_bytes] - 14 * of[out_frames]))
	((of[in_packets] == of[in_frames] && of[in_octets] == of[in_bytes] - 14 * of[in_frames]))
	# the law
	((of[exported_packets] + of[unsent_packets] + of[in_ignored_packets] + of[out_ignored_packets] ==
		of[in_packets] + of[out_packets]))
	((of[exported_octets] + of[unsent_octets] + of[in_ignored_octets] + of[out_ignored_octets] ==
		of[in_octets] + of[out_octets]))
	((of[in_flows] + of[out_flows] > 1000000 && of[in_packets] > 10000000 && of[exported_runs] > 10))
	"$FLOW" audit flows
}

# delivered FILE: "packets N octets N flows N" of an IPFIX file, as libfixbuf reads it
delivered() {
	ipfixDump -i "$1" | awk '/packetDeltaCount/ && $NF ~ /^[0-9]+$/ { p += $NF; n++ } /octetDeltaCount/ && $NF ~ /^[0-9]+$/ { o += $NF }
		END { printf "packets %d octets %d flows %d", p, o, n }'
}

@test "ten million packets, a million flows, two senders, and l3afctl flows export" {
	local file=$BATS_TEST_TMPDIR/flows.ipfix runs
	enable direction ingress idle 1s
	words before "$(apart srv s0 rx 1)"
	l3af flows export to file "$file"
	(while [[ ! -e $BATS_TEST_TMPDIR/stop ]]; do
		l3af -q --json flows export to file "$file" || exit
		sleep 0.5
	done >"$BATS_TEST_TMPDIR/runs") 3>&- &
	EXPORTER=$!
	run -0 in_ns cli "$SEND" flood c0 4800000 1100000
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$EXPORTER"
	EXPORTER=''
	run -0 in_ns cli "$SEND" flood c0 400000 100000
	eventually counted_all "${of[before_rx]}"
	words in "$(truth in)"
	words unsent "$("$FLOW" unsent flows)"
	words after "rx $(link srv s0 rx_packets) rx_bytes $(link srv s0 rx_bytes)"
	runs=$(jq -s '"runs \(length) packets \(map(.packets) | add) octets \(map(.octets) | add) flows \(map(.flows) | add)"' -r "$BATS_TEST_TMPDIR/runs")
	words runs "$runs"
	figure "exports: $runs; still in the table: $("$FLOW" unsent flows); counted: $(truth in)"
	((of[in_frames] == of[after_rx] - of[before_rx] && of[in_bytes] == of[after_rx_bytes] - of[before_rx_bytes]))
	((of[in_packets] == of[in_frames] && of[in_octets] == of[in_bytes] - 14 * of[in_frames]))
	((of[runs_packets] + of[unsent_packets] + of[in_ignored_packets] == of[in_packets]))
	((of[runs_octets] + of[unsent_octets] + of[in_ignored_octets] == of[in_octets]))
	((of[in_flows] > 1000000 && of[in_packets] > 10000000 && of[runs_runs] > 5))
	# not only by its own account
	[[ $(delivered "$file") == "packets ${of[runs_packets]} octets ${of[runs_octets]} flows ${of[runs_flows]}" ]]
}

# beyond: a third host behind srv, which forwards; what srv sends there leaves in segments
beyond() {
	quiet_netns end
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name e0 address 02:78:00:00:00:02 netns end
	in_ns srv ip -b - <<-END
		link set m0 multicast off up
		addr add 10.78.0.1/24 dev m0
		addr add fd78::1/64 dev m0 nodad
		neigh replace 10.78.0.2 lladdr 02:78:00:00:00:02 dev m0 nud permanent
		neigh replace fd78::2 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	END
	in_ns end ip -b - <<-END
		link set e0 multicast off up
		addr add 10.78.0.2/24 dev e0
		addr add fd78::2/64 dev e0 nodad
		neigh replace 10.78.0.1 lladdr 02:78:00:00:00:01 dev e0 nud permanent
		neigh replace fd78::1 lladdr 02:78:00:00:00:01 dev e0 nud permanent
		route add default via 10.78.0.1
		route add default via fd78::1
	END
	in_ns cli ip -b - <<-END
		route add default via 10.77.0.1
		route add default via fd77::1
	END
	in_ns srv bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	in_ns srv ethtool -K m0 tso off gso off tx-udp-segmentation off >/dev/null
	sleep 0.1
}

# segments NAME COMMAND...: what flows counts of packets on their way in at s0 (GSO as they
# come) is what m0 counts of them on their way out, in segments
segments() {
	local name=$1 packets octets frames
	shift
	words b "packets $(link srv m0 tx_packets) bytes $(link srv m0 tx_bytes) frames $(stat frames)"
	"$@"
	words a "packets $(link srv m0 tx_packets) bytes $(link srv m0 tx_bytes) frames $(stat frames)"
	frames=$((of[a_frames] - of[b_frames]))
	packets=$((of[a_packets] - of[b_packets]))
	octets=$((of[a_bytes] - of[b_bytes] - 14 * packets))
	figure "$name: $packets packets, $octets octets in $frames frames"
	# big ones came
	((packets > 4 * frames))
	[[ $("$FLOW" list flows | awk '$1 == "s0" && $2 == "in" && / > (10.78.0.2|fd78::2):/ {
		for (i = 1; i < NF; i++) if ($i == "packets") { p += $(i + 1); o += $(i + 3) } } END { print p, o }') == "$packets $octets" ]]
	# and the other hook saw the same
	[[ $("$FLOW" list flows | awk '$1 == "m0" && $2 == "out" && / > (10.78.0.2|fd78::2):/ {
		for (i = 1; i < NF; i++) if ($i == "packets") { p += $(i + 1); o += $(i + 3) } } END { print p, o }') == "$packets $octets" ]]
	l3af -q flows flush >/dev/null
}

# iperf BYTES ADDR: from cli to end
iperf() {
	in_ns end iperf3 -s -1 -D -I "$BATS_TEST_TMPDIR/pid" 3>&-
	eventually in_ns end bash -c '[[ $(ss -Htln "sport = :5201") ]]'
	in_ns cli iperf3 -c "$2" -n "$1" >/dev/null
}

# datagrams ADDR: by UDP_SEGMENT, 50 times 40 of 1400 octets and one of 11
datagrams() {
	in_ns cli python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, 1400)
for i in range(50): s.sendto(b"x" * (40 * 1400 + 11), (sys.argv[1], 9))' "$1"
}

@test "TCP and UDP with segmentation offload: packets and octets as on the wire" {
	beyond
	enable direction ingress
	l3af flows enable dev m0 direction egress >/dev/null
	segments 'TCP, IPv4' iperf 200M 10.78.0.2
	segments 'TCP, IPv6' iperf 200M fd78::2
	segments 'UDP, IPv4' datagrams 10.78.0.2
	segments 'UDP, IPv6' datagrams fd78::2
	in_ns cli ip route replace 10.78.0.0/24 via 10.77.0.1 mtu 1300
	segments 'TCP, IPv4, smaller' iperf 50M 10.78.0.2
}
