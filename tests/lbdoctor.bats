#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb doctor: a load balancer (srv) and a backend (cli) that are well, and everything that can
# be wrong about them, one after the other. What mends it does.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run and start

load lib

V=192.0.2.1:80/tcp W='[2001:db8::1]:80/tcp'

setup() {
	pair
	in_ns srv sysctl -qw net.ipv4.conf.s0.forwarding=1 net.ipv6.conf.s0.forwarding=1 \
		net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.s0.rp_filter=0
}
teardown() {
	finish_all
	wipe
}

lb() { l3af -q lb "$@" >/dev/null; }
agent() { NS=cli l3af agent "$@" >/dev/null; }
# well: a VIP of each family, and a backend that serves both
well() {
	lb enable dev s0 "$@"
	lb vip add $V
	lb vip add "$W"
	lb backend add 10.77.0.2 vip $V
	lb backend add fd77::2 vip "$W"
	in_ns cli ip addr add 192.0.2.1/32 dev lo
	in_ns cli ip addr add 2001:db8::1/128 dev lo nodad
	agent enable dev c0 vip 192.0.2.1 vip 2001:db8::1
}
# doctor [WORDS]: "STATUS CHECK WHERE: FINDING" of each row
doctor() { l3af --json lb doctor "$@" 2>/dev/null | jq -r '.[] | "\(.status) \(.check) \(.where): \(.finding)"'; }
# wrong [WORDS]: the same of those that are not ok, without veth's
wrong() { doctor "$@" | grep -v -e '^ok ' -e '^warn offload s0: veth'; }
# mends CHECK: runs the command that mends it, in srv
mends() {
	local command
	command=$(l3af --json lb doctor 2>/dev/null | jq -r --arg c "$1" '[.[] | select(.check == $c and .mend)][0].mend')
	echo "mend: $command"
	# shellcheck disable=SC2086
	if [[ $command == l3afctl\ * ]]; then l3af -q ${command#l3afctl }; else in_ns srv $command; fi >/dev/null
}
# finds WANTED: that is what is wrong, and exit status and message say so
finds() {
	local want=$1 bad
	shift
	run wrong "$@"
	[[ $output == "$want" ]] || { printf '%s\n' "$output" "wanted: $want"; return 1; }
	bad=$(grep -c '^bad' <<<"$want" || true)
	run --separate-stderr l3af lb doctor "$@"
	((status == (bad > 0)))
	[[ $stderr == "$(case $bad in 0) ;; 1) echo 'l3afctl: lb doctor: 1 finding is bad' ;; *) echo "l3afctl: lb doctor: $bad findings are bad" ;; esac)" ]]
}

@test "all is well, said in a few lines; with -v in more" {
	well
	[[ $(doctor) == 'ok program s0: in the xdp chain, mode native
warn offload s0: veth: its peer may send half-made checksums, which backends drop; and needs an XDP program itself
ok mtu s0: 1500: packets of clients up to 1472 octets fit, to IPv6 backends 1452; senders of bigger ones are told
ok source s0: 10.77.0.1, of s0
ok source s0: fd77::1, of s0
ok forwarding s0: ipv4 forwarding is on: the kernel tells next hops
ok forwarding s0: ipv6 forwarding is on: the kernel tells next hops
ok rp_filter s0: answers of VIPs to health probes may come in
ok backends lb: each of 2 VIPs has backends that take new flows
ok local lb: none of 2 VIPs is an address of this host
ok nexthop lb: known for each of 2 backends
ok agent lb: each of 2 backends takes GUE for its VIP' ]] || { doctor; return 1; }
	finds ''
	run -0 --separate-stderr l3af lb doctor
	[[ ${lines[0]} == 'STATUS  CHECK       WHERE  FINDING' && $output == *$'\nMEND     WHERE  COMMAND\noffload  s0     on its peer: ethtool -K IF tx off' ]]
	run -0 l3af -v lb doctor
	[[ $output == *'10.77.0.2 '*"answers for $V"* && $output == *'fd77::2 '*"answers for $W"* &&
		$output == *'10.77.0.2 (02:77:00:00:00:02) dev s0'* && $output == *'of 1048576 flows'* ]]
	# one VIP alone
	[[ $(doctor vip $V) == *'ok agent lb: each of 1 backends takes GUE for its VIP' && $(doctor vip $V) != *ipv6* ]]
}

@test "nobody balances: no instance, no interface, not in the chain" {
	finds 'bad program lb: there is no load balancer'
	well
	l3af chain remove lb dev s0 hook xdp >/dev/null
	finds "bad program s0: lb is not in the xdp chain, or runs on maps that are not lb's"
	mends program
	finds ''
	in_ns cli ip link del c0
	run wrong
	[[ $output == 'bad program lb: no interface of this network namespace has it' ]]
	refuses 1 'l3afctl: there is no load balancer x; l3afctl lb enable dev IF instance x makes it' l3af lb doctor instance x
	refuses 1 'l3afctl: there is no VIP 192.0.2.9:1/tcp; l3afctl lb vip list shows those there are' l3af lb doctor vip 192.0.2.9:1/tcp
}

@test "the interface: generic XDP, down, another MTU" {
	well mode generic
	finds 'warn program s0: generic XDP: slow, and packets that GRO has merged are too big to be forwarded; use mode native where the driver has it'
	in_ns srv ip link set s0 mtu 1400
	[[ $(wrong) == *$'\nbad mtu s0: the interface has 1400, the load balancer was told 1500' ]]
	mends mtu
	[[ $(doctor) == *$'\nok mtu s0: 1400: packets of clients up to 1372 octets fit, '* ]]
	in_ns srv ip link set s0 mtu 1500
	[[ $(wrong) == *$'\nwarn mtu s0: the interface has 1500, the load balancer was told 1400' ]]
	in_ns srv ip link set s0 down
	run wrong
	[[ $output == *$'\nbad link s0: is down or has no carrier\n'* ]]
	mends link
	eventually eval '[[ $(wrong) != *"bad link "* ]]'
}

@test "the source address is gone" {
	well
	in_ns srv ip addr del 10.77.0.1/24 dev s0
	in_ns srv ip addr add 10.77.0.8/24 dev s0
	run wrong
	[[ ${lines[0]} == 'bad source s0: 10.77.0.1 is no address of this host any more' ]]
	[[ $output == *'bad agent 10.77.0.2: nothing can be sent to it: Cannot assign requested address'* ]]
	mends source
	finds ''
	[[ $(doctor) == *'ok source s0: 10.77.0.8, of s0'* ]]
	# an interface without any
	in_ns srv ip link add s9 type veth peer name p9
	in_ns srv ip link set s9 up
	in_ns srv ip link set p9 up
	lb enable dev s9 gateway 02:00:00:00:00:01
	[[ $(wrong) == *'bad source s9: no IPv4 source address: packets for such backends are dropped
bad source s9: no IPv6 source address: packets for such backends are dropped'* ]]
}

@test "the host: forwarding off, strict rp_filter, the VIP itself" {
	well
	in_ns srv sysctl -qw net.ipv4.conf.s0.forwarding=0
	finds 'bad forwarding s0: ipv4 forwarding is off there: the kernel tells no next hops (or give lb enable a gateway MAC)'
	mends forwarding
	in_ns srv sysctl -qw net.ipv6.conf.s0.forwarding=0
	finds 'bad forwarding s0: ipv6 forwarding is off there: the kernel tells no next hops (or give lb enable a gateway MAC)'
	mends forwarding
	in_ns srv sysctl -qw net.ipv4.conf.s0.rp_filter=1
	[[ $(wrong) == 'warn rp_filter s0: strict, and 1 VIPs are not routed there: answers to health probes are dropped'* ]]
	mends rp_filter
	in_ns srv ip route add 192.0.2.0/24 dev s0
	in_ns srv sysctl -qw net.ipv4.conf.s0.rp_filter=1
	[[ $(wrong) != *rp_filter* ]]
	in_ns srv ip route del 192.0.2.0/24
	in_ns srv sysctl -qw net.ipv4.conf.s0.rp_filter=0
	in_ns srv ip addr add 192.0.2.1/32 dev lo
	[[ $(wrong) == "warn local $V: is an address of this host (lo): what is sent from here, health probes too, stays here"* ]]
	mends local
	finds ''
}

@test "packets for other ports of a VIP that this host would forward, to get them back" {
	well
	lb vip add 192.0.2.1:53/udp
	lb backend add 10.77.0.2 vip 192.0.2.1:53/udp
	in_ns srv ip route add 192.0.2.0/24 via 10.77.0.2
	in_ns srv ip route add 2001:db8::/64 via fd77::2
	finds "bad loop 192.0.2.1:53/udp: this host forwards what comes to other ports of it by s0: it may come back, round and round
bad loop $W: this host forwards what comes to other ports of it by s0: it may come back, round and round"
	# it does: the client gives it back
	in_ns cli ip addr del 192.0.2.1/32 dev lo
	in_ns cli ip route add 192.0.2.1 via 10.77.0.1
	in_ns cli sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.c0.rp_filter=0
	local before
	frame() { in_ns cli python3 "$TOP/tests/tools/gue.py" send c0 odst=none src=10.77.0.50 dst=192.0.2.1 l4=tcp to=81 tcp=S; }
	round() { in_ns srv ip -j -s link show dev s0 | jq '.[0].stats64.rx.packets'; }
	before=$(round)
	frame
	eventually eval '(($(round) > before + 20))'
	mends loop
	before=$(round)
	frame
	eventually eval '(($(round) > before))'
	sleep 0.2
	(($(round) < before + 10))
	mends loop
	[[ $(wrong) != *loop* ]]
}

@test "VIPs whose backends take nothing" {
	well
	lb vip add 192.0.2.2:80/tcp
	finds 'bad backends 192.0.2.2:80/tcp: has no backends: its packets are dropped'
	lb backend add 10.77.0.2 vip 192.0.2.2:80/tcp weight 0
	lb backend add 10.77.0.3 vip 192.0.2.2:80/tcp
	lb backend set 10.77.0.3 vip 192.0.2.2:80/tcp down
	lb backend add 10.77.0.4 vip 192.0.2.2:80/tcp
	lb backend set 10.77.0.4 vip 192.0.2.2:80/tcp drain
	[[ $(wrong vip 192.0.2.2:80/tcp) == 'bad backends 192.0.2.2:80/tcp: nobody takes new flows, they are dropped: of 3 backends 1 down, 1 draining, 0 sick, 1 of weight 0'* ]]
	finds '' vip $V
}

@test "next hops: no route, no answer, a route that drops, this host, another MAC" {
	well
	lb backend add 203.0.113.9 vip $V
	[[ $(wrong) == 'bad nexthop 203.0.113.9: Network is unreachable' ]] || { wrong; return 1; }
	in_ns srv ip route add blackhole 203.0.113.9
	[[ $(wrong) == 'bad nexthop 203.0.113.9: its route lets nothing through'* ]] || { wrong; return 1; }
	in_ns srv ip route replace 203.0.113.9 via 10.77.0.77
	finds 'bad nexthop 203.0.113.9: 10.77.0.77 on s0 does not answer ARP'
	in_ns srv ip neigh replace 10.77.0.77 lladdr 02:77:00:00:00:02 dev s0
	[[ $(wrong) != *nexthop* ]]
	lb backend remove 203.0.113.9 vip $V
	in_ns srv ip addr add 10.77.0.99/32 dev lo
	lb backend add 10.77.0.99 vip $V
	[[ $(wrong) == *'bad nexthop 10.77.0.99: is an address of this host'* ]]
	lb backend remove 10.77.0.99 vip $V
	lb enable dev s0 gateway 02:77:00:00:00:44
	finds 'warn nexthop 10.77.0.2: the load balancer sends to the gateway 02:77:00:00:00:44, this host to 10.77.0.2 (02:77:00:00:00:02)
warn nexthop fd77::2: the load balancer sends to the gateway 02:77:00:00:00:44, this host to fd77::2 (02:77:00:00:00:02)'
	mends nexthop
	finds ''
}

@test "backends that do not take GUE, or not for this VIP, or do not answer" {
	local -r tail='no agent, not for this VIP, or not from this source'
	well
	agent disable dev c0
	finds "bad agent 10.77.0.2: refuses GUE at port 6080 for $V: $tail
bad agent fd77::2: refuses GUE at port 6080 for $W: $tail"
	agent enable dev c0 vip 2001:db8::1
	finds "bad agent 10.77.0.2: refuses GUE at port 6080 for $V: $tail"
	agent enable dev c0 vip 192.0.2.1
	finds ''
	in_ns cli sysctl -qw net.ipv4.icmp_echo_ignore_all=1
	finds "warn agent 10.77.0.2: no answer of $V to an echo request through GUE: a firewall, no agent, or no route back"
}

@test "who cannot be asked: an IPv6 VIP and no IPv6 here; without CAP_NET_RAW nobody" {
	in_ns srv ip addr del fd77::1/64 dev s0
	lb enable dev s0
	lb vip add $V
	lb backend add 10.77.0.2 vip $V
	in_ns cli ip addr add 192.0.2.1/32 dev lo
	agent enable dev c0 vip 192.0.2.1
	finds ''
	lb vip add "$W"
	lb backend add 10.77.0.2 vip "$W"
	finds "warn agent 10.77.0.2: is not asked for $W: this host has no IPv6 address to ask from"
	run -0 --separate-stderr in_ns srv setpriv --inh-caps=-net_raw --bounding-set=-net_raw "$BUILD/l3afctl" \
		--bpffs "$BPFFS" lb doctor
	[[ $output == *'warn    agent       lb     backends are not asked: that needs CAP_NET_RAW'* ]]
}

@test "what probes said, and when" {
	well
	in_ns srv ip route add 192.0.2.0/24 dev s0
	in_ns srv ip rule add iif s0 to 192.0.2.0/24 unreachable
	lb health run vip $V timeout 300ms fall 1
	[[ $(wrong) == "bad backends $V: nobody takes new flows, they are dropped: of 1 backends 0 down, 0 draining, 1 sick, 0 of weight 0
bad health 10.77.0.2: is sick for $V: "* ]]
	in_ns cli busybox httpd -p 80 -h "$BATS_TEST_TMPDIR" 3>&-
	lb health run vip $V timeout 2s rise 1
	[[ $(wrong) == '' ]]
	# long ago
	local number value
	number=$(l3af --json lb backend list vip $V | jq -r '.[0].probed')
	[[ $number == 20*Z ]]
	for number in {1..9}; do
		read -ra value < <(bpftool -j map lookup pinned "$STATE/kf/lb/health" key "$number" 0 0 0 |
			jq -r '.value | map(sub("0x"; "")) | join(" ")')
		[[ ${value[*]:0:8} != '00 00 00 00 00 00 00 00' ]] || continue
		value[4]=00 # some years
		bpftool map update pinned "$STATE/kf/lb/health" key "$number" 0 0 0 value hex "${value[@]}"
	done
	[[ $(wrong) == 'warn health 10.77.0.2: the last probe was '*' ago: does its timer run?' ]]
}

@test "packets are dropped meanwhile" {
	well
	lb backend set 10.77.0.2 vip $V weight 0
	[[ $(wrong) != *drops* ]]
	in_ns cli ip addr del 192.0.2.1/32 dev lo
	in_ns cli ip route add 192.0.2.1 via 10.77.0.1
	start send cli python3 -uc '
import select, socket, sys
print("ready")
while not select.select([sys.stdin], [], [], 0.02)[0]:
	s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
	s.setblocking(False)
	try: s.connect(("192.0.2.1", 80))
	except BlockingIOError: pass'
	run wrong
	finish send
	[[ $output == *"bad drops $V: packets are dropped right now: no_backend "* ]]
}

@test "room: VIPs, backends and flows" {
	well flows 1024 vips 3 backends 3
	lb vip add 192.0.2.3:53/udp
	lb backend add 10.77.0.2 vip 192.0.2.3:53/udp
	[[ $(wrong) == *'warn room lb: 3 of 3 VIPs: make it anew with more vips
warn room lb: 3 of 3 backends: make it anew with more backends' ]]
	in_ns cli ip route add 192.0.2.3 via 10.77.0.1
	in_ns cli ip link set c0 xdp off 2>/dev/null || true
	in_ns cli python3 -c '
import socket
for i in range(2000):
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.bind(("", 10000 + i))
	for j in range(2): s.sendto(b"x", ("192.0.2.3", 53))'
	[[ $(wrong) == *'warn room lb: '*' of 1024 flows: busy buckets forget flows early; make it anew with more flows'* ]]
}

@test "a change that was interrupted" {
	local value
	well
	read -ra value < <(bpftool -j map lookup pinned "$STATE/kf/lb/vips" key hex 00 00 00 00 |
		jq -r '.value | map(sub("0x"; "")) | .[36] = "01" | join(" ")')
	bpftool map update pinned "$STATE/kf/lb/vips" key hex 00 00 00 00 value hex "${value[@]}"
	[[ $(wrong) == 'warn change lb: one was interrupted; any change finishes it' ]]
	mends change
	finds ''
}
