#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Debian's own XDP programs, unmodified, as members: all objects of xdp-tools and libxdp;
# those of xdp-filter with the rules that it would write.

load lib
load arrives

XDPTOOLS=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)/bpf

setup() { pair; }
teardown() {
	ip -all netns delete
	rm -rf "${STATE:?}"
	find "$BPFFS" /sys/fs/bpf -type f ! -name '*.debug' -delete
}

# segments: TCP segments that reached srv
segments() { in_ns srv awk '/^Tcp:/ && n++ { print $11 }' /proc/net/snmp; }
# tcp_arrives WANT: whether a SYN to port 7001 reaches srv (1) or not (0)
tcp_arrives() {
	local before
	before=$(segments)
	in_ns cli timeout 0.3 bash -c ': >/dev/tcp/10.77.0.1/7001' 2>/dev/null || true
	[ $(($(segments) > before)) -eq "$1" ]
}

# rule MAP KEY...: xdp-filter's rule for source and destination, TCP and UDP
rule() { bpftool map update pinned "$STATE/kf/filter/$1" key hex "${@:2}" value hex 0f 00 00 00 00 00 00 00; }

@test "every XDP object of Debian's xdp-tools and libxdp loads and runs, or says why not" {
	local o name
	for o in "$XDPTOOLS"/*.o; do
		name=$(basename "$o" .o)
		case $name in
		xdpdump_bpf) # only fentry and fexit programs
			refuses 2 "l3afctl: $o: has no XDP program for hook xdp" l3af chain add a dev s0 hook xdp object "$o"
			no_residue ;;
		xdp-dispatcher)
			refuses 2 "l3afctl: $o: has 2 XDP programs; say which: program xdp_dispatcher, xdp_pass" \
				l3af chain add a dev s0 hook xdp object "$o"
			no_residue
			l3af chain add a dev s0 hook xdp object "$o" program xdp_dispatcher ;;
		*) l3af chain add a dev s0 hook xdp object "$o" ;;
		esac
		case $name in
		xdpdump_bpf) ;;
		xdpfilt_dny_*) arrives 0 ;; # denied unless a rule allows it
		*) arrives 10 ;;
		esac
		l3af -q chain detach dev s0 hook xdp
	done
}

@test "xdp-filter's verdicts: each policy and feature, without and with a rule" {
	local policy feature hit miss
	for policy in alw dny; do
		# the policy is for what no rule matches
		if [ $policy = alw ]; then hit=0 miss=10; else hit=10 miss=0; fi
		for feature in all eth ip tcp udp; do
			l3af -q chain add filter dev s0 hook xdp object "$XDPTOOLS/xdpfilt_${policy}_$feature.o"
			case $feature in
			eth) arrives $miss; rule filter_ethernet 02 77 00 00 00 02; arrives $hit ;;
			ip) arrives $miss; rule filter_ipv4 0a 4d 00 02; arrives $hit ;;
			udp | all) arrives $miss; rule filter_ports 1b 59 00 00; arrives $hit; arrives $miss 7002 ;;
			tcp) tcp_arrives $((miss / 10)); rule filter_ports 1b 59 00 00; tcp_arrives $((hit / 10)) ;;
			esac
			l3af -q chain flush dev s0 hook xdp
			rm -rf "$STATE/kf/filter"
		done
	done
}

@test "two of xdp-filter's beside one of ours, in both orders" {
	l3af -q chain add udp dev s0 hook xdp object "$XDPTOOLS/xdpfilt_alw_udp.o" instance filter
	l3af -q chain add count dev s0 hook xdp object "$FP/bpf/counter.o"
	l3af -q chain add ip dev s0 hook xdp object "$XDPTOOLS/xdpfilt_alw_ip.o" instance filter2
	rule filter_ports 1b 59 00 00 # port 7001
	arrives 0
	[ "$(slot count/seen 0)" -eq 0 ]
	l3af -q chain reorder count,ip,udp dev s0 hook xdp
	arrives 0
	[ "$(slot count/seen 0)" -eq 10 ]
	arrives 10 7002
}
