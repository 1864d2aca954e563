#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Mirroring to an interface that is mirrored itself, from above and from the side, while the next hop
# has yet to be found: each packet is sent once, counters add up.

load lib

# srv s0 ---- c0 cli
setup() {
	quiet_netns srv
	quiet_netns cli
	ip link add s0 address 02:77:00:00:00:01 netns srv type veth peer name c0 address 02:77:00:00:00:02 netns cli
	in_ns srv ip link set s0 multicast off up
	in_ns cli ip link set c0 multicast off up
}
teardown() { wipe; }

# addr NS DEV N
addr() {
	in_ns "$1" ip addr add "10.77.0.$3/24" dev "$2"
	in_ns "$1" ip addr add "fd77::$3/64" dev "$2" nodad
}
mirror() { l3af mirror "$@" >/dev/null; }
# of KEY: a figure of target t1
of() { l3af --json mirror stats | jq ".targets[0].$1"; }
# adds_up: of the target and of each filter
adds_up() {
	[[ $(l3af --json mirror stats | jq -c '[(.targets[], .filters[]) | .packets == .sent + ([.not_sent[]] | add)] | all') == true ]]
}
# is KEY N: it is, or will be
is() { soon "$2" of "$1"; }
# ping4 N: echo requests to cli that are answered
ping4() { in_ns srv busybox ping -qc "$1" -i 0.02 -W 2 "${2-10.77.0.2}" | grep -q " $1 packets received"; }
# tunnelled: frames that came to c0's kernel for GUE or VXLAN; nobody listens
tunnelled() { in_ns cli nstat -asz UdpNoPorts | awk '/UdpNoPorts/ { print $2 }'; }

@test "the interface is its own target, and nobody knows the next hop" {
	addr srv s0 1
	addr cli c0 2
	addr cli c0 3
	# the collector's MAC is asked for while the first packet's clone is on its way, and that is mirrored, too
	mirror target add t1 dev s0 to 10.77.0.3 encap vxlan
	mirror filter add dev s0 action accept
	ping4 5
	# ARP for both of them, its answers, 10 of ICMP, perhaps more of ARP: what waited has left by now
	is not_sent.no_next_hop 0
	adds_up
	[[ $(of sent) -ge 12 && $(of not_sent.loop) -ge 0 && $(of not_sent.error) == 0 && $(of not_sent.stray) == 0 ]]
	soon "$(of sent)" tunnelled
	ping4 5
	adds_up
	soon "$(of sent)" tunnelled
}

@test "nobody answers for the collector: what is not sent is counted, the packets are not hurt" {
	addr srv s0 1
	addr cli c0 2
	mirror target add t1 dev s0 to 10.77.0.9 encap gue
	mirror filter add dev s0 proto icmp action accept
	ping4 20
	[[ $(of packets) == 40 && $(of not_sent.no_next_hop) == 40 && $(of sent) == 0 ]]
	adds_up
	# then somebody does
	addr cli c0 9
	ping4 20
	eventually eval '(($(of sent) > 0))'
	is not_sent.no_next_hop "$((80 - $(of sent)))"
	adds_up
}

# above DEV: the target is there, s0 below it is mirrored; what is sent goes by s0 once more
above() {
	mirror target add t1 dev "$1" to 10.77.0.3 encap gue
	mirror filter add dev s0 direction egress proto icmp action accept
	mirror filter add dev s0 direction egress proto udp action accept
	in_ns srv ip neigh replace 10.77.0.3 lladdr 02:77:00:00:00:02 dev "$1" nud permanent
	ping4 10
	is sent 10
	adds_up
	soon 10 tunnelled
}

@test "a bridge above the interface that is mirrored" {
	in_ns srv ip link add br0 address 02:77:00:00:00:07 type bridge mcast_snooping 0
	in_ns srv ip link set s0 master br0
	in_ns srv ip link set br0 multicast off up
	addr srv br0 1
	addr cli c0 2
	addr cli c0 3
	above br0
}

@test "a macvlan above the interface that is mirrored" {
	in_ns srv ip link add link s0 name mv0 address 02:77:00:00:00:07 type macvlan mode bridge
	in_ns srv ip link set mv0 multicast off up
	addr srv mv0 1
	addr cli c0 2
	addr cli c0 3
	above mv0
}

@test "a gateway by its address, while the host forwards nothing" {
	addr srv s0 1
	addr cli c0 2
	addr cli c0 3
	[[ $(in_ns srv sysctl -n net.ipv4.ip_forward) == 0 ]]
	mirror target add t1 dev s0 to 10.77.0.3 encap gue gateway 02:77:00:00:00:02
	mirror filter add dev s0 proto icmp action accept
	ping4 10
	is sent 20
	soon 20 tunnelled
	# without it, from one to the other
	mirror target add t1 gateway auto
	ping4 10
	is sent 40
	soon 40 tunnelled
	adds_up
}
