#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Many processes on one chain: each succeeds or gives up waiting, and what is listed
# runs: by the kernel's slots and by test packets.

load lib

setup() { pair; }
teardown() { tidy; }

@test "xdp: 50 processes, 10 random changes each" { oracle concurrent processes=50 n=10 engine=link; }
@test "tc-ingress: 50 processes, 4 random changes each" {
	oracle concurrent processes=50 n=4 engine=tcx hook=tc-ingress
}

@test "50 processes add the same member: one adds it, all succeed" {
	local pids=() pid i
	for i in {1..50}; do
		l3af chain add a dev s0 hook xdp object "$FP/fp1.bpf.o" engine link >"$BATS_TEST_TMPDIR/$i" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	run cat "$BATS_TEST_TMPDIR"/[0-9]*
	[ "$output" = '+ chain a dev s0 hook xdp position 1 engine link' ]
	[ "$(l3af chain list --json | jq -c 'map([.name, .state])')" = '[["a","running"]]' ]
	l3af chain detach dev s0 hook xdp
}

@test "a lock that is not released: exit status 4 after --wait" {
	l3af chain add a dev s0 hook xdp object "$FP/fp1.bpf.o" engine link
	exec {lock}<"$STATE"
	flock "$lock"
	refuses 4 "l3afctl: another l3afctl holds $STATE; waited 0.05 s (--wait DURATION waits longer)" \
		l3af --wait 50ms chain remove a dev s0 hook xdp
	flock -u "$lock"
	l3af chain detach dev s0 hook xdp
}

@test "listings wait for a change, not for each other" {
	l3af chain add a dev s0 hook xdp object "$FP/fp1.bpf.o" engine link
	exec {lock}<"$STATE"
	flock -s "$lock"
	[ "$(l3af chain list --json | jq length)" -eq 1 ]
	refuses 4 "l3afctl: another l3afctl holds $STATE; waited 0 s (--wait DURATION waits longer)" \
		l3af --wait 0 chain remove a dev s0 hook xdp
	flock -u "$lock"
	l3af chain detach dev s0 hook xdp
}
