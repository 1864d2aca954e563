# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# For tests of what flows counts, after lib: frames into s0, and what its table says.

FLOW=$FP/flow SEND=$FP/flowsend

# enable WORDS...: flows on s0, ingress alone unless WORDS say otherwise; not shown
enable() { l3af flows enable dev s0 "$@" >/dev/null; }

# member [DEV]: the id of the first member of the chain there
member() { l3af --json chain list dev "${1-s0}" | jq -e '.[] | select(.name == "flows") | .program_id' | head -n 1; }

# stat KEY [N]: a word behind KEY of the N-th place (1): frames, packets, full, ...
stat() { "$FLOW" stat "${INSTANCE-flows}" | awk -v n="${2-1}" -v k="$1" 'NR == n { for (i = 1; i < NF; i++) if ($i == k) print $(i + 1) }'; }

# link NS DEV rx_packets|rx_bytes|tx_packets|tx_bytes: as the interface counts
link() { in_ns "$1" ip -s -j link show dev "$2" | jq ".[0].stats64.${3%%_*}.${3#*_}"; }

# apart NS DEV rx|tx N: what the interface has counted more than the N-th place, which was
# there later: "rx 5 rx_bytes 700"
apart() {
	local packets frames bytes
	while packets=$(link "$1" "$2" "$3_packets"); do
		frames=$(stat frames "$4") bytes=$(($(link "$1" "$2" "$3_bytes") - $(stat bytes "$4")))
		# while nothing came
		[[ $packets != "$(link "$1" "$2" "$3_packets")" || $frames != "$(stat frames "$4")" ]] || break
	done
	echo "$3 $((packets - frames)) $3_bytes $bytes"
}

# counted_all N: what has come to s0 since is counted at the first place, N packets were not
counted_all() { [[ $(($(link srv s0 rx_packets) - $(stat frames))) == "$1" ]]; }

# counted N: so many frames have come to the first place
counted() { [[ $(stat frames) == "$1" ]]; }

# send N FRAME...: out of c0; waits until they are counted
send() {
	local before
	before=$(stat frames)
	in_ns cli "$SEND" send c0 "$@"
	eventually counted $((before + $1))
}

# table: the flows, which the test sends from these addresses only
table() { "$FLOW" list "${INSTANCE-flows}" | grep -E ' (10\.77\.0\.|fd77::|192\.0\.2\.)'; }

# holds WANTED: the table has these lines, in this order
holds() {
	diff <(table) - <<<"$1"
}

# sums: everything that was seen is in a flow or ignored; the table keeps its rules
sums() { "$FLOW" audit "${INSTANCE-flows}" sum; }

# each: reads lines "FRAME | FLOW" (or "| ", not a flow): sends each frame, then the table
# has all the flows
each() {
	local frame flow want=''
	while IFS='|' read -r frame flow; do
		[[ -n $flow ]] || continue
		# shellcheck disable=SC2086
		send 1 $frame
		flow=${flow# }
		[[ -z $flow ]] || want+="s0 in $flow live"$'\n'
	done
	holds "${want%$'\n'}"
	sums
}
