# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# mirror on another kernel, and what is not to be had without modules: the kernel's own GUE as
# the collector, fq_codel.

load ../lib
load ../mirrornet

setup() {
	[[ $(uname -r) != 5.10.* ]] || skip '5.10 has no BPF atomic operations (they came with 5.12)'
	site
	background serve srv "$LOAD" serve 7
}
teardown() {
	finish_all
	wipe
}

# device DEV NS: up, and takes what comes from anywhere
device() {
	in_ns "$2" ip link set "$1" up
	in_ns "$2" sysctl -qw net.ipv4.conf."$1".rp_filter=0
}
@test "the kernel's GUE receives: IPv4 and IPv6 in either" {
	local dev family variant
	modprobe -a fou fou6 ipip sit ip6_tunnel 2>/dev/null || skip "$(uname -r) has no fou"
	finish_all # of the ports
	background serve srv "$LOAD" serve 7
	in_ns col ip fou add port 6080 gue
	in_ns col ip -6 fou add port 6080 gue
	in_ns col sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	for dev in tunl0 sit0 ip6tnl0; do device $dev col; done
	in_ns col ip -6 tunnel change ip6tnl0 mode any # IPv4, too
	in_ns cli ethtool -K c0 tx off >/dev/null
	in_ns srv ethtool -K s0 tx off >/dev/null
	while read -r family variant; do
		mirror target add col dev m0 to "${COLLECTOR[$family]}" encap gue variant "$variant"
		mirror filter add 10 dev s0 action accept to col
		tap production srv s0
		for dev in tunl0 sit0 ip6tnl0; do
			background "tap$dev" col dumpcap -q -P -i $dev -w "$BATS_TEST_TMPDIR/$dev.pcap"
		done
		in_ns cli "$LOAD" ask 10.77.0.1 7 count=50 size=1000
		in_ns cli "$LOAD" ask fd77::1 7 count=50 size=1000
		untap production
		sleep 1
		for dev in tunl0 sit0 ip6tnl0; do ended tap$dev; done
		pcap same raw "$BATS_TEST_TMPDIR/tunl0.pcap,$BATS_TEST_TMPDIR/sit0.pcap,$BATS_TEST_TMPDIR/ip6tnl0.pcap" "$production"
		# 200 packets and their tunnels' sums were right
		[[ $said == '200 packets '* ]]
		figure "$(uname -r): the kernel's GUE of variant $variant over IPv$family: $said"
		mirror filter flush dev s0
		mirror target remove col
	done <<<$'4 0\n6 0\n4 1\n6 1'
}

# narrow: fq_codel refuses packets (NET_XMIT_CN, which TC_ACT_SHOT equals), as on a link that is full
narrow() {
	in_ns srv tc qdisc add dev m0 root handle 1: tbf rate 64kbit burst 4k limit 100k
	in_ns srv tc qdisc add dev m0 parent 1: fq_codel limit 1 flows 1
}

@test "fq_codel on a mirror interface that is congested: production loses nothing" {
	modprobe -a sch_tbf sch_fq_codel 2>/dev/null || skip "$(uname -r) has no fq_codel"
	iperf_serve
	narrow
	# what is lost where the verdict is the mirror's
	l3af chain add bad dev s0 hook tc-ingress object "$FP/bpf/clonereturn.o" >/dev/null
	run -1 in_ns cli "$LOAD" ask 10.77.0.1 7 seconds=2 window=4 patience=20
	figure "$(uname -r), fq_codel, the clone's fate returned: $(tail -n 1 <<<"$output")"
	l3af chain remove bad dev s0 hook tc-ingress >/dev/null
	mirror target add col dev m0 to 10.78.0.2 encap gue
	mirror filter add 10 dev s0 action accept to col
	unharmed "$(uname -r), fq_codel" sleep 1
	in_ns srv tc -s -j qdisc show dev m0 | jq -e 'map(.drops) | add > 0' >/dev/null
}

@test "it mirrors; what the verifier followed" {
	local before
	mirror target add col dev m0 to fd78::2 encap vxlan
	mirror filter add 10 dev s0 proto udp dport 7 action accept to col snaplen headers
	before=$(received)
	in_ns cli "$LOAD" ask 10.77.0.1 7 count=50
	(($(received) >= before + 50))
	figure "$(uname -r): the verifier followed$(l3af --json chain list |
		jq -r '.[] | select(.program_id) | "\(.name) \(.hook) \(.program_id)"' | sort -u |
		while read -r name hook id; do echo " $("$FP/flow" verified "$id") instructions of $name on $hook,"; done | tr -d '\n')"
}
