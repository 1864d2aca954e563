#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb where it met something unusual.

load lib

V=10.99.0.1:53/udp

# cli is client, and has the backends' addresses
setup() {
	pair
	in_ns srv sysctl -qw net.ipv4.conf.s0.forwarding=1 net.ipv6.conf.s0.forwarding=1
	in_ns cli ethtool -K c0 tx off >/dev/null
	in_ns cli ip addr add 10.77.0.11/24 dev c0
	in_ns cli ip route add 10.99.0.0/16 via 10.77.0.1
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
}
teardown() { wipe; }

lb() { l3af lb "$@" >/dev/null; }
# serve: $V with one backend
serve() {
	lb enable dev s0 gateway 02:77:00:00:00:02
	lb vip add "$V" "$@"
	lb backend add 10.77.0.11 vip "$V"
}
go() { in_ns cli "$TOP/tests/tools/lbtry.py" 10.99.0.1 53 20000 "$@"; }

@test "a VIP that goes takes nothing from another one of its address, wherever it is killed" {
	local k verb other=10.99.0.1:54/udp
	serve
	for verb in remove add; do
		for ((k = 60;; k++)); do
			[[ $verb == add ]] && lb vip remove "$other" || lb vip add "$other"
			in_ns srv "$FP/killat" call "$k" "$BUILD/l3afctl" --bpffs "$BPFFS" lb vip "$verb" "$other" || break
			in_ns cli "$TOP/tests/tools/icmpecho.py" 10.99.0.1 || {
				echo "no echo: vip $verb killed at call $k"
				return 1
			}
		done
		((k > 80))
	done
}

@test "drain that waited in vain has drained all the same, and says so" {
	serve
	go 3 2 >/dev/null
	run --separate-stderr l3af lb backend set 10.77.0.11 vip "$V" drain wait 100ms
	[[ $status == 1 && $output == '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp '*' up -> drain' ]]
	[[ $stderr == 'l3afctl: backend 10.77.0.11 of vip 10.99.0.1:53/udp: 3 flows are left; it goes on draining' ]]
	run --separate-stderr l3af --json lb backend set 10.77.0.11 vip "$V" drain wait 100ms
	[[ $status == 1 ]] && jq -e '.changed == false' <<<"$output"
}

@test "flows purge forgets as many as --dry-run says: those that idle has forgotten are none" {
	serve idle 1s
	lb vip add 10.99.0.1:54/udp
	lb backend add 10.77.0.11 vip 10.99.0.1:54/udp
	go 5 2 >/dev/null
	in_ns cli "$TOP/tests/tools/lbtry.py" 10.99.0.1 54 20000 2 2 >/dev/null
	flows() { l3af --json lb vip list | jq -c '[.[].active]'; }
	soon '[0,2]' flows
	does '- lb flows 10.99.0.1:54/udp flows 2' l3af --dry-run lb flows purge
	does '- lb flows 10.99.0.1:54/udp flows 2' l3af lb flows purge
	does '' l3af lb flows purge
}

@test "network namespaces come and go, one after another" {
	local ns
	lb enable dev s0
	for ns in n{0..9}; do
		pair "$ns" "cli-$ns"
		in_ns "$ns" sysctl -qw net.ipv4.conf.s0.forwarding=1 net.ipv6.conf.s0.forwarding=1
		NS=$ns run --separate-stderr l3af lb enable dev s0
		[[ $status == 0 && -z $stderr ]]
		ip netns del "$ns"
		ip netns del "cli-$ns"
	done
	[[ $(l3af lb list | grep -c '(gone)') -ge 6 ]]
	run -0 l3af lb disable dev s0
	[[ $output == *'- lb instance lb' ]]
	does '' l3af lb list
}

@test "where the chain is full, nothing is left of an attempt" {
	local n
	pair other peer
	NS=other lb enable dev s0
	for n in {1..32}; do l3af chain add "m$n" dev s0 hook xdp object "$FP/bpf/empty.o" >/dev/null; done
	run --separate-stderr l3af lb enable dev s0
	[[ $status == 1 && -z $output && $stderr == 'l3afctl: s0: the xdp chain has 32 members, '* ]]
	[[ $(NS=other l3af --json lb list | jq -c '[.[].dev]') == '["s0"]' ]]
}

@test "no VIP at the address of a backend" {
	serve
	refuses 2 'l3afctl: vip 10.77.0.11/tcp: its address is that of a backend of vip 10.99.0.1:53/udp' \
		l3af lb vip add 10.77.0.11/tcp
	lb backend remove 10.77.0.11 vip "$V"
	lb vip add 10.77.0.11/tcp
}

@test "command lines in messages name the instance" {
	lb enable dev s0 instance two
	lb vip add "$V" instance two
	refuses 1 "l3afctl: instance two has no vip 10.99.0.9:1/tcp; make it: l3afctl lb vip add 10.99.0.9:1/tcp instance two" \
		l3af lb backend add 10.77.0.11 vip 10.99.0.9:1/tcp instance two
	refuses 1 "l3afctl: nobody takes it: VIP $V has no backends; l3afctl lb backend add ADDR vip $V instance two" \
		l3af lb which 10.77.0.2:1 "$V" instance two
	in_ns srv ip link set s0 mtu 1400
	run -1 --separate-stderr l3af --json lb doctor instance two
	[[ $(jq -r '.[] | select(.check == "mtu").mend' <<<"$output") == 'l3afctl lb enable dev s0 instance two' ]]
	run -0 l3af lb enable dev s0 instance two
	[[ $output == '~ lb dev s0 instance two mtu 1500 -> 1400' ]]
}

@test "health run has nothing to say of a VIP without backends" {
	lb enable dev s0
	lb vip add 10.99.0.1:80/tcp
	does '' l3af lb health run
}

@test "an IPv4 VIP's address in an IPv6 header is no VIP" {
	local i
	serve
	for i in 1 2 3; do
		in_ns cli python3 "$TOP/tests/tools/gue.py" send c0 odst=none src=fd77::2 dst=::ffff:10.99.0.1 \
			l4=udp from="500$i" to=53 len=20 dmac=02:77:00:00:00:01
	done
	go 1 >/dev/null
	packets() { l3af --json lb vip list | jq '.[0].packets'; }
	soon 1 packets
	[[ $(l3af --json chain list dev s0 | jq -c '.[0].verdicts | [.pass, .tx]') == '[3,1]' ]]
}

@test "memory is that of the rings, too" {
	memory() { l3af --json lb list | jq '.[0].memory_bytes'; }
	local empty vip
	lb enable dev s0 flows 1024
	empty=$(memory)
	lb vip add "$V"
	vip=$(($(memory) - empty))
	((vip > 2 * 65537))
	# the ring before
	lb backend add 10.77.0.11 vip "$V"
	[[ $(($(memory) - empty)) == $((2 * vip)) ]]
	lb backend add fd77::2 vip "$V"
	[[ $(($(memory) - empty)) == $((2 * vip)) ]]
	lb vip remove "$V"
	[[ $(memory) == "$empty" ]]
}

@test "health probes do not go on by maps or a place from before" {
	serve
	in_ns srv ip route add default via 10.77.0.11
	lb vip add 10.99.0.2:80/tcp
	lb backend add 10.77.0.11 vip 10.99.0.2:80/tcp
	run -0 l3af lb health run timeout 50ms
	[[ $output == '+ chain lb dev s0 hook tc-egress '* ]]
	rm -r "$STATE/kf/lb"
	run -0 l3af lb enable dev s0
	[[ $output == *$'\n- chain lb dev s0 hook tc-egress\n'* ]]
	lb vip add 10.99.0.2:80/tcp
	lb backend add 10.77.0.11 vip 10.99.0.2:80/tcp
	run -0 l3af lb health run timeout 50ms
	[[ $output == '+ chain lb dev s0 hook tc-egress '* ]]
	rm -r "$STATE/kf/lb"
	lb disable dev s0
	run -0 l3af chain list
	[[ $output != *lb* ]]
}
