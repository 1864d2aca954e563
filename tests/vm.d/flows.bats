# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# flows on another kernel; tests/flowkernel.bats and tests/flowexact.bats have the details.

load ../lib
load ../flowframes

setup() {
	[[ $BATS_TEST_DESCRIPTION == "what the kernel lacks"* || $(uname -r) != 5.10.* ]] ||
		skip '5.10 has no BPF atomic operations (they came with 5.12)'
	pair
}
teardown() { wipe; }

@test "what the kernel lacks is refused in one line, or it lacks nothing" {
	[[ $(uname -r) == 5.10.* ]] || skip 'this kernel has what flow logs need'
	local message='l3afctl: flow logs need BPF atomic operations, which this kernel does not have (Linux 5.12 and later do)'
	refuses 1 "$message" l3af flows enable dev s0
	refuses 1 "$message" l3af chain add flows dev s0 hook tc-egress
	[[ -z $(residue) ]]
	does '' l3af flows list --json || does '[]' l3af flows list --json
}

@test "packets of every kind are counted to their flows" {
	in_ns cli ip link set c0 mtu 9000
	in_ns srv ip link set s0 mtu 9000
	enable direction ingress
	figure "$(uname -r): the verifier followed $("$FLOW" verified "$(member)") instructions of flows"
	each <<-'END'
		sport=1 pad=60 | 17 10.77.0.2:1 > 10.77.0.1:53 packets 1 octets 28 ttl 64-64
		proto=tcp opts sport=2 flags=113 tos=8 | 6 10.77.0.2:2 > 10.77.0.1:53 packets 1 octets 48 ttl 64-64 tos 8 flags 113
		proto=icmp sport=8 dport=0 | 1 10.77.0.2:8 > 10.77.0.1:0 packets 1 octets 28 ttl 64-64
		vlan=5 vlan=4095 proto=sctp sport=3 | 132 10.77.0.2:3 > 10.77.0.1:53 vlan 5,4095 packets 1 octets 32 ttl 64-64
		v6 ext=8 proto=tcp sport=4 flags=11 | 6 fd77::2:4 > fd77::1:53 packets 1 octets 156 ttl 64-64 flags 11
		v6 ext=9 | 60 fd77::2:0 > fd77::1:0 packets 1 octets 152 ttl 64-64
		v6 vlan=7 proto=icmp6 sport=128 dport=0 | 58 fd77::2:128 > fd77::1:0 vlan 7 packets 1 octets 48 ttl 64-64
		sport=7 frag=0,1,1 data=992 src=192.0.2.1 | 17 192.0.2.1:7 > 10.77.0.1:53 packets 1 octets 1020 ttl 64-64
		proto=tcp frag=1000,0,1 src=192.0.2.1 | 6 192.0.2.1:0 > 10.77.0.1:0 packets 1 octets 40 ttl 64-64
		linear=14 v6 ext=8 sport=8 data=5000 | 17 fd77::2:8 > fd77::1:53 packets 1 octets 5144 ttl 64-64
		type=806 |
		first=65 |
	END
	send 2 frag=1000,0,1 src=192.0.2.1
	table | grep -q '^s0 in 17 192.0.2.1:7 > 10.77.0.1:53 packets 3 octets 1076 '
	in_ns srv "$SEND" run "$(member)" 1 proto=tcp flags=10 sport=9 data=1500 gso=500,3,0
	table | grep -q '^s0 in 6 10.77.0.2:9 > 10.77.0.1:53 packets 3 octets 1620 '
	sums
}

@test "two senders, an exporter: nothing is lost, nothing counted twice" {
	local out before
	enable direction ingress max 4096 idle 1s
	NS=cli l3af flows enable dev c0 direction egress >/dev/null
	"$FLOW" peer flows 192.0.2.1:4739/udp
	mkfifo "$BATS_TEST_TMPDIR/in"
	"$FLOW" export flows 192.0.2.1:4739/udp <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 3>&- &
	exec {STDIN}>"$BATS_TEST_TMPDIR/in"
	before=$(apart srv s0 rx 1)
	in_ns cli "$SEND" flood c0 40000 8000
	before=${before#rx }
	eventually counted_all "${before%% *}"
	exec {STDIN}>&-
	wait "$!"
	out=$(<"$BATS_TEST_TMPDIR/out")
	figure "$(uname -r): $out; in $(stat packets), out $(stat packets 2) packets"
	# exported, refused by a full table, and seen
	[[ $out =~ packets\ ([0-9]+)\ octets\ ([0-9]+)$ ]]
	"$FLOW" stat flows | awk -v p="${BASH_REMATCH[1]}" -v o="${BASH_REMATCH[2]}" '{
		for (i = 3; i < NF; i++) if ($i == "packets") { seen += $(i + 1); octets += $(i + 3) }
			else if ($i == "full") { split($(i + 1), n, "/"); p += n[1]; o += n[2] } }
		END { print p, seen, o, octets; exit p != seen || o != octets }'
	(($(stat packets 2) >= 80000))
	"$FLOW" audit flows
}

@test "a flush that is killed anywhere loses no slot and no count" {
	enable direction ingress max 16
	run -0 "$FLOW" kill flows "$(member)" 501
	figure "$(uname -r): $output"
}
