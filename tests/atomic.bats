#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Random changes of order under traffic: no packet is missing, none runs an order that
# was not commanded. Each member marks the packet, the last one counts by marks.

load lib

setup() { pair; }
teardown() { tidy; }

@test "xdp, link, native: 1000 random changes" { oracle random n=1000 engine=link mode=native; }
@test "xdp, link, generic: 1000 random changes" { oracle random n=1000 engine=link mode=generic; }
@test "xdp, netlink, native: 1000 random changes" { oracle random n=1000 engine=netlink mode=native; }
@test "tc-ingress, tcx: 1000 random changes" { oracle random n=1000 engine=tcx hook=tc-ingress; }
@test "tc-ingress, clsact: 1000 random changes" { oracle random n=1000 engine=clsact hook=tc-ingress; }
@test "tc-egress, tcx: 300 random changes" { oracle random n=300 engine=tcx hook=tc-egress; }
@test "tc-egress, clsact: 300 random changes" { oracle random n=300 engine=clsact hook=tc-egress; }

@test "the oracle sees an order that was never commanded" {
	run in_ns srv "$FP/oracle" random n=20 break=order engine=link l3afctl="$BUILD/l3afctl" objects="$FP" bpffs="$BPFFS"
	[ "$status" -ne 0 ]
	[[ $output == *"which is neither"* ]]
}

@test "the oracle sees packets that go missing" {
	run in_ns srv "$FP/oracle" random n=20 break=loss engine=link l3afctl="$BUILD/l3afctl" objects="$FP" bpffs="$BPFFS"
	[ "$status" -ne 0 ]
	[[ $output =~ \ [1-9][0-9]*\ missing ]]
}
