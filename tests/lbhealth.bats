#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lb health run: probes of real services through the tunnel. What a sick backend means is
# asked of clients.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run and load

load lib
load lbnet

setup() {
	lbnet
	routes lb1
	[[ $BATS_TEST_DESCRIPTION != *' backends'* ]] || return 0
	for host in be1 be2; do
		service $host
		on $host agent enable dev e0 vip "$VIP4" vip "$VIP6" >/dev/null
	done
	lbs 80/tcp 'be1 be2' lb1
}
teardown() { lbnet_down; }

health() { on lb1 lb health run "$@"; }
# healths: "be1=healthy be2=sick" of the IPv4 VIP
healths() {
	on lb1 --json lb backend list vip "$(vip4 "${1-80}")/tcp" | jq -r --arg be1 "$(a4 be1)" '
		sort_by(.backend) | map((if .backend == $be1 then "be1" else "be2" end) + "=" + .health) | join(" ")'
}
# reason HOST: of the last failure
reason() {
	on lb1 --json lb backend list vip "$(vip4 80/tcp)" | jq -r --arg at "$(a4 "$1")" '.[] | select(.backend == $at) | .reason'
}
# served: who answers thirty clients
served() {
	local i
	for ((i = 0; i < 30; i++)); do in_ns cli curl -sS -m 5 "http://$VIP4/"; done | sort -u | xargs
}
be() { echo "lb backend $(a4 "$1") vip $(vip4 80/tcp)"; }

@test "who is sick gets no new flows, and gets them again when he is back; no news, no output" {
	does "+ chain lb dev e0 hook tc-egress position 1 engine tcx" health vip "$(vip4 80/tcp)"
	does "~ $(be be1) health unknown -> healthy"$'\n'"~ $(be be2) health unknown -> healthy" health vip "$(vip4 80/tcp)"
	does '' health vip "$(vip4 80/tcp)"
	does '{"changed":false,"dry_run":false,"changes":[]}' health --json vip "$(vip4 80/tcp)"
	[[ $(served) == 'be1 be2' ]]

	unserve be1
	does '' health vip "$(vip4 80/tcp)"
	does '' health vip "$(vip4 80/tcp)"
	[[ $(healths) == 'be1=healthy be2=healthy' && $(reason be1) == *refused* ]]
	does "~ $(be be1) health healthy -> sick" health vip "$(vip4 80/tcp)"
	does '' health vip "$(vip4 80/tcp)"
	[[ $(served) == be2 ]]

	service be1
	does '' health vip "$(vip4 80/tcp)"
	[[ $(served) == be2 ]]
	does "~ $(be be1) health sick -> healthy" health vip "$(vip4 80/tcp)"
	[[ $(served) == 'be1 be2' ]]
	# one bad probe among good ones is nothing
	unserve be1
	does '' health fall 2 vip "$(vip4 80/tcp)"
	service be1
	does '' health fall 2 vip "$(vip4 80/tcp)"
	unserve be1
	does '' health fall 2 vip "$(vip4 80/tcp)"
	does "~ $(be be1) health healthy -> sick" health fall 2 vip "$(vip4 80/tcp)"
	# nobody is left: clients hear nothing; and what the operator said stays
	unserve be2
	does "~ $(be be2) health healthy -> sick" health fall 1 vip "$(vip4 80/tcp)"
	run -28 in_ns cli curl -sS -m 1 "http://$VIP4/"
	on lb1 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" down >/dev/null
	service be1
	does "~ $(be be1) health sick -> healthy" health rise 1 vip "$(vip4 80/tcp)"
	run -28 in_ns cli curl -sS -m 1 "http://$VIP4/"
	on lb1 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" up >/dev/null
	[[ $(served) == be1 ]]
}

@test "each probe reaches its own backend by the tunnel, also one that is drained, down, or sick" {
	local host n
	declare -A before
	on lb1 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" drain >/dev/null
	on lb1 lb backend set "$(a6 be1)" vip "$(vip6 80/tcp)" down >/dev/null
	health fall 1 type http path /503 >/dev/null
	for host in be1 be2; do
		before[$host]=$(on $host --json agent stats | jq '[.. | .decapsulated? // empty] | add')
	done
	run -0 health rise 1
	[[ $(grep -c 'sick -> healthy' <<<"$output") == 4 ]]
	for host in be1 be2; do
		n=$(on $host --json agent stats | jq '[.. | .decapsulated? // empty] | add')
		((n >= before[$host] + 4)) # SYN, ACK, of two families
	done
	run -0 --separate-stderr health -v
	[[ $(grep -c ' for .*: healthy after ' <<<"$stderr") == 4 ]]
	# DSR: nothing came back through a load balancer
	[[ $(on be1 lb list --json) == '[]' ]]
}

@test "http: a status, a path, a name; https: any certificate; no answer in time" {
	local v4 cert=$BATS_TEST_TMPDIR/lbnet
	v4=$(vip4 80/tcp)
	for kind in 'type http' 'type http path /204' 'type http path /404 expect 404' 'type http host www.example path /'; do
		health vip "$v4" fall 1 path /500 type http >/dev/null
		[[ $(healths) == 'be1=sick be2=sick' && $(reason be1) == 'status 500' ]]
		# shellcheck disable=SC2086
		health vip "$v4" rise 1 $kind >/dev/null
		[[ $(healths) == 'be1=healthy be2=healthy' ]]
	done
	health vip "$v4" fall 1 type http expect 201 >/dev/null
	[[ $(healths) == 'be1=sick be2=sick' && $(reason be2) == 'status 200' ]]
	health vip "$v4" rise 1 >/dev/null
	health vip "$v4" fall 1 type http path /late timeout 200ms >/dev/null
	[[ $(healths) == 'be1=sick be2=sick' && $(reason be1) == 'connected, but no answer in time' ]]
	health vip "$v4" rise 1 >/dev/null
	# a host that is gone says nothing at all
	in_ns rtr ip link set be1 down
	health vip "$v4" fall 1 timeout 200ms >/dev/null
	[[ $(healths) == 'be1=sick be2=healthy' && $(reason be1) == 'no connection in time' ]]
	in_ns rtr ip link set be1 up

	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$cert/key" -out "$cert/cert" -days 1 -subj /CN=nobody 2>/dev/null
	nsenter --net=/run/netns/be2 openssl s_server -quiet -accept 443 -key "$cert/key" -cert "$cert/cert" -www \
		>"$cert/tls" 2>&1 3>&- &
	PID[tls]=$!
	eventually in_ns be2 curl -sko /dev/null https://127.0.0.1/
	lbs 443/tcp 'be1 be2' lb1
	eventually in_ns cli busybox ping -qc 1 -W 1 "$(a4 be1)" >/dev/null
	health vip "$(vip4 443/tcp)" type https fall 1 rise 1 host www.example >/dev/null
	[[ $(healths 443) == 'be1=sick be2=healthy' ]]
	[[ $(healths) == 'be1=sick be2=healthy' ]] # of another VIP
	# what speaks no TLS is not healthy
	health vip "$v4" type https fall 1 rise 1 >/dev/null
	[[ $(healths) == 'be1=sick be2=sick' && -n $(reason be2) ]]
}

@test "the environment says nothing: no proxy, no file" {
	printf 'machine %s login a password b\n' "$VIP4" >"$BATS_TEST_TMPDIR/.netrc"
	printf 'fail\nmax-time = 0.001\n' >"$BATS_TEST_TMPDIR/.curlrc"
	HOME=$BATS_TEST_TMPDIR http_proxy=http://192.0.2.1:1/ https_proxy=http://192.0.2.1:1/ ALL_PROXY=socks5://192.0.2.1:1 \
		run -0 health rise 1 type http
	[[ $(grep -c 'unknown -> healthy' <<<"$output") == 4 ]]
}

@test "UDP VIPs and those without a port are passed over, or refused when they are asked for" {
	on lb1 lb vip add "$(vip4 53/udp)" >/dev/null
	on lb1 lb backend add "$(a4 be1)" vip "$(vip4 53/udp)" >/dev/null
	on lb1 lb vip add "$VIP4/tcp" >/dev/null
	on lb1 lb backend add "$(a4 be1)" vip "$VIP4/tcp" >/dev/null
	health rise 1 >/dev/null
	does '' health
	run -0 --separate-stderr health -v
	[[ $stderr == *"$VIP4:53/udp is not probed: of UDP an answer cannot be expected"* ]]
	[[ $stderr == *"$VIP4/tcp has no port to probe; give one: port N"* ]]
	refuses 2 "l3afctl: lb health run: $VIP4:53/udp is not probed: of UDP an answer cannot be expected" \
		health vip "$(vip4 53/udp)"
	refuses 2 "l3afctl: lb health run: $VIP4/tcp has no port to probe; give one: port N" health vip "$VIP4/tcp"
	does "~ lb backend $(a4 be1) vip $VIP4/tcp health unknown -> healthy" health vip "$VIP4/tcp" port 80 rise 1
}

@test "what is wrong here is an error and nobody's sickness" {
	health rise 1 >/dev/null
	refuses 1 "l3afctl: no VIP 192.0.2.9:80/tcp; run l3afctl lb vip add" health vip 192.0.2.9:80/tcp
	refuses 2 'l3afctl: lb health run: path goes with type http or https' health path /x
	refuses 2 'l3afctl: lb health run: expect goes with type http or https' health type tcp expect 200
	refuses 2 'l3afctl: lb health run: has no --dry-run: probing is what it does' health --dry-run
	refuses 2 "l3afctl: lb health run: path: x is no path: '/' and up to 510 ASCII characters, no blank and no '#'" \
		health type http path x
	refuses 2 "l3afctl: lb health run: host: 'a b' is no host name" health type http host 'a b'
	refuses 1 'l3afctl: there is no load balancer other; run l3afctl lb enable dev IF instance other' health instance other
	NS=cli refuses 1 'l3afctl: there is no load balancer lb; run l3afctl lb enable dev IF' l3af lb health run

	# without libcurl
	run -1 --separate-stderr unshare -m bash -c 'for f in /usr/lib/*/libcurl*.so.4; do mount --bind /dev/null "$f"; done; "$@"' - \
		nsenter --net=/run/netns/lb1 "$BUILD/l3afctl" --bpffs /run/fs/lb1 lb health run
	[[ -z $output && $stderr == 'l3afctl: probes need libcurl (Debian: libcurl4): '* ]]
	# everything else does without it
	unshare -m bash -c 'for f in /usr/lib/*/libcurl*.so.4; do mount --bind /dev/null "$f"; done; "$@"' - \
		nsenter --net=/run/netns/lb1 "$BUILD/l3afctl" --bpffs /run/fs/lb1 lb vip list >/dev/null

	# no way out for one family: the other is probed all the same
	in_ns lb1 ip -6 route del default
	unserve be2
	run -1 --separate-stderr health fall 1
	[[ $output == "~ $(be be2) health healthy -> sick" ]]
	[[ $stderr == "l3afctl: $(vip6 80/tcp): no route to it, which probes need (the default route will do)" ]]
	[[ $(on lb1 --json lb backend list vip "$(vip6 80/tcp)" | jq -r 'map(.health) | join(" ")') == 'healthy healthy' ]]
	in_ns lb1 ip addr add "$VIP6/128" dev lo
	refuses 1 "l3afctl: $(vip6 80/tcp): is an address of this host, which takes no answer to a probe from there; remove it (ip addr del)" \
		health vip "$(vip6 80/tcp)"
	in_ns lb1 ip link add x0 type veth peer name x1
	in_ns lb1 ip link set x0 up
	in_ns lb1 ip route add "$VIP4" dev x0
	refuses 1 "l3afctl: $(vip4 80/tcp): probes would leave through x0, where no load balancer lb is; run l3afctl lb enable dev x0" \
		health vip "$(vip4 80/tcp)"
}

@test "nobody waits for a probe; what is no longer what was probed is not judged" {
	health rise 1 >/dev/null
	nsenter --net=/run/netns/lb1 "$BUILD/l3afctl" --bpffs /run/fs/lb1 lb health run type http path /late timeout 3s fall 1 \
		vip "$(vip4 80/tcp)" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	PID[health]=$!
	eventually eval '[[ $(in_ns be1 ss -Htn state established "( sport = :80 )") ]]'
	# the lock is free, and be1 is another one afterwards
	does "- $(be be1)" on lb1 --wait 0 lb backend remove "$(a4 be1)" vip "$(vip4 80/tcp)"
	sleep 1.1 # a backend's age counts in seconds
	on lb1 --wait 0 lb backend add "$(a4 be1)" vip "$(vip4 80/tcp)" >/dev/null
	kill -0 "${PID[health]}"
	wait "${PID[health]}"
	unset 'PID[health]'
	[[ $(<"$BATS_TEST_TMPDIR/out") == "~ $(be be2) health healthy -> sick" ]]
	[[ $(healths) == 'be1=unknown be2=sick' ]]
}

@test "500 backends at once, a third of them sick" {
	local i list
	service be1
	on be1 agent enable dev e0 vip "$VIP4" >/dev/null
	# a host of many addresses
	in_ns rtr ip route add 10.90.0.0/20 via "$(a4 be1)"
	in_ns be1 ip route add local 10.90.0.0/20 dev lo
	on lb1 lb enable dev e0 >/dev/null
	on lb1 lb vip add "$(vip4 80/tcp)" >/dev/null
	for ((i = 0; i < 500; i++)); do
		# nobody has these
		((i % 3)) && list=10.90.$((i / 200)).$((i % 200 + 1)) || list=10.80.22.$((i / 3 + 20))
		on lb1 lb backend add "$list" vip "$(vip4 80/tcp)" >/dev/null
	done
	run -0 health rise 1 fall 1 timeout 1s
	[[ $(grep -c 'unknown -> healthy' <<<"$output") == 333 && $(grep -c 'unknown -> sick' <<<"$output") == 167 ]]
	does '' health rise 1 fall 1 timeout 1s
	[[ $(on lb1 --json lb vip list | jq '.[0].usable') == 333 ]]
}

# ---- contrib ----

@test "the crontab line, the systemd units, and the capabilities they are content with" {
	local line lines service=$TOP/contrib/systemd/l3af-lb-health@.service caps cap
	mapfile -t lines < <(grep -v '^#' "$TOP/contrib/l3af-lb-health.cron")
	[[ ${#lines[@]} == 1 && ${lines[0]} == '* * * * * root /usr/local/sbin/l3afctl '* ]]
	line=${lines[0]#'* * * * * root /usr/local/sbin/'}
	run -0 in_ns lb1 env PATH="$BUILD:$PATH" L3AF_BPFFS=/run/fs/lb1 sh -c "$line"
	[[ $(grep -c 'unknown -> healthy' <<<"$output") == 4 ]]
	does '' in_ns lb1 env PATH="$BUILD:$PATH" L3AF_BPFFS=/run/fs/lb1 sh -c "$line"

	# the service's command, as root with its capabilities and no other
	read -ra caps < <(sed -n 's/^CapabilityBoundingSet=//p' "$service")
	caps=("${caps[@]/#CAP_/+}")
	caps=("${caps[@],,}")
	line=$(sed -n 's/^ExecStart=//p' "$service")
	with() {
		in_ns lb1 env PATH="$BUILD:$PATH" L3AF_BPFFS=/run/fs/lb1 HEALTH="type http path $2 rise 1 fall 1" \
			setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$1" sh -c "${line#/usr/local/sbin/}"
	}
	on lb1 chain detach dev e0 hook tc-egress >/dev/null
	run -0 with "$(IFS=,; echo "${caps[*]}")" /503
	[[ $output == *'+ chain lb dev e0 hook tc-egress'* && $(grep -c 'healthy -> sick' <<<"$output") == 4 ]]
	for cap in "${!caps[@]}"; do
		on lb1 chain detach dev e0 hook tc-egress >/dev/null
		lines=("${caps[@]}")
		unset "lines[$cap]"
		run -1 --separate-stderr with "$(IFS=,; echo "${lines[*]}")" /
		[[ $stderr == l3afctl:* ]]
	done
	[[ $(healths) == 'be1=sick be2=sick' ]]

	if command -v systemd-analyze >/dev/null; then
		mkdir "$BATS_TEST_TMPDIR/units"
		for unit in "$TOP"/contrib/systemd/l3af-lb*; do
			sed "s|/usr/local/sbin/l3afctl|$BUILD/l3afctl|" "$unit" >"$BATS_TEST_TMPDIR/units/${unit##*/}"
		done
		mkdir "$BATS_TEST_TMPDIR/units/l3af-lb-health@.service.d"
		sed "s|/usr/local/sbin|$TOP/contrib/bird|" "$TOP/contrib/bird/lb-health.conf" \
			>"$BATS_TEST_TMPDIR/units/l3af-lb-health@.service.d/bird.conf"
		run -0 systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/units/*@.service "$BATS_TEST_TMPDIR"/units/*@.timer
		[[ -z $output ]]
	fi
}
