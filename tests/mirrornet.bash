# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2004,SC2034,SC2154
# For tests of mirroring from end to end, after lib.
#
#	cli c0 ---- s0 srv m0 ---- k0 col
#
# s0 is production (10.77.0.0/24, fd77::/64, srv is .1, cli .2), m0 the interface to the collector
# (10.78.0.0/24, fd78::/64, srv is .1, col .2). srv does not forward. m0 hands over whole
# packets, as a wire does: a veth would pass on tunnels unsegmented and sums not computed.

LOAD=$FP/mirrorload
# the packets are the subject, not TCP's opinion of the network, nor what may use a client's port
TSHARK=(tshark -d "udp.port==32768-48999,data" -d "tcp.port==32768-48999,data" -X "lua_script:$TOP/tests/tools/gue.lua" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE
	-o udp.check_checksum:TRUE -o udp.ignore_ipv6_zero_checksum:TRUE -o tcp.analyze_sequence_numbers:FALSE)

# site [MTU]: of m0
site() {
	pair
	quiet_netns col
	# not those of tunnels
	in_ns cli sysctl -qw net.ipv4.ip_local_port_range='32768 48999'
	in_ns srv sysctl -qw net.ipv4.ip_local_port_range='32768 48999'
	collector_link "${1-1600}"
	collector
}
# collector_link MTU: m0 and k0, made (anew)
collector_link() {
	local mac1=02:78:00:00:00:01 mac2=02:78:00:00:00:02 ns
	ip link add m0 index 100 address $mac1 mtu "$1" netns srv type veth peer name k0 address $mac2 mtu "$1" netns col
	in_ns srv ip -b - <<-END
		link set m0 multicast off up
		addr add 10.78.0.1/24 dev m0
		addr add fd78::1/64 dev m0 nodad
		neigh replace 10.78.0.2 lladdr $mac2 dev m0 nud permanent
		neigh replace fd78::2 lladdr $mac2 dev m0 nud permanent
	END
	in_ns col ip -b - <<-END
		link set k0 multicast off up
		addr add 10.78.0.2/24 dev k0
		addr add fd78::2/64 dev k0 nodad
		neigh replace 10.78.0.1 lladdr $mac1 dev k0 nud permanent
		neigh replace fd78::1 lladdr $mac1 dev k0 nud permanent
		neigh replace 10.78.0.9 lladdr 02:ff:00:00:00:09 dev k0 nud permanent
	END
	# for marks: nobody has that address
	in_ns cli ip neigh replace 10.77.0.9 lladdr 02:ff:00:00:00:09 dev c0 nud permanent
	in_ns srv ethtool -K m0 tx off >/dev/null
}
# collector: programs of its own have the ports, nobody is told "port unreachable"
collector() {
	local port
	for port in 6080 4789; do
		background "sink$port" col "$LOAD" sink $port
	done
}

# background NAME NS COMMAND...: says "ready", and is ended by finish_all or ended NAME
background() {
	local name=$1 ns=$2
	shift 2
	: >"$BATS_TEST_TMPDIR/$name.log"
	nsenter --net="/run/netns/$ns" "$@" >"$BATS_TEST_TMPDIR/$name.log" 2>&1 3>&- &
	PID[$name]=$!
	eventually grep -qE 'ready|Capturing on|Server listening' "$BATS_TEST_TMPDIR/$name.log"
}
# ended NAME: $said is its output
ended() {
	kill "${PID[$1]}" 2>/dev/null || true
	wait "${PID[$1]}" || true
	unset "PID[$1]"
	said=$(<"$BATS_TEST_TMPDIR/$1.log")
}

# tap NAME NS DEV: what passes there goes to $NAME, "production" or "mirrored"
tap() {
	declare -g "$1=$BATS_TEST_TMPDIR/$1.pcap"
	rm -f "$BATS_TEST_TMPDIR/$1.pcap"
	background "tap$1" "$2" dumpcap -q -P -B 64 -i "$3" -w "$BATS_TEST_TMPDIR/$1.pcap"
	mark "$1" start
}
# mark NAME WORD: what went before it is in the file. Two datagrams tell: one of production, which is
# mirrored (not every filter takes it), and one that passes k0
mark() {
	local end=$((SECONDS + 10))
	until grep -qa "mark $2" "$BATS_TEST_TMPDIR/$1.pcap" 2>/dev/null; do
		((SECONDS < end)) || { echo "$1: no mark"; return 1; }
		in_ns cli bash -c 'echo "mark $1" >/dev/udp/10.77.0.9/9' - "$2"
		in_ns col bash -c 'echo "mark $1" >/dev/udp/10.78.0.9/9' - "$2"
		sleep 0.05
	done
}
# untap NAME: the file is complete
untap() {
	mark "$1" stop
	ended "tap$1"
	grep -q 'dropped on interface.*: [0-9]*/0 ' <<<"$said" || { echo "$said"; return 1; }
}
taps() {
	tap production srv s0
	tap mirrored col "${1-k0}"
}
untaps() {
	untap production
	untap mirrored
}

# pcap VERB WORDS...: tests/tools/mirrorpcap.py; $said is its answer
pcap() {
	said=$(/usr/bin/python3 "$TOP/tests/tools/mirrorpcap.py" "$@") || { echo "$said"; return 1; }
}

# faults FILE [FILTER]: what tshark complains about: malformed packets, wrong sums and lengths. That a
# kernel writes one of the two zeros as TCP's sum is none
faults() {
	"${TSHARK[@]}" -r "$1" -Y "(${2-frame}) && (_ws.malformed || _ws.expert.severity >= 0x00800000 ||
		ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 ||
		icmpv6.checksum.status == 0 || icmp.checksum.status == 0)" \
		-T fields -E occurrence=a -e frame.number -e frame.len -e frame.protocols -e _ws.expert.message \
		2>/dev/null | grep -v '0xffff instead of 0x0000 (see RFC 1624)' | head -n 10
}
# decodes FILE FILTER: it has such packets, and tshark finds no fault with any
decodes() {
	local bad
	bad=$(faults "$1" "$2")
	[[ -z $bad ]] || { printf 'tshark: %s\n' "$bad"; return 1; }
	[[ -n $("${TSHARK[@]}" -r "$1" -Y "$2" -c 2000 -T fields -e frame.number 2>/dev/null) ]] ||
		{ echo "tshark: no packets of $2"; return 1; }
}

declare -gA ADDR=([4]=10.77.0.1 [6]=fd77::1)
declare -gA COLLECTOR=([4]=10.78.0.2 [6]=fd78::2) SOURCE=([4]=10.78.0.1 [6]=fd78::1)

iperf_serve() { background iperf srv iperf3 -s --forceflush; }
# iperf WORDS...: from cli, as JSON. A server may still be busy with the last client
iperf() {
	local i out
	for ((i = 0; i < 50; i++)); do
		out=$(in_ns cli timeout 60 iperf3 -J "$@") && { echo "$out"; return; }
		[[ $out == *busy* ]] || break
		sleep 0.1
	done
	jq -r .error <<<"$out" >&2
	return 1
}

# mirror WORDS...: l3af mirror, what it changes is not shown
mirror() { l3af mirror "$@" >/dev/null; }

# unharmed WHAT COMMAND...: no datagram is lost, doubled or changed while it happens
unharmed() {
	local what=$1 family tcp sent=0 bad=0
	shift
	for family in 4 6; do
		background "ask$family" cli "$LOAD" ask "${ADDR[$family]}" 7 window=16 size=200
	done
	iperf -c 10.77.0.1 -t 2 -b 50M >"$BATS_TEST_TMPDIR/tcp.json" 3>&- &
	tcp=$!
	sleep 0.2
	"$@"
	sleep 0.2
	wait "$tcp" || bad=1
	for family in 4 6; do
		ended "ask$family"
		said=${said##*$'\n'}
		# shellcheck disable=SC2086
		set -- $said # sent N answered N again N
		[[ $1$3$5 == sentansweredagain && $2 == "$4" && $6 == 0 && $2 -gt 100 ]] ||
			{ echo "$what: IPv$family: $said"; bad=1; }
		sent=$((sent + ${2:-0}))
	done
	((!bad)) || return 1
	figure "$what: $sent datagrams and their answers, 0 lost; TCP: $(jq -r '
		"\(.end.sum_received.bits_per_second / 1e6 | round) of 50 Mbit/s, \(.end.sum_sent.retransmits) segments again"' \
		"$BATS_TEST_TMPDIR/tcp.json")"
}

# total KEY: of the target col
total() { l3af --json mirror target show col | jq "[.] | flatten | .[0].$1"; }
# accounted: each packet was sent, or there is a reason
accounted() {
	local counts
	counts=$(l3af --json mirror target show col)
	jq -e '[.] | flatten | .[0] | .packets > 0 and .packets == .sent + (.not_sent | add)' <<<"$counts" >/dev/null ||
		{ echo "$counts"; return 1; }
}

received() { in_ns col ip -s -j link show dev k0 | jq '.[0].stats64.rx.packets'; }
# mirrors: what production sends comes to the collector
mirrors() {
	local before
	before=$(received)
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=10 >/dev/null
	(($(received) >= before + 20))
}
