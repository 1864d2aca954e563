#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A command killed at any instruction leaves the old order or the new one, and the next
# command goes on from there; an error of the kernel's leaves what the exit status says.

load lib

setup() { pair; }
teardown() { tidy; }

@test "xdp: kill -9 at a random moment of 500 changes" { oracle kill n=500 engine=link; }
@test "tc-ingress, tcx: kill -9 at a random moment of 100 changes" { oracle kill n=100 engine=tcx hook=tc-ingress; }

@test "xdp: killed at every system call of add, remove, reorder, replace, first add, detach" {
	oracle sweep engine=link
}
@test "xdp, netlink: killed at every 7th system call" { oracle sweep engine=netlink step=7; }
@test "tc-ingress, tcx: killed at every 7th system call" { oracle sweep engine=tcx hook=tc-ingress step=7; }
@test "tc-egress, clsact: killed at every 7th system call" { oracle sweep engine=clsact hook=tc-egress step=7; }

@test "xdp: no memory in every bpf(2) of add, remove, reorder, replace" { oracle errors n=1 engine=link; }
@test "xdp: seven errors, each in every 7th bpf(2)" { oracle errors n=7 step=7 engine=link; }
