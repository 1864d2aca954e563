#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The three guards of mirror (bpf/mirror.h): in each of these networks mirrored packets come back to
# where packets are mirrored. With the program as it is nothing happens; without one of its guards
# (build/tests/mirrorguardN.bpf.o, the same source) one packet becomes more and more.

load lib

# srv m0 ---- k0 col, and what a test adds
setup() {
	quiet_netns srv
	quiet_netns col
	link srv m0 1 col k0 2
}
teardown() { wipe; }

# link NS1 DEV1 N1 NS2 DEV2 N2 [NET]: 10.78.NET.N/24, neighbours known; nothing but frames get across
link() {
	ip link add "$2" address 02:78:00:00:00:0"$3" netns "$1" type veth peer name "$5" address 02:78:00:00:00:0"$6" netns "$4"
	link_end "$1" "$2" "$3" "$6" "${7-0}"
	link_end "$4" "$5" "$6" "$3" "${7-0}"
}
link_end() {
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.78.$5.$3/24 dev $2
		neigh replace 10.78.$5.$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
	END
}
# wired NS DEV: what leaves there goes over a wire
wired() { NS=$1 l3af chain add wire dev "$2" hook tc-egress object "$FP/bpf/mirrorwire.o" >/dev/null; }

# mirror WORDS...: not shown
mirror() { l3af mirror "$@" >/dev/null; }
# without N DEV: that guard, in the member that mirrors what comes in there
without() { l3af chain replace mirror dev "$2" hook tc-ingress object "$FP/mirrorguard$1.bpf.o" instance mirror >/dev/null; }
# sent, looped: packets of target t1
sent() { l3af --json mirror stats | jq '.targets[0].sent'; }
looped() { l3af --json mirror stats | jq '.targets[0].not_sent.loop'; }
# grown N: more packets than that were sent
grown() { (($(sent) > $1)); }
# came N: packets to u0
came() { [[ $(in_ns srv ip -s -j link show dev u0 | jq '.[0].stats64.rx.packets') == "$1" ]]; }
# udp NS ADDR PORT: one datagram
udp() { in_ns "$1" bash -c "echo hello >/dev/udp/$2/$3"; }

# The first guard: the mirrored packets go through a tunnel that mirror knows nothing of, and the
# tunnel through the interface that is mirrored. Neither their address nor their port is seen there.
@test "mirrored packets that come by again in somebody else's tunnel" {
	# srv u0 ---- u1 col: what comes for the collector goes back to u0, in VXLAN at a port of its own
	link srv u0 3 col u1 4 1
	in_ns col sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.k0.rp_filter=0
	in_ns col ip -b - <<-END
		link add vx type vxlan id 9 dstport 9999 remote 10.78.1.3 local 10.78.1.4 dev u1 nolearning
		link set vx arp off multicast off up
		route add 10.99.0.0/24 dev vx
	END
	in_ns srv ip route add 10.99.0.0/24 via 10.78.0.2
	mirror target add t1 dev m0 to 10.99.0.1 encap gue
	mirror filter add dev u0 direction ingress action accept
	in_ns col ip route add 10.97.0.0/24 via 10.78.1.3
	udp col 10.97.0.1 9
	eventually came 2
	[[ $(sent) == 1 ]]
	without 1 u0
	udp col 10.97.0.1 9
	eventually grown 10
}

# The second one: what is mirrored is answered, and the answer is mirrored.
@test "a collector, or a router on the way to it, that answers" {
	in_ns col sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000 net.ipv4.ip_forward=1
	mirror target add t1 dev m0 to 10.78.0.2 encap gue
	mirror filter add dev m0 direction ingress action accept
	udp col 10.78.0.1 9 # nobody is there, and nobody listens for GUE
	eventually eval '(($(looped) > 0))'
	[[ $(sent) == 0 ]]
	# from another address; what srv answers is not mirrored
	in_ns col ip addr add 10.78.0.9/24 dev k0
	in_ns srv ip neigh replace 10.78.0.9 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	in_ns col python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.78.0.9", 0)); s.sendto(b"x", ("10.78.0.1", 9))'
	eventually eval '(($(looped) > 1))'
	[[ $(sent) == 1 ]]
	without 2 m0
	in_ns col python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.78.0.9", 0)); s.sendto(b"x", ("10.78.0.1", 9))'
	eventually grown 50
}

@test "a router that cannot reach the collector" {
	in_ns col sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000 net.ipv4.ip_forward=1
	in_ns col ip route add unreachable 10.99.0.0/24
	in_ns srv ip route add 10.99.0.0/24 via 10.78.0.2
	mirror target add t1 dev m0 to 10.99.0.1 encap vxlan
	mirror filter add dev m0 direction ingress action accept
	udp col 10.78.0.1 9
	eventually eval '(($(looped) > 0))'
	[[ $(sent) == 1 ]]
	without 2 m0
	udp col 10.78.0.1 9
	eventually grown 5 # the kernel is slow to say this
}

# The third one: two hosts mirror to each other's second address, so that neither knows the other's
# packets by their addresses.
@test "two hosts that mirror to each other" {
	local other=$BPFFS.other
	mkdir -p "$other"
	mount -t bpf -o mode=700 bpf "$other"
	wired srv m0
	NS=col BPFFS=$other wired col k0
	in_ns srv ip addr add 10.78.0.10/24 dev m0
	in_ns col ip addr add 10.78.0.20/24 dev k0
	in_ns srv ip neigh replace 10.78.0.20 lladdr 02:78:00:00:00:02 dev m0 nud permanent
	in_ns col ip neigh replace 10.78.0.10 lladdr 02:78:00:00:00:01 dev k0 nud permanent
	mirror target add t1 dev m0 to 10.78.0.20 encap gue
	mirror filter add dev m0 direction ingress proto udp action accept
	NS=col BPFFS=$other mirror target add t1 dev k0 to 10.78.0.10 encap vxlan
	NS=col BPFFS=$other mirror filter add dev k0 direction ingress proto udp action accept
	udp col 10.78.0.1 9
	eventually eval '(($(looped) == 1))'
	[[ $(sent) == 1 && $(NS=col BPFFS=$other sent) == 1 ]]
	without 3 m0
	NS=col BPFFS=$other without 3 k0
	udp col 10.78.0.1 9
	eventually grown 8
}
