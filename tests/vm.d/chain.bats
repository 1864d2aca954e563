# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The chain's scenarios on another kernel. Emulated, a process costs 40 ms and a packet
# 0.1 ms: small numbers, few processes.

load ../lib

setup() { pair; }
teardown() { tidy; }

# lacks SERIES... WHAT: skip on these kernels
lacks() {
	local what=${*: -1} series
	for series in "${@:1:$#-1}"; do
		[[ $(uname -r) != "$series".* ]] || skip "$(uname -r | cut -d. -f1,2) $what"
	done
}

add_fails() { # MESSAGE ENGINE HOOK
	refuses 1 "l3afctl: s0: $1" \
		l3af chain add a dev s0 hook "$3" object "$FP/fp1.bpf.o" engine "$2"
}

N=30 RATE=2000

@test "xdp, link, native: $N random changes" { oracle random n=$N rate=$RATE engine=link mode=native; }
@test "xdp, link, generic: 10 random changes" { oracle random n=10 rate=$RATE engine=link mode=generic; }
@test "xdp, netlink, native: 10 random changes" { oracle random n=10 rate=$RATE engine=netlink mode=native; }
@test "xdp, libxdp, native: ${L3AF_VM_CHANGES:-$N} random changes" {
	lacks 5.10 'refuses a root of type EXT, which libxdp needs'
	lacks 6.12 7.2 'with libxdp 1.3.1: no component that tail-calls can be loaded (mended in 1.5.5)'
	oracle random n="${L3AF_VM_CHANGES:-$N}" rate=$RATE engine=libxdp mode=native
}
@test "tc-ingress, tcx: $N random changes" {
	lacks 5.10 6.1 'has no tcx (it came with 6.6)'
	oracle random n=$N rate=$RATE engine=tcx hook=tc-ingress
}
@test "tc-egress, clsact: $N random changes" { oracle random n=$N rate=$RATE engine=clsact hook=tc-egress; }
@test "xdp: kill -9 at a random moment of 15 changes" { oracle kill n=15 rate=$RATE engine=link; }
@test "xdp: killed at every 80th system call" { oracle sweep step=80 rate=$RATE engine=link; }

@test "an engine that the kernel lacks is refused with the reason" {
	case $(uname -r) in
	5.10.* | 6.1.*) add_fails 'this kernel has no tcx (it came with Linux 6.6); use engine clsact' tcx tc-ingress ;;
	*) skip 'this kernel has tcx' ;;
	esac
}

@test "auto picks an engine that works, and says why" {
	local hook
	for hook in xdp tc-ingress; do
		l3af chain add fpcount dev s0 hook $hook object "$FP/fpcount.bpf.o"
		does '16 of 16: none' in_ns srv "$FP/oracle" probe hook=$hook bpffs="$BPFFS"
		figure "$(uname -r): $hook: $(l3af chain list dev s0 hook $hook --json |
			jq -r '.[0] | "\(.engine), \(.engine_reason)"')"
		l3af chain detach dev s0 hook $hook
	done
	no_residue
}
