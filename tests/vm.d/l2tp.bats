# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Pseudowires of ours in srv to the kernel's own (l2tp_eth) in cli.
# shellcheck disable=SC2034,SC2154

load ../lib
load ../l2tp

setup() {
	[[ $(uname -r) != 5.10.* ]] || skip '5.10 has no BPF atomic operations (they came with 5.12)'
	modprobe -a l2tp_eth l2tp_ip l2tp_ip6
	pair
}
teardown() { finish_all; wipe; }

# kernel_tunnel FAMILY ENCAP: number 41, 42 (over IP), 61, 62
kernel_tunnel() {
	# shellcheck disable=SC2034 # end_of sets them
	local family=$1 n=${1}1 dev this that words=(encap udp udp_sport 1701 udp_dport 1701)
	[[ $2 == udp ]] || { n=${1}2 words=(encap ip); }
	end_of cli
	in_ns cli ip l2tp add tunnel tunnel_id "$n" peer_tunnel_id "$n" local "$this" remote "$that" "${words[@]}"
}
# kernel_end N FAMILY ENCAP COOKIE SUBLAYER [WORD...]: as our_end cli, but for the words
kernel_end() {
	local n=$1 tunnel=${2}1 words=(l2spec_type "$5" "${@:6}")
	[[ $3 == udp ]] || tunnel=${2}2
	(($4 == 0)) || words+=(cookie "$(cookie_of cli "$4" "$n")" peer_cookie "$(cookie_of srv "$4" "$n")")
	in_ns cli ip l2tp add session name "p$n" tunnel_id "$tunnel" session_id $((100 + n)) peer_session_id "$n" "${words[@]}"
	host_on cli "p$n" "$n" 2
}
both_ends() {
	our_end srv "$@"
	kernel_end "$@"
}
tunnels() {
	local family encap
	for family in 4 6; do
		for encap in udp ip; do
			kernel_tunnel $family $encap
		done
	done
}

@test "each sort of session to the kernel's: pings, and every sort of frame both ways, as it was sent" {
	local out
	tunnels
	every_sort both_ends
	every_sort pings_of
	# shellcheck disable=SC2046
	out=$("$L2TP_PY" frames srv cli $(seq -f 'p%g' 24)) || { echo "$out"; return 1; }
	[[ $(l3af --json l2tp stats | jq -c '[.pseudowires[] | select(.rx_packets < 25 or ([.tx_errors, .rx_errors] | map(add) | add) > 0) | .name]') == '[]' ]]
	figure "$(uname -r): 24 sorts of pseudowires to l2tp_eth, $out frames of 23 sorts as they were sent"
}

@test "sequence numbers: the kernel takes ours, and we the kernel's" {
	tunnels
	our_end srv 1 4 udp 8 default sequence on
	kernel_end 1 4 udp 8 default seq both
	our_end srv 2 6 ip 0 default sequence on
	kernel_end 2 6 ip 0 default seq both
	pings 1
	pings 2
	in_ns srv busybox ping -qc 20 -i 0.1 10.1.1.2
	in_ns cli ip -s -j link show p1 | jq -e '.[0].stats64.rx | .packets >= 22 and .errors == 0 and .dropped == 0'
	l3af --json l2tp stats srv1 >"$BATS_TEST_TMPDIR/stats"
	cat "$BATS_TEST_TMPDIR/stats"
	jq -e '.rx_packets >= 22 and ([.rx_errors[]] | add) == 0' "$BATS_TEST_TMPDIR/stats"
}

# mbytes FROM TO ADDRESS: two megabytes, both ways
mbytes() {
	local words
	in_ns "$2" iperf3 -s -D -1 -B "$3" 3>&-
	eventually in_ns "$1" timeout 60 iperf3 --json -c "$3" -n 2M >"$BATS_TEST_TMPDIR/iperf"
	jq -e '.end.sum_received.bytes > 1e6' "$BATS_TEST_TMPDIR/iperf" >/dev/null || { cat "$BATS_TEST_TMPDIR/iperf"; return 1; }
}

@test "TCP to the kernel's: over UDP with a checksum and without, and over IP" {
	tunnels
	both_ends 1 4 udp 8 default
	both_ends 2 6 udp 4 default
	both_ends 3 6 ip 0 none
	mbytes srv cli 10.1.1.2
	mbytes srv cli fd01:2::2
	mbytes srv cli 10.1.3.2
	mbytes cli srv fd01:1::1
	mbytes cli srv 10.1.2.1
	mbytes cli srv fd01:3::1
	[[ $(in_ns cli nstat -asz Udp6InCsumErrors TcpInCsumErrors | awk '/InCsum/ { n += $2 } END { print n }') == 0 ]]
}

@test "a host on an access interface, with its super-packets and without checksums of its own" {
	kernel_tunnel 4 udp
	# segments and checksums are made on the way out, as a NIC does it, not left to the other end
	in_ns srv ethtool -K s0 tx off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off >/dev/null
	quiet_netns host
	ip link add a0 netns srv type veth peer name h0 netns host
	in_ns srv ip link set a0 up
	host_on host h0 1 1
	NS=srv l3af -q l2tp add srv1 dev a0 underlay s0 local 10.77.0.1 remote 10.77.0.2 session 1 peer-session 101 \
		encap udp sublayer default
	kernel_end 1 4 udp 0 default
	mbytes host cli 10.1.1.2
	mbytes cli host 10.1.1.1
	mbytes host cli fd01:1::2
	mbytes cli host fd01:1::1
	jq -e '.tx_bytes > 2e6' <(l3af --json l2tp stats srv1)
	l3af --json l2tp stats srv1
}
