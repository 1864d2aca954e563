#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The matcher gives the first rule that matches by definition: tests/match.c.
# Rules and packets follow from a seed: L3AF_MATCH_SEED=N L3AF_MATCH_KEYS=N tests/run tests/match.bats

load lib

# check WORDS...: its output is figures
check() {
	local out line
	out=$("$FP/match" "$@" 2>&1) || { printf '%s\n' "match $*" "$out"; return 1; }
	while read -r line; do figure "$line"; done <<<"$out"
}

@test "user space: rule sets of all sizes, keys beside what they ask for" {
	check user "${L3AF_MATCH_SEED:-7}" 300
}

@test "in the kernel: a million keys for each size of a rule set" {
	check kernel "$FP/bpf/match.o" "${L3AF_MATCH_SEED:-7}" "${L3AF_MATCH_KEYS:-1000000}"
}

@test "any 1024 rules fit: those that need the most nodes and classes" {
	check fit "$FP/bpf/match.o"
}

@test "what is no rule is refused: ports without a protocol that has them, a prefix of another version, too many" {
	run "$FP/match" refused
	[[ $status -eq 0 && -z $output ]] || { echo "$output"; return 1; }
}
