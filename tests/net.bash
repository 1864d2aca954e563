# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# Hosts in network namespaces, joined by veth pairs. For tests/lib.bash and tests/demo.

# in_ns NS COMMAND...: enters only the network namespace ("ip netns exec" would hide bpffs)
in_ns() {
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" "$@"
}

# quiet_netns NAME: a network namespace that sends nothing of its own accord
quiet_netns() {
	ip netns add "$1"
	in_ns "$1" bash -c 'cd /proc/sys/net/ipv6/conf && for c in all default; do
		echo 0 >$c/accept_ra; echo 0 >$c/accept_dad; echo 0 >$c/router_solicitations
		echo 1 >$c/addr_gen_mode
		for v in 1 2; do echo 1 >$c/mldv${v}_unsolicited_report_interval; done; done'
	in_ns "$1" ip link set lo up
}

# pair [SRV [CLI]]: two hosts, SRV with s0 10.77.0.1 fd77::1, CLI with c0 10.77.0.2
# fd77::2; neighbours known, no stray packet
pair() {
	local srv=${1:-srv} cli=${2:-cli}
	quiet_netns "$srv"
	quiet_netns "$cli"
	wire "$srv" s0 1 "$cli" c0 2
}

# wire NS1 IF1 N1 NS2 IF2 N2: a veth pair; end N has the addresses 10.77.0.N/24 fd77::N/64
# and the MAC 02:77:00:00:00:0N
wire() {
	local mac1=02:77:00:00:00:0$3 mac2=02:77:00:00:00:0$6
	ip link add "$2" address "$mac1" netns "$1" type veth \
		peer name "$5" address "$mac2" netns "$4"
	wire_end "$1" "$2" "$3" "$6" "$mac2"
	wire_end "$4" "$5" "$6" "$3" "$mac1"
	sleep 0.1 # for the multicast reports to be over, which nothing can forbid
}
wire_end() {
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.77.0.$3/24 dev $2
		addr add fd77::$3/64 dev $2 nodad
		neigh replace 10.77.0.$4 lladdr $5 dev $2 nud permanent
		neigh replace fd77::$4 lladdr $5 dev $2 nud permanent
	END
}
