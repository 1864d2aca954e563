# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# agent on another kernel, with the kernel's own GUE (fou) as the sender.
# shellcheck disable=SC2034,SC2086,SC2030,SC2031,SC2154 # variables of run, load and start

load ../lib
load ../agent

V4=198.51.100.1 V6=2001:db8:100::1

setup() {
	modprobe -a fou fou6 ipip sit ip6_tunnel 2>/dev/null || skip "$(uname -r) has no fou"
	pair
	in_ns srv sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.s0.rp_filter=0
}
teardown() { finish_all; wipe; }

# tunnel KIND CSUM: from cli to the VIPs, KIND 4 or 6: of the outer header
tunnel() {
	local how="encap gue encap-sport 50000 encap-dport 6080 $2" dev
	for dev in t4 t6; do in_ns cli ip link delete $dev 2>/dev/null || true; done
	# shellcheck disable=SC2086
	if [[ $1 == 4 ]]; then
		in_ns cli ip link add t4 type ipip remote 10.77.0.1 local 10.77.0.2 $how
		in_ns cli ip link add t6 type sit remote 10.77.0.1 local 10.77.0.2 $how
		in_ns cli ip link set t6 up mtu 1400
	else
		in_ns cli ip link add t4 type ip6tnl mode any remote fd77::1 local fd77::2 $how
	fi
	in_ns cli ip link set t4 up mtu 1400
	in_ns cli ip route replace $V4 dev t4 src 10.77.0.2
	in_ns cli ip -6 route replace $V6 dev "t$((10 - $1))" src fd77::2
}

serve() {
	nsenter --net=/run/netns/srv "$FP/lbload" serve be 80 >"$BATS_TEST_TMPDIR/be" 2>&1 3>&- &
	PID[be]=$!
	eventually grep -q listening "$BATS_TEST_TMPDIR/be"
}

curls() {
	[[ $(in_ns cli curl -sS -m 20 "http://$V4/") == be ]]
	[[ $(in_ns cli curl -sS -m 20 "http://[$V6]/") == be ]]
}

@test "GUE of Linux, plain and with checksums, to an application that owns the VIPs or not" {
	local hook outer csum way
	serve
	for hook in xdp tc; do
		for way in own translated; do
			if [[ $way == own ]]; then
				in_ns srv ip addr add $V4/32 dev lo
				in_ns srv ip addr add $V6/128 dev lo
				agent hook $hook vip $V4 vip $V6
			else
				in_ns srv ip addr del $V4/32 dev lo
				in_ns srv ip addr del $V6/128 dev lo
				agent vip $V4 to $OWN4 vip $V6 to $OWN6
			fi
			for outer in 4 6; do
				for csum in encap-csum noencap-csum; do
					tunnel $outer $csum
					curls
				done
			done
		done
		[[ $(counter unable) == 0 && $(counter unknown) == 0 && $(counter decapsulated) -gt 60 ]]
		[[ $(errors srv) == $'0\n0' && $(errors cli) == $'0\n0' ]]
		figure "$(uname -r): the verifier followed $("$FP/flow" verified "$(program ${hook/tc/tc-ingress})") and $(
			"$FP/flow" verified "$(program tc-egress)") instructions of agent, $hook and replies"
		l3af agent disable dev s0 >/dev/null
	done
}

@test "a flag that we do not know is the network stack's" {
	serve
	in_ns srv ip addr add $V4/32 dev lo
	agent vip $V4
	tunnel 4 'encap-csum encap-remcsum'
	in_ns srv ip fou add port 6080 gue
	in_ns srv ip link set tunl0 up
	in_ns srv sysctl -qw net.ipv4.conf.tunl0.rp_filter=0
	[[ $(in_ns cli curl -sS -m 20 "http://$V4/") == be ]]
	[[ $(counter decapsulated) == 0 && $(counter unknown) -gt 3 ]]
}

@test "byte by byte, both hooks" {
	local hook
	for hook in xdp tc; do
		agent hook $hook vip 192.0.2.1 to $OWN4 vip fd55::1
		table "${hook/tc/tc-ingress}" <<-'END'
			l4=tcp len=100 | take dst=10.77.0.1
			l4=udp osrc=fd77::2 odst=fd77::1 len=9 | take dst=10.77.0.1
			src=fd56::9 dst=fd55::1 len=7 gue=0 data=01020304 | take
			src=fd56::9 dst=fd55::1 osrc=fd77::2 odst=fd77::1 opts=1 otos=3 tos=1 | take tos=3
			l4=icmp icmp=3,4,1300 quote=src=192.0.2.1,dst=192.0.2.99,l4=tcp,from=80,to=40000,zero=1 qlen=28 | take dst=10.77.0.1 quote=src=10.77.0.1,dst=192.0.2.99,l4=tcp,from=80,to=40000
			dst=192.0.2.7 | pass
		END
		table tc-egress <<-'END'
			odst=none src=10.77.0.1 dst=192.0.2.99 l4=tcp from=80 to=40000 tcp=SA topts=01 mss=1461 | take src=192.0.2.1 mss=1433
			odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40000 len=5 | take src=192.0.2.1
			odst=none src=10.77.0.1 dst=192.0.2.99 l4=udp from=80 to=40001 len=5 | pass
		END
		l3af agent disable dev s0 >/dev/null
	done
}
