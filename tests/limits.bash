# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# For tests of limit, after lib: servers, clients, frames, and what the limits say.

SYN=$FP/syn
V4=10.77.0.1 V6=fd77::1

limits_teardown() {
	finish_all
	ip -all netns delete
	rm -rf "${STATE:?}"
}

# prog NAME: the id of a member of the chain at s0
prog() { l3af --json chain list dev s0 | jq -e ".[] | select(.name == \"$1\") | .program_id"; }
# runs WANTED NAME N FRAME...: the verdicts of member NAME on N such frames
runs() {
	local want=$1 id
	id=$(prog "$2")
	run -0 "$SYN" run "$id" "${@:3}"
	[[ $output == "$want" ]] || { echo "$2 ${*:3}: $output, wanted $want"; return 1; }
}
# limit WORDS...: a change, its lines not shown
limit() { l3af limit "$@" >/dev/null; }
# cell KEY [N]: of row N (0) of limit list
cell() { l3af --json limit list | jq -r ".[${2-0}].$1"; }
# server [PORT]: listens, for all addresses of srv
server() {
	start "server${1-80}" srv "$SYN" listen "${1-80}"
	[[ $line == listening ]]
}
# clients N MS ADDR [PORT]: what became of N clients; they are gone at the end
clients() { in_ns cli "$SYN" open "$1" "$2" "$3" "${4-80}" </dev/null; }
# holders N ADDR [PORT]: N clients that stay until "finish holders"
holders() {
	start holders cli "$SYN" open "$1" 5000 "$2" "${3-80}"
	[[ $line == "open $1 refused 0 waiting 0" ]] || { echo "holders: $line"; return 1; }
}
