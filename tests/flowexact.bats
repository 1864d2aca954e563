# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Conservation: what was exported, what is still in the table and what was ignored are
# what the programs saw, and that is what the interfaces counted. To the packet and octet.

load lib
load flowframes

setup() { pair; }
teardown() {
	exporter_stop
	wipe
}

# link NS DEV WORD: a counter of an interface, as rx_packets
link() { in_ns "$1" ip -s -j link show dev "$2" | jq ".[0].stats64.${3%%_*}.${3#*_}"; }

# words LINE: sets the variables KEY of "KEY VALUE KEY VALUE..."
declare -gA of=()
words() {
	local -a w
	read -ra w <<<"$2"
	for ((i = 0; i + 1 < ${#w[@]}; i += 2)); do of[$1.${w[i]}]=${w[i + 1]}; done
}

# exporter_start NAME..., exporter_stop: sets $line
EXPORTER=''
exporter_start() {
	mkfifo "$BATS_TEST_TMPDIR/in"
	"$FLOW" export flows "$1" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 3>&- &
	EXPORTER=$!
	exec {STDIN}>"$BATS_TEST_TMPDIR/in"
}
exporter_stop() {
	[[ -n $EXPORTER ]] || return 0
	exec {STDIN}>&-
	wait "$EXPORTER"
	EXPORTER=''
	line=$(<"$BATS_TEST_TMPDIR/out")
}

# truth DIRECTION: of the line of "flow stat" that has it; ignored ones summed
truth() {
	"$FLOW" stat flows | awk -v d="$1" '$2 == d {
		for (i = 3; i < 15; i += 2) printf "%s %s ", $i, $(i + 1)
		for (i = 13; i < NF; i += 2) { split($(i + 1), n, "/"); p += n[1]; o += n[2]; if (n[1]) why = why $i }
		printf "ignored_packets %d ignored_octets %d", p, o }'
}

@test "ten million packets, a million flows, two senders, an exporter" {
	local line STDIN
	enable direction ingress idle 1s
	NS=cli l3af flows enable dev c0 direction egress >/dev/null
	"$FLOW" peer flows 192.0.2.1:4739/udp
	words before "rx $(link srv s0 rx_packets) rx_bytes $(link srv s0 rx_bytes) tx $(link cli c0 tx_packets) tx_bytes $(link cli c0 tx_bytes)"
	exporter_start 192.0.2.1:4739/udp
	run -0 in_ns cli "$SEND" flood c0 4500000 900000
	words sent "$output"
	exporter_stop
	words exported "$line"
	# and some that are not exported
	run -0 in_ns cli "$SEND" flood c0 600000 150000
	words more "$output"
	eventually counted $((of[sent.packets] + of[more.packets]))
	words unsent "$("$FLOW" unsent flows)"
	words in "$(truth in)"
	words out "$(truth out)"
	words after "rx $(link srv s0 rx_packets) rx_bytes $(link srv s0 rx_bytes) tx $(link cli c0 tx_packets) tx_bytes $(link cli c0 tx_bytes)"
	figure "exported $line; still in the table: $("$FLOW" unsent flows); in: $(truth in); out: $(truth out)"
	# the interfaces', and what was sent
	((of[in.frames] == of[after.rx] - of[before.rx] && of[in.bytes] == of[after.rx_bytes] - of[before.rx_bytes]))
	((of[out.frames] == of[after.tx] - of[before.tx] && of[out.bytes] == of[after.tx_bytes] - of[before.tx_bytes]))
	((of[in.frames] == of[sent.packets] + of[more.packets] && of[in.bytes] == of[sent.bytes] + of[more.bytes]))
	((of[in.packets] == of[in.frames] && of[in.octets] == of[sent.octets] + of[more.octets]))
	# the law
	((of[exported.packets] + of[unsent.packets] + of[in.ignored_packets] + of[out.ignored_packets] ==
		of[in.packets] + of[out.packets]))
	((of[exported.octets] + of[unsent.octets] + of[in.ignored_octets] + of[out.ignored_octets] ==
		of[in.octets] + of[out.octets]))
	((of[in.flows] + of[out.flows] > 1000000 && of[in.packets] > 10000000 && of[exported.runs] > 10))
	"$FLOW" audit flows
}
