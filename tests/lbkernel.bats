# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What lb makes of each kind of packet: one at a time through the program in its chain, with
# rubbish in the headroom; what comes out is checked to the octet (tests/lbpkt.c).
# shellcheck disable=SC2001,SC2034

load lib
load lbframes

setup() { pair; }
teardown() { wipe; }

V4=10.99.0.1:80/tcp V6='[fd99::1]:80/tcp' DNS=10.99.0.1:53/udp

@test "each family in each, with the checksum of the packet inside or none" {
	enable
	vip "$V4" 10.88.0.1
	vip "$DNS" fd88::1
	vip "$V6" 10.88.0.2
	vip '[fd99::1]:53/udp' fd88::2
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 data=1 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 data=1000 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		df id=4711 tos=b9 | tx 10.77.0.1 > 10.88.0.1 tos b9 id 4711 csum
		proto=udp dport=53 data=33 | tx fd77::1 > fd88::1 csum
		proto=udp dport=53 data=33 nocsum | tx fd77::1 > fd88::1 nocsum
		proto=udp dport=53 tos=3 df | tx fd77::1 > fd88::1 tos 3 csum
		v6 flags=2 | tx 10.77.0.1 > 10.88.0.2 csum
		v6 data=7 tos=b9 | tx 10.77.0.1 > 10.88.0.2 tos b9 csum
		v6 data=8 tos=b9 | tx 10.77.0.1 > 10.88.0.2 tos b9 csum
		v6 proto=udp dport=53 | tx fd77::1 > fd88::2 csum
		v6 proto=udp dport=53 tos=ff data=99 | tx fd77::1 > fd88::2 tos ff csum
		v6 proto=udp dport=53 nocsum | tx fd77::1 > fd88::2 nocsum
	END
	# known flows of both families' shortest path
	vip 10.99.0.1:81/tcp 10.88.0.3
	vip '[fd99::1]:81/tcp' fd88::3
	each <<-'END'
		flags=2 dport=81 | tx 10.77.0.1 > 10.88.0.3 nodf csum
		flags=10 dport=81 | tx 10.77.0.1 > 10.88.0.3 nodf csum
		flags=10 dport=81 data=1 id=9 df tos=1 | tx 10.77.0.1 > 10.88.0.3 tos 1 id 9 csum
		flags=10 dport=81 data=2 pad=90 | tx 10.77.0.1 > 10.88.0.3 nodf csum
		v6 flags=2 dport=81 | tx fd77::1 > fd88::3 csum
		v6 flags=10 dport=81 | tx fd77::1 > fd88::3 csum
		v6 flags=10 dport=81 data=1 tos=1 | tx fd77::1 > fd88::3 tos 1 csum
		v6 flags=10 dport=81 data=2 pad=90 | tx fd77::1 > fd88::3 csum
	END
}

@test "options, extension headers, tags, padding, any port" {
	enable
	vip "$V4" 10.88.0.1
	vip fd99::1/tcp fd88::1
	each <<-'END'
		opts | tx 10.77.0.1 > 10.88.0.1 nodf csum
		opts data=77 tos=10 | tx 10.77.0.1 > 10.88.0.1 tos 10 nodf csum
		v6 ext=1 | tx fd77::1 > fd88::1 nocsum
		v6 ext=8 data=5 | tx fd77::1 > fd88::1 nocsum
		vlan=5 | tx vlan 5 10.77.0.1 > 10.88.0.1 nodf csum
		vlan=5 vlan=4095 flags=2 | tx vlan 5 vlan 4095 10.77.0.1 > 10.88.0.1 nodf csum
		v6 vlan=7 data=9 | tx vlan 7 fd77::1 > fd88::1 csum
		v6 vlan=1 vlan=2 ext=2 | tx vlan 1 vlan 2 fd77::1 > fd88::1 nocsum
		vlan=5 opts | tx vlan 5 10.77.0.1 > 10.88.0.1 nodf csum
		pad=60 data=1 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		v6 pad=100 data=1 dport=9 | tx fd77::1 > fd88::1 csum
		v6 dport=65535 sport=1 | tx fd77::1 > fd88::1 csum
		v6 ext=9 | pass
	END
}

# The defects of others: each of these would be dropped, answered or changed there.
@test "what is for no VIP passes as it is" {
	enable
	vip "$V4" 10.88.0.1
	vip "$V6" fd88::1
	each <<-'END'
		dst=10.99.0.2 | pass
		dst=10.99.0.2 opts | pass
		dst=10.99.0.2 frag=0,1 data=80 | pass
		dst=10.99.0.2 frag=80,0 data=80 | pass
		dst=10.99.0.2 proto=icmp type=8 data=9 | pass
		dst=10.99.0.2 proto=icmp type=3 code=4 quote=8 | pass
		dst=10.99.0.2 proto=58 data=20 | pass
		dst=10.99.0.2 data=1480 | pass
		dst=10.99.0.2 size=999 | pass
		dst=10.99.0.2 cut=19 | pass
		dst=10.99.0.2 vlan=5 vlan=6 | pass
		v6 dst=fd99::2 | pass
		v6 dst=fd99::2 ext=3 | pass
		v6 dst=fd99::2 frag=0,1 data=80 | pass
		v6 dst=fd99::2 frag=80,0 data=80 | pass
		v6 dst=fd99::2 proto=icmp6 type=128 data=9 | pass
		v6 dst=fd99::2 proto=icmp6 type=2 quote=8 | pass
		v6 dst=fd99::2 data=1480 | pass
		dport=81 | pass
		proto=udp dport=80 | pass
		proto=47 data=30 | pass
		proto=58 data=30 | pass
		proto=icmp type=13 data=12 | pass
		v6 dport=81 | pass
		v6 proto=icmp6 type=135 data=20 | pass
		v6 proto=icmp data=20 type=8 | pass
		mac=ff | pass
		mac=1 flags=2 | pass
		dport=81 frag=0,1 id=7 data=80 | pass
		dport=81 frag=88,0 id=7 data=80 | pass
		src=10.99.0.1 dst=10.99.0.3 | pass
	END
	[[ -z $(table) ]]
}

@test "random packets for others pass to the octet; random ones for VIPs come to nothing odd" {
	enable
	vip "$V4" 10.88.0.1 fd88::3
	vip "$DNS" 10.88.0.1 10.88.0.2
	vip "$V6" fd88::1 10.88.0.4
	vip '[fd99::1]:53/udp' fd88::1
	run -0 in_ns srv "$PKT" fuzz "$(member)" 400000 $RANDOM others
	[[ $output == 'frames 400000 pass 400000 drop 0 tx 0' ]]
	run -0 in_ns srv "$PKT" fuzz "$(member)" 400000 $RANDOM vips
	figure "$output"
	[[ $output != *' tx 0' && $output != *' drop 0 '* ]]
}

@test "echo requests to VIPs are answered, whatever their checksum" {
	local check frames=''
	enable
	vip "$V4" 10.88.0.1
	vip "$V6" fd88::1
	each <<-'END'
		proto=icmp type=8 data=56 | tx echo 10.99.0.1 > 198.51.100.7
		proto=icmp type=8 | tx echo 10.99.0.1 > 198.51.100.7
		proto=icmp type=8 data=56 ttl=1 id=99 tos=b9 df | tx echo 10.99.0.1 > 198.51.100.7
		proto=icmp type=8 vlan=9 pad=64 | tx vlan 9 echo 10.99.0.1 > 198.51.100.7
		proto=icmp type=8 code=1 | pass
		proto=icmp type=8 opts | pass
		proto=icmp type=8 frag=0,1 data=56 | pass
		proto=icmp type=8 data=56 cut=9 | pass
		proto=icmp type=8 src=224.0.0.1 | pass
		proto=icmp type=8 src=127.0.0.1 | pass
		v6 proto=icmp6 type=128 data=56 ttl=3 | tx echo fd99::1 > fd51::7
		v6 proto=icmp6 type=128 ext=1 | pass
		v6 proto=icmp6 type=128 src=ff02::1 | pass
		v6 proto=icmp6 type=128 src=:: | pass
	END
	for check in 0000 0001 f7ff f8fe f8ff f900 fbcd fffe ffff; do
		frames+="proto=icmp type=8 data=30 check=$check | tx echo 10.99.0.1 > 198.51.100.7"$'\n'
		frames+="v6 proto=icmp6 type=128 data=31 check=$check | tx echo fd99::1 > fd51::7"$'\n'
	done
	each <<<"$frames"
	[[ $(count "$V4" echo) == 13 && $(count "$V6" echo) == 10 ]]
}

@test "ICMP errors go where the flow goes, with 8 octets of it" {
	local before
	enable
	vip "$V4" 10.88.0.1
	vip "$DNS" fd88::1
	vip "$V6" 10.88.0.2
	vip '[fd99::1]:53/udp' fd88::2
	pkt >/dev/null <<-'END'
		flags=2
		v6 flags=2
	END
	before=$(table)
	each <<-'END'
		proto=icmp type=3 code=4 quote=8 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		proto=icmp type=3 code=1 quote=8 qopts | tx 10.77.0.1 > 10.88.0.1 nodf csum
		proto=icmp type=11 quote=60 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		proto=icmp type=12 quote=8 opts qopts | tx 10.77.0.1 > 10.88.0.1 nodf csum
		proto=icmp type=3 code=4 quote=4 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		proto=icmp type=3 code=3 quote=8 qproto=17 dport=53 | tx fd77::1 > fd88::1 csum
		proto=icmp type=3 code=4 quote=8 vlan=5 | tx vlan 5 10.77.0.1 > 10.88.0.1 nodf csum
		v6 proto=icmp6 type=2 quote=8 | tx 10.77.0.1 > 10.88.0.2 csum
		v6 proto=icmp6 type=1 code=4 quote=8 qproto=17 dport=53 | tx fd77::1 > fd88::2 csum
		v6 proto=icmp6 type=3 quote=8 qext=3 | tx 10.77.0.1 > 10.88.0.2 csum
		v6 proto=icmp6 type=4 quote=20 ext=1 | tx 10.77.0.1 > 10.88.0.2 nocsum
		proto=icmp type=3 code=4 quote=8 dport=81 | pass
		proto=icmp type=3 code=4 quote=8 qproto=1 | pass
		proto=icmp type=3 code=4 quote=8 qfrag=800 | pass
		proto=icmp type=5 quote=8 | pass
		proto=icmp type=4 quote=8 | pass
		proto=icmp type=3 code=4 quote=8 qsrc=10.99.0.7 | drop
		proto=icmp type=3 code=4 quote=3 | drop
		v6 proto=icmp6 type=2 quote=8 qsrc=fd99::7 | drop
		v6 proto=icmp6 type=2 quote=2 | drop
		v6 proto=icmp6 type=2 quote=8 qfrag=800 | pass
	END
	[[ $(table) == "$before" ]]
	[[ $(count "$V4" icmp) == 6 && $(count "$DNS" icmp) == 1 && $(count "$V6" icmp) == 3 ]]
	[[ $(($(count "$V4" bad_icmp) + $(count "$DNS" bad_icmp))) == 2 ]]
}

@test "what would be too big is answered with what fits" {
	enable
	vip "$V4" 10.88.0.1
	vip 10.99.0.1:81/tcp fd88::1
	vip "$V6" fd88::1
	vip '[fd99::1]:81/tcp' 10.88.0.1
	# 40 and 60 octets of headers; 28 and 48 in front
	each <<-'END'
		data=1432 df | tx 10.77.0.1 > 10.88.0.1 csum
		data=1433 df | tx big 1472 quote 512 10.99.0.1 > 198.51.100.7
		data=1433 | tx big 1472 quote 512 10.99.0.1 > 198.51.100.7
		data=1433 opts vlan=5 | tx vlan 5 big 1472 quote 512 10.99.0.1 > 198.51.100.7
		dport=81 data=1412 df | tx fd77::1 > fd88::1 csum
		dport=81 data=1413 df | tx big 1452 quote 512 10.99.0.1 > 198.51.100.7
		v6 data=1392 | tx fd77::1 > fd88::1 csum
		v6 data=1393 | tx big 1452 quote 1232 fd99::1 > fd51::7
		v6 data=1440 vlan=5 vlan=6 | tx vlan 5 vlan 6 big 1452 quote 1232 fd99::1 > fd51::7
		v6 dport=81 data=1412 | tx 10.77.0.1 > 10.88.0.1 csum
		v6 dport=81 data=1413 | tx big 1472 quote 1232 fd99::1 > fd51::7
		data=1433 src=224.0.0.5 | drop
		data=1433 src=0.0.0.0 | drop
		v6 data=1413 src=ff02::5 | drop
		frag=0,1 data=1440 id=5 | tx big 1472 quote 512 10.99.0.1 > 198.51.100.7
		frag=1480,0 data=1440 id=5 | drop
	END
	[[ $(count "$V4" too_big) == 7 && $(count "$V6" too_big) == 3 ]]
}

@test "jumbo frames of more than one buffer" {
	in_ns cli ip link set c0 mtu 9000
	in_ns srv ip link set s0 mtu 9000
	enable
	vip "$V4" 10.88.0.1
	vip "$V6" fd88::1
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		data=8000 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		data=8932 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		data=8933 | tx big 8972 quote 512 10.99.0.1 > 198.51.100.7
		data=8000 dst=10.99.0.9 | pass
		data=8000 cut=1 | drop
		v6 data=8000 vlan=5 | tx vlan 5 fd77::1 > fd88::1 csum
		v6 data=8900 | tx big 8952 quote 1232 fd99::1 > fd51::7
	END
}

@test "lengths that are more than there is are dropped" {
	enable
	vip "$V4" 10.88.0.1
	vip "$DNS" 10.88.0.1
	vip "$V6" fd88::1
	each <<-'END'
		size=41 | drop
		size=2000 flags=2 | drop
		cut=1 | drop
		size=39 | drop
		size=28 pad=60 | drop
		cut=13 | pass
		opts size=30 | drop
		v6 size=61 | drop
		v6 cut=1 | drop
		v6 size=59 | drop
		v6 ext=1 size=60 | drop
		proto=udp dport=53 udplen=9 | drop
		proto=udp dport=53 udplen=7 | drop
		proto=udp dport=53 data=9 udplen=16 | tx 10.77.0.1 > 10.88.0.1 nodf nocsum
		proto=udp dport=53 size=27 | drop
	END
	[[ $(count "$V4" bad_length) == 6 && $(count "$V6" bad_length) == 4 && $(count "$DNS" bad_length) == 3 ]]
	# with a flow that is known, too
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		size=41 | drop
		cut=1 | drop
	END
}

@test "fragments follow the first one" {
	enable
	vip "$V4" 10.88.0.1 10.88.0.2 10.88.0.3
	vip "$DNS" fd88::1
	vip '[fd99::1]:53/udp' fd88::1
	each <<-'END'
		proto=udp dport=53 frag=0,1 id=1 data=800 | tx fd77::1 > fd88::1 nocsum
		proto=udp dport=53 frag=808,1 id=1 data=800 | tx fd77::1 > fd88::1 nocsum
		proto=udp dport=53 frag=1616,0 id=1 data=9 vlan=5 | tx vlan 5 fd77::1 > fd88::1 nocsum
		proto=udp frag=808,0 id=2 data=80 | drop
		proto=udp frag=808,0 id=1 data=80 src=198.51.100.8 | drop
		v6 proto=udp dport=53 frag=0,1 id=1 data=800 | tx fd77::1 > fd88::1 nocsum
		v6 proto=udp frag=808,0 id=1 data=80 | tx fd77::1 > fd88::1 nocsum
		v6 proto=udp ext=2 frag=808,0 id=1 data=80 | tx fd77::1 > fd88::1 nocsum
		v6 proto=udp frag=808,0 id=2 data=80 | drop
		proto=icmp type=8 frag=808,0 id=1 data=80 | pass
	END
	[[ $(count "$DNS" fragment) == 3 ]]
	# each with the backend of its flow
	local n first later
	for n in {1..20}; do
		first=$(pkt <<<"frag=0,1 id=$((n + 100)) sport=$((n * 17)) data=80")
		later=$(pkt <<<"frag=104,0 id=$((n + 100)) sport=9 dport=9 data=80")
		[[ $first == tx* && ${first/id */} == "${later/id */}" ]]
	done
	# nobody's any more
	l3af lb vip remove "$DNS" >/dev/null
	[[ $(pkt <<<'proto=udp frag=808,1 id=1 data=800') == drop ]]
}

@test "a flow is new, established, closing, forgotten" {
	enable
	vip "$V4" 10.88.0.1 idle 100s
	vip "$DNS" 10.88.0.2
	go() { pkt >/dev/null <<<"$1"; }
	is() { [[ $(table) == "$1" ]] || { echo "table: $(table), wanted: $1"; return 1; }; }
	go 'flags=2'; is '10.88.0.1 new 1'
	go 'flags=2'; is '10.88.0.1 new 1'
	go 'flags=10'; is '10.88.0.1 established 1'
	go 'flags=2'; is '10.88.0.1 established 1'
	go 'flags=11'; is '10.88.0.1 closing 1'
	go 'flags=10'; is '10.88.0.1 closing 1'
	"$PKT" age lb 4 # it goes on: nobody believed that
	go 'flags=10'; is '10.88.0.1 established 1'
	go 'flags=14'; is '10.88.0.1 closing 1'
	go 'flags=2'; is '10.88.0.1 new 1'
	go 'flags=4'; is '10.88.0.1 closing 1'
	go 'opts flags=2'; go 'opts flags=10'; is '10.88.0.1 established 1'
	[[ $(count "$V4" stray) == 0 ]]
	[[ $(l3af --json lb stats vip "$V4" | jq '.vips[0].flows') == 3 ]]
	# idle: nobody's
	"$PKT" age lb 90
	go 'flags=10'; is '10.88.0.1 established 1'
	[[ $(count "$V4" stray) == 0 ]]
	"$PKT" age lb 104
	go 'flags=10'; is '10.88.0.1 new 1'
	[[ $(count "$V4" stray) == 1 ]]
	"$PKT" age lb 61
	go 'flags=10'; is '10.88.0.1 new 1'
	[[ $(count "$V4" stray) == 2 ]]
	# UDP: the second packet
	go 'proto=udp dport=53'; go 'proto=udp dport=53 sport=2'
	is $'10.88.0.1 new 1\n10.88.0.2 new 2'
	go 'proto=udp dport=53'
	is $'10.88.0.1 new 1\n10.88.0.2 established 1\n10.88.0.2 new 1'
}

@test "drain, down, removal and nobody left" {
	local n all='' flow=''
	enable
	vip "$V4" 10.88.0.1 10.88.0.2
	for n in {1..40}; do all+="sport=$n flags=2"$'\n'"sport=$n flags=10"$'\n'; done
	where() { pkt <<<"${all//flags=2/flags=10}" | awk '{ n[$4]++ } END { for (a in n) print a, n[a] }' | sort; }
	pkt <<<"$all" >/dev/null
	flow=$(where)
	[[ $(wc -l <<<"$flow") == 2 ]]
	# drained: flows stay, new ones go elsewhere
	l3af lb backend set 10.88.0.1 vip "$V4" drain >/dev/null
	[[ $(where) == "$flow" ]]
	[[ $(sed 's/sport=/sport=5/' <<<"$all" | grep flags=2 | pkt | grep -c '> 10.88.0.2 ') == 40 ]]
	[[ $(count "$V4" moved) == 0 ]]
	# down: they move, all of them, once
	l3af lb backend set 10.88.0.1 vip "$V4" down >/dev/null
	[[ $(where) == '10.88.0.2 80' ]]
	[[ $(count "$V4" moved) == "$(($(sed -n 's/^10.88.0.1 //p' <<<"$flow") / 2))" ]]
	l3af lb backend set 10.88.0.1 vip "$V4" up >/dev/null
	[[ $(where) == '10.88.0.2 80' ]]
	# nobody left
	l3af lb backend remove 10.88.0.1 vip "$V4" >/dev/null
	l3af lb backend remove 10.88.0.2 vip "$V4" >/dev/null
	[[ -z $(table) ]]
	each <<-'END'
		flags=2 | drop
		flags=10 | drop
		proto=icmp type=3 code=4 quote=8 | drop
		proto=icmp type=8 | tx echo 10.99.0.1 > 198.51.100.7
	END
	[[ $(count "$V4" no_backend) == 3 ]]
	l3af lb vip remove "$V4" >/dev/null
	each <<-'END'
		flags=2 | pass
		proto=icmp type=8 | pass
	END
}

@test "sticky: all of a client's flows, until its backend is drained" {
	local first n
	enable
	vip "$V4" 10.88.0.1 10.88.0.2 10.88.0.3 10.88.0.4 sticky source
	where() { pkt <<<"sport=$1 flags=2" | awk '{ print $4 }'; }
	first=$(where 1)
	for n in {2..40}; do [[ $(where "$n") == "$first" ]]; done
	# still, where the ring has changed
	for n in {5..9}; do l3af lb backend add "10.88.0.$n" vip "$V4" >/dev/null; done
	for n in {41..50}; do [[ $(where "$n") == "$first" ]]; done
	[[ $(pkt <<<'src=198.51.100.8 flags=2') == tx* ]]
	l3af lb backend set "$first" vip "$V4" drain >/dev/null
	[[ $(where 51) != "$first" && $(where 1) == "$first" ]]
	[[ $(table | grep -c client) == 2 ]]
}

@test "a flood of SYNs evicts no flow that was heard of twice" {
	local before n flags stray
	enable
	vip "$V4" 10.88.0.1 10.88.0.2 10.88.0.3
	# 1000 flows in a table for 8192, established 100 at a time
	for n in {0..9}; do
		for flags in 2 10 2 10; do
			in_ns srv "$PKT" flood "$(member)" 100 1 1 1023 0 "$((n * 100))" flags="$flags" >/dev/null
		done
	done
	before=$(table | grep established) stray=$(count "$V4" stray)
	[[ $(awk '{ n += $3 } END { print n }' <<<"$before") == 1000 ]]
	in_ns srv "$PKT" flood "$(member)" 500000 1 1 0xffffffffff 0 $((1 << 24)) flags=2 >/dev/null
	[[ $(table | grep established) == "$before" ]]
	[[ $(table | awk '$2 == "new" { n += $3 } END { print (n > 900) }') == 1 ]]
	# and they are found: with other backends, each of them stays
	l3af lb backend add 10.88.0.4 vip "$V4" >/dev/null
	l3af lb backend set 10.88.0.1 vip "$V4" drain >/dev/null
	in_ns srv "$PKT" flood "$(member)" 1000 1 1 1023 0 0 flags=10 >/dev/null
	[[ $(table | grep established) == "$before" ]]
	[[ $(count "$V4" stray) == "$stray" && $(count "$V4" moved) == 0 ]]
}

@test "in the middle of an unknown connection: a second hop, if the ring before had another" {
	local n stray=''
	enable
	vip "$V4" 10.88.0.1
	l3af lb backend add fd88::2 vip "$V4" >/dev/null
	for n in {1..64}; do stray+="sport=$n flags=10 data=$n"$'\n'; done
	run -0 pkt <<<"$stray"
	[[ $(grep -cx 'tx fd77::1 > fd88::2 hop 10.88.0.1 csum' <<<"$output") -gt 15 ]]
	[[ $(($(grep -c 'hop' <<<"$output") + $(grep -cx 'tx 10.77.0.1 > 10.88.0.1 nodf csum' <<<"$output"))) == 64 ]]
	[[ $(count "$V4" stray) == 64 && $(count "$V4" second_hop) == $(grep -c hop <<<"$output") ]]
	# which makes no flow
	[[ $(table) == "10.88.0.1 new $((64 - $(count "$V4" second_hop)))" ]]
	n=$(pkt <<<"$stray" | grep -n hop | head -n 1 | cut -d: -f1)
	each <<-END
		sport=$n flags=10 data=1365 df | tx fd77::1 > fd88::2 hop 10.88.0.1 csum
		sport=$n flags=10 data=1388 df | tx fd77::1 > fd88::2 hop 10.88.0.1 csum
		sport=$n flags=10 data=1389 df | tx big 1428 quote 512 10.99.0.1 > 198.51.100.7
		sport=$n flags=10 vlan=3 | tx vlan 3 fd77::1 > fd88::2 hop 10.88.0.1 csum
		sport=$n flags=2 | tx fd77::1 > fd88::2 csum
	END
}

@test "next hops of the kernel: neighbours, gateways, another interface, none" {
	in_ns srv bash -c 'for f in /proc/sys/net/ipv[46]/conf/all/forwarding; do echo 1 >$f; done'
	quiet_netns far
	wire srv s1 3 far f0 4
	in_ns srv ip -b - <<-'END'
		addr flush dev s1
		addr add 10.78.0.3/24 dev s1
		addr add fd78::3/64 dev s1 nodad
		neigh replace 10.78.0.4 lladdr 02:77:00:00:00:04 dev s1 nud permanent
		neigh replace fd78::4 lladdr 02:77:00:00:00:04 dev s1 nud permanent
		route add 10.88.0.0/24 via 10.77.0.2
		route add fd88::/64 via fd77::2
		route add 10.89.0.0/24 via 10.78.0.4
		route add fd89::/64 via fd78::4
	END
	enable gateway auto
	export LBPKT_DEV=s0
	vip 10.99.0.1:1/tcp 10.77.0.2
	vip 10.99.0.1:2/tcp 10.88.0.1
	vip 10.99.0.1:3/tcp fd88::1
	vip 10.99.0.1:4/tcp 10.89.0.1
	vip 10.99.0.1:5/tcp fd78::4
	vip 10.99.0.1:6/tcp 192.0.2.1
	vip 10.99.0.1:7/tcp 10.77.0.200
	each <<-'END'
		dport=1 flags=2 | tx 10.77.0.1 > 10.77.0.2 nodf csum
		dport=1 | tx 10.77.0.1 > 10.77.0.2 nodf csum
		dport=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		dport=2 vlan=5 | tx vlan 5 10.77.0.1 > 10.88.0.1 nodf csum
		dport=3 | tx fd77::1 > fd88::1 csum
		dport=4 flags=2 | redirect 02:77:00:00:00:04 10.77.0.1 > 10.89.0.1 nodf csum
		dport=4 flags=10 | redirect 02:77:00:00:00:04 10.77.0.1 > 10.89.0.1 nodf csum
		dport=5 | redirect 02:77:00:00:00:04 fd77::1 > fd78::4 csum
		dport=6 | drop
		dport=7 | drop
	END
	[[ $(count 10.99.0.1:6/tcp no_next_hop) == 1 && $(count 10.99.0.1:7/tcp no_next_hop) == 1 ]]
	# the MTU of the interface it leaves by
	in_ns srv ip link set s1 mtu 1400
	each <<-'END'
		dport=4 data=1332 df | redirect 02:77:00:00:00:04 10.77.0.1 > 10.89.0.1 csum
		dport=4 data=1333 df | tx big 1372 quote 512 10.99.0.1 > 198.51.100.7
		dport=1 data=1333 df | tx 10.77.0.1 > 10.77.0.2 csum
	END
	# a neighbour that has to be asked for again keeps its address so long; one with a route
	# that is gone has none
	in_ns srv ip neigh del 10.77.0.2 dev s0
	in_ns srv ip route del 10.89.0.0/24
	sleep 2.5
	each <<-'END'
		dport=1 | tx 10.77.0.1 > 10.77.0.2 nodf csum
		dport=4 | drop
	END
}

@test "no outer address of the backend's family: dropped and counted" {
	enable
	vip "$V4" fd88::1
	each <<<'flags=2 | tx fd77::1 > fd88::1 csum'
	in_ns srv "$PKT" unsource lb
	each <<-'END'
		flags=10 | drop
		flags=2 sport=2 | drop
	END
	[[ $(count "$V4" no_source) == 2 ]]
}

@test "behind other members, in the chain's root" {
	enable
	vip "$V4" 10.88.0.1
	vip "$V6" fd88::1
	l3af limit set rate 1000/s dev s0 >/dev/null
	l3af limit set connections 1000 dev s0 port 80 >/dev/null
	l3af chain reorder ratelimit,connlimit,lb dev s0 hook xdp >/dev/null
	PROG=$(echo "$STATE"/chain/*/*/xdp/root)
	each <<-'END'
		flags=2 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		flags=10 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		v6 flags=2 vlan=5 | tx vlan 5 fd77::1 > fd88::1 csum
		v6 flags=10 | tx fd77::1 > fd88::1 csum
		opts data=1440 | tx big 1472 quote 512 10.99.0.1 > 198.51.100.7
		proto=icmp type=3 code=4 quote=8 | tx 10.77.0.1 > 10.88.0.1 nodf csum
		dst=10.99.0.2 | pass
	END
}

@test "what the verifier followed" {
	local n
	enable
	n=$("$PKT" verified "$(member)")
	figure "lb: $n instructions verified"
	((n < 95000))
}

# marked GATEWAY: probes' packets, and others, on egress of s0
marked() {
	local vip4=10.99.0.1 vip6=fd99::1 n out=$BATS_TEST_TMPDIR/out
	in_ns srv ip -b - <<-'END'
		route add 10.99.0.0/24 via 10.77.0.2
		route add fd99::/64 via fd77::2
		route add 10.88.0.0/24 via 10.77.0.2
		route add fd88::/64 via fd77::2
	END
	send() { in_ns srv python3 "$TOP/tests/tools/lbmark.py" send "$@"; }
	enable gateway "$1"
	vip "$V4" 10.88.0.1 fd88::2
	vip "$V6" fd88::3 10.88.0.4
	vip "$DNS" 10.88.0.5
	l3af chain add lb dev s0 hook tc-egress >/dev/null
	in_ns cli timeout 20 python3 "$TOP/tests/tools/lbmark.py" sniff c0 10 >"$out" 3>&- &
	eventually grep -q listening "$out"
	for n in 1 2; do send 0x4c42000$n 10.77.0.1 $vip4 80 tcp; done
	for n in 3 4; do send 0x4c42000$n fd77::1 $vip6 80 tcp; done
	send 0x4c420005 10.77.0.1 $vip4 53 udp
	# no mark, another, of no backend, of another VIP's, to none
	send 0 10.77.0.1 $vip4 80 tcp
	send 0x4c410001 10.77.0.1 $vip4 80 tcp
	send 0x4c420006 10.77.0.1 $vip4 80 tcp
	send 0x4c420003 10.77.0.1 $vip4 80 tcp
	send 0x4c420001 10.77.0.1 10.99.0.9 53 udp
	wait
	diff -u - "$out" <<-'END'
		listening
		10.77.0.1 > 10.88.0.1 gue 10.77.0.1 > 10.99.0.1 tcp 80
		fd77::1 > fd88::2 gue 10.77.0.1 > 10.99.0.1 tcp 80
		fd77::1 > fd88::3 gue fd77::1 > fd99::1 tcp 80
		10.77.0.1 > 10.88.0.4 gue fd77::1 > fd99::1 tcp 80
		10.77.0.1 > 10.88.0.5 gue 10.77.0.1 > 10.99.0.1 udp 53
		10.77.0.1 > 10.99.0.1 tcp 80
		10.77.0.1 > 10.99.0.1 tcp 80
		10.77.0.1 > 10.99.0.1 tcp 80
		10.77.0.1 > 10.99.0.1 tcp 80
		10.77.0.1 > 10.99.0.9 udp 53
	END
}

@test "packets with a backend's mark go to that backend, others out as they are" {
	marked 02:77:00:00:00:02
}

@test "and so by next hops of the kernel" {
	marked auto
}
