#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# agent: packets out of tunnels, to applications that own the VIP or do not. What becomes of
# a packet is asked of the program itself (BPF_PROG_TEST_RUN) where bytes matter, of real
# traffic where the kernel does.
# shellcheck disable=SC2086,SC2030,SC2031,SC2154 # variables of run, load and start

load lib
load agent

setup() { pair; }
teardown() { finish_all; wipe; }

# ---- the command ----

@test "enable, again, change, disable: what is printed" {
	does $'+ agent dev s0 at nic hook xdp port 6080\n+ agent vip 192.0.2.1 dev s0
+ chain agent dev s0 hook tc-egress position 1 engine tcx\n+ chain agent dev s0 hook xdp position 1 engine link' \
		l3af agent enable dev s0 vip 192.0.2.1
	does '' l3af agent enable dev s0 vip 192.0.2.1
	does '' l3af agent enable dev s0
	does $'+ agent source 10.0.0.0/8 dev s0\n+ agent source fd00::/8 dev s0\n+ agent vip fd55::1 dev s0 to fd77::1' \
		l3af agent enable dev s0 vip fd55::1 to fd77::1 strict source 10.0.0.0/8 strict source fd00::/8
	does '~ agent vip 192.0.2.1 dev s0 to local -> 10.77.0.1' l3af agent enable dev s0 vip 192.0.2.1 to 10.77.0.1
	does $'+ agent source 10.1.0.0/16 dev s0\n- agent source 10.0.0.0/8 dev s0\n- agent source fd00::/8 dev s0' \
		l3af agent enable dev s0 strict source 10.1.0.0/16
	does '~ agent dev s0 port 6080 -> 6081' l3af agent enable dev s0 port 6081
	does $'~ agent dev s0 hook xdp -> tc\n- chain agent dev s0 hook xdp\n+ chain agent dev s0 hook tc-ingress position 1 engine tcx' \
		l3af agent enable dev s0 hook tc
	does $'~ agent dev s0 at nic -> guest\n- chain agent dev s0 hook tc-ingress\n- chain agent dev s0 hook tc-egress
+ chain agent dev s0 hook tc-ingress position 1\n+ chain agent dev s0 hook tc-egress position 1' \
		l3af agent enable dev s0 at guest
	[[ $(l3af --json agent list | jq -c '.[] | [.dev, .vip, .to, .at, .hook, .port, .sources, .enabled]') == \
'["s0","192.0.2.1","10.77.0.1","guest","tc",6081,["10.1.0.0/16"],true]
["s0","fd55::1","fd77::1","guest","tc",6081,["10.1.0.0/16"],true]' ]]
	does '' l3af agent disable dev s0 vip 192.0.2.9
	does '- agent vip fd55::1 dev s0' l3af agent disable dev s0 vip fd55::1
	does $'- agent dev s0\n- chain agent dev s0 hook tc-ingress\n- chain agent dev s0 hook tc-egress' \
		l3af agent disable dev s0
	does '' l3af agent disable dev s0
	does '' l3af agent list
	does '[]' l3af --json agent stats
	[[ ! -e $STATE/kf/agent ]]
}

@test "--dry-run says the same and changes nothing" {
	local words want before='[]'
	for words in 'vip 192.0.2.1' 'vip 192.0.2.1 to 10.77.0.1 strict source 10.0.0.0/8' 'hook tc port 9'; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr l3af --dry-run agent enable dev s0 $words
		want=$output
		[[ -n $want && $(l3af --json agent list) == "$before" ]]
		# shellcheck disable=SC2086
		does "$want" l3af agent enable dev s0 $words
		before=$(l3af --json agent list)
	done
	run -0 --separate-stderr l3af --dry-run agent disable dev s0
	want=$output
	[[ $(l3af --json agent list) == "$before" ]]
	does "$want" l3af agent disable dev s0
}

@test "local: the addresses that the host has, and no others" {
	in_ns srv ip addr add 192.0.2.1/32 dev lo
	run -0 l3af agent enable dev s0 local
	[[ $(l3af --json agent list | jq -r '.[].vip' | xargs) == '10.77.0.1 192.0.2.1 fd77::1' ]]
	in_ns srv ip addr del 192.0.2.1/32 dev lo
	in_ns srv ip addr add 192.0.2.2/32 dev lo
	does $'+ agent vip 192.0.2.2 dev s0\n- agent vip 192.0.2.1 dev s0' l3af agent enable dev s0 local
	does '' l3af agent enable dev s0 local
	# one with a purpose of its own stays
	does '+ agent vip 192.0.2.3 dev s0' l3af agent enable dev s0 vip 192.0.2.3
	does '' l3af agent enable dev s0 local
}

@test "what is wrong is said in one line, and nothing is attempted" {
	refuses 2 'l3afctl: agent enable: which packets? give vip ADDR, vip ADDR to ADDR, or local' l3af agent enable dev s0
	refuses 2 'l3afctl: agent enable: to: 10.0.0.1 has no vip ADDR of its own before it' \
		l3af agent enable dev s0 to 10.0.0.1
	refuses 2 'l3afctl: agent enable: to: 10.0.0.2 has no vip ADDR of its own before it' \
		l3af agent enable dev s0 vip 192.0.2.1 to 10.0.0.1 to 10.0.0.2
	refuses 2 'l3afctl: agent enable: to: fd00::1 is of another family than its VIP: addresses are translated, not protocols' \
		l3af agent enable dev s0 vip 192.0.2.1 to fd00::1
	refuses 2 'l3afctl: agent enable: to: 192.0.2.1 is the VIP itself; leave to away where the application owns the VIP' \
		l3af agent enable dev s0 vip 192.0.2.1 to 192.0.2.1
	refuses 2 'l3afctl: agent enable: vip: 192.0.2.1 is given twice' \
		l3af agent enable dev s0 vip 192.0.2.1 vip 192.0.2.1
	refuses 2 'l3afctl: agent enable: vip: 224.0.0.1 is a multicast address' \
		l3af agent enable dev s0 vip 224.0.0.1
	refuses 2 "l3afctl: agent enable: vip: :: is no host's address" \
		l3af agent enable dev s0 vip ::
	refuses 2 'l3afctl: agent enable: vip and local exclude each other' l3af agent enable dev s0 vip 192.0.2.1 local
	refuses 2 'l3afctl: agent enable: strict source: 10.0.0.1/8 has bits behind its length; the network is 10.0.0.0/8' \
		l3af agent enable dev s0 local strict source 10.0.0.1/8
	refuses 2 "l3afctl: s0: XDP at a guest's interface sees only what the guest sends; use hook tc, or at nic" \
		l3af agent enable dev s0 local at guest hook xdp
	[[ ! -e $STATE/kf/agent ]]
	refuses 2 'l3afctl: s0 has no agent of instance agent; l3afctl agent enable dev s0 puts it into the chains' \
		l3af chain add agent dev s0 hook xdp
	agent vip 192.0.2.1
	refuses 2 'l3afctl: the agent of s0 is at nic, hook xdp: its programs are in xdp and tc-egress' \
		l3af chain add agent dev s0 hook tc-ingress
	refuses 1 'l3afctl: the agent of s0 is of instance agent; l3afctl agent disable dev s0 first, or give instance agent' \
		l3af agent enable dev s0 vip 192.0.2.1 instance other
}

@test "instances of their own, pins removed by hand, interfaces that are gone" {
	in_ns srv ip link add x0 type veth peer name x1
	l3af agent enable dev x0 vip 192.0.2.1 instance two >/dev/null
	agent vip 192.0.2.1
	[[ $(l3af --json agent list | jq -c '[.[] | [.dev, .instance, .enabled]]') == \
		'[["s0","agent",true],["x0","two",true]]' ]]
	[[ $(l3af --json agent list instance two | jq -c '[.[].dev]') == '["x0"]' ]]
	[[ $(l3af --json agent list dev s0 | jq -c '[.[].dev]') == '["s0"]' ]]
	rm -r "$STATE/kf/agent"
	run -0 l3af agent enable dev s0 vip 192.0.2.1
	[[ $(l3af --json agent list dev s0 | jq .[].enabled) == true ]]
	l3af chain remove agent dev s0 hook xdp >/dev/null
	[[ $(l3af --json agent list dev s0 | jq .[].enabled) == false ]]
	does '+ chain agent dev s0 hook xdp position 1' l3af agent enable dev s0
	in_ns srv ip link delete x0
	[[ $(l3af --json agent list instance two | jq -r .[].dev) == 'x0(gone)' ]]
	run -0 l3af agent disable dev s0 instance two
	[[ $output == '- agent dev x0(gone) instance two' && ! -e $STATE/kf/two ]]
}

# ---- which packets, byte by byte ----

# decap_table: of VIPs 192.0.2.1 and fd55::1 that the host owns, sources 10.77.0.0/24 and fd77::/64
decap_table() {
	table "$1" <<-'END'
		len=10 | take
		len=10 gue=0 | take
		len=0 gue=0 data=0102030405060708 | take
		len=4 gue=0 data=00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 | take
		osrc=fd77::2 odst=fd77::1 len=5 | take
		osrc=fd77::2 odst=fd77::1 len=5 gue=0 data=01020304 | take
		src=fd56::9 dst=fd55::1 len=7 | take
		src=fd56::9 dst=fd55::1 len=7 gue=0 | take
		src=fd56::9 dst=fd55::1 osrc=fd77::2 odst=fd77::1 len=7 l4=tcp | take
		src=fd56::9 dst=fd55::1 osrc=fd77::2 odst=fd77::1 opts=1 l4=tcp | take
		l4=tcp tcp=S mss=1460 | take
		l4=132 len=12 | take
		l4=icmp icmp=8,0,1 len=20 | take
		opts=1 len=9 | take
		frag=0,1 part=32 len=64 | take
		frag=4,0 len=64 | take
		csum=0 len=3 | take
		len=1 pad=30 | take
		otos=1 tos=2 | take tos=1
		otos=3 tos=1 | take tos=3
		otos=3 tos=2 src=fd56::9 dst=fd55::1 | take tos=3
		otos=3 tos=0x2d osrc=fd77::2 odst=fd77::1 | take tos=0x2f
		otos=2 tos=0 | take tos=0
		otos=3 tos=0 | drop
		dst=192.0.2.2 | pass
		src=fd56::9 dst=fd55::2 | pass
		odst=none | pass
		odst=none l4=tcp tcp=S | pass
		odst=none dst=10.77.0.1 to=6080 len=40 | pass
		port=6081 | pass
		osrc=10.78.0.2 | pass
		osrc=fd78::2 odst=fd77::1 | pass
		gue=0 c=1 | pass
		gue=0 flags=1 | pass
		gue=0 flags=0x8000 | pass
		gue=0 proto=17 | pass
		gue=0 proto=41 | pass
		oopts=1 | pass
		osrc=fd77::2 odst=fd77::1 oopts=1 | pass
		ofrag=0,1 | pass
		osrc=fd77::2 odst=fd77::1 ofrag=0,1 | pass
		ofrag=1,0 | pass
		ilen=30 len=10 | take
		ilen=1000 | pass
		ilen=19 | pass
		ulen=30 | pass
		ulen=900 len=10 | pass
		size=60 len=200 | pass
	END
}

@test "what is taken out of a tunnel in XDP, and what is left alone" {
	agent vip 192.0.2.1 vip fd55::1 strict source 10.77.0.0/24 strict source fd77::/64
	decap_table xdp
	table xdp <<-'END'
		vlan=5 len=10 | take
		vlan=5 vlan=6 len=10 | take
		vlan=5 src=fd56::9 dst=fd55::1 len=10 | take
		vlan=5 osrc=fd77::2 odst=fd77::1 len=10 | take
		vlan=5 vlan=6 src=fd56::9 dst=fd55::1 osrc=fd77::2 odst=fd77::1 len=10 gue=0 | take
		vlan=5 dst=192.0.2.2 | pass
		size=43 | pass
		size=30 | pass
	END
	[[ $(counter decapsulated) == 29 && $(counter congested) == 1 && $(counter not_allowed) == 2 ]]
	[[ $(counter no_vip) == 3 && $(counter outer) == 4 && $(counter unknown) == 6 && $(counter bad_length) == 6 ]]
}

@test "the same in TC" {
	agent vip 192.0.2.1 vip fd55::1 strict source 10.77.0.0/24 strict source fd77::/64 hook tc
	decap_table tc-ingress
	[[ $(counter decapsulated) == 24 && $(counter congested) == 1 && $(counter not_allowed) == 2 ]]
	[[ $(counter unable) == 0 ]]
}

# translate_table HOOK: VIPs 192.0.2.1 to 10.77.0.1, fd55::1 to fd77::1
translate_table() {
	table "$1" <<-'END'
		l4=tcp tcp=S mss=1460 | take dst=10.77.0.1
		l4=tcp len=100 | take dst=10.77.0.1
		l4=tcp len=101 opts=1 | take dst=10.77.0.1
		l4=udp len=11 | take dst=10.77.0.1
		l4=udp len=11 zero=1 | take dst=10.77.0.1
		l4=udp len=12 osrc=fd77::2 odst=fd77::1 | take dst=10.77.0.1
		src=fd56::9 dst=fd55::1 l4=tcp len=33 | take dst=fd77::1
		src=fd56::9 dst=fd55::1 l4=udp len=33 | take dst=fd77::1
		src=fd56::9 dst=fd55::1 l4=udp len=33 opts=1 | take dst=fd77::1
		src=fd56::9 dst=fd55::1 l4=tcp osrc=fd77::2 odst=fd77::1 | take dst=fd77::1
		frag=4,0 len=64 | take dst=10.77.0.1
		src=fd56::9 dst=fd55::1 frag=4,0 len=64 | take dst=fd77::1
		l4=icmp icmp=3,4,1300 quote=src=192.0.2.1,dst=192.0.2.99,l4=tcp,from=80,to=40000,zero=1 qlen=28 | take dst=10.77.0.1 quote=src=10.77.0.1,dst=192.0.2.99,l4=tcp,from=80,to=40000
		l4=icmp icmp=3,3,0 quote=src=192.0.2.1,dst=192.0.2.99,l4=udp,from=80,to=40000,zero=1 | take dst=10.77.0.1 quote=src=10.77.0.1,dst=192.0.2.99,l4=udp,from=80,to=40000,zero=1
		l4=icmp icmp=11,0,0 quote=src=192.0.2.1,dst=192.0.2.99,opts=1,zero=1 qlen=32 | take dst=10.77.0.1 quote=src=10.77.0.1,dst=192.0.2.99,opts=1,zero=1
		src=fd56::9 dst=fd55::1 l4=icmp6 icmp=2,0,1300 quote=src=fd55::1,dst=fd56::99,l4=tcp,from=80 qlen=48 | take dst=fd77::1 quote=src=fd77::1,dst=fd56::99,l4=tcp,from=80
		src=fd56::9 dst=fd55::1 l4=icmp6 icmp=1,4,0 quote=src=fd55::1,dst=fd56::99,zero=1 | take dst=fd77::1 quote=src=fd77::1,dst=fd56::99,zero=1
		l4=icmp icmp=8,0,1 len=20 | pass
		l4=icmp icmp=3,3,0 quote=src=192.0.2.1,dst=192.0.2.99 qlen=27 | pass
		l4=icmp icmp=3,3,0 quote=src=192.0.2.7,dst=192.0.2.99 | pass
		l4=icmp icmp=3,3,0 quote=src=192.0.2.1,dst=192.0.2.99,l4=47,len=8 | pass
		src=fd56::9 dst=fd55::1 l4=icmp6 icmp=128,0,9 | pass
		l4=132 len=12 | pass
		odst=none | pass
		odst=none dst=10.77.0.1 | pass
	END
}

@test "destinations are translated in XDP, checksums and quotes with them" {
	agent vip 192.0.2.1 to 10.77.0.1 vip fd55::1 to fd77::1
	translate_table xdp
	[[ $(counter decapsulated) == 17 && $(counter translated) == 12 && $(counter icmp) == 5 ]]
	[[ $(counter not_translatable) == 6 && $(counter direct) == 1 ]]
}

@test "and in TC" {
	agent vip 192.0.2.1 to 10.77.0.1 vip fd55::1 to fd77::1 hook tc
	translate_table tc-ingress
	[[ $(counter decapsulated) == 17 && $(counter not_translatable) == 6 && $(counter unable) == 0 ]]
}

# each UDP checksum there is, the one that would be 0 too
@test "UDP checksums: 65536 of them" {
	agent vip 192.0.2.1 to 10.77.0.1
	python3 - "$TOP/tests/tools" "$FP/agentrun" "$(program xdp)" <<-'END'
		import subprocess, sys
		sys.path.insert(0, sys.argv[1])
		import gue
		w = gue.words(["len=2", "from=1"])
		own = gue.words(["len=2", "from=1", "dst=10.77.0.1"])
		plain, want = gue.frame(w), gue.frame(own, False)
		lines, wanted = [], []
		for i in range(0, 65536, 13):
		    # source port and payload make up for each other: the sum is what it was
		    port = (i or 1).to_bytes(2, "big")
		    for f, out, at in ((plain, lines, 28 + 14), (want, wanted, 14)):
		        b = bytearray(f)
		        b[at + 20:at + 22] = port
		        src, dst = bytes(b[at + 12:at + 16]), bytes(b[at + 16:at + 20])
		        b[at + 26:at + 28] = b"\0\0"
		        s = gue.csum(gue.pseudo(src, dst, 17, 10) + bytes(b[at + 20:at + 30])) or 0xffff
		        b[at + 26:at + 28] = s.to_bytes(2, "big")
		        out.append(bytes(b).hex())
		got = subprocess.run(sys.argv[2:], input="\n".join(lines) + "\n", capture_output=True, text=True).stdout.split()
		assert got[1::2] == wanted, next((a, b) for a, b in zip(got[1::2], wanted) if a != b)
	END
}

@test "packets changed at random leave as they came, or as the inner packet" {
	local hook
	in_ns srv ip link add x0 type veth peer name x1
	for hook in xdp tc-ingress; do
		l3af agent enable dev s0 hook "${hook%%-*}" vip 192.0.2.1 vip fd55::1 strict source 10.77.0.0/24 \
			strict source fd77::/64 >/dev/null
		{ python3 "$GUE" frame len=40
			python3 "$GUE" frame len=40 gue=0 data=0102030405060708
			python3 "$GUE" frame len=40 l4=tcp osrc=fd77::2 odst=fd77::1
			python3 "$GUE" frame len=40 src=fd56::1 dst=fd55::1
			python3 "$GUE" frame len=40 src=fd56::1 dst=fd55::1 osrc=fd77::2 odst=fd77::1 opts=1
			python3 "$GUE" frame len=40 opts=1 odst=none
			[[ $hook == tc-ingress ]] || python3 "$GUE" frame len=40 vlan=5 vlan=6; } >"$BATS_TEST_TMPDIR/frames"
		run -0 "$FP/agentrun" "$(program $hook)" fuzz 7 200000 <"$BATS_TEST_TMPDIR/frames"
		[[ $output == 'frames 200000 taken '* && ${output##* } -gt 20000 ]]
	done
}

# ---- traffic ----

@test "an application that owns the VIPs: TCP and UDP, XDP and TC, with and without offloads" {
	local hook how
	tunnels
	own
	start app srv python3 "$ECHO" serve 80 "${VIP[@]}"
	for hook in xdp tc; do
		agent hook $hook vip "${VIP[44]}" vip "${VIP[46]}" vip "${VIP[64]}" vip "${VIP[66]}"
		for how in on off; do
			offloads $how
			all_echo
		done
	done
	[[ $(counter clamped) == 16 && $(counter unable) == 0 ]]
	# as far as the widest tunnel asks for
	[[ $(l3af --json agent list | jq -c '[.[] | [.vip, .overhead]]') == \
		'[["192.0.2.1",28],["192.0.2.101",48],["fd55::1",28],["fd55::65",48]]' ]]
}

@test "an application that has an address of its own: translated, and back" {
	local hook how
	tunnels
	start app srv python3 "$ECHO" serve 80 "$OWN4" "$OWN6"
	for hook in xdp tc; do
		translate hook $hook
		for how in on off; do
			offloads $how
			all_echo
			echoes udp0 "${VIP[44]}" 100
		done
	done
	[[ $(counter clamped) == 16 && $(counter unable) == 0 && $(counter conflict) == 0 ]]
	# the application itself is there for others as it was
	echoes tcp "$OWN4" 10000
	echoes udp "$OWN4" 1000
	echoes tcp "$OWN6" 10000
	[[ $(counter conflict) == 0 ]]
}

@test "datagrams in fragments, both ways, and replies of which the first fragment is not known" {
	local hook v
	tunnels
	start app srv python3 "$ECHO" serve 80 "$OWN4" "$OWN6"
	# room for the tunnel around whole fragments
	in_ns cli ip link set c0 mtu 1600
	in_ns srv ip link set s0 mtu 1600
	in_ns cli ip route change 192.0.2.0/24 via 10.77.0.1 mtu 1500
	in_ns cli ip route change fd55::/64 via fd77::1 mtu 1500
	for hook in xdp tc; do
		translate hook $hook
		for v in "${VIP[@]}"; do echoes udp "$v" 5000; done
	done
	[[ $(counter lost_fragment) == 0 && $(errors srv) == $'0\n0' && $(errors cli) == $'0\n0' ]]
	table tc-egress <<-'END'
		odst=none src=10.77.0.1 dst=192.0.2.99 id=99 frag=4,0 len=64 | pass
		odst=none src=fd77::1 dst=fd56::9 id=99 frag=4,0 len=64 | pass
	END
	[[ $(counter lost_fragment) == 2 ]]
}

# reply_table: of connections from 192.0.2.99:40000 to 192.0.2.1:80 and from fd56::9:40000 to fd55::1:80
reply_table() {
	table tc-egress <<-'END'
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 len=9 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 len=9 opts=1 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA mss=1460 | take src=192.0.2.1 mss=1432
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA topts=01 mss=1461 | take src=192.0.2.1 mss=1433
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA topts=0402080a0102030405060708 mss=1300 | take src=192.0.2.1 mss=1272
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA topts=00 mss=1300 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA topts=03ff0000 mss=1300 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA mss=100 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40000 len=5 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40000 len=5 zero=1 | take src=192.0.2.1
		odst=none src=fd77::1 dst=fd56::9 l4=tcp from=80 to=40000 len=8 | take src=fd55::1
		odst=none src=fd77::1 dst=fd56::9 l4=tcp from=80 to=40000 opts=1 tcp=SA mss=1440 | take src=fd55::1 mss=1392
		odst=none src=fd77::1 dst=fd56::9 l4=udp from=80 to=40000 len=8 | take src=fd55::1
		vlan=9 odst=none src=fd77::1 dst=fd56::9 l4=udp from=80 to=40000 len=8 | take src=fd55::1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=icmp icmp=3,3,0 quote=src=192.0.2.99,dst=10.77.0.1,l4=udp,from=40000,to=80,zero=1 qlen=28 | take src=192.0.2.1 quote=src=192.0.2.99,dst=192.0.2.1,l4=udp,from=40000,to=80,zero=1
		odst=none src=10.77.0.7 dst=192.0.2.99 l4=icmp icmp=11,0,0 quote=src=192.0.2.99,dst=10.77.0.1,l4=tcp,from=40000,to=80 qlen=28 | take quote=src=192.0.2.99,dst=192.0.2.1,l4=tcp,from=40000,to=80
		odst=none src=fd77::1 dst=fd56::9 l4=icmp6 icmp=1,4,0 quote=src=fd56::9,dst=fd77::1,l4=udp,from=40000,to=80,zero=1 qlen=48 | take src=fd55::1 quote=src=fd56::9,dst=fd55::1,l4=udp,from=40000,to=80,zero=1
		odst=none src=fd77::7 dst=fd56::9 l4=icmp6 icmp=3,0,0 quote=src=fd56::9,dst=fd77::1,l4=tcp,from=40000,to=80 qlen=48 | take quote=src=fd56::9,dst=fd55::1,l4=tcp,from=40000,to=80
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40001 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=81 to=40000 | pass
		odst=none src=10.77.0.2 dst=192.0.2.99 l4=tcp from=80 to=40000 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=icmp icmp=3,3,0 quote=src=192.0.2.99,dst=10.77.0.1,l4=udp,from=4,to=80 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=icmp icmp=0,0,1 len=9 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=132 len=12 | pass
	END
}

# opened: as the table above needs it
opened() {
	table "$1" <<-'END'
		l4=tcp tcp=S | take dst=10.77.0.1
		l4=udp len=3 | take dst=10.77.0.1
		src=fd56::9 dst=fd55::1 l4=tcp tcp=S osrc=fd77::2 odst=fd77::1 | take dst=fd77::1
		src=fd56::9 dst=fd55::1 l4=udp osrc=fd77::2 odst=fd77::1 | take dst=fd77::1
	END
}

@test "replies leave from the VIP: checksums, quotes, the maximum segment size wherever it stands" {
	agent vip 192.0.2.1 to "$OWN4" vip fd55::1 to "$OWN6"
	opened xdp
	reply_table
	[[ $(counter replies) == 14 && $(counter icmp) == 4 && $(counter clamped) == 4 ]]
	[[ $(l3af --json agent list | jq -c '.[] | [.vip, .packets, .replies, .connections]') == \
		$'["192.0.2.1",2,12,2]\n["fd55::1",2,6,2]' ]]
}

@test "SYN-ACKs of an application that owns the VIP, and of others" {
	agent vip 192.0.2.1 vip fd55::1
	table xdp <<<'l4=tcp tcp=S | take'
	table tc-egress <<-'END'
		odst=none src=192.0.2.1 dst=192.0.2.99 l4=tcp from=80 to=1 tcp=SA mss=1460 | take mss=1432
		odst=none src=192.0.2.1 dst=192.0.2.99 l4=tcp from=80 to=1 tcp=S mss=1460 | pass
		odst=none src=192.0.2.1 dst=192.0.2.99 l4=tcp from=80 to=1 tcp=A mss=1460 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=1 tcp=SA mss=1460 | pass
		odst=none src=fd55::1 dst=fd56::9 l4=tcp from=80 to=1 tcp=SA mss=1440 | take mss=1392
		odst=none src=fd77::1 dst=fd56::9 l4=tcp from=80 to=1 tcp=SA mss=1440 | pass
	END
}

@test "who speaks to the application directly gets no VIP, and two VIPs cannot share a connection" {
	agent vip 192.0.2.1 to "$OWN4" vip 192.0.2.2 to "$OWN4"
	table xdp <<-'END'
		l4=tcp tcp=S | take dst=10.77.0.1
		l4=tcp dst=192.0.2.2 | drop
		l4=udp dst=192.0.2.2 | take dst=10.77.0.1
		l4=udp | drop
	END
	[[ $(counter conflict) == 2 ]]
	table tc-egress <<-'END'
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 | take src=192.0.2.1
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40000 | take src=192.0.2.2
	END
	# in the middle of a connection nothing tells it from another; a SYN and a datagram do
	table xdp <<-'END'
		odst=none dst=10.77.0.1 l4=tcp tcp=A | pass
		odst=none dst=10.77.0.1 l4=tcp tcp=S | pass
		odst=none dst=10.77.0.1 l4=udp | pass
	END
	[[ $(counter direct) == 2 ]]
	table tc-egress <<-'END'
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40000 | pass
	END
	# and the application's own connection from the same port
	table xdp <<<'l4=tcp dst=192.0.2.2 | take dst=10.77.0.1'
	table tc-egress <<-'END'
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 | take src=192.0.2.2
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=S | pass
		odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 | pass
	END
}

# age SECONDS: all connections, by so much
age() {
	local ticks
	ticks=$(($1 * $(python3 -c 'import time; print(round(1 / time.clock_getres(5)))'))) # CLOCK_REALTIME_COARSE
	bpftool -j map dump pinned "$STATE/kf/agent/conns" | python3 -c '
import json, subprocess, sys
for e in json.load(sys.stdin):
    v = bytes(int(x, 16) for x in e["value"])
    seen = (int.from_bytes(v[16:20], "little") - int(sys.argv[1])) & 0xffffffff
    v = v[:16] + seen.to_bytes(4, "little") + v[20:]
    subprocess.run(["bpftool", "map", "update", "pinned", sys.argv[2], "key", "hex", *[x[2:] for x in e["key"]],
                    "value", "hex", *["%02x" % x for x in v]], check=True)' "$ticks" "$STATE/kf/agent/conns"
}

@test "connections end by time: an hour, a minute, ten seconds" {
	local tcp='odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000' udp
	udp=${tcp/tcp/udp}
	agent vip 192.0.2.1 to "$OWN4" vip 192.0.2.2 to "$OWN4"
	table xdp <<<$'l4=tcp tcp=S | take dst=10.77.0.1\nl4=udp | take dst=10.77.0.1'
	age 50
	table tc-egress <<<"$udp | take src=192.0.2.1"
	table xdp <<<'l4=udp dst=192.0.2.2 | drop'
	age 61
	table tc-egress <<<"$udp | pass"
	[[ $(l3af --json agent list | jq -c '[.[].connections]') == '[1,0]' ]]
	table xdp <<<'l4=udp dst=192.0.2.2 | take dst=10.77.0.1'
	age 3300
	table tc-egress <<<"$tcp | take src=192.0.2.1"
	# a FIN of one side is not the end
	table xdp <<<'l4=tcp tcp=FA | take dst=10.77.0.1'
	age 60
	table tc-egress <<<"$tcp | take src=192.0.2.1"$'\n'"$tcp tcp=FA | take src=192.0.2.1"
	age 4
	table tc-egress <<<"$tcp | take src=192.0.2.1"
	age 11
	table tc-egress <<<"$tcp | pass"
	# another one with the same ports; reset
	table xdp <<<$'l4=tcp tcp=S | take dst=10.77.0.1\nl4=tcp tcp=R | take dst=10.77.0.1'
	age 11
	table tc-egress <<<"$tcp | pass"
	# one that the application does not believe
	table xdp <<<$'l4=tcp tcp=S | take dst=10.77.0.1\nl4=tcp tcp=R | take dst=10.77.0.1'
	table tc-egress <<<"$tcp | take src=192.0.2.1"
	age 3500
	table tc-egress <<<"$tcp | take src=192.0.2.1"
	table xdp <<<'l4=tcp tcp=S | take dst=10.77.0.1'
	age 3601
	table tc-egress <<<"$tcp | pass"
	[[ $(l3af --json agent list | jq -c '[.[].connections]') == '[0,0]' ]]
}

# ---- the second hop ----

HOP=4c33414600000000000000000000ffff # and an IPv4 address

@test "a packet of a connection that is not known here goes to the backend before" {
	local to='dmac=02:77:00:00:00:02 smac=02:77:00:00:00:01' hop6 hop hook
	hop6='gue=0 data=4c334146fd770000000000000000000000000009 osrc=fd77::2 odst=fd77::1'
	for hook in xdp tc; do
		agent hook $hook vip 192.0.2.1 vip fd55::1 vip 192.0.2.2 to 10.77.0.1
		table "${hook/tc/tc-ingress}" <<<"gue=0 data=${HOP}0a4d0009 l4=tcp len=9 | take"
		# only who is known is obeyed
		agent strict source 10.77.0.0/24 strict source fd77::/64
		hop="gue=0 data=${HOP}0a4d0009"
		[[ $hook == tc ]] || table xdp <<-END
			$hop l4=tcp len=9 | send $to gue=1 odst=10.77.0.9
			$hop l4=tcp len=9 csum=0 | send $to gue=1 odst=10.77.0.9
			$hop l4=tcp len=8 vlan=5 | send $to gue=1 odst=10.77.0.9
			$hop l4=tcp src=fd56::9 dst=fd55::1 | send $to gue=1 odst=10.77.0.9
			$hop6 l4=tcp len=9 src=fd56::9 dst=fd55::1 | send $to gue=1 odst=fd77::9
			$hop6 l4=tcp len=9 | send $to gue=1 odst=fd77::9
			$hop l4=tcp len=9 tcp=R | send $to gue=1 odst=10.77.0.9
			$hop dst=192.0.2.2 l4=tcp len=9 | send $to gue=1 odst=10.77.0.9
		END
		table "${hook/tc/tc-ingress}" <<-END
			$hop l4=tcp tcp=S | take
			$hop l4=udp | take
			$hop l4=tcp osrc=fd77::2 odst=fd77::1 | take
			$hop6 l4=tcp osrc=10.77.0.2 odst=10.77.0.1 | take
			gue=0 data=4c33414700000000000000000000ffff0a4d0009 l4=tcp | take
			gue=0 l4=tcp | take
			l4=tcp | take
			$hop dst=192.0.2.2 l4=tcp tcp=S | take dst=10.77.0.1
			$hop dst=192.0.2.2 l4=tcp | take dst=10.77.0.1
		END
		# one that was reset is not known
		table tc-egress <<<'odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=R | take src=192.0.2.2'
		[[ $hook == tc ]] || table xdp <<<"$hop dst=192.0.2.2 l4=tcp len=9 | send $to gue=1 odst=10.77.0.9"
		l3af agent disable dev s0 >/dev/null
	done
}

# hop_arrives HOOK: what the backend before, here cli, gets of a packet from 10.77.0.3
hop_arrives() {
	local out=$BATS_TEST_TMPDIR/hop
	start hop cli python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.77.0.2", 6080)); s.settimeout(5); print("up", flush=True)
try: d, who = s.recvfrom(9999); print(who[0], d[:1].hex(), len(d), file=open(sys.argv[1], "w"))
except TimeoutError: print("nothing", file=open(sys.argv[1], "w"))' "$out"
	gue gue=0 "data=${HOP}0a4d0002" l4=tcp len=5 osrc=10.77.0.3 from="$1"
	wait "${PID[hop]}"
	finish hop
	cat "$out"
}

@test "real packets to the backend before, by the way they came or by the kernel's routes" {
	local hook
	own
	in_ns srv ip route add default via 10.77.0.2
	NS=cli l3af chain add pass dev c0 hook xdp object "$FP/bpf/empty.o" >/dev/null
	in_ns cli bash -c 'echo 1 >/proc/sys/net/ipv4/conf/all/accept_local; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
		echo 0 >/proc/sys/net/ipv4/conf/c0/rp_filter'
	for hook in xdp tc; do
		agent hook $hook vip 192.0.2.1 strict source 10.77.0.0/24
		# a listener alone does not know the connection
		start app srv python3 "$ECHO" serve 80 192.0.2.1
		[[ $(hop_arrives 5) == '10.77.0.3 45 45' ]]
		in_ns srv sysctl -qw net.ipv4.conf.lo.forwarding=1
		[[ $(hop_arrives 6) == '10.77.0.3 45 45' ]]
		in_ns srv sysctl -qw net.ipv4.conf.lo.forwarding=0
		[[ $(counter second_hop) == 2 && $(counter decapsulated) == 0 ]]
		finish app
		l3af agent disable dev s0 >/dev/null
	done
}

@test "connections that are known are not passed on, in whatever state" {
	local hook
	tunnels
	own
	for hook in xdp tc; do
		agent hook $hook vip "${VIP[44]}" strict source 10.77.0.0/24
		start app srv python3 "$ECHO" serve 80 "${VIP[44]}"
		start client cli python3 -c '
import socket, sys
s = socket.socket(); s.bind(("10.77.0.2", int(sys.argv[2]))); s.connect((sys.argv[1], 80)); print("open", flush=True)
sys.stdin.read()' "${VIP[44]}" "1${#hook}00"
		gue gue=0 "data=${HOP}0a4d0009" l4=tcp tcp=A src=10.77.0.2 from="1${#hook}00"
		eventually test "$(counter second_hop)" == 0
		finish client
		# TIME-WAIT, or gone
		finish app
		[[ $(counter second_hop) == 0 ]]
		l3af agent disable dev s0 >/dev/null
	done
}

# ---- guests ----

# guests KIND: VIPs owned by the guest, then translated to its addresses
guests() {
	local how v
	tunnels
	in_ns cli ip route add 10.88.0.0/24 via 10.77.0.1
	in_ns cli ip route add fd88::/64 via fd77::1
	guest "$1"
	for v in "${GUEST_VIP[@]}"; do in_ns vm ip addr add "$v" dev lo; done
	l3af agent enable dev g0 at guest vip "${GUEST_VIP[44]}" vip "${GUEST_VIP[46]}" vip "${GUEST_VIP[64]}" \
		vip "${GUEST_VIP[66]}" >/dev/null
	start app vm python3 "$ECHO" serve 80 "${GUEST_VIP[@]}" 10.88.0.2 fd88::2
	for how in on off; do
		in_ns cli ethtool -K c0 tx $how tso $how >/dev/null
		all_echo "${GUEST_VIP[@]}"
	done
	for v in "${GUEST_VIP[@]}"; do in_ns vm ip addr del "$v" dev lo; done
	l3af agent enable dev g0 vip "${GUEST_VIP[44]}" to 10.88.0.2 vip "${GUEST_VIP[46]}" to 10.88.0.2 \
		vip "${GUEST_VIP[64]}" to fd88::2 vip "${GUEST_VIP[66]}" to fd88::2 >/dev/null
	for how in on off; do
		in_ns cli ethtool -K c0 tx $how tso $how >/dev/null
		all_echo "${GUEST_VIP[@]}"
	done
	[[ $(errors vm) == $'0\n0' && $(counter unable) == 0 && $(counter clamped) == 16 ]]
	# others reach the guest as they did
	echoes tcp 10.88.0.2 100000
	echoes udp fd88::2 1000
	[[ $(counter conflict) == 0 ]]
}

@test "a guest behind a veth" {
	guests veth
}

@test "a guest behind a tap, with the partial checksums and large packets that guests have" {
	guests tap
	# what it is at is known of a tap
	l3af agent disable dev g0 >/dev/null
	run -0 l3af agent enable dev g0 vip 192.0.2.51
	[[ ${lines[0]} == '+ agent dev g0 at guest hook tc port 6080' ]]
}

# ---- ICMP and the path's MTU ----

@test "the path's MTU reaches the application's host, through tunnels" {
	local hook
	tunnels
	own
	for hook in xdp tc; do
		agent hook $hook vip "${VIP[44]}" vip "${VIP[64]}"
		start app srv python3 "$ECHO" serve 80 "${VIP[44]}" "${VIP[64]}"
		in_ns srv ip route flush cache
		in_ns srv ip -6 route flush cache
		echoes tcp "${VIP[44]}" 10 900
		echoes udp "${VIP[64]}" 10 901
		gue src=10.77.0.2 l4=icmp icmp=3,4,1300 quote=src=192.0.2.1,dst=10.77.0.2,l4=udp,from=80,to=900 qlen=28
		gue src=fd77::2 dst=fd55::1 l4=icmp6 icmp=2,0,1300 quote=src=fd55::1,dst=fd77::2,l4=udp,from=80,to=901,len=900
		eventually learned 10.77.0.2 mtu 1300
		eventually learned fd77::2 mtu 1300
		finish app
		l3af agent disable dev s0 >/dev/null
	done
}

# learned ADDR WORDS: the route there has them
learned() { in_ns srv ip route get "$1" | grep -q "${*:2}"; }

@test "the path's MTU is the translated application's, and its errors are its VIP's" {
	local hook
	tunnels
	for hook in xdp tc; do
		translate hook $hook
		start app srv python3 "$ECHO" serve 80 "$OWN4" "$OWN6"
		in_ns srv ip route flush cache
		in_ns srv ip -6 route flush cache
		echoes udp "${VIP[44]}" 10 900
		echoes udp "${VIP[64]}" 10 901
		gue src=10.77.0.2 l4=icmp icmp=3,4,1300 quote=src=192.0.2.1,dst=10.77.0.2,l4=udp,from=80,to=900 qlen=28
		gue src=fd77::2 dst=fd55::1 l4=icmp6 icmp=2,0,1300 quote=src=fd55::1,dst=fd77::2,l4=udp,from=80,to=901,len=900
		eventually learned 10.77.0.2 mtu 1300
		eventually learned fd77::2 mtu 1300
		finish app
		# nobody serves there any more: the client's socket hears it
		run -0 in_ns cli python3 -c '
import socket, sys
for a in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5); s.connect((a, 80)); s.send(b"x")
    try: s.recv(9)
    except ConnectionRefusedError: print("refused")' "${VIP[44]}" "${VIP[66]}"
		[[ $output == $'refused\nrefused' ]]
		l3af agent disable dev s0 >/dev/null
	done
}

# ---- a run that was killed ----

# killed US ARGS...: after so many microseconds
killed() {
	timeout -s KILL "$(printf '0.%06d' "$1")" nsenter --net=/run/netns/srv "$BUILD/l3afctl" \
		--bpffs "$BPFFS" "${@:2}" || true
} &>/dev/null

@test "runs killed anywhere: the next one completes them" {
	local us
	for ((us = 2000; us <= 150000; us += 9000)); do
		killed "$us" agent enable dev s0 vip 192.0.2.1 to "$OWN4" vip fd55::1 strict source 10.77.0.0/24
		agent vip 192.0.2.1 to "$OWN4" vip fd55::1 strict source 10.77.0.0/24
		table xdp <<<$'l4=tcp tcp=S | take dst=10.77.0.1\ndst=fd55::1 src=fd56::9 | take\nosrc=10.78.0.9 | pass'
		killed "$us" agent disable dev s0 vip 192.0.2.1
		killed "$((us / 2))" agent disable dev s0
		l3af agent disable dev s0 >/dev/null
		[[ $(l3af --json agent list) == '[]' && ! -e $STATE/kf/agent ]]
	done
	l3af chain detach dev s0 hook xdp >/dev/null
	l3af chain detach dev s0 hook tc-egress >/dev/null
	no_residue
}
