# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# For tests of exports, after lib: traffic that is counted, collectors, and what they got.

COLLECT=$TOP/tests/tools/collect.py
T=$BATS_TEST_TMPDIR

# hosts: srv counts what comes from cli; the collectors' host col is elsewhere
hosts() {
	pair
	quiet_netns col
	ip link add k0 netns srv type veth peer name k1 netns col
	in_ns srv ip -b - <<-'END'
		link set k0 up
		addr add 10.78.0.1/24 dev k0
		addr add fd78::1/64 dev k0 nodad
	END
	in_ns col ip -b - <<-'END'
		link set k1 up
		addr add 10.78.0.2/24 dev k1
		addr add fd78::2/64 dev k1 nodad
	END
}
C4=10.78.0.2:4739 C6='[fd78::2]:4739'

# enable WORDS...: flows on s0, ingress; not shown
enable() { l3af flows enable dev s0 direction ingress "$@" >/dev/null; }
# export_to WORDS...
export_to() { l3af flows export to "$@"; }

# slowly WORDS...: an export in the background, ${PID[slow]}; its messages in $T/err
slowly() {
	start slow srv bash -c 'echo go; exec "$@" 2>"$0"' "$T/err" "$BUILD/l3afctl" --bpffs "$BPFFS" flows export to "$@"
}

# datagrams FIRST N [EACH [SIZE]]: EACH datagrams from port 4000 to each of N ports
datagrams() {
	in_ns cli python3 -c '
import socket, sys
first, n, each, size = map(int, sys.argv[1:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4000))
for i in range(n):
    for _ in range(each): s.sendto(b"x" * size, ("10.77.0.1", first + i))' "$1" "$2" "${3-1}" "${4-10}"
}
# truth: "packets N octets N" that were counted to flows
truth() {
	l3af --json flows stats | jq -r '.places | "packets \(map(.packets) | add) octets \(map(.octets) | add)"'
}
# pending COLLECTOR: "packets N octets N" that it has not been told
pending() {
	l3af --json flows collector list |
		jq -r --arg name "$1" '.[] | select(.name == $name) | "packets \(.pending_packets) octets \(.pending_octets)"'
}
# now_ms: as in records
now_ms() { date +%s%3N; }

# collector NAME udp|tcp [ADDR [PORT]]: one in col, which keeps what it gets in $T/NAME
collector() {
	start "$1" col "$COLLECT" "$2" "${3-10.78.0.2}" "${4-4739}" "$T/$1"
	[[ $line == listening ]]
}
# got FILE...: "packets N octets N" of all flow records; no sequence error, or it fails
got() {
	local sum
	sum=$("$COLLECT" sum "$@") || return
	[[ $sum == *' errors 0' ]] || { echo "$sum"; return 1; }
	sed -E 's/^flows [0-9]+ (.*) errors 0$/\1/' <<<"$sum"
}
# records FILE FILTER: what jq makes of each flow record
records() { "$COLLECT" flows "$1" | jq -r "$2"; }
# packets FILE: the number alone, whatever the sequence
packets() { "$COLLECT" sum "$1" | cut -d ' ' -f 4; }
