# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# Pseudowires between srv and cli (tests/net.bash, pair), or to the kernel's own.

L2TP_PY=$TOP/tests/tools/l2tp.py
export L2TP_PY

# every_sort COMMAND...: COMMAND N FAMILY ENCAP COOKIE-OCTETS SUBLAYER for each of the 24
every_sort() {
	local family encap cookie sublayer n=0
	for family in 4 6; do
		for encap in udp ip; do
			for cookie in 0 4 8; do
				for sublayer in none default; do
					n=$((n + 1))
					"$@" $n $family $encap $cookie $sublayer
				done
			done
		done
	done
}

# end_of NS: sets dev, this and that: NS's underlay, its address of $family and its peer's
end_of() {
	local a=1 b=2
	dev=s0
	[[ $1 == srv ]] || { a=2 b=1 dev=c0; }
	if [[ $family == 4 ]]; then this=10.77.0.$a that=10.77.0.$b; else this=fd77::$a that=fd77::$b; fi
}

# cookie_of NS OCTETS N: what NS sends; "none"
cookie_of() {
	local octets=$2 text
	text=$(printf '%s%06x%08x' "$([[ $1 == srv ]] && echo a5 || echo 5a)" "$3" "$3")
	if ((octets)); then echo "${text:0:octets*2}"; else echo none; fi
}

# our_end NS N FAMILY ENCAP COOKIE SUBLAYER [WORD...]: netdev pN with the addresses 10.1.N.1 and
# fd01:N::1, .2 in cli; session N in srv, 100 + N in cli
our_end() {
	local ns=$1 n=$2 family=$3 encap=$4 cookie=$5 sublayer=$6 dev this that peer=cli ids=("$2" "$((100 + $2))") host=1
	[[ $ns == srv ]] || { peer=srv host=2 ids=("$((100 + n))" "$n"); }
	end_of "$ns"
	NS=$ns l3af -q l2tp add "$ns$n" netdev "p$n" underlay "$dev" local "$this" remote "$that" session "${ids[0]}" \
		peer-session "${ids[1]}" encap "$encap" tx-cookie "$(cookie_of "$ns" "$cookie" "$n")" \
		rx-cookie "$(cookie_of $peer "$cookie" "$n")" sublayer "$sublayer" "${@:7}" >/dev/null
	host_on "$ns" "p$n" "$n" "$host"
}
# host_on NS DEV N HOST: up, with addresses
host_on() {
	in_ns "$1" ip -b - <<-END
		link set $2 up
		addr add 10.1.$3.$4/24 dev $2
		addr add fd01:$3::$4/64 dev $2 nodad
	END
}
our_ends() {
	our_end srv "$@"
	our_end cli "$@"
}

# pings N: from srv, of odd lengths
pings() {
	local to
	for to in 10.1.$1.2 fd01:$1::2; do
		in_ns srv busybox ping -qc 1 -W 5 -s 1001 "$to" >/dev/null || { echo "pseudowire $1: no answer from $to"; return 1; }
	done
}
pings_of() { pings "$1"; }

# l2tp_count NAME FILTER: of l2tp stats
l2tp_count() { l3af --json l2tp stats "$1" | jq "$2"; }
