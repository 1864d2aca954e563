#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Whatever becomes of what is mirrored, production loses nothing: numbered datagrams of IPv4 and of
# IPv6 that are answered, both directions mirrored, and a TCP connection beside them.

load lib
load mirrornet

setup() {
	site
	iperf_serve
	background serve srv "$LOAD" serve 7
	mirror target add col dev m0 to 10.78.0.2 encap gue
	mirror filter add 10 dev s0 action accept to col
}
teardown() {
	finish_all
	wipe
}

# for_ms MS COMMAND...: over and over
for_ms() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000))
	shift
	while ((${EPOCHREALTIME/./} < end)); do "$@"; done
}

@test "what loses a datagram of production is seen" {
	in_ns cli tc qdisc add dev c0 root tbf rate 10mbit burst 2k limit 3k
	run unharmed 'too narrow' sleep 1
	((status)) && [[ $output == *sent*answered* ]]
}

@test "nothing happens: all is mirrored, the host does not forward" {
	[[ $(in_ns srv cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding) == $'0\n0' ]]
	mirrors
	unharmed 'all is well' sleep 1
	mirrors
	accounted
	[[ $(total packets) == "$(total sent)" ]]
}

down_up() {
	in_ns srv ip link set m0 down
	sleep 0.7
	in_ns srv ip link set m0 up
	sleep 0.3
}
@test "the mirror interface goes down, and up" {
	unharmed 'mirror interface down' down_up
	# the kernel has forgotten the IPv6 address and the neighbours
	in_ns srv ip neigh replace 10.78.0.2 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	eventually mirrors
	(($(total not_sent.down) > 100))
	accounted
}

carrier() {
	in_ns col ip link set k0 down
	sleep 0.7
	in_ns col ip link set k0 up
	sleep 0.3
}
@test "the mirror interface's peer goes" {
	unharmed 'no carrier' carrier
	eventually mirrors
	(($(total not_sent.down) + $(total not_sent.queue_full) > 100))
	accounted
}

gone() {
	in_ns srv ip link del m0
	sleep 0.5
	collector_link 1600
	sleep 0.3
	mirror target add col dev m0 to 10.78.0.2 encap gue
	sleep 0.3
}
@test "the mirror interface is deleted and made again" {
	unharmed 'interface deleted and made again' gone
	eventually mirrors
}

congested() {
	in_ns srv tc qdisc add dev m0 root "$@"
	sleep 1
	in_ns srv tc qdisc del dev m0 root
}
@test "the mirror interface is congested" {
	unharmed 'token bucket of 1 Mbit/s' congested tbf rate 1mbit burst 3k limit 6k
	unharmed 'queue of one packet' congested handle 1: tbf rate 10mbit burst 10k limit 10k
	eventually mirrors
	(($(total not_sent.queue_full) > 100))
	accounted
}

lost() {
	in_ns col ip addr flush dev k0
	in_ns srv ip neigh flush nud all dev m0 # permanent ones, too
	in_ns srv ip neigh del 10.78.0.2 dev m0 2>/dev/null || true
	sleep 1
}
@test "the collector is gone: nobody answers for its address" {
	unharmed 'no neighbour' lost
	in_ns col ip addr add 10.78.0.2/24 dev k0
	eventually mirrors
	(($(total not_sent.no_next_hop) > 0))
	accounted
}

no_route() {
	in_ns srv ip addr flush dev m0
	sleep 1.7 # the last next hop is good for a second
}
@test "the route to the collector is gone" {
	unharmed 'no route' no_route
	in_ns srv ip addr add 10.78.0.1/24 dev m0
	in_ns srv ip neigh replace 10.78.0.2 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	eventually mirrors
	accounted # the kernel takes the collector for a neighbour then, and sends on
}

# deaf: the collector answers "port unreachable"
deaf() {
	ended sink6080
	sleep 1
}
@test "the collector answers that nobody listens, on an interface that is mirrored as well" {
	local before want
	mirror filter add 10 dev m0 action accept to col
	in_ns col sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_ratemask=0
	unharmed 'port unreachable' deaf
	# answers are not mirrored, so that there is one packet for each of production's
	before=$(received)
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=100 >/dev/null
	sleep 0.3
	want=$((before + 200))
	accounted
	(($(total not_sent.loop) > 100))
	[[ $(received) == "$want" ]]
	(($(in_ns srv nstat -asz IcmpInDestUnreachs | awk '/^Icmp/ { print $2 }') > 100)) # there were
}

# change: each round of it once
change() {
	mirror filter add 5 dev s0 proto tcp action reject
	mirror filter add 20 dev s0 direction ingress src 10.77.0.0/24 dport 1-1000 action accept to col snaplen headers
	mirror filter remove 10 dev s0
	mirror target add col dev m0 to 10.78.0.2 encap vxlan vni 7 cap 10mbit
	mirror filter add 10 dev s0 action accept to col sample 1/2
	mirror target add col dev m0 to 10.78.0.2:6080 encap gue cap none udp-csum on
	mirror filter flush dev s0
	mirror target remove col
	mirror target add col dev m0 to 10.78.0.2 encap gue
	mirror filter add 10 dev s0 action accept to col
	rounds=$((rounds + 1))
}
@test "filters and targets change all the time" {
	local rounds=0
	unharmed 'changes' for_ms 3000 change
	figure "changes of filters and targets while production ran: $((rounds * 10))"
	mirrors
}

# bare: packets of production that left by m0 as they are
bare() {
	"${TSHARK[@]}" -r "$mirrored" -Y '!udp.port == 6080 && (ip.addr == 10.77.0.0/24 || ipv6.addr == fd77::/64)' \
		-T fields -e frame.number 2>/dev/null | wc -l
}
@test "mirrortarget is taken out" {
	tap mirrored col k0
	unharmed 'mirrortarget taken out' l3af chain remove mirrortarget dev m0 hook tc-egress
	untap mirrored
	[[ $(bare) == 0 ]]
	(($(total not_sent.stray) > 100))
	accounted
	# and it comes back
	mirror target add col dev m0 to 10.78.0.2 encap gue
	eventually mirrors
}

@test "mirrortarget is taken away by somebody else: no more than one bare packet a processor leaves" {
	local link
	link=$(echo "$STATE"/chain/*/100/tcout/link)
	[[ -e $link ]] || skip 'no links here'
	tap mirrored col k0
	unharmed 'mirrortarget taken away by somebody else' rm "$link"
	untap mirrored
	(($(bare) >= 1 && $(bare) <= $(nproc)))
	figure "bare packets that left before mirror noticed: $(bare)"
	(($(total not_sent.stray) > 100))
	accounted
}

@test "the mirrored interface is the target's: no loop" {
	local before
	mirror filter flush dev s0
	# col is a client of srv, too, by another address of its own
	in_ns col ip addr add 10.78.0.3/24 dev k0
	in_ns srv ip neigh replace 10.78.0.3 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	mirror filter add 10 dev m0 action accept to col
	in_ns col ip route replace 10.78.0.1/32 dev k0 src 10.78.0.3
	before=$(received)
	in_ns col "$LOAD" ask 10.78.0.1 7 count=100 >/dev/null
	# the answers, and both in a tunnel
	[[ $(received) == $((before + 300)) ]]
}

@test "the collector is on production's link" {
	local before
	mirror filter flush dev s0
	mirror target remove col
	in_ns cli ip addr add 10.77.0.3/24 dev c0
	in_ns srv ip neigh replace 10.77.0.3 lladdr 02:77:00:00:00:02 dev s0 nud permanent
	background sinkcli cli "$LOAD" sink 6080
	mirror target add col dev s0 to 10.77.0.3 encap gue
	mirror filter add 10 dev s0 action accept to col
	unharmed 'collector on the same link' sleep 1
	before=$(in_ns cli ip -s -j link show dev c0 | jq '.[0].stats64.rx.packets')
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=100 >/dev/null
	[[ $(in_ns cli ip -s -j link show dev c0 | jq '.[0].stats64.rx.packets') == $((before + 300)) ]]
}

# speed: of TCP, Mbit/s
speed() { iperf -c 10.77.0.1 -n 400M | jq '.end.sum_received.bits_per_second / 1e6 | round'; }
median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# mirred DEV: the kernel's own mirror of s0
mirred() {
	local way
	in_ns srv tc qdisc add dev s0 clsact
	for way in ingress egress; do
		in_ns srv tc filter add dev s0 $way protocol all prio 1 u32 match u32 0 0 action mirred egress mirror dev "$1"
	done
}

# turns N: production's throughput, into bare, mirrored, again, kernel
turns() {
	local i
	bare=() mirrored=() again=() kernel=()
	for ((i = 0; i < $1; i++)); do
		bare+=("$(speed)")
		mirror filter add 10 dev s0 action accept to col
		mirrored+=("$(speed)")
		mirror filter flush dev s0
		again+=("$(speed)")
		mirred vx
		kernel+=("$(speed)")
		in_ns srv tc qdisc del dev s0 clsact
	done
}

@test "throughput of production, mirrored and not, by turns" {
	# an interface that takes large packets as they are, and a collector that is elsewhere: an ifb
	# drops what did not come from an ingress
	in_ns srv ip -b - <<-END
		link add m1 mtu 1600 txqueuelen 1000 type ifb
		link set m1 up
		addr add 10.79.0.1/24 dev m1
		neigh replace 10.79.0.2 lladdr 02:79:00:00:00:02 dev m1 nud permanent
		link add vx type vxlan id 5 dstport 4789 local 10.79.0.1 remote 10.79.0.2 dev m1
		link set vx up
	END
	mirror filter flush dev s0
	mirror target add col dev m1 to 10.79.0.2 source 10.79.0.1
	# as fast as the processors are, all of which the sender, the receiver and the mirror share
	turns 9
	figure "TCP, Mbit/s, medians of 9 by turns: not mirrored $(median "${bare[@]}") and $(median "${again[@]}"), mirrored both ways $(median "${mirrored[@]}"), by the kernel's mirred and vxlan device $(median "${kernel[@]}")"
	# and as fast as a link is
	in_ns cli tc qdisc add dev c0 root tbf rate 3gbit burst 1m latency 20ms
	turns 3
	figure "TCP on a link of 3 Gbit/s: not mirrored $(median "${bare[@]}") and $(median "${again[@]}"), mirrored both ways $(median "${mirrored[@]}"), by the kernel's mirred and vxlan device $(median "${kernel[@]}")"
	accounted
	(($(total sent) > 1000))
}
