#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What happens to interfaces, pins and the bpffs behind the chain's back, and programs of
# others on the hook. Test packets tell what runs: "16 of 16: 1,2" is a, then b.

load lib

setup() { pair; }
teardown() { wipe; rm -rf /sys/fs/bpf/other; }

# fp WORD NAME ID [WORDS...]: chain WORD of member NAME with the mark ID (count: fpcount)
fp() { l3af chain "$1" "$2" dev "${DEV:-s0}" hook "${HOOK:-xdp}" object "$FP/fp$3.bpf.o" "${@:4}"; }
# chain of a and the counter
chain() { fp add fpcount count engine "${1:-link}" && fp add a 1 position 1; } >/dev/null
runs() { does "16 of 16: $1" in_ns "${NS:-srv}" "$FP/oracle" probe hook="${HOOK:-xdp}" bpffs="$BPFFS"; }
runs_nothing() { does "0 of 16:" in_ns "${NS:-srv}" "$FP/oracle" probe hook="${HOOK:-xdp}" bpffs="$BPFFS"; }
# members: name and state of each, in order
members() { l3af chain list 2>/dev/null --json | jq -r 'map("\(.name // "-") \(.state)") | join(", ")'; }
are_members() { [ "$(members)" = "$1" ]; }
# counted N: every member listed saw N packets
counted() { [ "$(l3af chain list --json | jq -c '[.[].packets | values] | unique')" = "[$1]" ]; }
pins() { (cd "$STATE/chain" && find . -type f ! -path '*/member/*' | sort | tr '\n' ' '); }
dir() { echo "$STATE"/chain/*/*/xdp; }

# Interfaces

@test "an interface that was deleted: its chain is gone, the next change clears the pins" {
	chain
	in_ns srv ip link del s0
	does "" l3af chain list
	refuses 2 "l3afctl: chain list: dev: s0 is not an interface of this network namespace" l3af chain list dev s0
	wire srv s9 1 cli c0 2
	DEV=s9 fp add b 2
	[ "$(members)" = 'b running' ]
	l3af chain detach dev s9 hook xdp
	no_residue
}

recreate() { # ENGINE HOOK: deleted, recreated with the same index
	HOOK=$2 chain "$1"
	in_ns srv ip link del s0
	ip link add s0 index 2 address 02:77:00:00:00:01 netns srv type veth \
		peer name c0 address 02:77:00:00:00:02 netns cli
	wire_end srv s0 1 2 02:77:00:00:00:02
	wire_end cli c0 2 1 02:77:00:00:00:01
	run --separate-stderr l3af chain list
	[ "$status" -eq 0 ] && [ -z "$output" ]
	[ "$stderr" = "l3afctl: warning: s0: what is pinned for its $2 chain is not attached to it (its root was taken off, or the interface is another one now); the next change clears it" ]
	HOOK=$2 fp add fpcount count engine "$1"
	HOOK=$2 fp add b 2 position 1
	[ "$(members)" = 'b running, fpcount running' ]
	HOOK=$2 runs 2
	l3af chain detach dev s0 hook "$2"
	no_residue
}
@test "recreated with the same index: xdp link" { recreate link xdp; }
@test "recreated with the same index: xdp netlink" { recreate netlink xdp; }
@test "recreated with the same index: tcx" { recreate tcx tc-ingress; }
@test "recreated with the same index: clsact" { recreate clsact tc-ingress; }

@test "renamed, also to a name with a dot: the chain goes on" {
	chain
	in_ns srv ip link set s0 down
	in_ns srv ip link set s0 name web.100
	in_ns srv ip link set web.100 up
	runs 1
	[ "$(l3af chain list --json | jq -r '.[0].dev')" = web.100 ]
	DEV=web.100 fp add b 2 before fpcount
	runs 1,2
	l3af chain detach dev web.100 hook xdp
	no_residue
}

move() { # ENGINE HOOK: to another network namespace and back; the chain goes with it
	HOOK=$2 chain "$1"
	ip netns add elsewhere
	in_ns srv ip link set s0 netns elsewhere
	in_ns elsewhere ip link set s0 up
	does "" l3af chain list
	[ "$(NS=elsewhere members)" = 'a running, fpcount running' ]
	NS=elsewhere HOOK=$2 fp add b 2 before fpcount
	NS=elsewhere HOOK=$2 runs 1,2
	in_ns elsewhere ip link set s0 netns srv
	in_ns srv ip link set s0 up
	l3af chain remove a dev s0 hook "$2"
	[ "$(members)" = 'b running, fpcount running' ]
	HOOK=$2 runs 2
	l3af chain detach dev s0 hook "$2"
	no_residue
}
@test "moved to another network namespace and back: xdp link" { move link xdp; }
@test "moved to another network namespace and back: xdp netlink" { move netlink xdp; }
@test "moved to another network namespace and back: tcx" { move tcx tc-ingress; }

@test "moved to another network namespace: clsact filters go, the chain is told to be gone" {
	HOOK=tc-ingress chain clsact
	ip netns add elsewhere
	in_ns srv ip link set s0 netns elsewhere
	in_ns elsewhere ip link set s0 up
	NS=elsewhere does "" l3af chain list
	in_ns elsewhere ip link set s0 netns srv
	in_ns srv ip link set s0 up
	HOOK=tc-ingress fp add fpcount count engine clsact
	HOOK=tc-ingress runs none
	l3af chain detach dev s0 hook tc-ingress
	no_residue
}

# Pins

@test "each pin removed by hand: the chain runs on, the next change pins it again" {
	local pin before
	for pin in gen bank0 bank1 desc stat root; do
		chain
		before=$(pins)
		rm "$(dir)/$pin"
		[ "$(members)" = 'a running, fpcount running' ]
		runs 1
		fp add b 2 before fpcount
		runs 1,2
		[ "$(pins)" = "$before" ]
		l3af chain detach dev s0 hook xdp
		no_residue
	done
}

@test "the pin of the slots removed: the kernel empties them, members are missing, replace brings them back" {
	chain
	rm "$(dir)/slots"
	# the kernel does so within a grace period
	eventually are_members 'a missing, fpcount missing'
	runs_nothing
	l3af chain replace a dev s0 hook xdp
	l3af chain replace fpcount dev s0 hook xdp
	[ "$(members)" = 'a running, fpcount running' ]
	runs 1
	l3af chain detach dev s0 hook xdp
	no_residue
}

@test "the pin of the link removed: the kernel takes the chain off, the next change clears the rest" {
	chain
	rm "$(dir)/link"
	run --separate-stderr l3af chain list
	[ "$status" -eq 0 ] && [ -z "$output" ]
	[ "$stderr" = "l3afctl: warning: s0: what is pinned for its xdp chain is not attached to it (its root was taken off, or the interface is another one now); the next change clears it" ]
	runs_nothing
	chain
	runs 1
	l3af chain detach dev s0 hook xdp
	no_residue
}

@test "the whole directory removed, netlink: the root still runs, members are missing, detach takes it off" {
	chain netlink
	rm -r "$STATE"
	eventually are_members 'a missing, fpcount missing'
	does $'- chain a dev s0 hook xdp\n- chain fpcount dev s0 hook xdp\n- chain dev s0 hook xdp' \
		l3af chain detach dev s0 hook xdp
	does "" l3af chain list
	no_residue
}

@test "the maps of a running member unpinned: the chain runs on" {
	chain
	rm -r "$STATE/kf/fpcount"
	does "~ chain dev s0 hook xdp order a,fpcount -> fpcount,a" l3af chain reorder fpcount,a dev s0 hook xdp
	l3af chain detach dev s0 hook xdp
	no_residue
}

@test "a pin that is something else" {
	chain
	bpftool prog loadall "$FP/fp1.bpf.o" /sys/fs/bpf/other
	rm "$STATE/meta"
	bpftool prog pin pinned /sys/fs/bpf/other/fp_xdp "$STATE/meta"
	refuses 1 "l3afctl: $STATE/meta: invalid argument" l3af chain list
	refuses 1 "l3afctl: $STATE/meta: invalid argument" l3af chain remove a dev s0 hook xdp
	runs 1
	rm -r /sys/fs/bpf/other
}

@test "a newer layout is refused" {
	chain
	bpftool map update pinned "$STATE/meta" key 0 0 0 0 value 9 0 0 0
	refuses 1 "l3afctl: $STATE has layout version 9, this l3afctl knows 1; use the l3afctl that made it" l3af chain list
	refuses 1 "l3afctl: $STATE has layout version 9, this l3afctl knows 1; use the l3afctl that made it" \
		l3af chain remove a dev s0 hook xdp
	runs 1
}

# The bpffs

on() { in_ns srv "$BUILD/l3afctl" --bpffs "$@"; }

@test "no bpffs" {
	mkdir /run/plain
	local message="l3afctl: no bpffs is mounted on /run/plain; mount it: mount -t bpf -o mode=0700 bpf /run/plain (ip netns exec hides it: use l3afctl -n NETNS instead)"
	refuses 1 "$message" on /run/plain chain list
	refuses 1 "$message" on /run/plain chain add a dev s0 hook xdp object "$FP/fp1.bpf.o"
	refuses 1 "l3afctl: /run/absent: no such file or directory" on /run/absent chain list
	mount -t bpf -o ro bpf /run/plain
	refuses 1 "l3afctl: /run/plain/l3af: read-only file system" \
		on /run/plain chain add a dev s0 hook xdp object "$FP/fp1.bpf.o"
	does "" on /run/plain chain list
	umount /run/plain
	no_residue
}

@test "a root that others can write, that belongs to another, that is a link or a file" {
	local add=(l3af chain add a dev s0 hook xdp object "$FP/fp1.bpf.o") message
	mkdir -m 0777 "$STATE"
	message="l3afctl: $STATE is writable by others (mode 0777); mend it: chmod 0700 $STATE"
	refuses 1 "$message" l3af chain list
	refuses 1 "$message" "${add[@]}"
	chmod 0700 "$STATE"
	chown 1000 "$STATE"
	message="l3afctl: $STATE belongs to uid 1000, not to root; remove it: rm -r $STATE"
	refuses 1 "$message" l3af chain list
	refuses 1 "$message" "${add[@]}"
	rmdir "$STATE"
	message="l3afctl: $STATE is not a directory; remove it: rm $STATE"
	ln -s /sys/fs/bpf "$STATE"
	refuses 1 "$message" l3af chain list
	refuses 1 "$message" "${add[@]}"
	rm "$STATE"
	bpftool map create "$STATE" type array key 4 value 4 entries 1 name other
	refuses 1 "$message" l3af chain list
	refuses 1 "$message" "${add[@]}"
	rm "$STATE"
	no_residue
}

@test "the root is made with mode 0700" {
	fp add a 1
	[ "$(stat -c %a "$STATE")" = 700 ]
	[ -z "$(find "$STATE" -perm /077)" ]
}

# Programs of others

@test "a foreign xdp program is listed, named and not displaced" {
	bpftool prog loadall "$FP/fp2.bpf.o" /sys/fs/bpf/other
	local id mode
	id=$(bpftool -j prog show pinned /sys/fs/bpf/other/fp_xdp | jq .id)
	for mode in native generic; do
		in_ns srv bpftool net attach "xdp${mode/native/drv}" pinned /sys/fs/bpf/other/fp_xdp dev s0 2>/dev/null ||
			in_ns srv bpftool net attach xdpgeneric pinned /sys/fs/bpf/other/fp_xdp dev s0
		[ "$(members)" = 'fp_xdp foreign' ]
		for engine in auto link netlink; do
			refuses 1 "l3afctl: s0: program $id (fp_xdp) is attached to xdp ($mode) and is not displaced; chain adopt takes it into a chain, or detach it first" \
				fp add a 1 engine "$engine"
		done
		[ "$(members)" = 'fp_xdp foreign' ]
		in_ns srv bpftool net detach "xdp${mode/native/drv}" dev s0 2>/dev/null ||
			in_ns srv bpftool net detach xdpgeneric dev s0
	done
	rm -r /sys/fs/bpf/other
	no_residue
}

@test "foreign clsact filters run after the chain and stay" {
	in_ns srv tc qdisc add dev s0 clsact
	in_ns srv tc filter add dev s0 ingress pref 1 handle 1 bpf da obj "$FP/fpcount.bpf.o" sec tc
	in_ns srv tc filter add dev s0 ingress pref 7 handle 1 bpf da obj "$FP/fp3.bpf.o" sec tc
	local engine before foreign='fpcount_tc foreign, fp_tc foreign'
	before=$(in_ns srv tc filter show dev s0 ingress)
	for engine in clsact tcx; do
		HOOK=tc-ingress fp add a 1 engine "$engine"
		[ "$(members)" = "a running, $foreign" ]
		in_ns cli bash -c 'for i in {1..10}; do echo x >/dev/udp/10.77.0.1/7001; done'
		eventually counted 10
		l3af chain remove a dev s0 hook tc-ingress
		[ "$(members)" = "- empty, $foreign" ]
		l3af chain detach dev s0 hook tc-ingress
		[ "$(in_ns srv tc filter show dev s0 ingress)" = "$before" ]
	done
}

@test "the 33rd member" {
	local i
	for i in {1..32}; do fp add "m$i" 1 >/dev/null; done
	refuses 1 "l3afctl: s0: the xdp chain has 32 members, the most there can be (the kernel allows 33 tail calls for each packet)" \
		fp add m33 1
	[ "$(l3af chain list --json | jq length)" -eq 32 ]
	l3af chain remove m31 dev s0 hook xdp
	l3af chain remove m32 dev s0 hook xdp
	fp add fpcount count
	in_ns srv "$FP/oracle" probe bpffs="$BPFFS"
	eventually counted 16
	l3af chain detach dev s0 hook xdp
	no_residue
}

@test "both hosts' chains, three hooks: independent, one state" {
	local hook
	for hook in xdp tc-ingress tc-egress; do
		HOOK=$hook fp add a 1
		HOOK=$hook DEV=c0 NS=cli fp add b 2
	done
	[ "$(members)" = 'a running, a running, a running' ]
	[ "$(NS=cli members)" = 'b running, b running, b running' ]
	for hook in xdp tc-ingress tc-egress; do l3af chain detach dev s0 hook $hook; done
	does "" l3af chain list
	[ "$(NS=cli members)" = 'b running, b running, b running' ]
	for hook in xdp tc-ingress tc-egress; do NS=cli l3af chain detach dev c0 hook $hook; done
	no_residue
}

@test "reorder names each member once: at once after an add, and of none" {
	local m
	for m in 1 2 3; do l3af chain add "m$m" dev s0 hook xdp object "$FP/fp$m.bpf.o" >/dev/null; done
	local message='l3afctl: the xdp chain of s0 has m1,m2,m3; name each member once'
	refuses 2 "$message" l3af chain reorder m1,m2 dev s0 hook xdp
	refuses 2 "$message" l3af chain reorder m3,m2,none dev s0 hook xdp
	refuses 2 "$message" l3af chain reorder m3,m2,m1,none dev s0 hook xdp
	[ "$(l3af chain reorder m3,m1,m2 dev s0 hook xdp)" = '~ chain dev s0 hook xdp order m1,m2,m3 -> m3,m1,m2' ]
	l3af chain detach dev s0 hook xdp
	no_residue
}

@test "every verb twice: the second time changes nothing and says nothing" {
	local dev=(dev s0 hook xdp)
	does '+ chain a dev s0 hook xdp position 1 engine link' fp add a 1 engine link
	does '' fp add a 1 engine link
	does '+ chain b dev s0 hook xdp position 2' fp add b 2
	does '~ chain dev s0 hook xdp order a,b -> b,a' l3af chain reorder b,a "${dev[@]}"
	does '' l3af chain reorder b,a "${dev[@]}"
	does "~ chain a dev s0 hook xdp object $FP/fp3.bpf.o" fp replace a 3
	does '' fp replace a 3
	does '- chain b dev s0 hook xdp' l3af chain remove b "${dev[@]}"
	does '' l3af chain remove b "${dev[@]}"
	does '- chain a dev s0 hook xdp' l3af chain flush "${dev[@]}"
	does '' l3af chain flush "${dev[@]}"
	does '- chain dev s0 hook xdp' l3af chain detach "${dev[@]}"
	does '' l3af chain detach "${dev[@]}"
	no_residue
}

@test "--dry-run says what the run says and touches nothing" {
	local words before
	chain
	before=$(find "$STATE" | sort; l3af chain list --json)
	for words in "add b dev s0 hook xdp object $FP/fp2.bpf.o position 1" "remove a dev s0 hook xdp" \
		"reorder fpcount,a dev s0 hook xdp" "replace a dev s0 hook xdp object $FP/fp3.bpf.o" \
		"flush dev s0 hook xdp" "detach dev s0 hook xdp" "add b dev lo hook tc-egress object $FP/fp2.bpf.o"; do
		# shellcheck disable=SC2086
		l3af --dry-run chain $words >"$BATS_TEST_TMPDIR/dry"
		[ "$(find "$STATE" | sort; l3af chain list --json)" = "$before" ]
		# shellcheck disable=SC2086
		does "$(<"$BATS_TEST_TMPDIR/dry")" l3af chain $words
		l3af chain detach dev s0 hook xdp
		l3af chain detach dev lo hook tc-egress
		chain
		before=$(find "$STATE" | sort; l3af chain list --json)
	done
}
