#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Words in, exit status and streams out. Nothing here touches the kernel: no root needed.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/.." || exit
	BUILD=$(readlink -f "${L3AF_BUILD:-build}")
	PATH=$BUILD:$PATH
	export L3AF_BPFFS=/nonexistent
}

# usage_error MESSAGE ARGS...: exit 2, nothing on stdout, this first line on stderr
usage_error() {
	local message=$1
	shift
	run -2 --separate-stderr l3afctl "$@"
	[[ -z $output ]]
	# shellcheck disable=SC2154
	[[ ${stderr_lines[0]} == "l3afctl: $message" ]] || { echo "$stderr"; return 1; }
	((${#stderr_lines[@]} == 1)) || [[ ${#stderr_lines[@]} == 2 && ${stderr_lines[1]} == 'usage: l3afctl '* ]]
}

# help_text ARGS...: exit 0, all of it on stdout
help_text() {
	run -0 --separate-stderr l3afctl "$@"
	[[ -z $stderr && -n $output ]]
}

@test "parsers" {
	run -0 "$BUILD/tests/unit_parse"
}

@test "help at every level, before and behind, is the same text" {
	local words text
	while read -r words; do
		# shellcheck disable=SC2086
		for words in "$words" "${words% *}" ''; do
			help_text $words --help
			text=$output
			[[ $text == 'usage: l3afctl '* ]]
			help_text -h $words
			[[ $output == "$text" ]]
			help_text help $words
			[[ $output == "$text" ]]
		done
	done < <(l3afctl --grammar | grep -xE '(chain|limit|flows|lb|agent|mirror|l2tp) [a-z]+')
	for words in 'lb vip add' 'lb backend set' 'lb flows purge' 'lb health run' 'mirror target add' 'mirror filter list'; do
		# shellcheck disable=SC2086
		help_text $words --help
		[[ $output == *"example: l3afctl $words"* ]]
	done
	help_text chain add --help
	[[ ${lines[0]} == 'usage: l3afctl chain add NAME dev IF hook xdp|tc-ingress|tc-egress' ]]
	[[ $output == *'--json --dry-run'* ]]
}

@test "help shows ranges and every keyword" {
	help_text chain add --help
	[[ $output == *'position N '*'(1..32)'* ]]
	local keyword
	while read -r _ _ keyword; do
		[[ $output == *"  $keyword"* ]]
	done < <(l3afctl --grammar | grep -xE 'chain add [a-z]+')
}

@test "a word is missing" {
	usage_error "$(l3afctl --help | awk 'BEGIN { printf "a word is missing; one of " }
		/^  [a-z]/ { printf "%s%s", s, $1; s = ", " }')"
	run -2 --separate-stderr l3afctl chain
	[[ -z $output && $stderr == 'l3afctl: chain: a word is missing; one of add, '* ]]
	usage_error 'chain add: NAME is missing' chain add
	usage_error 'chain add: dev IF is missing' chain add x
	usage_error 'chain add: hook xdp|tc-ingress|tc-egress is missing' chain add x dev lo
	usage_error 'chain add: dev IF: the value is missing' chain add x dev
	usage_error '--wait TIME: the value is missing' chain list --wait
}

@test "unknown words, and the nearest known" {
	usage_error "'chian' is not a command; did you mean 'chain'?" chian list
	usage_error "chain: 'reoder' is not a command; did you mean 'reorder'?" chain reoder
	usage_error "chain: 'lsit' is not a command; did you mean 'list'?" chain lsit
	usage_error "chain add: hok is not a keyword; did you mean 'hook'?" chain add x hok xdp
	usage_error 'chain add: colour is not a keyword' chain add x colour red
	usage_error "--jsn is not an option; did you mean '--json'?" chain list --jsn
	usage_error '-z is not an option; l3afctl --help lists them' chain list -z
	usage_error '-z is not an option; l3afctl --help lists them' chain list -jz
	run -2 --separate-stderr l3afctl help chain nonsense
	[[ -z $output && $stderr == "l3afctl: chain: 'nonsense' is not one of add, "* ]]
}

@test "no abbreviations" {
	run -2 --separate-stderr l3afctl ch list
	[[ -z $output ]]
	usage_error "chain: 'li' is not one of $(l3afctl --complete chain '' | paste -sd, | sed 's/,/, /g')" chain li
	usage_error "--js is not an option; did you mean '--json'?" chain list --js
}

@test "duplicate, rival and left-over words" {
	usage_error 'chain add: dev is given twice' chain add x dev lo dev lo
	usage_error 'chain add: before and after exclude each other' chain add x before a after b
	usage_error 'chain add: position and before exclude each other' chain add x position 1 before a
	usage_error 'version: more is one word too many' version more
}

@test "values out of range say what is right and show what was given" {
	usage_error 'chain add: position: 33 is not a number in 1..32' chain add x position 33
	usage_error "chain add: position: '' is not a number in 1..32" chain add x position ''
	usage_error 'chain add: position: 18446744073709551617 is not a number in 1..32' \
		chain add x position 18446744073709551617
	usage_error 'chain add: hook: tc is not one of xdp, tc-ingress, tc-egress' chain add x hook tc
	usage_error 'chain add: NAME: a.b is not a name of 1 to 15 letters, digits, _ or -' chain add a.b
	usage_error 'chain add: dev: nope0 is not an interface of this network namespace' chain add x dev nope0
	usage_error 'chain reorder: NAME,...: a,a has a twice' chain reorder a,a
	usage_error '--wait: 5x is not a duration in 0s..24h, as 250ms, 2s, 5m or 1h' chain list --wait 5x
}

@test "what is shown of a wrong word cannot drive the terminal, or fill it" {
	usage_error 'chain add: position: 7\x1b[31m\x0a is not a number in 1..32' chain add x position $'7\e[31m\n'
	usage_error "chain add: position: $(printf '9%.0s' {1..60})... is not a number in 1..32" \
		chain add x position "$(printf '9%.0s' {1..5000})"
}

@test "names are taken by position" {
	usage_error 'chain add: hook xdp|tc-ingress|tc-egress is missing' chain add dev dev lo
	usage_error 'chain add: dev: hook is not an interface of this network namespace' chain add hook dev hook hook xdp
}

@test "a keyword of two words beside the one it begins with" {
	local -r group='(to HOST:PORT/udp|tcp | to file PATH)'
	usage_error "flows export: $group is missing" flows export
	[[ ${stderr_lines[1]} == "usage: l3afctl flows export $group [domain N]"* ]]
	usage_error 'flows export: to HOST:PORT/udp|tcp: the value is missing' flows export to
	usage_error 'flows export: to file PATH: the value is missing' flows export to file
	usage_error 'flows export: to and to file exclude each other' flows export to 127.0.0.1:1/udp to file /x
	usage_error 'flows export: to file and to exclude each other' flows export to file /x to 127.0.0.1:1/udp
	usage_error 'flows export: to file is given twice' flows export to file /x to file /y
	usage_error "flows export: to file: '' is not a file name" flows export to file ''
	usage_error 'flows export: to: fil is not HOST:PORT/udp, HOST:PORT/tcp or file PATH' flows export to fil /x
	usage_error "flows export: t is not a keyword; did you mean 'to'?" flows export t file /x
	usage_error "flows export: tofile is not a keyword; did you mean 'to file'?" flows export tofile /x
	usage_error 'flows export: file is not a keyword' flows export file /x
	help_text flows export --help
	[[ $output == *'  to HOST:PORT/udp|tcp '*'  to file PATH '* ]]
	grep -qx 'flows export to file' < <(l3afctl --grammar)
	[[ $(l3afctl --complete flows export '' | grep -c '^to') == 1 ]]
	[[ $(l3afctl --complete flows export to '') == file ]]
	[[ $(l3afctl --complete flows export to file '') == :file ]]
	run -0 l3afctl --complete flows export to file /x ''
	[[ $output == domain* && $output != *to* ]]
	run -0 l3afctl --complete flows export to 127.0.0.1:1/udp ''
	[[ $output == domain* && $output == *pace* && $output != *file* ]]
}

@test "a positional argument that gives way to a keyword" {
	usage_error 'flows collector remove: (file PATH | NAME) is missing' flows collector remove
	usage_error 'flows collector remove: NAME and file exclude each other' flows collector remove x:1/udp file /x
	usage_error 'flows collector remove: NAME: x is not HOST:PORT/udp or HOST:PORT/tcp, as 192.0.2.1:4739/udp or [2001:db8::1]:4739/tcp' \
		flows collector remove x
	[[ $(l3afctl --complete flows collector remove file '') == :file ]]
}

@test "keywords that may be given again, and two words of which the first is none" {
	help_text agent enable --help
	[[ $(tr -s ' \n' ' ' <<<"$output") == 'usage: l3afctl agent enable dev IF [vip ADDR | local]... [to ADDR]... [port P] [strict source PREFIX]... '* ]]
	usage_error 'agent enable: dev is given twice' agent enable dev lo dev lo
	usage_error 'agent enable: vip: 192.0.2.1 is given twice' agent enable dev lo vip 192.0.2.1 vip 192.0.2.1
	usage_error 'agent enable: strict source: 10.0.0.0/8 is given twice' \
		agent enable dev lo strict source 10.0.0.0/8 vip 192.0.2.1 strict source 10.0.0.0/8
	usage_error 'agent enable: strict source PREFIX: the value is missing' agent enable dev lo strict source
	usage_error "agent enable: strict is not a keyword; did you mean 'strict source'?" agent enable dev lo strict 10.0.0.0/8
	usage_error 'agent enable: local and vip exclude each other' agent enable dev lo local vip 192.0.2.1
	usage_error 'agent enable: vip and local exclude each other' agent enable dev lo vip 192.0.2.1 vip 192.0.2.2 local
	[[ $(l3afctl --complete agent enable dev lo vip 192.0.2.1 to 10.0.0.1 '' | xargs) == \
		'vip to port strict at hook instance' ]]
	[[ $(l3afctl --complete agent enable dev lo strict '') == source ]]
	[[ -z $(l3afctl --complete agent enable dev lo strict source '') ]]
	[[ $(l3afctl --complete agent enable dev lo strict source 10.0.0.0/8 '' | xargs) == \
		'vip local to port strict at hook instance' ]]
	grep -qx 'agent enable strict source' < <(l3afctl --grammar)
}

@test "options anywhere, short ones together, values behind = or apart" {
	local -a places=('--json version' 'version --json' 'version -j' '-vj version' '--wait=1s version -j'
		'--wait 1 -jv version' '-qj --bpffs /x version' 'version -j --' '--json -- version')
	local place want
	want=$(l3afctl version --json)
	for place in "${places[@]}"; do
		# shellcheck disable=SC2086
		run -0 l3afctl $place
		[[ $output == "$want" ]]
	done
	usage_error 'version: --json is one word too many' version -- --json
	usage_error '--json takes no value' --json=yes version
	usage_error "--bpffs: '' is not a file name" --bpffs= version
}

@test "options a command does not take are refused" {
	usage_error 'version takes no --dry-run' version --dry-run
	usage_error 'chain list takes no --dry-run' chain list --dry-run
}

@test "standard output that cannot be written is a failure" {
	run -1 --separate-stderr bash -c 'l3afctl --help >/dev/full'
	[[ $stderr == 'l3afctl: standard output: no space left' ]]
	run -1 --separate-stderr bash -c 'l3afctl version -j >&-'
	[[ $stderr == 'l3afctl: standard output: '* ]]
	run -2 --separate-stderr bash -c 'l3afctl nonsense >&- <&-'
}

@test "a link selects the object" {
	ln -s "$BUILD/l3afctl" "$BATS_TEST_TMPDIR/l3af-chain"
	ln -s "$BUILD/l3afctl" "$BATS_TEST_TMPDIR/l3af-nothing"
	PATH=$BATS_TEST_TMPDIR:$PATH
	[[ $(l3af-chain --help) == "$(l3afctl chain --help)" ]]
	[[ $(l3af-chain add --help) == "$(l3afctl chain add --help)" ]]
	[[ $(l3af-chain --complete '') == "$(l3afctl --complete chain '')" ]]
	run -2 --separate-stderr l3af-chain add
	[[ $stderr == 'l3afctl: chain add: NAME is missing'* ]]
	run -2 --separate-stderr l3af-nothing list
	[[ -z $output && $stderr == "l3afctl: 'nothing' is not one of "* ]]
}

@test "version" {
	run -0 l3afctl --version
	[[ ${lines[0]} =~ ^l3afctl:\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	[[ $output == *'engines: libxdp,link,netlink,tcx,clsact'* ]]
	[[ $output == "$(l3afctl version)" ]]
	run -0 jq -er '.version, .libbpf, .engines[0]' <<<"$(l3afctl -Vj)"
}

@test "refuses to run set-uid" {
	((EUID == 0)) || skip 'needs root'
	local dir
	dir=$(mktemp -d -p "${BATS_TEST_TMPDIR}")
	install -m 4755 "$BUILD/l3afctl" "$dir/l3afctl"
	chmod 755 "$BATS_TEST_TMPDIR" "$dir"
	run setpriv --reuid 65534 --clear-groups "$dir/l3afctl" --version
	# a temporary directory mounted nosuid, or closed to others, shows nothing
	((status != 0 && status != 126)) || skip 'set-uid has no effect here'
	[[ $status == 1 && $output == 'l3afctl: refuses to run set-uid'* ]]
}

@test "completion candidates" {
	[[ $(l3afctl --complete chain '' | head -n 1) == add ]]
	[[ $(l3afctl --complete chain add '') != *dev* ]]
	[[ $(l3afctl --complete chain add x hook '') == $'xdp\ntc-ingress\ntc-egress' ]]
	[[ $(l3afctl --complete chain add x dev '') == *lo* ]]
	[[ $(l3afctl --complete chain add x object '') == :file ]]
	[[ $(l3afctl --complete --bpffs '') == :file ]]
	[[ $(l3afctl --complete --wait 1s -v help '') == chain* ]]
	# neither what was given nor what it excludes
	run -0 l3afctl --complete chain add x dev lo before a ''
	[[ $output == hook* && $output != *dev* && $output != *position* && $output != *after* ]]
	[[ $(l3afctl --complete chain add --d) == *--dry-run* ]]
	[[ $(l3afctl --complete chain list --d) != *--dry-run* ]]
	[[ -z $(l3afctl --complete) && -z $(l3afctl --complete nonsense '') ]]
	[[ -z $(l3afctl --complete version '') ]]
}

@test "bash completion" {
	# shellcheck source=/dev/null
	source completions/l3afctl.bash
	compopt() { options=$*; }
	words() {
		COMP_LINE="$*" options=
		COMP_POINT=${#COMP_LINE}
		_l3afctl
	}
	words l3afctl chain re
	[[ " ${COMPREPLY[*]} " == *' reorder '* && " ${COMPREPLY[*]} " == *' remove '* && " ${COMPREPLY[*]} " != *' add '* ]]
	words l3afctl chain add x hook tc-i
	[[ ${COMPREPLY[*]} == tc-ingress ]]
	words l3afctl chain add x object /et
	[[ $options == '-o default' && ${#COMPREPLY[@]} == 0 ]]
	# what readline calls three words
	words l3afctl flows export to 127.0.0.1:1/udp bif
	[[ ${COMPREPLY[*]} == biflow ]]
	words l3afctl flows export to ''
	[[ ${COMPREPLY[*]} == file ]]
	words l3afctl nonsense ''
	((${#COMPREPLY[@]} == 0))
	complete -p l3afctl l3af-agent l3af-chain l3af-flows l3af-lb l3af-limit l3af-mirror
}

@test "zsh completion" {
	type -P zsh >/dev/null || skip 'no zsh'
	# shellcheck disable=SC2016
	run -0 zsh -fc 'compadd() { print -l -- ${(P)2} }; _files() { print FILES }
		ask() { words=("$@") CURRENT=$#; source completions/_l3afctl }
		ask l3afctl chain add x hook ""; ask l3afctl chain add x object ""'
	[[ $output == $'xdp\ntc-ingress\ntc-egress\nFILES' ]]
}

@test "fish completion" {
	type -P fish >/dev/null || skip 'no fish'
	run -0 env HOME="$BATS_TEST_TMPDIR" fish --no-config -c 'source completions/l3afctl.fish
		complete -C "l3afctl chain add x hook tc-"; complete -C "l3afctl --bpffs compl"'
	[[ $output == $'tc-egress\ntc-ingress\ncompletions/' ]]
}

@test "no command line crashes it" {
	local -a words args
	mapfile -t words < <(l3afctl --grammar | tr ' ' '\n' | sort -u)
	words+=('' - -- -jv -jz --wait=0 --json=1 x 'a,b' ',' lo 1 99 ::/0 any $'\e' ä $'\xff' %s%n "$(printf 'a%.0s' {1..300})")
	RANDOM=1
	for _ in {1..300}; do
		args=()
		((RANDOM % 2)) || args=(chain add x dev lo)
		for ((n = RANDOM % 8; n; n--)); do args+=("${words[RANDOM % ${#words[@]}]}"); done
		run --separate-stderr l3afctl -n /nonexistent "${args[@]}"
		((status <= 2)) || { printf '%q ' "$status" "${args[@]}"; return 1; }
		((status != 2)) || [[ -z $output && $stderr == 'l3afctl: '* ]]
	done
}

@test "install and uninstall" {
	local root=$BATS_TEST_TMPDIR/root
	run -0 make -s install DESTDIR="$root" PREFIX=/usr
	[[ -x $root/usr/sbin/l3afctl && $(readlink "$root/usr/sbin/l3af-chain") == l3afctl ]]
	[[ -f $root/usr/share/man/man8/l3afctl-chain.8 && -e $root/usr/share/man/man8/l3af-chain.8 ]]
	[[ -f $root/usr/share/bash-completion/completions/l3afctl ]]
	run -0 "$root/usr/sbin/l3af-chain" --help
	run -0 make -s uninstall DESTDIR="$root" PREFIX=/usr
	[[ -z $(find "$root" ! -type d) ]]
}

# what follows needs root and the private namespaces of tests/run
private() { [[ -n ${L3AF_TEST_BPFFS-} ]] || skip 'needs tests/run'; }

@test "-n takes a name, a path or a pid of a network namespace" {
	private
	ip netns add blue
	ip -n blue link add blue0 type veth peer name blue1
	local ns
	unshare -n sleep 60 3>&- &
	for ns in blue /run/netns/blue; do
		run -0 --separate-stderr l3afctl -n $ns --bpffs "$L3AF_TEST_BPFFS" chain list dev blue0
		[[ -z $output$stderr ]]
		[[ $(l3afctl --complete -n $ns chain add x dev '') == *blue1* ]]
	done
	usage_error 'chain list: dev: blue0 is not an interface of this network namespace' chain list dev blue0
	usage_error 'chain list: dev: blue0 is not an interface of this network namespace' -n $! chain list dev blue0
	kill $!
	run -1 --separate-stderr l3afctl -n nope chain list
	[[ -z $output && $stderr == 'l3afctl: network namespace nope: '*'no such file or directory' ]]
}

@test "the lock: waits, gives up with 4, is free when its holder is killed" {
	private
	export L3AF_BPFFS=$L3AF_TEST_BPFFS
	mkdir -m 700 "$L3AF_BPFFS/l3af"
	(flock 9 && exec sleep 60) 9<"$L3AF_BPFFS/l3af" 3>&- &
	until ! flock -n "$L3AF_BPFFS/l3af" true; do sleep 0.05; done
	run -4 --separate-stderr l3afctl --wait 0 chain list
	[[ -z $output && $stderr == 'l3afctl: another l3afctl holds '* ]]
	run -4 l3afctl --wait 300ms chain list
	kill -9 $!
	run -0 --separate-stderr l3afctl --wait 5 chain list
	[[ -z $output$stderr ]]
}
