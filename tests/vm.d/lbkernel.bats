# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What lb makes of packets on another kernel; tests/lbkernel.bats has the details.
# shellcheck disable=SC2034

load ../lib
load ../lbframes

setup() { pair; }
teardown() { wipe; }

V4=10.99.0.1:80/tcp V6='[fd99::1]:80/tcp'

@test "packets of every kind, in the chain's root behind another member" {
	enable
	vip "$V4" 10.88.0.1
	vip 10.99.0.1:53/udp fd88::1
	vip "$V6" fd88::2
	vip '[fd99::1]:53/udp' 10.88.0.2
	l3af chain add empty dev s0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	l3af chain reorder empty,lb dev s0 hook xdp >/dev/null
	PROG=$(echo "$STATE"/chain/*/*/xdp/root)
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 data=333 df tos=b9 id=7 | tx 10.77.0.1 > 10.88.0.1 tos b9 id 7 csum
		flags=11 vlan=5 vlan=6 opts | tx vlan 5 vlan 6 10.77.0.1 > 10.88.0.1 nodf csum
		proto=udp dport=53 data=3 | tx fd77::1 > fd88::1 csum
		proto=udp dport=53 nocsum | tx fd77::1 > fd88::1 nocsum
		v6 flags=2 | tx fd77::1 > fd88::2 csum
		v6 flags=10 | tx fd77::1 > fd88::2 csum
		v6 flags=10 data=99 | tx fd77::1 > fd88::2 csum
		v6 ext=3 | tx fd77::1 > fd88::2 nocsum
		v6 proto=udp dport=53 | tx 10.77.0.1 > 10.88.0.2 csum
		proto=icmp type=8 data=30 | tx echo 10.99.0.1 > 198.51.100.7
		v6 proto=icmp6 type=128 data=30 | tx echo fd99::1 > fd51::7
		proto=icmp type=3 code=4 quote=8 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		v6 proto=icmp6 type=2 quote=8 qext=2 | tx fd77::1 > fd88::2 csum
		data=1440 | tx big 1472 quote 512 10.99.0.1 > 198.51.100.7
		v6 data=1440 | tx big 1452 quote 1232 fd99::1 > fd51::7
		frag=0,1 id=3 data=80 | tx 10.77.0.1 > 10.88.0.1 id 3 nodf nocsum
		frag=104,0 id=3 data=80 | tx 10.77.0.1 > 10.88.0.1 id 3 nodf nocsum
		frag=104,0 id=4 data=80 | drop
		size=99 | drop
		dst=10.99.0.2 | pass
		dst=10.99.0.2 opts vlan=5 | pass
	END
	run -0 in_ns srv "$PKT" fuzz "$(member)" 5000 1 others
	run -0 in_ns srv "$PKT" fuzz "$(member)" 5000 1 vips
}

@test "drained, down, and in the middle of an unknown connection" {
	enable
	vip "$V4" 10.88.0.1
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 | tx 10.77.0.1 > 10.88.0.1 nodf csum
	END
	l3af lb backend add fd88::2 vip "$V4" >/dev/null
	l3af lb backend set 10.88.0.1 vip "$V4" drain >/dev/null
	each <<-'END'
		flags=10 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=2 sport=2 | tx fd77::1 > fd88::2 csum
	END
	l3af lb backend set 10.88.0.1 vip "$V4" down >/dev/null
	each <<-'END'
		flags=10 | tx fd77::1 > fd88::2 csum
	END
}

@test "what the verifier followed" {
	local n
	enable
	n=$("$PKT" verified "$(member)")
	figure "lb on $(uname -r): $n instructions verified"
	((n < 95000)) # 0: the kernel does not tell
}
