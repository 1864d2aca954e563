#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# contrib/bird: VIPs announced by BGP while backends take flows. BIRD on both load balancers,
# and one on the router, whose routes and clients are the oracle.
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # variables of run and load

load lib
load lbnet

setup() {
	lbnet
	in_ns rtr ip route del "$VIP4/32"
	in_ns rtr ip -6 route del "$VIP6/128"
}
teardown() { lbnet_down; }

# bird HOST: by /run/HOST.conf; its birdc is birdc HOST
bird_up() {
	(cd / && nsenter --net="/run/netns/$1" bird -f -u bird -g bird -c "/run/$1.conf" -s "/run/bird/$1.ctl" 3>&-) >"/run/$1.log" 2>&1 &
	PID[bird_$1]=$!
	eventually test -S "/run/bird/$1.ctl"
}
# hook LB: what the timer does after each round, with the unit's capabilities and group
hook() {
	in_ns "$1" env PATH="$BUILD:$PATH" L3AF_BPFFS="/run/fs/$1" BIRDC="birdc -s /run/bird/$1.ctl" \
		setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+net_admin,+sys_admin --groups bird \
		"$TOP/contrib/bird/l3af-bird" "/run/l3af-bird/$1/vips.conf"
}
hops() { # 4|6
	local vip=$VIP4
	[[ $1 == 4 ]] || vip=$VIP6
	in_ns rtr ip -"$1" route show "$vip" | grep -oE "dev lb[12]" | sed 's/dev //' | sort -u | xargs
}

@test "a VIP is announced by each load balancer while it has backends that take flows" {
	local lb n host
	install -d -o bird -g bird /run/bird
	mkdir -p /run/l3af-bird/lb1 /run/l3af-bird/lb2
	# the site's configuration: that of contrib with this site's addresses
	for lb in lb1 lb2; do
		sed -e "s|192\.0\.2\.11|$(a4 $lb)|; s|/run/l3af-bird/|&$lb/|; s|neighbor 192\.0\.2\.1 |neighbor 10.80.${NET[$lb]}.1 |" \
			-e "s|neighbor 2001:db8::1 |neighbor fd80:${NET[$lb]}::1 |; s|# bfd on|bfd off|" "$TOP/contrib/bird/bird.conf" >/run/$lb.conf
		bird_up $lb # also without what l3af-bird writes
	done
	{
		echo 'router id 10.80.1.1; protocol device {}'
		for n in 4 6; do
			echo "protocol kernel { ipv$n { import none; export all; }; merge paths on; }"
			for lb in lb1 lb2; do
				echo "protocol bgp ${lb}_$n { local as 65000; neighbor $(a$n $lb) as 65011; connect retry time 1; connect delay time 1;"
				echo "	error wait time 1, 1; ipv$n { import all; export none; }; }"
			done
		done
	} >/run/rtr.conf
	bird_up rtr

	for host in be1 be2; do
		service $host
		on $host agent enable dev e0 vip "$VIP4" vip "$VIP6" >/dev/null
	done
	does '' hook lb1 # nothing is there, BIRD hears of it
	does '' hook lb1
	lbs 80/tcp 'be1 be2' 'lb1 lb2'
	for lb in lb1 lb2; do
		does "+ announced $VIP4"$'\n'"+ announced $VIP6" hook $lb
		does '' hook $lb
	done
	soon 'lb1 lb2' hops 4
	soon 'lb1 lb2' hops 6
	load_up v4 "$VIP4" 80 hold=100 churn=10
	load_up v6 "$VIP6" 80 hold=100 churn=10

	# all backends of one VIP are sick for one of the two: the other one goes on alone
	on lb1 lb health run vip "$(vip4 80/tcp)" type http path /503 fall 1 >/dev/null
	does "- announced $VIP4" hook lb1
	soon lb2 hops 4
	[[ $(hops 6) == 'lb1 lb2' ]]
	# and are well again
	on lb1 lb health run vip "$(vip4 80/tcp)" type http path / rise 1 >/dev/null
	does "+ announced $VIP4" hook lb1
	soon 'lb1 lb2' hops 4
	# one of two backends is no reason
	on lb2 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" drain >/dev/null
	does '' hook lb2
	on lb2 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" up >/dev/null

	# a BIRD that was not there is told later; l3afctl that fails changes nothing
	on lb2 lb backend set "$(a6 be1)" vip "$(vip6 80/tcp)" drain >/dev/null
	on lb2 lb backend set "$(a6 be2)" vip "$(vip6 80/tcp)" drain >/dev/null
	mv /run/bird/lb2.ctl /run/bird/away
	run -1 --separate-stderr hook lb2
	[[ $output == "- announced $VIP6" && $stderr == 'l3af-bird: '*'control socket'* ]]
	[[ $(hops 6) == 'lb1 lb2' ]]
	mv /run/bird/away /run/bird/lb2.ctl
	does '' hook lb2
	soon lb1 hops 6
	run -1 --separate-stderr in_ns lb1 env PATH="$BUILD:$PATH" L3AF_BPFFS=/nowhere "$TOP/contrib/bird/l3af-bird" /run/l3af-bird/lb1/vips.conf
	[[ -z $output && $stderr == l3afctl:* ]]
	grep -q "$VIP4" /run/l3af-bird/lb1/vips.conf

	# out of service, by hand, under load
	in_ns lb1 birdc -s /run/bird/lb1.ctl 'disable "edge*"' >/dev/null
	soon lb2 hops 4
	for n in v4 v6; do unload $n; done
	[[ $(of v4 failed) == 0 && $(of v4 requests) -gt 500 ]]
}
