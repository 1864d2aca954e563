# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# What every bats file loads. A file runs in namespaces of its own (tests/run FILE).

bats_require_minimum_version 1.5.0
[[ -n ${L3AF_TEST_BPFFS-} ]] || { echo "run it by: tests/run $BATS_TEST_FILENAME" >&2; exit 1; }

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${L3AF_BUILD:-$TOP/build}
BPFFS=$L3AF_TEST_BPFFS # private to this file
STATE=$BPFFS/l3af
FP=$BUILD/tests        # test objects and tools
export BUILD BPFFS STATE FP

# shellcheck source=tests/net.bash
. "$TOP/tests/net.bash"

# l3af ARGS...: l3afctl on the private bpffs, in the network namespace $NS (srv)
l3af() {
	in_ns "${NS:-srv}" "$BUILD/l3afctl" --bpffs "$BPFFS" "$@"
}

# refuses STATUS MESSAGE COMMAND...: exactly that exit status and that message on
# stderr, nothing on stdout
refuses() {
	local want=$1 message=$2
	shift 2
	run --separate-stderr "$@"
	if [[ $status -ne $want || -n $output || $stderr != "$message" ]]; then
		printf '%s\n' "command: $*" "status: $status, wanted $want" "stdout: $output" \
			"stderr: $stderr" "wanted: $message"
		return 1
	fi
}

# does OUTPUT COMMAND...: exit status 0, exactly that output, nothing on stderr
does() {
	local want=$1
	shift
	run --separate-stderr "$@"
	if [[ $status -ne 0 || $output != "$want" || -n $stderr ]]; then
		printf '%s\n' "command: $*" "status: $status" "stdout: $output" "wanted: $want" \
			"stderr: $stderr"
		return 1
	fi
}

# residue: prints what is attached in any network namespace and what is pinned beside
# the layout version; prints nothing when all is clean
residue() {
	local ns dev
	for ns in /run/netns/*; do
		ns=${ns##*/}
		[[ $ns != '*' ]] || continue
		in_ns "$ns" ip -d link show | grep -E 'prog/(xdp|tc)' | sed "s/^/$ns: /"
		for dev in $(in_ns "$ns" ip -br link | sed 's/[@ ].*//'); do
			{ in_ns "$ns" tc filter show dev "$dev" ingress
				in_ns "$ns" tc filter show dev "$dev" egress; } 2>/dev/null |
				sed "s/^/$ns: $dev: /"
		done
	done
	# the kernel makes two itself, tc three links
	find "$BPFFS" /sys/fs/bpf ! -type d ! -path "$STATE/meta" ! -name 'progs.debug' ! -name 'maps.debug' ! -type l
}

# no_residue: for the end of a test
no_residue() {
	local left
	left=$(residue)
	[[ -z $left ]] || { printf 'left behind:\n%s\n' "$left"; return 1; }
}

# wipe: the next test starts from nothing; dispatchers are those of libxdp
wipe() {
	ip -all netns delete
	rm -rf "${STATE:?}" /sys/fs/bpf/xdp/dispatch-*
}

# tidy: the same at the end of a test that has to have left nothing
tidy() {
	local left=''
	[[ -z ${BATS_TEST_COMPLETED-} || -n ${BATS_TEST_SKIPPED-} ]] || left=$(residue)
	wipe
	[[ -z $left ]] || { printf 'left behind:\n%s\n' "$left"; return 1; }
}

# figure TEXT: a number worth seeing in the summary of tests/run
figure() { echo "# = $*" >&3; }

# oracle MODE KEY=VALUE...: changes judged by test packets (tests/tools/oracle.c); its
# last line becomes a figure
oracle() {
	local out
	out=$(in_ns "${NS:-srv}" "$FP/oracle" "$@" l3afctl="$BUILD/l3afctl" objects="$FP" bpffs="$BPFFS" 2>&1) || {
		local rc=$?
		printf '%s\n' "oracle $*" "$out"
		return "$rc"
	}
	figure "$(tail -n 1 <<<"$out")"
}

# eventually COMMAND...: it succeeds, if not now then within ten seconds
eventually() {
	local end=$((SECONDS + 10))
	until "$@"; do
		((SECONDS < end)) || { echo "not within ten seconds: $*"; return 1; }
		sleep 0.02
	done
}

# soon WANTED COMMAND...: the command prints WANTED within ten seconds
soon() {
	local want=$1 i
	for ((i = 0; i < 100; i++)); do
		[[ $("${@:2}") == "$want" ]] && return
		sleep 0.1
	done
	echo "${*:2}: $("${@:2}"), wanted $want"
	return 1
}

# Commands that go on: their first line of output, and their end by a closed stdin.
declare -gA PID=() IN=()
# start NAME NS COMMAND...: sets $line
start() {
	local dir=$BATS_TEST_TMPDIR/$1 out in others=''
	mkfifo "$dir.in" "$dir.out"
	# it must not hold the standard input of others open
	for in in "${IN[@]}"; do others+=" $in>&-"; done
	eval 'nsenter --net="/run/netns/$2" "${@:3}" <"$dir.in" >"$dir.out" 3>&-'"$others &"
	PID[$1]=$!
	exec {in}>"$dir.in" {out}<"$dir.out"
	IN[$1]=$in
	read -r line <&"$out"
}
# finish NAME
finish() {
	local in=${IN[$1]}
	exec {in}>&-
	wait "${PID[$1]}" || true
	unset "PID[$1]" "IN[$1]"
	rm "$BATS_TEST_TMPDIR/$1".{in,out}
}
# finish_all: for a teardown
finish_all() {
	local name
	for name in "${!PID[@]}"; do
		kill "${PID[$name]}" || true
		wait "${PID[$name]}" || true
	done
}
