#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# mirror commands, killed at any system call: the old state or the new one, production answers meanwhile,
# nothing leaves without its tunnel, and the next command makes all of it whole. Filters that are
# changed under traffic: each packet is judged by the old ones or by the new ones.

load lib

setup() {
	pair
	quiet_netns col
	ip link add m0 address 02:78:00:00:00:01 netns srv type veth peer name k0 address 02:78:00:00:00:02 netns col
	end srv m0 1 2
	end col k0 2 1
	in_ns srv sysctl -qw net.ipv4.icmp_ratelimit=0
	in_ns col nft -f - <<-'END'
		table netdev raw {
			chain in {
				type filter hook ingress device k0 priority 0
				ip daddr 10.77.0.0/24 counter
			}
		}
	END
	mirror target add a dev m0 to 10.78.0.2 encap vxlan vni 1
	mirror target add b dev m0 to 10.78.0.2 encap vxlan vni 2
}
# end NS IF N PEER
end() {
	in_ns "$1" ip -b - <<-END
		link set $2 multicast off up
		addr add 10.78.0.$3/24 dev $2
		neigh replace 10.78.0.$4 lladdr 02:78:00:00:00:0$4 dev $2 nud permanent
	END
}
teardown() {
	local raw
	raw=$(in_ns col nft -j list table netdev raw | jq '[.. | .counter? // empty | .packets] | add')
	wipe
	[[ $raw == 0 ]] || { echo "$raw packets left as they were"; return 1; }
}
mirror() { l3af mirror "$@" >/dev/null; }

# killed STEP WORD... [-- WORD...]...: see mirrorkill.py; words of mirror
killed() {
	local out words=() word step=$1
	shift
	words=(mirror)
	for word; do
		words+=("$word")
		[[ $word != -- ]] || words+=(mirror)
	done
	out=$(in_ns cli "$TOP/tests/tools/mirrorkill.py" "$FP" "$BUILD/l3afctl" "$BPFFS" "$step" "${words[@]}" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
}

UDP=(direction ingress proto udp action accept)

@test "filter add, of more" {
	mirror filter add 10 dev s0 "${UDP[@]}" to a
	killed last filter add 5 dev s0 "${UDP[@]}" to b -- filter remove 5 dev s0
}
@test "filter add, the first" { killed last filter add 5 dev s0 "${UDP[@]}" to b -- filter remove 5 dev s0; }
@test "filter add, another direction" {
	mirror filter add 10 dev s0 "${UDP[@]}" to a
	killed last filter add 10 dev s0 direction egress action accept to b -- filter add 10 dev s0 "${UDP[@]}" to a
}
@test "filter remove, of more" {
	mirror filter add 10 dev s0 "${UDP[@]}" to a
	mirror filter add 5 dev s0 "${UDP[@]}" to b
	killed last filter remove 5 dev s0 -- filter add 5 dev s0 "${UDP[@]}" to b
}
@test "filter remove, the last" {
	mirror filter add 5 dev s0 "${UDP[@]}" to b
	killed last filter remove 5 dev s0 -- filter add 5 dev s0 "${UDP[@]}" to b
}
@test "target add that changes settings" {
	mirror filter add 5 dev s0 "${UDP[@]}" to b
	killed last target add b vni 7 gateway 02:78:00:00:00:02 -- target add b vni 2 gateway auto
}
@test "target add that changes the interface" {
	in_ns srv ip link add x0 type veth peer name x1
	in_ns srv ip link set x0 up
	mirror filter add 5 dev s0 "${UDP[@]}" to b
	mirror target add b source 10.78.0.1
	killed last target add b dev x0 vni 7 -- target add b dev m0 vni 2
}
@test "target add, and remove" {
	in_ns srv ip link add x0 type veth peer name x1
	killed last target add c dev x0 to 10.78.0.2 source 10.78.0.1 encap gue -- target remove c
	killed last target remove c -- target add c dev x0 to 10.78.0.2 source 10.78.0.1 encap gue
}
@test "the first target and the last" {
	mirror target remove a
	mirror target remove b
	killed 23 target add a dev m0 to 10.78.0.2 encap vxlan vni 1 -- target remove a
	killed last target remove a -- target add a dev m0 to 10.78.0.2 encap vxlan vni 1
}
@test "no memory in each bpf(2), or every 7th of many: exit status 0 or what was before" {
	in_ns srv ip link add x0 type veth peer name x1
	mirror filter add 10 dev s0 "${UDP[@]}" to a
	killed fail1 filter add 5 dev s0 "${UDP[@]}" to b -- filter remove 5 dev s0
	killed fail1 filter remove 5 dev s0 -- filter add 5 dev s0 "${UDP[@]}" to b
	killed fail1 target add a vni 7 -- target add a vni 1
	killed fail7 filter add 10 dev s0 direction egress action accept to b -- filter add 10 dev s0 "${UDP[@]}" to a
	killed fail7 target add c dev x0 to 10.78.0.2 source 10.78.0.1 encap gue -- target remove c
	killed fail3 target remove c -- target add c dev x0 to 10.78.0.2 source 10.78.0.1 encap gue
}
@test "under traffic: 1000 filters are changed 200 times, so are 100 and 16" {
	local n
	for n in 1000 100 16; do
		run -0 in_ns srv "$FP/mirrorset" "$BPFFS" s0 swap 200 "$n"
		figure "$output"
	done
}
