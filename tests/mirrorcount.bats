#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What mirror's counters say, and what comes to the collector.

load lib
load mirrornet

setup() {
	site
	background serve srv "$LOAD" serve 7
	mirror target add col dev m0 to 10.78.0.2 encap gue
	mirror filter add 10 dev s0 action accept to col
	# the next hop is known from here on
	eventually mirrors
}
teardown() {
	finish_all
	wipe
}

drained() { [[ $(in_ns srv tc -j -s qdisc show dev m0 root | jq '.[0].backlog') == 0 ]]; }

@test "a packet that the queue refuses is not counted as sent" {
	local sent came refused
	in_ns srv tc qdisc add dev m0 root tbf rate 2mbit burst 3k limit 4k
	sent=$(total sent) came=$(received) refused=$(total not_sent.queue_full)
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=2000 size=500 >/dev/null
	eventually drained
	sent=$(($(total sent) - sent)) came=$(($(received) - came)) refused=$(($(total not_sent.queue_full) - refused))
	figure "sent $sent, came $came, refused $refused"
	((refused > 3000 && came > 0))
	# the kernel does not say what became of those by which it is asked for the next hop
	((sent - came <= 10 * $(nproc)))
	accounted
}

@test "the next hop of a collector that was is not that of the one that comes after it" {
	in_ns srv ip neigh replace 10.78.0.3 lladdr 02:78:00:00:00:03 dev m0 nud permanent
	tap mirrored col k0
	for _ in 1 2 3; do
		in_ns cli "$LOAD" ask 10.77.0.1 7 count=20 flows=20 >/dev/null
		# of the two copies of a target, the second change writes the one that was in use
		mirror target add col dev m0 to 10.78.0.4
		mirror target add col dev m0 to 10.78.0.3
		in_ns cli "$LOAD" ask 10.77.0.1 7 count=20 flows=20 >/dev/null
		mirror target add col dev m0 to 10.78.0.4
		mirror target add col dev m0 to 10.78.0.2
	done
	untap mirrored
	[[ $(hop 10.78.0.2) == 02:78:00:00:00:02 && $(hop 10.78.0.3) == 02:78:00:00:00:03 ]]
}
# hop COLLECTOR: Ethernet addresses of what is sent to it
hop() {
	tshark -r "$mirrored" -Y "udp.port == 6080 && ip.dst == $1" -T fields -e eth.dst 2>/dev/null | sort -u
}

@test "a cap that is raised is in force at once" {
	# each octet is 8 ms
	mirror target add col cap 1kbit
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=10 size=1400 >/dev/null
	(($(total not_sent.capped) > 0))
	mirror target add col cap 1gbit
	mirrors
	accounted
}

@test "a collector behind a router that is known by its link-local address, and gets another MAC address" {
	in_ns srv ip -b - <<-END
		neigh replace fe80::78:2 lladdr 02:78:00:00:00:02 dev m0 nud permanent
		route add fd79::/64 via fe80::78:2 dev m0
	END
	mirror target add col to fd79::2 source fd78::1
	eventually mirrors
	tap mirrored col k0
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=20 flows=20 >/dev/null
	in_ns srv ip neigh replace fe80::78:2 lladdr 02:78:00:00:00:05 dev m0 nud permanent
	sleep 1.2 # longer than a next hop is good for
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=20 flows=20 >/dev/null
	untap mirrored
	# col answers that there is no such address
	[[ $(tshark -r "$mirrored" -Y 'udp.port == 6080 && !icmpv6' -T fields -e eth.dst 2>/dev/null | uniq) == \
		$'02:78:00:00:00:02\n02:78:00:00:00:05' ]]
	accounted
	[[ $(total packets) == "$(total sent)" ]]
}
