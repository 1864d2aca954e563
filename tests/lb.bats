#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb enable, disable, vip, backend: what they say, and what packets see.

load lib

V=10.99.0.1:53/udp
V6='[fd99::1]:53/udp'
ENABLED='source 10.77.0.1 source6 fd77::1 gateway 02:77:00:00:00:02 port 6080 mtu 1500'

# cli is client and all backends, 10.77.0.11 and so on, fd77::11
setup() {
	pair
	in_ns cli ethtool -K c0 tx off >/dev/null # sums are complete, as on a wire
	for i in 11 12 13 14; do
		in_ns cli ip addr add "10.77.0.$i/24" dev c0
		in_ns cli ip addr add "fd77::$i/64" dev c0 nodad
	done
	in_ns cli ip route add 10.99.0.0/16 via 10.77.0.1
	in_ns cli ip route add fd99::/64 via fd77::1
}
teardown() {
	finish_all
	wipe
}

lb() { l3af lb "$@" >/dev/null; }
up() {
	# what leaves a veth by XDP_TX arrives where there is a program, too
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	lb enable dev s0 gateway 02:77:00:00:00:02 "$@"
}
# backends N [WORD...]: 10.77.0.11 to 10 + N serve $V
backends() {
	local i
	lb vip add "$V"
	for ((i = 11; i <= 10 + $1; i++)); do lb backend add "10.77.0.$i" vip "$V" "${@:2}"; done
}
# go FIRST COUNT [TIMES] [VIP]: "SPORT BACKEND" lines
go() { in_ns cli "$TOP/tests/tools/lbtry.py" "${4:-10.99.0.1}" 53 "$1" "$2" "${3:-1}"; }
# shares: how many lines each backend has
shares() { cut -d' ' -f2 | sort | uniq -c | awk '{ printf "%s%s %d", s, $2, $1; s = " " }'; }
ring() { L3AF_BPFFS=$BPFFS in_ns srv "$FP/lbring" show "${2:-lb}" "${1:-$V}"; }
numbers() { L3AF_BPFFS=$BPFFS in_ns srv "$FP/lbring" numbers lb; }
# cell KEY [ADDR]: of backend list
cell() { l3af --json lb backend list | jq -r --arg a "${2:-10.77.0.11}" ".[] | select(.backend == \$a) | .$1"; }

# ---- words ----

@test "enable and disable say what changes, and nothing twice" {
	up >/dev/null
	lb disable dev s0
	does '+ lb instance lb flows 1048576 vips 512 backends 2048
+ lb dev s0 '"$ENABLED"'
+ chain lb dev s0 hook xdp position 1' l3af lb enable dev s0 gateway 02:77:00:00:00:02
	does '' l3af lb enable dev s0
	does '' l3af lb enable dev s0 gateway 02:77:00:00:00:02 port 6080 source 10.77.0.1 flows 1048576
	does '~ lb dev s0 source 10.77.0.1 -> 10.77.0.9 port 6080 -> 9886' \
		l3af --dry-run lb enable dev s0 port 9886 source 10.77.0.9
	does '~ lb dev s0 source 10.77.0.1 -> 10.77.0.9 port 6080 -> 9886' l3af lb enable dev s0 port 9886 source 10.77.0.9
	does '~ lb dev s0 gateway 02:77:00:00:00:02 -> auto' l3af -q lb enable dev s0 gateway auto
	in_ns srv ip link set s0 mtu 1400
	does '~ lb dev s0 mtu 1500 -> 1400' l3af -q lb enable dev s0
	does '{"changed":false,"dry_run":false,"changes":[]}' l3af --json lb enable dev s0
	does '- lb dev s0
- chain lb dev s0 hook xdp
- lb instance lb' l3af --dry-run lb disable dev s0
	does '- lb dev s0
- chain lb dev s0 hook xdp
- lb instance lb' l3af lb disable dev s0
	does '' l3af lb disable dev s0
	[[ ! -e $STATE/kf/lb ]]
}

@test "without forwarding nobody tells next hops: a warning" {
	in_ns srv sysctl -qw net.ipv4.conf.s0.forwarding=0 net.ipv6.conf.s0.forwarding=1
	run --separate-stderr l3af lb enable dev s0
	[[ $status == 0 && $stderr == 'l3afctl: warning: s0: the kernel tells no next hop for IPv4 where forwarding is '* ]]
	[[ ${#stderr_lines[@]} == 1 ]]
}

@test "vip add, change, remove" {
	up
	does '+ lb vip 10.99.0.1:53/udp idle 1m' l3af lb vip add "$V"
	does '' l3af lb vip add "$V"
	does '+ lb vip [fd99::1]:53/udp sticky source idle 5m hash-seed 7' \
		l3af lb vip add "$V6" sticky source idle 5m hash-seed 7
	does '' l3af lb vip add "$V6" sticky source idle 300s hash-seed 7
	does '~ lb vip [fd99::1]:53/udp sticky source -> none idle 5m -> 0s hash-seed 7 -> 8' \
		l3af --dry-run lb vip add "$V6" sticky none idle 0 hash-seed 8
	does '~ lb vip [fd99::1]:53/udp sticky source -> none idle 5m -> 0s hash-seed 7 -> 8' \
		l3af lb vip add "$V6" sticky none idle 0 hash-seed 8
	does '+ lb vip 10.99.0.1/tcp idle 1h' l3af lb vip add 10.99.0.1/tcp
	[[ $(l3af --json lb vip list | jq length) == 3 ]]
	lb backend add 10.77.0.11 vip "$V"
	does '{"changed":true,"dry_run":false,"changes":[{"op":"remove","object":"lb backend","name":"10.77.0.11","vip":"10.99.0.1:53/udp"},
 {"op":"remove","object":"lb vip","name":"10.99.0.1:53/udp"}]}' \
		l3af --json lb vip remove "$V"
	does '' l3af lb vip remove "$V"
	does '- lb vip [fd99::1]:53/udp' l3af lb vip remove "$V6"
}

@test "backend add, set, remove" {
	up
	lb vip add "$V"
	does '+ lb backend 10.77.0.11 vip 10.99.0.1:53/udp weight 1' l3af --dry-run lb backend add 10.77.0.11 vip "$V"
	does '+ lb backend 10.77.0.11 vip 10.99.0.1:53/udp weight 1' l3af lb backend add 10.77.0.11 vip "$V"
	does '' l3af lb backend add 10.77.0.11 vip "$V"
	does '+ lb backend fd77::11 vip 10.99.0.1:53/udp weight 0' l3af lb backend add fd77::11 vip "$V" weight 0
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp weight 1 -> 65535' l3af lb backend add 10.77.0.11 vip "$V" weight 65535
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp weight 65535 -> 2' l3af lb backend set 10.77.0.11 vip "$V" weight 2
	does '' l3af lb backend set 10.77.0.11 vip "$V" weight 2
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp state up -> drain' l3af lb backend set 10.77.0.11 vip "$V" drain
	does '' l3af lb backend set 10.77.0.11 vip "$V" drain wait 5s
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp state drain -> down' l3af lb backend set 10.77.0.11 vip "$V" down
	does '' l3af lb backend add 10.77.0.11 vip "$V"
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp state down -> up' l3af lb backend set 10.77.0.11 vip "$V" up
	does '- lb backend 10.77.0.11 vip 10.99.0.1:53/udp' l3af --dry-run lb backend remove 10.77.0.11 vip "$V"
	does '- lb backend 10.77.0.11 vip 10.99.0.1:53/udp' l3af lb backend remove 10.77.0.11 vip "$V"
	does '' l3af lb backend remove 10.77.0.11 vip "$V"
	does '' l3af lb backend remove 10.77.0.11 vip 10.99.9.9/tcp
}

@test "errors" {
	refuses 1 'l3afctl: no instance lb; make it: l3afctl lb enable dev IF' l3af lb vip add "$V"
	refuses 1 'l3afctl: no instance x; make it: l3afctl lb enable dev IF instance x' l3af lb vip add "$V" instance x
	does '' l3af lb vip remove "$V"
	up vips 1 backends 2 flows 1500
	[[ $(l3af --json lb list | jq -c '.[0] | [.flows_max, .vips_max, .backends_max]') == '[2048,1,2]' ]]
	refuses 1 'l3afctl: instance lb has no vip 10.99.0.1:53/udp; make it: l3afctl lb vip add 10.99.0.1:53/udp' \
		l3af lb backend add 10.77.0.11 vip "$V"
	lb vip add "$V"
	refuses 1 'l3afctl: instance lb has 1 VIPs, no more fit; remove one first, or use another instance' \
		l3af lb vip add 10.99.0.2:53/udp
	refuses 1 'l3afctl: vip 10.99.0.1:53/udp has no backend 10.77.0.11; make it: l3afctl lb backend add 10.77.0.11 vip 10.99.0.1:53/udp' \
		l3af lb backend set 10.77.0.11 vip "$V" down
	lb backend add 10.77.0.11 vip "$V"
	lb backend add 10.77.0.12 vip "$V"
	refuses 1 'l3afctl: instance lb has 2 backends, no more fit; remove one first, or use another instance' \
		l3af lb backend add 10.77.0.13 vip "$V"
	refuses 1 'l3afctl: instance lb was made with flows 2048, which cannot change while it lives; give instance NAME for another one, or remove its VIPs and lb disable first' \
		l3af lb enable dev s0 flows 4096
	refuses 1 'l3afctl: s0 has an lb already, of instance lb; l3afctl lb disable dev s0 instance lb first' \
		l3af lb enable dev s0 instance other
	[[ ! -e $STATE/kf/other ]]
	refuses 2 'l3afctl: backend 10.99.0.1: is a VIP of instance lb; name the backend'"'"'s own address' \
		l3af lb backend add 10.99.0.1 vip "$V"
	refuses 2 'l3afctl: backend 10.77.0.1: is what instance lb sends from; it cannot send to itself' \
		l3af lb backend add 10.77.0.1 vip "$V"
	refuses 2 'l3afctl: lb backend add: ADDR: 224.0.0.1 is a multicast address' l3af lb backend add 224.0.0.1 vip "$V"
	refuses 2 'l3afctl: lb backend add: ADDR: 127.0.0.1 is a loopback address' l3af lb backend add 127.0.0.1 vip "$V"
	refuses 2 'l3afctl: lb backend add: ADDR: :: is no host'"'"'s address' l3af lb backend add :: vip "$V"
	refuses 2 'l3afctl: lb vip add: VIP: 10.99.0.1:53 is not ADDR:PORT/tcp, ADDR:PORT/udp or, for any port, ADDR/tcp or ADDR/udp' \
		l3af lb vip add 10.99.0.1:53
	refuses 2 'l3afctl: lb vip add: idle: 5h is not a duration in 0s..4h, as 250ms, 2s, 5m or 1h' \
		l3af lb vip add "$V" idle 5h
	refuses 2 'l3afctl: lb backend add: weight: 65536 is not a number in 0..65535' \
		l3af lb backend add 10.77.0.11 vip "$V" weight 65536
	refuses 2 'l3afctl: lb backend set: wait goes with drain only' l3af lb backend set 10.77.0.11 vip "$V" up wait 1s
	refuses 2 'l3afctl: lb enable: gateway: 01:00:5e:00:00:01 is not the MAC address of one host' \
		l3af lb enable dev s0 gateway 01:00:5e:00:00:01
	refuses 2 'l3afctl: lb enable: source: fd77::1 is an IPv6 address; give it as source6' \
		l3af lb enable dev s0 source fd77::1
	in_ns srv ip tuntap add t0 mode tun
	refuses 1 'l3afctl: t0: its packets have no Ethernet header, nothing can be balanced there' l3af lb enable dev t0
}

@test "a VIP has 4096 backends at most" {
	up backends 5000
	lb vip add "$V"
	L3AF_BPFFS=$BPFFS in_ns srv "$FP/lbring" add lb "$V" 4096
	[[ $(ring | sort -u | wc -l) == 4096 ]]
	refuses 1 'l3afctl: vip 10.99.0.1:53/udp has 4096 backends, no more fit' l3af lb backend add 10.77.0.11 vip "$V"
}

@test "without a capability: which ones it takes" {
	local no='in_ns srv setpriv --bounding-set=-sys_admin,-bpf,-net_admin,-perfmon --inh-caps=-sys_admin,-bpf,-net_admin,-perfmon'
	up
	lb vip add "$V"
	# shellcheck disable=SC2086
	refuses 1 "l3afctl: $STATE/kf/lb: not permitted; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, before Linux 5.11 also RLIMIT_MEMLOCK" \
		$no "$BUILD/l3afctl" --bpffs "$BPFFS" lb backend add 10.77.0.11 vip "$V"
	# shellcheck disable=SC2086
	refuses 1 "l3afctl: $STATE/kf/lb: not permitted; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, before Linux 5.11 also RLIMIT_MEMLOCK" \
		$no "$BUILD/l3afctl" --bpffs "$BPFFS" lb enable dev s0 port 99
}

@test "a family without an outer source address" {
	in_ns srv ip addr del fd77::1/64 dev s0
	up
	lb vip add "$V"
	refuses 2 'l3afctl: backend fd77::11: instance lb has no IPv6 address to send from; give one: l3afctl lb enable dev IF source6 ADDR' \
		l3af lb backend add fd77::11 vip "$V"
	does '~ lb dev s0 source6 none -> fd77::8' l3af lb enable dev s0 source6 fd77::8
	lb backend add fd77::11 vip "$V"
}

@test "without CAP_SYS_ADMIN changes are made all the same" {
	up
	backends 2
	run -0 in_ns srv setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$BUILD/l3afctl" --bpffs "$BPFFS" \
		lb backend add 10.77.0.13 vip "$V"
	[[ $output == '+ lb backend 10.77.0.13 vip 10.99.0.1:53/udp weight 1' ]]
	[[ $(ring | sort -u | wc -l) == 3 ]]
	run -0 in_ns srv setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$BUILD/l3afctl" --bpffs "$BPFFS" \
		lb backend remove 10.77.0.11 vip "$V"
	[[ $(ring | sort -u | xargs) == '10.77.0.12 10.77.0.13' ]]
}

# ---- packets ----

@test "flows go to usable backends by weight, over both families" {
	up
	backends 3
	lb backend set 10.77.0.13 vip "$V" weight 2
	run -0 go 20000 2000
	read -r _ a _ b _ c <<<"$(shares <<<"$output")"
	[[ $((a + b + c)) == 2000 ]]
	((a > 400 && a < 600 && b > 400 && b < 600 && c > 900 && c < 1100))
	lb backend set 10.77.0.13 vip "$V" weight 0
	[[ $(go 30000 200 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.12' ]]
	lb vip add "$V6"
	lb backend add fd77::11 vip "$V6"
	lb backend add 10.77.0.12 vip "$V6"
	[[ $(go 20000 200 1 fd99::1 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.12 fd77::11' ]]
	lb backend add fd77::13 vip "$V"
	[[ $(go 40000 200 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.12 fd77::13' ]]
	lb vip remove "$V6"
	[[ $(go 21000 10 1 fd99::1 | cut -d' ' -f2 | sort -u) == - ]]
	[[ $(go 20000 200 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.12 10.77.0.13' ]]
}

@test "weight 0 and drain keep flows, down moves them, up brings new ones" {
	local before after
	up
	backends 3
	before=$(go 20000 600 2)
	lb backend set 10.77.0.11 vip "$V" drain
	[[ $(go 20000 600) == "$before" ]]
	[[ $(go 30000 300 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.12 10.77.0.13' ]]
	refuses 1 "l3afctl: backend 10.77.0.11 of vip 10.99.0.1:53/udp: $(grep -c '\.11$' <<<"$before") flows are left; it goes on draining" \
		l3af lb backend set 10.77.0.11 vip "$V" drain wait 300ms
	lb backend set 10.77.0.11 vip "$V" down
	after=$(go 20000 600 2)
	[[ $(grep -v '\.11$' <<<"$before") == "$(join <(sort <<<"$after") <(grep -v '\.11$' <<<"$before" | cut -d' ' -f1 | sort))" ]]
	[[ $(cut -d' ' -f2 <<<"$after" | sort -u | xargs) == '10.77.0.12 10.77.0.13' ]]
	does '' l3af lb backend set 10.77.0.11 vip "$V" down
	lb backend set 10.77.0.11 vip "$V" up
	[[ $(go 20000 600) == "$after" ]]
	[[ $(go 40000 300 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.12 10.77.0.13' ]]
	[[ $(l3af --json lb vip show "$V" | jq '.vips[0].events.moved') == "$(grep -c '\.11$' <<<"$before")" ]]
}

@test "drain wait ends when the last flow has" {
	up
	lb vip add "$V" idle 2s
	lb backend add 10.77.0.11 vip "$V"
	go 20000 50 2 >/dev/null
	[[ $(cell active) == 50 ]]
	run -0 in_ns srv script -qec "$BUILD/l3afctl --bpffs $BPFFS lb backend set 10.77.0.11 vip $V drain wait 30s" /dev/null
	[[ $output == *'10.77.0.11: 50 flows left after 1 s'* ]]
	lb backend set 10.77.0.11 vip "$V" up
	go 20000 50 2 >/dev/null
	does '~ lb backend 10.77.0.11 vip 10.99.0.1:53/udp state up -> drain' \
		l3af lb backend set 10.77.0.11 vip "$V" drain wait 30s
	[[ $(cell active) == 0 ]]
}

@test "one removed: only its flows move; added back: the ring is what it was" {
	local before after all without
	up
	backends 4
	all=$(ring)
	before=$(go 20000 800 2)
	lb backend remove 10.77.0.12 vip "$V"
	without=$(ring)
	[[ $(paste <(echo "$all") <(echo "$without") | awk '$1 != $2 && $1 != "10.77.0.12"' | wc -l) -le $((65537 / 100)) ]]
	after=$(go 20000 800)
	[[ $(cut -d' ' -f2 <<<"$after" | sort -u | xargs) == '10.77.0.11 10.77.0.13 10.77.0.14' ]]
	[[ $(paste -d' ' <(echo "$before") <(echo "$after") | awk '$2 != $4' | cut -d' ' -f2 | sort -u) == 10.77.0.12 ]]
	lb backend add 10.77.0.12 vip "$V"
	[[ $(ring) == "$all" ]]
	[[ $(go 20000 800) == "$after" ]]
}

@test "backends that come and go: no flow of another one moves or is lost" {
	local before i changes
	up
	backends 2
	before=$(go 20000 400 2)
	while :; do
		lb backend add 10.77.0.13 vip "$V" weight 5
		lb backend set 10.77.0.13 vip "$V" down
		lb backend remove 10.77.0.13 vip "$V"
		echo
	done >"$BATS_TEST_TMPDIR/changes" 3>&- &
	changes=$!
	for i in {1..15}; do
		[[ $(go 20000 400) == "$before" ]] || { kill "$changes"; echo "round $i"; return 1; }
		# new ones all arrive, too
		[[ $(go $((30000 + 300 * i)) 300 | grep -c -e '-$') == 0 ]] || { kill "$changes"; echo "new, round $i"; return 1; }
	done
	kill "$changes"
	wait "$changes" || true
	[[ $(wc -l <"$BATS_TEST_TMPDIR/changes") -gt 3 ]]
}

@test "two load balancers: the same set in any order, the same ring" {
	local i
	up
	in_ns srv ip link add x0 type veth peer name x1
	lb enable dev x0 instance other gateway 02:77:00:00:00:02 source 10.0.0.1
	lb vip add "$V" hash-seed 5
	lb vip add "$V" instance other
	for i in 3 1 4 5 9 2 6; do lb backend add "10.0.1.$i" vip "$V" weight $((i + 1)); done
	lb backend add 10.0.1.8 vip "$V" instance other
	for i in 6 9 5 1 2 4 3; do lb backend add "10.0.1.$i" vip "$V" weight $((i + 1)) instance other; done
	[[ $(ring) != "$(ring "$V" other)" ]]
	lb backend remove 10.0.1.8 vip "$V" instance other
	[[ $(ring) != "$(ring "$V" other)" ]]
	lb vip add "$V" hash-seed 5 instance other
	[[ $(ring) == "$(ring "$V" other)" ]]
}

@test "sticky: all flows of a client to one backend, also after others came" {
	up
	lb vip add "$V" sticky source
	for i in 11 12 13; do lb backend add "10.77.0.$i" vip "$V"; done
	run -0 go 20000 100
	[[ $(cut -d' ' -f2 <<<"$output" | sort -u | wc -l) == 1 ]]
}

@test "no usable backend: dropped and counted" {
	up
	backends 1
	lb backend set 10.77.0.11 vip "$V" drain
	[[ $(go 20000 5 | cut -d' ' -f2 | sort -u) == - ]]
	[[ $(l3af --json lb vip show "$V" | jq '.vips[0].drops.no_backend') == 5 ]]
}

# ---- numbers, instances ----

@test "a removed backend's number is free only when no flow has it" {
	local number before
	up
	backends 2
	# of the same VIP: flows go by the ring, not all to who has the number now
	before=$(go 30000 200 2 | grep '\.12$')
	number=$(numbers | awk '$2 == "10.77.0.12" { print $1 }')
	lb backend remove 10.77.0.12 vip "$V"
	lb backend add 10.77.0.13 vip "$V"
	[[ $(numbers | awk '$2 == "10.77.0.13" { print $1 }') == "$number" ]]
	[[ $(join <(cut -d' ' -f1 <<<"$before") <(go 30000 200) | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.13' ]]
	lb backend remove 10.77.0.13 vip "$V"
	lb backend add 10.77.0.12 vip "$V"
	go 20000 200 2 >/dev/null
	number=$(numbers | awk '$2 == "10.77.0.12" { print $1 }')
	lb backend remove 10.77.0.12 vip "$V"
	[[ $(numbers | wc -l) == 1 ]]
	# the number is another VIP's now: flows of the first one do not go there
	lb vip add 10.99.0.2:53/udp
	lb backend add 10.77.0.14 vip 10.99.0.2:53/udp
	[[ $(numbers | awk '$2 == "10.77.0.14" { print $1 }') == "$number" ]]
	[[ $(cell active 10.77.0.14) == 0 ]]
	[[ $(go 20000 200 | cut -d' ' -f2 | sort -u) == 10.77.0.11 ]]
	[[ $(cell packets 10.77.0.14) == 0 ]]
}

@test "forgotten flows are erased, with any change half an hour later" {
	local value swept
	entries() { L3AF_BPFFS=$BPFFS in_ns srv "$FP/lbring" entries lb; }
	up
	lb vip add "$V" idle 1s
	lb vip add 10.99.0.2:53/udp
	lb backend add 10.77.0.11 vip "$V"
	lb backend add 10.77.0.12 vip 10.99.0.2:53/udp
	go 20000 100 2 >/dev/null
	go 20000 100 2 10.99.0.2 >/dev/null
	[[ $(entries) == 200 ]]
	sleep 3.3
	lb vip add "$V" idle 1s
	[[ $(entries) == 200 ]]
	# lb_config.swept, as if it had been 2048 ticks ago
	mapfile -t value < <(bpftool -j map dump pinned "$STATE/kf/lb/config" | jq -r '.[0].value[] | ltrimstr("0x")')
	swept=$(printf %08x $(((16#${value[27]}${value[26]}${value[25]}${value[24]} - 2048) & 0xffffffff)))
	value[27]=${swept:0:2} value[26]=${swept:2:2} value[25]=${swept:4:2} value[24]=${swept:6:2}
	bpftool map update pinned "$STATE/kf/lb/config" key hex 00 00 00 00 value hex "${value[@]}"
	lb vip add "$V" idle 1s
	[[ $(entries) == 100 ]]
}

@test "what a removed backend counted stays its VIP's" {
	local packets
	up
	backends 2
	go 20000 100 2 >/dev/null
	packets=$(l3af --json lb vip show "$V" | jq '.vips[0].packets')
	[[ $packets == 200 ]]
	lb backend remove 10.77.0.12 vip "$V"
	[[ $(l3af --json lb vip show "$V" | jq '.vips[0].packets') == 200 ]]
	lb backend add 10.77.0.12 vip "$V"
	[[ $(l3af --json lb vip show "$V" | jq '.vips[0].packets') == 200 && $(cell packets 10.77.0.12) == 0 ]]
}

@test "an instance lives as long as it has VIPs or interfaces" {
	up
	backends 2
	l3af chain remove lb dev s0 hook xdp >/dev/null
	l3af chain detach dev s0 hook xdp >/dev/null
	[[ $(go 20000 4 | cut -d' ' -f2 | sort -u) == - ]]
	# what the interface was told stays, too
	does '+ lb dev s0 '"${ENABLED/02:77:00:00:00:02/auto}"'
+ chain lb dev s0 hook xdp position 1 engine link' l3af -q lb enable dev s0
	lb enable dev s0 gateway 02:77:00:00:00:02
	[[ $(go 20000 100 | cut -d' ' -f2 | sort -u | xargs) == '10.77.0.11 10.77.0.12' ]]
	does '- lb dev s0
- chain lb dev s0 hook xdp' l3af lb disable dev s0
	[[ $(ring | sort -u | wc -l) == 2 ]]
	in_ns srv ip link add x0 type veth peer name x1
	lb enable dev x0 instance two gateway 02:77:00:00:00:02
	lb vip add 10.99.0.2/tcp instance two
	lb disable dev x0 instance two
	l3af chain detach dev x0 hook xdp >/dev/null
	does '' l3af lb vip add 10.99.0.2/tcp instance two
	lb vip remove 10.99.0.2/tcp instance two
	does '- lb instance two' l3af lb disable dev x0 instance two
	[[ ! -e $STATE/kf/two ]]
}

@test "an instance without VIPs whose interface is gone is swept with the next change of a chain" {
	in_ns srv ip link add x0 type veth peer name x1
	lb enable dev x0 instance two gateway 02:77:00:00:00:02 source 10.0.0.1
	in_ns srv ip link delete x0
	[[ -e $STATE/kf/two ]]
	l3af chain add pass dev s0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	[[ ! -e $STATE/kf/two ]]
}

# ---- many at once ----

@test "many processes at once: every change is made once" {
	local i pids=()
	up
	lb vip add "$V"
	for i in {1..24}; do
		l3af lb backend add "10.0.1.$i" vip "$V" weight "$i" >"$BATS_TEST_TMPDIR/$i" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	[[ $(cat "$BATS_TEST_TMPDIR"/[0-9]* | sort | uniq -c | awk '$1 != 1' | wc -l) == 0 ]]
	[[ $(cat "$BATS_TEST_TMPDIR"/[0-9]* | wc -l) == 24 && $(l3af --json lb backend list | jq length) == 24 ]]
	[[ $(ring | sort -u | wc -l) == 24 ]]
	pids=()
	for i in {1..24}; do
		l3af lb backend remove "10.0.1.$((i % 12 + 1))" vip "$V" >/dev/null 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	[[ $(l3af --json lb backend list | jq length) == 12 && $(numbers | wc -l) == 12 ]]
	[[ $(ring | sort -u | wc -l) == 12 ]]
}
