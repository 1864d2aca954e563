# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# For tests of the agent, after lib: tunnels made byte by byte and by a TC program.

GUE=$TOP/tests/tools/gue.py ECHO=$TOP/tests/tools/echo.py

# What tests/bpf/guesend puts into tunnels: VIPs, by family of the inner and the outer header
declare -gA VIP=([44]=192.0.2.1 [46]=192.0.2.101 [64]=fd55::1 [66]=fd55::65)
declare -gA GUEST_VIP=([44]=192.0.2.51 [46]=192.0.2.151 [64]=fd55::33 [66]=fd55::97)
OWN4=10.77.0.1 OWN6=fd77::1

# gue WORD...: sends such a frame out of c0
gue() { in_ns cli python3 "$GUE" send c0 "$@"; }

# tunnels: cli sends to VIPs through tunnels
tunnels() {
	in_ns cli ip route add 192.0.2.0/24 via 10.77.0.1
	in_ns cli ip route add fd55::/64 via fd77::1
	NS=cli l3af chain add guesend dev c0 hook tc-egress object "$FP/bpf/guesend.o" >/dev/null
}

# own: the host has the VIPs
own() {
	local v
	for v in "${VIP[@]}"; do in_ns srv ip addr add "$v" dev lo; done
}

# agent WORDS...: enabled on s0, not shown
agent() { l3af agent enable dev s0 "$@" >/dev/null; }

# translate WORDS...: all VIPs to the host's own addresses
translate() {
	agent vip "${VIP[44]}" to "$OWN4" vip "${VIP[46]}" to "$OWN4" vip "${VIP[64]}" to "$OWN6" vip "${VIP[66]}" to "$OWN6" "$@"
}

# counter NAME [WORDS...]: of the first interface of agent stats, whatever kind it is
counter() {
	l3af --json agent stats "${@:2}" |
		jq --arg n "$1" '[.[0] | .taken, .replies, .left_to_stack, .dropped | .[$n]? // 0] | add'
}

# program HOOK [DEV]: the id of the agent's program there
program() {
	l3af --json chain list dev "${2-s0}" |
		jq -e --arg h "$1" '.[] | select(.name == "agent" and .hook == $h) | .program_id'
}

# table HOOK: reads lines "FRAME | RESULT" (gue.py table), for the program of this hook of s0
table() {
	in_ns srv python3 "$GUE" table "${1%%-*}" "$FP/agentrun" "$(program "$1")"
}

# offloads on|off: of both ends
offloads() {
	in_ns cli ethtool -K c0 tx "$1" tso "$1" gso "$1" >/dev/null
	in_ns srv ethtool -K s0 tx "$1" tso "$1" gso "$1" >/dev/null
}

# errors NS: checksums that were wrong, of all protocols
errors() {
	{ in_ns "$1" cat /proc/net/snmp /proc/net/netstat; } | awk '
		!($1 in head) { head[$1] = $0; next }
		{ n = split(head[$1], h); split($0, v); delete head[$1]
		  for (i = 2; i <= n; i++) if (h[i] ~ /InCsumErrors/) sum += v[i] }
		END { print sum + 0 }'
	in_ns "$1" awk '/InCsumErrors/ { sum += $2 } END { print sum + 0 }' /proc/net/snmp6
}

# echoes PROTO VIP OCTETS [SPORT]: they come back to cli
echoes() {
	local out
	out=$(in_ns cli timeout 20 python3 "$ECHO" "$1" "$2" 80 "${@:3}" 2>&1) || true
	[[ $out == same ]] || { echo "$*: $out"; return 1; }
}

# all_echo [VIP...]: over TCP and UDP, no checksum is wrong
all_echo() {
	local v
	for v in "${@:-${VIP[@]}}"; do
		echoes tcp "$v" 400000
		echoes udp "$v" 1000
	done
	[[ $(errors srv) == $'0\n0' && $(errors cli) == $'0\n0' ]]
}

# guest veth|tap: the host hyp forwards between cli and the guest vm, 10.88.0.2 and fd88::2 behind g0
guest() {
	quiet_netns vm
	in_ns srv sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	if [[ $1 == tap ]]; then
		start taps srv python3 "$TOP/tests/tools/taps.py" srv g0 vm v0
	else
		in_ns srv ip link add g0 type veth peer name v0 netns vm
	fi
	in_ns srv ip -b - <<-END
		link set g0 address 02:88:00:00:00:01 multicast off up
		addr add 10.88.0.1/24 dev g0
		addr add fd88::1/64 dev g0 nodad
		neigh replace 10.88.0.2 lladdr 02:88:00:00:00:02 dev g0 nud permanent
		neigh replace fd88::2 lladdr 02:88:00:00:00:02 dev g0 nud permanent
	END
	in_ns vm ip -b - <<-END
		link set v0 address 02:88:00:00:00:02 multicast off up
		addr add 10.88.0.2/24 dev v0
		addr add fd88::2/64 dev v0 nodad
		neigh replace 10.88.0.1 lladdr 02:88:00:00:00:01 dev v0 nud permanent
		neigh replace fd88::1 lladdr 02:88:00:00:00:01 dev v0 nud permanent
		route add default via 10.88.0.1
		route add default via fd88::1
	END
	in_ns srv bash -c 'echo 0 >/proc/sys/net/ipv4/conf/g0/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter'
}
