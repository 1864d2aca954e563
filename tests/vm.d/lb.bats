# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb and agent on another kernel; and the kernel's own GUE instead of our agent.
# shellcheck disable=SC2030,SC2031,SC2034,SC2154

load ../lib

VIP4=198.51.100.1 VIP6=2001:db8:100::1

# cli, lb and be on one segment, a bridge in sw: address 10.77.0.N, fd77::N
segment() {
	local n=0 host
	quiet_netns sw
	in_ns sw ip link add br0 type bridge
	in_ns sw ip link set br0 up
	for host in cli lb be; do
		n=$((n + 1))
		quiet_netns $host
		# whoever sends from an address of lo asks for neighbours from a link-local one
		in_ns $host sysctl -qw net.ipv6.conf.default.addr_gen_mode=0
		ip link add $host netns sw type veth peer name e0 netns $host
		in_ns sw ip link set $host master br0 up
		in_ns $host ip -b - <<-END
			link set e0 up
			addr add 10.77.0.$n/24 dev e0
			addr add fd77::$n/64 dev e0 nodad
		END
	done
	in_ns lb sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	in_ns cli ip route add $VIP4 via 10.77.0.2
	in_ns cli ip -6 route add $VIP6 via fd77::2
	in_ns lb ip route add default via 10.77.0.1
	in_ns lb ip -6 route add default via fd77::1
	in_ns cli ethtool -K e0 tx off >/dev/null
	in_ns be ip addr add $VIP4/32 dev lo
	in_ns be ip addr add $VIP6/128 dev lo
	# what leaves a veth by XDP_TX arrives where there is a program, too
	NS=sw l3af chain add pass dev lb hook xdp object "$FP/bpf/empty.o" >/dev/null
	for host in 10.77.0.1 10.77.0.3 fd77::1 fd77::3; do
		eventually in_ns lb busybox ping -qc 1 -W 1 $host >/dev/null
	done
	nsenter --net=/run/netns/be "$FP/lbload" serve be 80 >"$BATS_TEST_TMPDIR/be" 2>&1 3>&- &
	PID[be]=$!
	eventually grep -q listening "$BATS_TEST_TMPDIR/be"
}
# balance BACKEND4 BACKEND6: for the VIPs of either family
balance() {
	NS=lb l3af lb enable dev e0 >/dev/null
	NS=lb l3af lb vip add $VIP4:80/tcp >/dev/null
	NS=lb l3af lb backend add "$1" vip $VIP4:80/tcp >/dev/null
	NS=lb l3af lb vip add "[$VIP6]:80/tcp" >/dev/null
	NS=lb l3af lb backend add "$2" vip "[$VIP6]:80/tcp" >/dev/null
}
curls() {
	[[ $(in_ns cli curl -sS -m 20 "http://$VIP4/") == be ]]
	[[ $(in_ns cli curl -sS -m 20 "http://[$VIP6]/") == be ]]
}

setup() { segment; }
teardown() {
	finish_all
	wipe
}

@test "the kernel's own GUE takes what lb sends: each family in each" {
	modprobe -a fou fou6 ipip sit ip6_tunnel 2>/dev/null || skip "$(uname -r) has no fou"
	# of IPv4 and of IPv6; its packets come out of the fallback tunnels
	in_ns be ip fou add port 6080 gue
	in_ns be ip -6 fou add port 6080 gue
	in_ns be sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	for dev in tunl0 sit0 ip6tnl0; do
		in_ns be ip link set $dev up
		in_ns be sysctl -qw net.ipv4.conf.$dev.rp_filter=0
	done
	in_ns be ip -6 tunnel change ip6tnl0 mode any # IPv4, too
	balance 10.77.0.3 fd77::3
	curls
	# IPv6 in IPv4, IPv4 in IPv6
	NS=lb l3af lb backend add 10.77.0.3 vip "[$VIP6]:80/tcp" >/dev/null
	NS=lb l3af lb backend remove fd77::3 vip "[$VIP6]:80/tcp" >/dev/null
	NS=lb l3af lb backend add fd77::3 vip $VIP4:80/tcp >/dev/null
	NS=lb l3af lb backend remove 10.77.0.3 vip $VIP4:80/tcp >/dev/null
	curls
	# probes go the same way
	run -0 in_ns lb "$BUILD/l3afctl" --bpffs "$BPFFS" lb health run rise 1 timeout 10s
	[[ $(grep -c 'unknown -> healthy' <<<"$output") == 2 ]]
	figure "$(uname -r): Linux fou takes GUE from lb, IPv4 and IPv6 in either"
}

@test "lb, its probes and the agent" {
	NS=be l3af agent enable dev e0 vip $VIP4 vip $VIP6 >/dev/null
	NS=sw l3af chain add pass dev be hook xdp object "$FP/bpf/empty.o" >/dev/null
	balance 10.77.0.3 fd77::3
	curls
	run -0 in_ns lb "$BUILD/l3afctl" --bpffs "$BPFFS" lb health run rise 1 timeout 10s
	[[ $(grep -c 'unknown -> healthy' <<<"$output") == 2 ]]
	[[ $(uname -r) != 5.10.* ]] || return 0 # it does not tell (5.16 does)
	figure "$(uname -r): the verifier followed$(for ns in lb be; do
		NS=$ns l3af --json chain list | jq -r '.[] | select(.program_id) | "\(.name) \(.hook) \(.program_id)"' |
			while read -r name hook id; do echo " $("$FP/flow" verified "$id") instructions of $name on $hook,"; done
	done | sort -u | tr -d '\n')"
}
