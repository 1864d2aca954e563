#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# agent: packets out of tunnels, to applications that own the VIP or do not. What becomes of
# a packet is asked of the program itself (BPF_PROG_TEST_RUN) where bytes matter, of real
# traffic where the kernel does.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run, load and start

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
	refuses 2 'l3afctl: agent enable: vip: 224.0.0.1 is not the address of a host that others send to' \
		l3af agent enable dev s0 vip 224.0.0.1
	refuses 2 'l3afctl: agent enable: vip: :: is not the address of a host that others send to' \
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
	[[ $(counter decapsulated) == 28 && $(counter congested) == 1 && $(counter not_allowed) == 2 ]]
	[[ $(counter no_vip) == 3 && $(counter outer) == 4 && $(counter unknown) == 4 && $(counter bad_length) == 8 ]]
}

@test "the same in TC" {
	agent vip 192.0.2.1 vip fd55::1 strict source 10.77.0.0/24 strict source fd77::/64 hook tc
	decap_table tc-ingress
	[[ $(counter decapsulated) == 23 && $(counter congested) == 1 && $(counter not_allowed) == 2 ]]
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
	start app srv python3 "$ECHO" serve 80 $OWN4 $OWN6
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
	echoes tcp $OWN4 10000
	echoes udp $OWN4 1000
	echoes tcp $OWN6 10000
	[[ $(counter conflict) == 0 ]]
}
