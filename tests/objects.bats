#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Programs of others as members: what loads really runs, what does not is refused with
# one line and leaves nothing. The oracle is traffic: UDP to port 7001.

load lib
load arrives

O=$FP/bpf

setup() { pair; }
teardown() {
	ip -all netns delete
	rm -rf "${STATE:?}"
	find "$BPFFS" /sys/fs/bpf -type f ! -name '*.debug' -delete
}

# put NAME FILE [WORDS...]: add a member at XDP
put() { l3af -q chain add "$1" dev s0 hook xdp object "$2" "${@:3}"; }

# tc_engines: those that this kernel has
tc_engines() {
	l3af --dry-run chain add x dev s0 hook tc-ingress engine tcx object "$O/counter.o" >/dev/null 2>&1 && echo tcx
	echo clsact
}

# nothing_happened: the refused object left nothing attached and nothing pinned
nothing_happened() {
	no_residue
	arrives 10
}

# ---- what loads and runs ----

@test "an object in L3AF's manner: unknown section, its own next-program array" {
	put rl "$O/l3af_xdp.o"
	arrives 0
	arrives 10 7002
	# its configuration is an ordinary map
	bpftool map update pinned "$STATE/kf/rl/rl_ports_map" key hex 5a 1b value hex 01
	arrives 0 7002
	[ "$(verdict rl drop)" -eq 20 ]
	[ "$(slot rl/rl_drop_count 0)" -eq 20 ]
}

@test "L3AF's objects at TC, ingress and egress; their OK continues the chain" {
	for hook in tc-ingress tc-egress; do
		l3af -q chain add root dev s0 hook $hook object "$O/l3af_root.o"
		l3af -q chain add "flow-$hook" dev s0 hook $hook object "$O/l3af_tc.o"
		l3af -q chain add "shot-$hook" dev s0 hook $hook object "$O/tc_verdicts.o" program give_shot
	done
	arrives 0
	arrives 10 7002
	arrives 0 7001 srv cli
	arrives 10 7002 srv cli
	[ "$(verdict flow-tc-ingress ok)" -ge 20 ]
	[ "$(verdict shot-tc-egress shot)" -eq 10 ]
}

@test "several programs in one object: told apart by program" {
	refuses 2 "l3afctl: $O/xdp_verdicts.o: has 5 XDP programs; say which: program give_aborted, give_drop, give_pass, give_tx, give_odd" \
		l3af chain add a dev s0 hook xdp object "$O/xdp_verdicts.o"
	nothing_happened
	refuses 2 "l3afctl: $O/xdp_verdicts.o: program give_up is not in it; it has: give_aborted, give_drop, give_pass, give_tx, give_odd" \
		l3af chain add a dev s0 hook xdp object "$O/xdp_verdicts.o" program give_up
	nothing_happened
	put a "$O/xdp_verdicts.o" program give_pass
	arrives 10
	put b "$O/xdp_verdicts.o" program give_drop
	arrives 0
}

@test "an object with a program for each hook: every hook takes its own" {
	put count "$O/counter.o"
	l3af -q chain add count dev s0 hook tc-ingress object "$O/counter.o"
	arrives 10
	# one instance, so one map: seen at XDP and again at TC
	[ "$(slot count/seen 0)" -eq 20 ]
}

@test "its own tail calls, through an array the loader fills" {
	put tails "$O/own_tail.o" program first
	sleep 0.2 # an array nobody holds is emptied by now
	arrives 0
	for i in 0 1 2; do [ "$(slot tails/trace $i)" -eq 10 ]; done
	l3af chain remove tails dev s0 hook xdp
	arrives 10
}

@test "called functions and 400 bytes of stack; 64 MiB of map; moving the head" {
	for o in stack big_map; do
		put one "$O/$o.o"
		arrives 0
		arrives 10 7002
		l3af -q chain remove one dev s0 hook xdp
		arrives 10
	done
	put head "$O/head.o"
	arrives 10
	[ "$(verdict head pass)" -ge 10 ]
}

@test "maps of many kinds: made, shared with a second interface, kept by replace" {
	put many "$O/many_maps.o"
	arrives 0
	NS=cli l3af -q chain add many dev c0 hook xdp object "$O/many_maps.o"
	arrives 0 7001 srv cli
	[ "$(slot many/one 0)" -eq 20 ]
	# the same program in other bytes
	{ cat "$O/many_maps.o"; echo; } >"$BATS_TEST_TMPDIR/other.o"
	l3af -q chain replace many dev s0 hook xdp object "$BATS_TEST_TMPDIR/other.o"
	arrives 0
	[ "$(slot many/one 0)" -eq 30 ]
}

@test "maps and programs with the names of a root's are just maps and programs" {
	put same "$O/same_names.o"
	put alike "$O/lookalike.o"
	arrives 0
	for map in slots gen bank0 bank1 desc stat root link; do [ "$(slot "same/$map" 0)" -eq 10 ]; done
	l3af -q chain reorder alike,same dev s0 hook xdp
	arrives 0
}

@test "a map that asks to be pinned by name is pinned below our root only" {
	put pinner "$O/pin_by_name.o"
	arrives 0
	[ "$(slot pinner/escapee 0)" -eq 10 ]
	[ -z "$(find "$BPFFS" /sys/fs/bpf -name escapee ! -path "$STATE/kf/pinner/escapee")" ]
	# nor is a map taken over that lies where it asks for it
	bpftool map create /sys/fs/bpf/escapee type array key 4 value 8 entries 1 name escapee
	put other "$O/pin_by_name.o"
	l3af -q chain remove pinner dev s0 hook xdp
	arrives 0
	[ "$(slot other/escapee 0)" -eq 10 ]
	rm /sys/fs/bpf/escapee
}

@test "libxdp's run configuration is honoured, and continue overrides it" {
	put cfg "$O/run_config.o"
	put after "$O/counter.o"
	arrives 10 # dropped, but that continues, and the end of the chain passes
	[ "$(verdict cfg drop)" -eq 10 ]
	[ "$(slot after/seen 0)" -eq 10 ]
	arrives 0 7002 # aborted, which does not
	l3af -q chain remove cfg dev s0 hook xdp
	put cfg "$O/run_config.o" continue pass before after
	arrives 0
	[ "$(slot after/seen 0)" -eq 10 ]
}

@test "multi-buffer: an xdp.frags program where the MTU needs it and where not" {
	[[ $(uname -r) != 5.10.* ]] || skip '5.10 has no multi-buffer XDP (it came with 5.18)'
	put frags "$O/frags.o"
	arrives 0
	put plain "$O/counter.o"
	l3af -q chain flush dev s0 hook xdp
	l3af -q chain detach dev s0 hook xdp
	in_ns srv ip link set s0 mtu 9000
	in_ns cli ip link set c0 mtu 9000
	put frags "$O/frags.o" mode native
	arrives 0
	refuses 1 "l3afctl: $O/counter.o: program count_xdp does not take multi-buffer frames, and the MTU of s0 needs them; compile it with SEC(\"xdp.frags\")" \
		l3af chain add plain dev s0 hook xdp object "$O/counter.o"
	arrives 0
	arrives 10 7002
}

# ---- verdicts ----

@test "XDP: pass continues, everything else is final, continue says otherwise" {
	put count "$O/counter.o"
	for v in drop aborted odd; do
		put final "$O/xdp_verdicts.o" program "give_$v" before count
		arrives 0
		l3af -q chain remove final dev s0 hook xdp
	done
	put final "$O/xdp_verdicts.o" program give_tx before count
	arrives 0
	[ "$(verdict final tx)" -eq 10 ]
	[ "$(slot count/seen 0)" -eq 0 ]
	l3af -q chain remove final dev s0 hook xdp
	put on "$O/xdp_verdicts.o" program give_tx continue pass,tx before count
	arrives 10
	[ "$(verdict on tx)" -eq 10 ]
	[ "$(slot count/seen 0)" -eq 10 ]
}

@test "TC: ok, pipe and unspec continue; what is final and what then becomes of the packet" {
	for engine in $(tc_engines); do
		l3af -q chain add count dev s0 hook tc-ingress engine "$engine" object "$O/counter.o"
		for v in ok pipe unspec; do
			l3af -q chain add "$v" dev s0 hook tc-ingress before count object "$O/tc_verdicts.o" program "give_$v"
		done
		arrives 10
		[ "$(slot count/seen 0)" -eq 10 ]
		for v in shot stolen; do
			l3af -q chain add "$v" dev s0 hook tc-ingress before count object "$O/tc_verdicts.o" program "give_$v"
			arrives 0
			[ "$(verdict "$v" "$v")" -eq 10 ]
			l3af -q chain remove "$v" dev s0 hook tc-ingress
		done
		[ "$(slot count/seen 0)" -eq 10 ]
		# final for the chain, no drop for the kernel
		for v in reclassify odd; do
			l3af -q chain add "$v" dev s0 hook tc-ingress before count object "$O/tc_verdicts.o" program "give_$v"
			arrives 10
			l3af -q chain remove "$v" dev s0 hook tc-ingress
		done
		[ "$(slot count/seen 0)" -eq 10 ]
		l3af -q chain flush dev s0 hook tc-ingress
		l3af -q chain detach dev s0 hook tc-ingress
	done
}

@test "TC: foreign programs after ours still run, and are shown" {
	local engine ours
	for engine in $(tc_engines); do
		for ours in ok unspec pipe; do
			l3af -q chain add "$ours" dev s0 hook tc-ingress engine "$engine" object "$O/tc_verdicts.o" program "give_$ours"
		done
		in_ns srv tc qdisc add dev s0 clsact 2>/dev/null || true
		in_ns srv tc filter add dev s0 ingress pref 77 bpf da object-file "$O/tc_verdicts.o" section tc verbose 2>/dev/null || true
		bpftool prog loadall "$O/tc_verdicts.o" "$BPFFS/foreign"
		in_ns srv tc filter replace dev s0 ingress pref 77 handle 1 bpf da object-pinned "$BPFFS/foreign/give_shot"
		arrives 0
		l3af chain list --json | jq -e 'any(.. | strings; . == "give_shot")'
		rm -r "$BPFFS/foreign"
		in_ns srv tc filter del dev s0 ingress pref 77
		arrives 10
		l3af -q chain flush dev s0 hook tc-ingress
		l3af -q chain detach dev s0 hook tc-ingress
	done
}

# ---- replace, adopt, instances ----

@test "replace: new code, same maps and their contents, same place" {
	put first "$O/head.o"
	put count "$O/counter.o"
	put last "$O/head.o" instance head2
	arrives 10
	[ "$(slot count/seen 0)" -eq 10 ]
	l3af -q chain replace count dev s0 hook xdp object "$O/counter_v2.o"
	[ "$(slot count/seen 0)" -eq 10 ]
	arrives 10
	[ "$(slot count/seen 0)" -eq 1010 ]
	[ "$(l3af chain list --json | jq -r '[.[] | select(.hook == "xdp") | .name] | join(",")')" = first,count,last ]
}

@test "instances: two interfaces share one by its name, and are apart with instance" {
	put count "$O/counter.o"
	NS=cli l3af -q chain add count dev c0 hook xdp object "$O/counter.o"
	arrives 10
	arrives 10 7001 srv cli
	[ "$(slot count/seen 0)" -eq 20 ]
	NS=cli l3af -q chain add mine dev c0 hook xdp object "$O/counter.o" instance other
	arrives 10 7001 srv cli
	[ "$(slot count/seen 0)" -eq 30 ]
	[ "$(slot other/seen 0)" -eq 10 ]
}

@test "instances: an object whose maps differ from the instance's is refused" {
	put count "$O/counter.o"
	run --separate-stderr l3af chain add other dev s0 hook xdp object "$O/own_tail.o" program first instance count
	[ "$status" -eq 0 ] # other maps beside them are fine
	put same "$O/same_names.o"
	bpftool map create "$STATE/kf/same/seen" type array key 4 value 4 entries 1 name seen
	refuses 1 "l3afctl: $O/counter.o: its map seen differs from the one instance same holds (type, key size, value size or entries); use another instance" \
		l3af chain add wrong dev s0 hook xdp object "$O/counter.o" instance same
}

@test "adopt: a running program by id and by pin, with its maps" {
	local id
	# bpftool gives it the attach type of its section: it founds the chain
	bpftool prog load "$O/pin_by_name.o" "$BPFFS/running" type xdp
	id=$(bpftool -j prog show pinned "$BPFFS/running" | jq .id)
	run --separate-stderr l3af chain adopt one dev s0 hook xdp id "$id"
	[[ $status -eq 0 && $output == "+ chain one dev s0 hook xdp position 1 engine "* ]]
	does "" l3af chain adopt one dev s0 hook xdp id "$id"
	arrives 0
	[ "$(verdict one drop)" -eq 10 ]
	[ "$(bpftool -j map lookup pinned /sys/fs/bpf/escapee key 0 0 0 0 | jq -r '.formatted.value // .value')" -eq 10 ]
	l3af chain remove one dev s0 hook xdp
	arrives 10
	does "+ chain two dev s0 hook xdp position 1" l3af chain adopt two dev s0 hook xdp pin "$BPFFS/running"
	arrives 0
	# what loads later fits itself to the chain
	put count "$O/counter.o" before two
	arrives 0
	[ "$(slot count/seen 0)" -eq 10 ]
	rm "$BPFFS/running" /sys/fs/bpf/escapee
	arrives 0
}

@test "adopt: the program attached to the interface, without a packet unfiltered" {
	bpftool prog loadall "$O/xdp_verdicts.o" "$BPFFS/foreign"
	in_ns srv bpftool net attach xdp pinned "$BPFFS/foreign/give_drop" dev s0
	run --separate-stderr l3af chain add count dev s0 hook xdp object "$O/counter.o"
	[ "$status" -eq 1 ]
	[[ $stderr == "l3afctl: s0: program "*" (give_drop) is attached to xdp (native) and is not displaced; chain adopt takes it into a chain, or detach it first" ]]
	arrives 0
	l3af chain adopt old dev s0 hook xdp id "$(bpftool -j prog show pinned "$BPFFS/foreign/give_drop" | jq .id)"
	rm -r "$BPFFS/foreign"
	arrives 0
	put count "$O/counter.o" before old
	arrives 0
	[ "$(slot count/seen 0)" -eq 10 ]
	[ "$(verdict old drop)" -eq 20 ]
}

@test "adopt: refused are another type, a map, no such program, and one that would run twice" {
	bpftool prog loadall "$O/tc_verdicts.o" "$BPFFS/foreign"
	run --separate-stderr l3af chain adopt x dev s0 hook xdp pin "$BPFFS/foreign/give_ok"
	[ "$status" -eq 1 ] && [ -z "$output" ]
	[[ $stderr == "l3afctl: program "*" (give_ok) is of another type; hook xdp runs XDP programs" ]]
	# the kernel's numbers of map and program types overlap
	bpftool map create "$BPFFS/map" type percpu_array key 4 value 8 entries 1 name map
	refuses 1 "l3afctl: $BPFFS/map: is not a pinned program" l3af chain adopt x dev s0 hook xdp pin "$BPFFS/map"
	refuses 1 "l3afctl: there is no program with id 4294967295" l3af chain adopt x dev s0 hook xdp id 4294967295
	refuses 1 "l3afctl: pin $BPFFS/nowhere: no such file or directory" l3af chain adopt x dev s0 hook xdp pin "$BPFFS/nowhere"
	in_ns srv tc qdisc add dev s0 clsact
	in_ns srv tc filter add dev s0 ingress pref 9 bpf da object-pinned "$BPFFS/foreign/give_shot"
	run --separate-stderr l3af chain adopt x dev s0 hook tc-ingress pin "$BPFFS/foreign/give_shot"
	[ "$status" -eq 1 ] && [ -z "$output" ]
	[[ $stderr == "l3afctl: program "*" is attached to tc-ingress of s0 as well and would run twice; detach it there, then adopt it by a pin" ]]
	in_ns srv tc qdisc del dev s0 clsact
	rm -r "$BPFFS/foreign" "$BPFFS/map"
	nothing_happened
}

@test "a foreign program called like our root is foreign" {
	bpftool prog loadall "$O/lookalike.o" "$BPFFS/foreign"
	in_ns srv bpftool net attach xdp pinned "$BPFFS/foreign/l3af_xdp" dev s0
	[ "$(l3af chain list --json | jq -r '.[] | .name + " " + .state')" = "l3af_xdp foreign" ]
	run --separate-stderr l3af chain add count dev s0 hook xdp object "$O/counter.o"
	[ "$status" -eq 1 ]
	[[ $stderr == *"(l3af_xdp) is attached to xdp (native) and is not displaced"* ]]
	in_ns srv ip link set s0 xdp off
	rm -r "$BPFFS/foreign"
	nothing_happened
}

@test "add again: unchanged, or told what differs" {
	put a "$O/xdp_verdicts.o" program give_pass
	does "" l3af chain add a dev s0 hook xdp object "$O/xdp_verdicts.o" program give_pass
	does "" l3af chain add a dev s0 hook xdp object "$O/xdp_verdicts.o"
	refuses 1 "l3afctl: a: is a member with program give_pass; chain replace gives it another" \
		l3af chain add a dev s0 hook xdp object "$O/xdp_verdicts.o" program give_drop
	refuses 1 "l3afctl: a: is a member of the xdp chain of s0 with another object; chain replace gives it new code" \
		l3af chain add a dev s0 hook xdp object "$O/counter.o"
	does "~ chain a dev s0 hook xdp object $O/xdp_verdicts.o" l3af chain replace a dev s0 hook xdp object "$O/xdp_verdicts.o" program give_drop
	arrives 0
	does "" l3af chain replace a dev s0 hook xdp
	arrives 0
}

# ---- what is refused ----

@test "refused: no program, only one of another type" {
	refuses 2 "l3afctl: $O/no_program.o: has no XDP program for hook xdp" l3af chain add a dev s0 hook xdp object "$O/no_program.o"
	refuses 2 "l3afctl: $O/wrong_type.o: has no XDP program for hook xdp" l3af chain add a dev s0 hook xdp object "$O/wrong_type.o"
	refuses 2 "l3afctl: $O/l3af_tc.o: has no XDP program for hook xdp" l3af chain add a dev s0 hook xdp object "$O/l3af_tc.o"
	refuses 2 "l3afctl: $O/l3af_xdp.o: has no TC program for hook tc-egress" l3af chain add a dev s0 hook tc-egress object "$O/l3af_xdp.o"
	nothing_happened
}

@test "refused by the verifier: its last word is in the message" {
	for o in unsafe proprietary; do
		run --separate-stderr l3af chain add a dev s0 hook xdp object "$O/$o.o"
		echo "$o: $status $output $stderr"
		[ "$status" -eq 1 ] && [ -z "$output" ] && [[ $stderr != *$'\n'* ]]
		case $o in # the words are the kernel's
		unsafe) [[ $stderr == "l3afctl: $O/unsafe.o: the kernel refuses program unsafe: "*'packet'* ]] ;;
		proprietary) [[ $stderr == "l3afctl: $O/proprietary.o: the kernel refuses program proprietary: "*'GPL'* ]] ;;
		esac
	done
	nothing_happened
	# and a chain that is there stays as it is
	put drop "$O/l3af_xdp.o"
	run -1 l3af chain add a dev s0 hook xdp object "$O/unsafe.o"
	arrives 0
	[ "$(l3af chain list --json | jq length)" -eq 1 ]
	[ ! -e "$STATE/kf/a" ]
}

@test "refused: legacy maps, and files that are no objects" {
	cd "$BATS_TEST_TMPDIR"
	refuses 2 "l3afctl: $O/legacy_maps.o: is not a BPF object that libbpf v1.1 can read: elf: legacy map definitions in 'maps' section are not supported by libbpf v1.0+" \
		l3af chain add a dev s0 hook xdp object "$O/legacy_maps.o"
	refuses 2 "l3afctl: object nowhere.o: No such file or directory" l3af chain add a dev s0 hook xdp object nowhere.o
	refuses 2 "l3afctl: object .: expected an ELF file of at most 64 MiB" l3af chain add a dev s0 hook xdp object .
	: >empty.o
	refuses 2 "l3afctl: object empty.o: expected an ELF file of at most 64 MiB" l3af chain add a dev s0 hook xdp object empty.o
	mkfifo fifo.o
	refuses 2 "l3afctl: object fifo.o: expected an ELF file of at most 64 MiB" timeout 5 nsenter --net=/run/netns/srv "$BUILD/l3afctl" --bpffs "$BPFFS" chain add a dev s0 hook xdp object fifo.o
	echo 'int main;' >text.o
	head -c 300 "$O/l3af_xdp.o" >short.o
	cp /bin/true host.o
	for f in text short host; do
		run --separate-stderr l3af chain add a dev s0 hook xdp object $f.o
		echo "$f: $status $output $stderr"
		[ "$status" -eq 2 ] && [ -z "$output" ]
		[[ $stderr == "l3afctl: $f.o: is not a BPF object that libbpf v1.1 can read: "* && $stderr != *$'\n'* ]]
	done
	nothing_happened
}
