# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2001,SC2034,SC2154
# For tests of what lb makes of a packet, after lib: packets through the program in its
# chain, without a wire (tests/lbpkt.c).

PKT=$FP/lbpkt
export LBHARNESS=$FP/bpf/lbharness.o

# enable WORDS...: lb on s0, next hop 02:77:00:00:00:02 unless WORDS say otherwise; not shown
enable() {
	[[ " $* " == *' gateway '* ]] || set -- gateway 02:77:00:00:00:02 "$@"
	l3af lb enable dev s0 flows 8192 "$@" >/dev/null
}

# vip VIP [WORDS...]: with one backend for each word that is an address
vip() {
	local words=() backends=() word
	for word in "${@:2}"; do
		if [[ $word == *[.:]* ]]; then backends+=("$word"); else words+=("$word"); fi
	done
	l3af lb vip add "$1" "${words[@]}" >/dev/null
	for word in "${backends[@]}"; do l3af lb backend add "$word" vip "$1" >/dev/null; done
}

# member: the program in its chain
member() { echo "$STATE"/chain/*/*/xdp/member/"$(l3af --json chain list dev s0 hook xdp | jq -e '.[] | select(.name == "lb") | .program_id')"; }

# pkt: frames on standard input, verdicts to standard output
pkt() { in_ns srv "$PKT" run "${PROG-$(member)}"; }

# each: lines "FRAME | VERDICT": each verdict is that
each() {
	local lines
	lines=$(sed 's/^\s*//; /^$/d')
	diff -u --label wanted --label is <(sed 's/ *| */ | /' <<<"$lines") \
		<(paste -d '|' <(sed 's/ *|.*//' <<<"$lines") <(sed 's/|.*//' <<<"$lines" | pkt) | sed 's/|/ | /')
}

# table: entries of the flow table
table() { "$PKT" flows lb; }

# count VIP NAME: an event or a drop of a VIP
count() { l3af --json lb stats vip "$1" | jq "[.. | objects | select(has(\"$2\")) | .[\"$2\"]] | add // 0"; }
