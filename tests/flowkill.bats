#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# flows export, killed at any moment: the next one goes on from there.

load lib

load flowexport

setup() { pair; }
teardown() { wipe; }

# killed TO call|us STEP FLOWS BATCH [WORDS...]: exports to there, each killed and followed by
# one that is not
killed() {
	local out
	out=$(in_ns srv "$TOP/tests/tools/exportkill.py" "$FP/killat" "$BUILD/l3afctl" "$BPFFS" "$@" 2>&1) || {
		echo "$out"
		return 1
	}
	figure "$out"
	forget
}
# forget: collectors and flows
forget() {
	l3af flows flush >/dev/null
	rm -r "$STATE"/kf/flows/collector/*
}

@test "kill -9 at each system call of an export to a file: nothing lost, nothing twice" {
	l3af flows enable dev s0 direction egress idle 0 >/dev/null
	killed "$T/f" call 1 4400 0
	killed "$T/g" call 1 300 0 flush
	killed "$T/h" us 60 4400 4300
	[[ $(got "$T/f") == 'packets '* && $(got "$T/g") == 'packets '* && $(got "$T/h") == 'packets '* ]]
}

@test "kill -9 at each system call of an export over UDP: nothing lost, one batch twice at most" {
	l3af flows enable dev s0 direction egress idle 0 >/dev/null
	killed udp call 1 300 64 mtu 330 pace 20000/s
	killed udp call 1 300 256 flush pace none mtu 330
	killed udp us 100 3000 1100 pace none
}

@test "kill -9 at each second system call of an export over TCP: nothing lost, one batch twice at most" {
	l3af flows enable dev s0 direction egress idle 0 >/dev/null
	killed tcp call 2 18000 17800
}
