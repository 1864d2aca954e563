#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# l2tp: the command. What becomes of frames: l2tpe2e.bats, l2tpkernel.bats.
# shellcheck disable=SC2086 # words of commands

load lib

ENDS='underlay s0 local 10.77.0.1 remote 10.77.0.2 session 1 peer-session 2'
SAYS='underlay s0 local 10.77.0.1 remote 10.77.0.2 session 1 peer-session 2'
CHAIN='chain l2tp dev s0 hook tc-ingress'

setup() {
	pair
	in_ns srv ip link add x0 type veth peer name x1
	in_ns srv ip -b - <<-END
		link set x0 multicast off up
		link set x1 multicast off up
	END
}
teardown() { wipe; }

# l2tp WORD...: one is made, and nothing said
l2tp() { l3af -q l2tp "$@" >/dev/null; }
# field NAME FILTER: of l2tp show, as JSON
field() { l3af --json l2tp show "$1" | jq -c "$2"; }
promiscuous() { in_ns srv ip -d link show "$1" | grep -o 'promiscuity [0-9]*'; }

@test "netdev: add, again, change, remove: what is printed, what there is" {
	does "+ l2tp v1 netdev l2tp0 $SAYS encap udp mtu 1446"$'\n'"+ $CHAIN position 1 engine tcx" \
		l3af l2tp add v1 netdev l2tp0 $ENDS encap udp
	does '' l3af l2tp add v1 netdev l2tp0 $ENDS encap udp
	does '~ l2tp v1 tx-cookie none -> 0a0b0c0d mtu 1446 -> 1442' \
		l3af l2tp add v1 netdev l2tp0 $ENDS encap udp tx-cookie 0a0B0c0D
	does '~ l2tp v1 mtu-given off -> on' l3af l2tp set v1 mtu 1442
	does '~ l2tp v1 sport 1701 -> 1702 tx-cookie 0a0b0c0d -> none rx-cookie none -> 0102030405060708,1112131415161718 sequence off -> on udp-csum off -> on mtu 1442 -> 1300' \
		l3af l2tp set v1 sport 1702 tx-cookie none rx-cookie 0102030405060708 rx-cookie 1112131415161718 sequence on \
		udp-csum on mtu 1300
	does '' l3af l2tp set v1 sport 1702 sequence on mtu 1300
	does '~ l2tp v1 remote 10.77.0.2 -> 10.77.0.9 dport 1701 -> 7 mtu 1300 -> 1438 mtu-given on -> off' \
		l3af l2tp set v1 remote 10.77.0.9 dport 7 mtu auto
	[[ $(field v1 '[.name, .dev, .netdev, .vlan, .underlay, .local, .remote, .session, .peer_session, .encap, .sport,
		.dport, .tx_cookie, .rx_cookies, .sublayer, .sequence, .udp_csum, .mtu_bytes, .mtu_auto, .state]') == \
'["v1","l2tp0",true,null,"s0","10.77.0.1","10.77.0.9",1,2,"udp",1702,7,"none",["0102030405060708","1112131415161718"],"default","on","on",1438,true,"down"]' ]]
	in_ns srv ip link set l2tp0 up
	soon '"on"' field v1 .state
	in_ns srv ip link show l2tp0 | grep -q "mtu 1438"
	does $'- l2tp v1 netdev l2tp0\n'"- $CHAIN" l3af l2tp remove v1
	does '' l3af l2tp remove v1
	[[ ! -e $STATE/kf/l2tp ]]
	run ! in_ns srv ip link show l2tp0
	does '' l3af l2tp list
	does '[]' l3af --json l2tp list
	[[ $(l3af --json l2tp stats | jq -c .) == '{"pseudowires":[],"interfaces":[]}' ]]
}

@test "netdev: frames that it sends are whole; its other end is no host" {
	local helper
	l2tp add v1 netdev l2tp0 $ENDS encap ip
	helper=$(field v1 .helper | tr -d '"')
	in_ns srv ethtool -k l2tp0 >"$BATS_TEST_TMPDIR/features"
	run ! grep -E '^\s*(tx-checksum|tx-.*segmentation|tcp-seg|generic-seg).*: on' "$BATS_TEST_TMPDIR/features"
	[[ $(in_ns srv cat /proc/sys/net/ipv4/conf/$helper/forwarding /proc/sys/net/ipv6/conf/$helper/forwarding \
		/proc/sys/net/ipv4/ip_forward) == $'1\n1\n0' ]]
	[[ -z $(in_ns srv ip -br addr show $helper | awk '{ print $3 }') ]]
	in_ns srv ip link show $helper | grep -q '[<,]UP'
	run ! grep -q '[<,]UP' <<<"$(in_ns srv ip link show l2tp0)"
}

@test "dev: promiscuous as long as a pseudowire has it, vlans share it, the operator's own flag stays" {
	does "+ l2tp v1 dev x0 vlan 100 $SAYS encap ip sublayer none mtu 1462
+ $CHAIN position 1 engine tcx
+ chain l2tp dev x0 hook tc-ingress position 1 engine tcx" l3af -q l2tp add v1 dev x0 vlan 100 $ENDS encap ip sublayer none
	does '' l3af l2tp add v1 dev x0 vlan 100 $ENDS encap ip
	does "+ l2tp v2 dev x0 vlan 100.7 ${SAYS/session 1/session 3} encap ip mtu 1458" \
		l3af -q l2tp add v2 dev x0 vlan 100.7 ${ENDS/session 1/session 3} encap ip
	[[ $(promiscuous x0) == 'promiscuity 1' && $(promiscuous s0) == 'promiscuity 0' ]]
	l2tp remove v1
	[[ $(promiscuous x0) == 'promiscuity 1' ]]
	# lost, and found again
	in_ns srv ip link set x0 promisc off
	l3af chain remove l2tp dev x0 hook tc-ingress >/dev/null
	[[ $(field v2 .state) == '"detached"' ]]
	does '+ chain l2tp dev x0 hook tc-ingress position 1' l3af l2tp add v2 dev x0 ${ENDS/session 1/session 3} encap ip
	[[ $(promiscuous x0) == 'promiscuity 1' && $(field v2 .state) == '"on"' ]]
	l2tp remove v2
	[[ $(promiscuous x0) == 'promiscuity 0' ]]
	in_ns srv ip link set x0 promisc on
	l2tp add v1 dev x0 $ENDS encap ip
	l2tp remove v1
	[[ $(promiscuous x0) == 'promiscuity 1' ]]
}

@test "--dry-run says the same and changes nothing" {
	local words want before='[]'
	for words in "add v1 netdev l2tp0 $ENDS encap udp" "add v2 dev x0 ${ENDS/session 1/session 9} encap ip" \
		'set v1 mtu 1000 sequence on' 'remove v2' flush; do
		run -0 --separate-stderr l3af --dry-run l2tp $words
		want=$output
		[[ -n $want && $(l3af --json l2tp list) == "$before" ]]
		run -0 --separate-stderr l3af -q l2tp $words
		[[ $output == "$want" ]] || { echo "$words: $output, wanted $want"; return 1; }
		before=$(l3af --json l2tp list)
	done
	[[ $(l3af --json --dry-run l2tp add v1 netdev l2tp0 $ENDS encap udp | jq -c '[.changed, .dry_run, .changes[0].op]') == \
		'[true,true,"add"]' ]]
	run ! in_ns srv ip link show l2tp0
}

@test "words that are wrong: one line, nothing attempted" {
	local bad='is not 8 or 16 hexadecimal digits, nor none'
	refuses 2 "l3afctl: l2tp add: tx-cookie: 012 $bad" l3af l2tp add v1 tx-cookie 012
	refuses 2 "l3afctl: l2tp add: rx-cookie: 0102030g $bad" l3af l2tp add v1 rx-cookie 0102030g
	refuses 2 'l3afctl: l2tp add: rx-cookie: 0102030405060708 has another length than the first one' \
		l3af l2tp add v1 rx-cookie 01020304 rx-cookie 0102030405060708
	refuses 2 'l3afctl: l2tp add: rx-cookie: 01020304 is given twice' \
		l3af l2tp add v1 rx-cookie 01020304 rx-cookie 01020304
	refuses 2 'l3afctl: l2tp add: rx-cookie: 03030303 is the third; the old one and the new one are the most' \
		l3af l2tp add v1 rx-cookie 01010101 rx-cookie 02020202 rx-cookie 03030303
	for words in 0 4095 1.0 1.2.3 .1 1. x 12345; do
		refuses 2 "l3afctl: l2tp add: vlan: $words is not a VLAN ID in 1..4094, or two with a dot between (100.200)" \
			l3af l2tp add v1 vlan $words
	done
	refuses 2 'l3afctl: l2tp add: mtu: 67 is not a number in 68..65535, nor auto' l3af l2tp add v1 mtu 67
	refuses 2 'l3afctl: l2tp add: session: 0 is not a number in 1..4294967295' l3af l2tp add v1 session 0
	refuses 2 'l3afctl: l2tp add: remote: 224.0.0.1 is a multicast address' l3af l2tp add v1 remote 224.0.0.1
	refuses 2 'l3afctl: l2tp add: dev and netdev exclude each other' l3af l2tp add v1 dev x0 netdev y0
	refuses 2 'l3afctl: l2tp add: sport: encap ip has no UDP' l3af l2tp add v1 dev x0 $ENDS encap ip sport 7
	refuses 2 'l3afctl: l2tp add: udp-csum: encap ip has no UDP' l3af l2tp add v1 dev x0 $ENDS encap ip udp-csum off
	refuses 2 'l3afctl: l2tp add: sequence: sublayer none has no room for numbers' \
		l3af l2tp add v1 dev x0 $ENDS encap ip sublayer none sequence on
	refuses 2 'l3afctl: l2tp add: vlan is for frames of dev IF; all of l2tp0 are the pseudowire'\''s' \
		l3af l2tp add v1 netdev l2tp0 $ENDS encap ip vlan 7
	refuses 2 'l3afctl: l2tp add: local and remote are of different families' \
		l3af l2tp add v1 dev x0 ${ENDS/10.77.0.2/fd77::2} encap ip
	refuses 2 'l3afctl: l2tp add: local and remote are the same' \
		l3af l2tp add v1 dev x0 ${ENDS/10.77.0.2/10.77.0.1} encap ip
	[[ ! -e $STATE/kf/l2tp ]]
	l2tp add v1 dev x0 $ENDS encap ip sublayer none
	refuses 2 'l3afctl: l2tp set: sport: encap ip has no UDP' l3af l2tp set v1 sport 7
	refuses 2 'l3afctl: l2tp set: sequence: sublayer none has no room for numbers' l3af l2tp set v1 sequence on
	refuses 2 'l3afctl: l2tp set: remote: the pseudowire is over IPv4' l3af l2tp set v1 remote fd77::2
	refuses 2 'l3afctl: l2tp: has no TC program for hook tc-egress' l3af chain add l2tp dev s0 hook tc-egress
	refuses 2 'l3afctl: x1 has no pseudowire; l3afctl l2tp add puts it into the chains' \
		l3af chain add l2tp dev x1 hook tc-ingress
}

@test "what the host refuses: one line, and nothing is left" {
	refuses 1 'l3afctl: local: 10.77.0.7 is not an address of this host' \
		l3af l2tp add v1 dev x0 ${ENDS/10.77.0.1/10.77.0.7} encap ip
	in_ns srv ip addr add 10.77.0.8/24 dev s0
	refuses 1 "l3afctl: remote: 10.77.0.8 is this host's own, of s0" \
		l3af l2tp add v1 dev x0 ${ENDS/10.77.0.2/10.77.0.8} encap ip
	refuses 1 'l3afctl: lo is not an Ethernet interface' l3af l2tp add v1 dev lo $ENDS encap ip
	refuses 1 'l3afctl: s0 is dev and underlay, which needs its own frames; give vlan' l3af l2tp add v1 dev s0 $ENDS encap ip
	refuses 1 'l3afctl: there is an interface x1; give dev x1 to use it' l3af l2tp add v1 netdev x1 $ENDS encap ip
	refuses 1 "l3afctl: mtu: 1459 does not fit: 1458 is left of the underlay's 1500" \
		l3af l2tp add v1 dev x0 $ENDS encap ip mtu 1459
	in_ns srv ip link set s0 mtu 100
	refuses 1 'l3afctl: underlay: s0: no packet fits into its MTU of 100' l3af l2tp add v1 dev x0 $ENDS encap udp
	in_ns srv ip link set s0 mtu 1500
	refuses 1 'l3afctl: there is no l2tp v1' l3af l2tp set v1 mtu auto
	refuses 1 'l3afctl: there is no l2tp v1' l3af l2tp show v1
	refuses 1 'l3afctl: there is no l2tp v1' l3af l2tp stats v1
	[[ ! -e $STATE/kf/l2tp && $(promiscuous x0) == 'promiscuity 0' ]]
	l2tp add v1 dev x0 $ENDS encap ip
	refuses 1 'l3afctl: x0: its frames belong to l2tp v1' l3af l2tp add v2 dev x0 ${ENDS/session 1/session 5} encap ip
	refuses 1 'l3afctl: session: 1 on this underlay is l2tp v1' l3af l2tp add v2 dev x1 $ENDS encap ip
	refuses 1 'l3afctl: underlay: all frames of x0 belong to l2tp v1' \
		l3af l2tp add v2 dev x1 ${ENDS/s0/x0} encap ip
	refuses 1 'l3afctl: s0 is the underlay of l2tp v1, which needs its frames; give vlan' \
		l3af l2tp add v2 dev s0 ${ENDS/s0/x1} encap ip
	l2tp add v3 dev x0 vlan 7 ${ENDS/session 1/session 5} encap ip
	refuses 1 'l3afctl: x0: its frames with this vlan belong to l2tp v3' \
		l3af l2tp add v2 dev x0 vlan 7 ${ENDS/session 1/session 6} encap ip
	refuses 1 'l3afctl: l2tp v1 is another pseudowire (l3afctl l2tp show v1); l3afctl l2tp remove v1 first' \
		l3af l2tp add v1 dev x0 $ENDS encap udp
	[[ $(l3af --json l2tp list | jq -c '[.[].name]') == '["v1","v3"]' ]]
}

@test "warnings: no route, another route, frames that cannot get in" {
	run -0 --separate-stderr l3af l2tp add v1 netdev l2tp0 ${ENDS/10.77.0.2/192.0.2.7} encap udp
	[[ $stderr == 'l3afctl: warning: l2tp v1: there is no route to 192.0.2.7' ]]
	in_ns srv ip route add 192.0.2.0/24 dev x0
	run -0 --separate-stderr l3af l2tp set v1 remote 192.0.2.8
	run -0 --separate-stderr l3af l2tp add v2 netdev l2tp1 ${ENDS/2 session 1/9 session 3} encap ip
	[[ -z $stderr ]]
	run -0 --separate-stderr l3af l2tp add v3 netdev l2tp2 underlay s0 local 10.77.0.1 remote 192.0.2.7 session 9 \
		peer-session 1 encap ip
	[[ $stderr == 'l3afctl: warning: l2tp v3: the route to 192.0.2.7 leaves by x0' ]]
	run -0 --separate-stderr l3af l2tp add v4 dev x1 underlay s0 local 10.77.0.1 remote 10.77.0.2 session 10 \
		peer-session 1 encap ip
	[[ $stderr == 'l3afctl: warning: l2tp v4: packets that are to be segmented or summed behind x1 cannot get into it: ethtool -K IF tx off at the other end of x1, or netdev instead of dev' ]]
}

@test "interfaces that vanish: said, made anew by add, gone with remove" {
	l2tp add v1 netdev l2tp0 $ENDS encap udp
	l2tp add v2 dev x0 ${ENDS/session 1/session 3} encap udp
	in_ns srv ip link del l2tp0
	in_ns srv ip link del x0
	[[ $(l3af --json l2tp list | jq -c '.[] | [.name, .dev, .state]') == \
$'["v1","l2tp0(gone)","gone"]\n["v2","x0(gone)","gone"]' ]]
	refuses 1 'l3afctl: an interface of l2tp v1 is gone; l3afctl l2tp add makes it anew' l3af l2tp set v1 mtu 1000
	does $'- l2tp v1 netdev l2tp0\n'"+ l2tp v1 netdev l2tp0 $SAYS encap udp mtu 1446" \
		l3af l2tp add v1 netdev l2tp0 $ENDS encap udp
	in_ns srv ip link show l2tp0 >/dev/null
	does '- l2tp v2 dev x0' l3af l2tp remove v2
	# the underlay
	in_ns srv ip link del s0
	[[ $(field v1 '[.underlay, .state]') == '["s0(gone)","gone"]' ]]
	does '- l2tp v1 netdev l2tp0' l3af l2tp flush
	run ! in_ns srv ip link show l2tp0
	[[ ! -e $STATE/kf/l2tp && -z $(find "$STATE/chain" -type f 2>/dev/null) ]]
}

@test "renamed, moved: a pseudowire is its interfaces', not their names'" {
	l2tp add v1 netdev l2tp0 $ENDS encap udp
	in_ns srv ip link set l2tp0 name office
	[[ $(field v1 '[.dev, .state]') == '["office","down"]' ]]
	in_ns srv ip link set office netns cli
	[[ $(field v1 .dev) == '"l2tp0"' ]]
	does '' l3af l2tp add v1 netdev l2tp0 $ENDS encap udp
	does $'- l2tp v1 netdev l2tp0\n'"- $CHAIN" l3af l2tp remove v1
	run ! in_ns cli ip link show office
}

@test "each network namespace has its own; names are all the host's" {
	l2tp add v1 netdev l2tp0 $ENDS encap udp
	refuses 1 'l3afctl: l2tp v1 is of another network namespace' env NS=cli bash -c '. tests/net.bash; in_ns cli "$BUILD/l3afctl" --bpffs "$BPFFS" l2tp remove v1'
	NS=cli l2tp add w1 netdev l2tp0 underlay c0 local 10.77.0.2 remote 10.77.0.1 session 1 peer-session 1 encap udp
	[[ $(NS=cli l3af --json l2tp list | jq -c '.[] | [.name, .state]') == $'["v1","elsewhere"]\n["w1","down"]' ]]
	does $'- l2tp v1 netdev l2tp0\n'"- $CHAIN" l3af l2tp flush
	[[ $(NS=cli l3af --json l2tp list | jq -c '[.[].name]') == '["w1"]' ]]
	in_ns cli ip link show l2tp0 >/dev/null
	NS=cli l2tp flush
	[[ ! -e $STATE/kf/l2tp ]]
}

@test "no room: said, and nothing is left of the one that does not fit" {
	local map=$STATE/kf/l2tp/endpoints
	l2tp add v1 netdev l2tp0 $ENDS encap udp
	for n in {1..65536}; do
		printf 'map update pinned %s key hex %02x %02x %02x 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 value hex 1\n' \
			"$map" $((n & 255)) $((n >> 8 & 255)) $((n >> 16))
	done >"$BATS_TEST_TMPDIR/batch"
	run ! bpftool batch file "$BATS_TEST_TMPDIR/batch"
	refuses 1 'l3afctl: there are 65536 pseudowires already, no more fit' \
		l3af l2tp add v2 netdev l2tp1 ${ENDS/session 1/session 3} encap ip
	[[ $(l3af --json l2tp list | jq -c '[.[] | [.name, .underlay]]') == '[["v1","s0"]]' ]]
	run ! in_ns srv ip link show l2tp1
	# a failed one makes whole what is no session's
	[[ $(bpftool -j map dump pinned "$map" | jq length) == 1 ]]
	l2tp add v2 netdev l2tp1 ${ENDS/session 1/session 3} encap ip
}
