# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# For tests of lb from end to end, after lib: a site with an edge, every host of it in a network
# namespace and with a bpffs of its own.
#
#	cli ---- rtr ==== lb1, lb2          equal-cost routes to the VIPs, by flow
#	          |\
#	          | +---- be1, be2          the VIPs on lo, the agent on the interface
#	          +------ hv ---- vm        the agent towards the guest, which owns its own address alone
#
# Net N, the router's end .1 and ::1, the host's .2 and ::2, is 10.80.N.0/24 and fd80:N::/64.
# Every interface of a host is e0 (hv has t0, too, towards vm); the router's are named
# after the host.

LBLOAD=$FP/lbload
declare -gA NET=([cli]=1 [lb1]=11 [lb2]=12 [be1]=21 [be2]=22 [hv]=23 [vm]=33)
VIP4=198.51.100.1 VIP6=2001:db8:100::1

a4() { echo "10.80.${NET[$1]}.2"; }
a6() { echo "fd80:${NET[$1]}::2"; }

# on HOST ARGS...: l3afctl on that host
on() {
	local host=$1
	shift
	in_ns "$host" "$BUILD/l3afctl" --bpffs "/run/fs/$host" "$@"
}
# on_all "HOST..." ARGS...: its changes are not shown
on_all() {
	local host
	for host in $1; do on "$host" "${@:2}" >/dev/null || return; done
}

lbnet_host() {
	quiet_netns "$1"
	mkdir -p "/run/fs/$1"
	mount -t bpf -o mode=700 bpf "/run/fs/$1"
	# who forwards asks for neighbours from a link-local address
	in_ns "$1" sysctl -qw net.ipv6.conf.default.addr_gen_mode=0 net.ipv4.conf.all.rp_filter=0 \
		net.ipv4.conf.default.rp_filter=0
}

# lbnet_link UP IF HOST IF: addresses and the host's way to everywhere
lbnet_link() {
	local n=${NET[$3]} ns dev host
	ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
	while read -r ns dev host; do
		in_ns "$ns" ip -b - <<-END
			link set $dev up
			addr add 10.80.$n.$host/24 dev $dev
			addr add fd80:$n::$host/64 dev $dev nodad
		END
	done <<<"$1 $2 1"$'\n'"$3 $4 2"
	in_ns "$3" ip route add default via "10.80.$n.1"
	in_ns "$3" ip route add default via "fd80:$n::1"
}

# lbnet: the site, nothing on it yet
lbnet() {
	local host
	for host in rtr cli lb1 lb2 be1 be2 hv vm; do lbnet_host "$host"; done
	for host in rtr hv lb1 lb2; do # the kernel tells next hops only to who forwards
		in_ns "$host" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	done
	in_ns rtr sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1 \
		net.ipv6.conf.default.keep_addr_on_down=1
	in_ns cli sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='10000 65000'
	for host in cli lb1 lb2 be1 be2 hv; do lbnet_link rtr "$host" "$host" e0; done
	lbnet_link hv t0 vm e0
	in_ns rtr ip route add 10.80.33.0/24 via "$(a4 hv)"
	in_ns rtr ip route add fd80:33::/64 via "$(a6 hv)"
	# a load balancer computes its sums from those in the packet: let them be there
	in_ns cli ethtool -K e0 tx off >/dev/null
	for host in be1 be2; do
		in_ns "$host" ip addr add "$VIP4/32" dev lo
		in_ns "$host" ip addr add "$VIP6/128" dev lo
	done
	# what leaves a veth by XDP_TX arrives where there is a program, too
	for host in lb1 lb2 be1 be2 hv; do
		on rtr chain add pass dev "$host" hook xdp object "$FP/bpf/empty.o" >/dev/null
	done
	routes lb1 lb2
	mkdir -p "$BATS_TEST_TMPDIR/lbnet"
	for host in lb1 lb2 be1 be2 vm; do
		eventually in_ns cli busybox ping -qc 1 -W 1 "$(a6 $host)" >/dev/null
		eventually in_ns cli busybox ping -qc 1 -W 1 "$(a4 $host)" >/dev/null
	done
}

# routes LB...: the router's ways to the VIPs from now on
routes() {
	local lb hops4=() hops6=()
	for lb; do
		hops4+=(nexthop via "$(a4 "$lb")" dev "$lb")
		hops6+=(nexthop via "$(a6 "$lb")" dev "$lb")
	done
	in_ns rtr ip route replace "$VIP4/32" "${hops4[@]}"
	in_ns rtr ip -6 route replace "$VIP6/128" "${hops6[@]}"
}

lbnet_down() {
	local host
	finish_all
	wipe
	for host in /run/fs/*; do umount "$host"; done
	rm -rf /run/fs
}

# service HOST [PORT]: lbload serves there
service() {
	nsenter --net="/run/netns/$1" "$LBLOAD" serve "$1" "${2:-80}" >"$BATS_TEST_TMPDIR/lbnet/$1" 2>&1 3>&- &
	PID[$1]=$!
	eventually grep -q listening "$BATS_TEST_TMPDIR/lbnet/$1"
}
# unserve HOST: its process is gone
unserve() {
	kill "${PID[$1]}"
	wait "${PID[$1]}" || true
	unset "PID[$1]"
}

# agents: on every backend host
agents() {
	local host
	for host in be1 be2; do
		# who is obeyed about second hops
		on "$host" agent enable dev e0 vip "$VIP4" vip "$VIP6" strict source 10.80.11.0/24 \
			strict source 10.80.12.0/24 strict source fd80:11::/64 strict source fd80:12::/64 >/dev/null
	done
	on hv agent enable dev t0 vip "$VIP4" to "$(a4 vm)" vip "$VIP6" to "$(a6 vm)" at guest \
		strict source 10.80.0.0/20 strict source fd80::/16 >/dev/null
}

# lbs "PORT/PROTO..." "BACKEND..." "LB..." [WORD...]: load balancers with these VIPs, of both
# families, and these backends
lbs() {
	local lb port v host
	for lb in $3; do
		on "$lb" lb enable dev e0 >/dev/null
		for port in $1; do
			for v in 4 6; do
				on "$lb" lb vip add "$("vip$v" "$port")" "${@:4}" >/dev/null
				for host in $2; do
					on "$lb" lb backend add "$("a$v" "$host")" vip "$("vip$v" "$port")" >/dev/null
				done
			done
		done
	done
}
vip4() { echo "$VIP4:$1"; }
vip6() { echo "[$VIP6]:$1"; }

# backend LBS VERB HOST PORT WORD...: for both families: backend "lb1 lb2" set be1 80/tcp drain
backend() {
	local v
	for v in 4 6; do
		on_all "$1" lb backend "$2" "$("a$v" "$3")" vip "$("vip$v" "$4")" "${@:5}" || return
	done
}

# load_up NAME WORD...: clients (lbload run WORD...) until "unload NAME"
load_up() {
	local log=$BATS_TEST_TMPDIR/lbnet/$1
	nsenter --net=/run/netns/cli "$LBLOAD" run "${@:2}" >"$log" 2>"$log.failed" 3>&- &
	PID[$1]=$!
	eventually grep -q ready "$log"
}
# unload NAME: prints what came of it
unload() {
	local log=$BATS_TEST_TMPDIR/lbnet/$1
	kill "${PID[$1]}"
	wait "${PID[$1]}"
	unset "PID[$1]"
	sed 1d "$log"
	head -n 5 "$log.failed"
}
# of LOAD requests|failed|moved|lost|opened; of LOAD BACKEND answers|failed
of() {
	local log=$BATS_TEST_TMPDIR/lbnet/$1
	awk -v who="${3:+$2}" -v what="${3-$2}" '(who == "" ? $1 == "requests" : $1 == who) {
		for (i = 1; i < NF; i++) if ($i == what) n = $(i + 1) } END { print n + 0 }' "$log"
}
