#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A site's edge under load: clients count what fails while load balancers and backends come
# and go. The oracle of every test is an answer to a client, or one that is missing.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run and load

load lib
load lbnet

setup() { lbnet; }
teardown() { lbnet_down; }

# patrol: both load balancers probe their backends, over and over
patrol() {
	while :; do
		for lb in lb1 lb2; do
			on $lb lb health run fall 2 rise 2 timeout 300ms
		done
		sleep 0.2
	done >>"$BATS_TEST_TMPDIR/lbnet/patrol" 2>&1 3>&-
}
# thinks HEALTH HOST: both load balancers do, of both families
thinks() {
	local lb
	for lb in lb1 lb2; do
		on $lb --json lb backend list | jq -e --arg is "$1" --arg v4 "$(a4 "$2")" --arg v6 "$(a6 "$2")" '
			map(select(.backend == $v4 or .backend == $v6) | .health == $is) | all and length > 0' >/dev/null || return
	done
}
# sockets HOST: the ports of clients that it has connections with
sockets() { in_ns "$1" ss -Htan | awk '{ sub(".*:", "", $5); print $5 }' | sort -u; }
# failures LOAD...: the ports of connections that failed
failures() {
	local load
	for load; do sed -n 's/^ *[0-9.]* port \([0-9]*\) of .*/\1/p' "$BATS_TEST_TMPDIR/lbnet/$load.failed"; done | sort -u
}
# quiet LOAD...: nothing failed
quiet() {
	local load
	for load; do
		unload "$load"
		[[ $(of "$load" failed) == 0 && $(of "$load" requests) -gt 0 ]] || return
	done
}

# dropped: datagrams at backends whose socket was full
dropped() {
	local host
	for host in be1 be2 vm; do in_ns $host nstat -asz UdpRcvbufErrors Udp6RcvbufErrors; done |
		awk '/^Udp/ { n += $2 } END { print n + 0 }'
}

@test "curl and iperf3: TCP and UDP, IPv4 and IPv6, full-size packets" {
	local host vip words i got before
	for host in be1 be2 vm; do service $host; done
	agents
	lbs '80/tcp 80/udp' 'be1 be2 vm' 'lb1 lb2'
	lbs '5201/tcp 5201/udp' 'be1 be2 vm' 'lb1 lb2' sticky source
	for vip in "$VIP4" "[$VIP6]"; do
		got=$(for ((i = 0; i < 24; i++)); do in_ns cli curl -sS -m 5 "http://$vip/"; done | sort | uniq -c | xargs)
		figure "curl $vip: $got"
		[[ $got == *be1* && $got == *be2* && $got == *vm* ]]
	done
	# iperf3 -s answers a UDP client from the address it is bound to
	for host in be1 be2; do
		in_ns $host iperf3 -s -D -B "$VIP4" 3>&-
		in_ns $host iperf3 -s -D -B "$VIP6" 3>&-
	done
	in_ns vm iperf3 -s -D 3>&-
	for vip in "$VIP4" "$VIP6"; do
		eventually in_ns cli iperf3 -c "$vip" -n 1K >/dev/null
		# what is still in a socket's buffer at the end was sent, but does not count as received:
		# -w bounds the buffers, so that a slow machine is no failure
		for words in '-n 40M -w 256K' '-n 40M -R -w 256K' '-n 4M -u -b 20M -l 1200' '-n 10M -P 4 -w 256K'; do
			before=$(dropped)
			# shellcheck disable=SC2086
			in_ns cli timeout 30 iperf3 --json -c "$vip" $words >"$BATS_TEST_TMPDIR/iperf"
			figure "iperf3 $words, $vip: $(jq -r '.end | (.sum_received // .sum) |
				"\(.bytes / 1e6 | round) MB, \(.bits_per_second / 1e6 | round) Mbit/s"' "$BATS_TEST_TMPDIR/iperf")"
			# datagrams: of those that a full socket did not drop at the very end
			jq -e --argjson dropped "$(($(dropped) - before))" '.end | (.sum_received // .sum) |
				.bytes > 25e5 and (.lost_packets // 0) - $dropped < 30' "$BATS_TEST_TMPDIR/iperf" >/dev/null
		done
	done
	# UDP answers come from the VIP, and each client stays with its backend
	load_up u4 "$VIP4" 80 udp=200 patience=2000
	load_up u6 "$VIP6" 80 udp=200 patience=2000
	sleep 2
	for words in u4 u6; do
		unload $words
		(($(of $words requests) > 1000 && $(of $words moved) == 0 && $(of $words lost) < 20))
	done
}

@test "1000 connections, backends added, drained, killed and back: nothing fails but the killed one's own" {
	local host killed failed
	for host in be1 be2 vm; do service $host; done
	agents
	lbs 80/tcp 'be1 be2' 'lb1 lb2'
	load_up v4 "$VIP4" 80 hold=1000 churn=50 every=200
	load_up v6 "$VIP6" 80 hold=300 churn=20 every=200
	backend 'lb1 lb2' add vm 80/tcp
	backend 'lb1 lb2' set be1 80/tcp drain
	sleep 1
	backend 'lb1 lb2' set be1 80/tcp up
	backend 'lb1 lb2' set vm 80/tcp weight 3
	[[ ! -s $BATS_TEST_TMPDIR/lbnet/v4.failed && ! -s $BATS_TEST_TMPDIR/lbnet/v6.failed ]]

	patrol &
	PID[patrol]=$!
	eventually thinks healthy be2
	in_ns rtr ip link set be2 down # the host is gone: silence
	killed=$(sockets be2)
	eventually thinks sick be2
	sleep 4 # SYNs that were lost are sent again after one second, and three
	in_ns rtr ip link set be2 up
	eventually thinks healthy be2
	sleep 1
	kill "${PID[patrol]}"
	unset 'PID[patrol]'
	unload v4
	unload v6
	failed=$(failures v4 v6)
	figure "of 1300 connections and $(($(of v4 opened) + $(of v6 opened) - 1300)) short ones $(wc -w <<<"$failed") failed, all of them the killed backend's own"
	[[ -n $failed && -z $(comm -23 <(printf '%s\n' "$failed") <(printf '%s\n' "$killed")) ]]
	for host in be1 vm; do
		(($(of v4 $host answers) > 100 && $(of v6 $host answers) > 30))
		[[ $(of v4 $host failed) == 0 && $(of v6 $host failed) == 0 ]]
	done
	# back in service
	load_up after "$VIP4" 80 churn=30 every=20
	sleep 1
	quiet after
	(($(of after be2 answers) > 0))
}

@test "one of two load balancers goes and comes back: every connection survives" {
	local host
	for host in be1 be2 vm; do service $host; done
	agents
	lbs 80/tcp 'be1 be2 vm' 'lb1 lb2'
	load_up v4 "$VIP4" 80 hold=1000 churn=50
	load_up v6 "$VIP6" 80 hold=300 churn=20
	lbs 80/udp 'be1 be2 vm' 'lb1 lb2'
	load_up u4 "$VIP4" 80 udp=200 patience=1000
	routes lb2
	sleep 1
	routes lb1 lb2
	sleep 1
	in_ns rtr ip link set lb2 down # without a word
	sleep 1
	in_ns rtr ip link set lb2 up
	routes lb1 lb2
	sleep 1
	quiet v4 v6 u4
	[[ $(of u4 moved) == 0 ]]
	figure "UDP: $(of u4 requests) requests, $(of u4 lost) lost, none answered by another backend"
	figure "$(($(of v4 requests) + $(of v6 requests))) requests over 1300 connections and $(($(of v4 opened) + $(of v6 opened) - 1300)) short ones, none failed"
}

# failover COMMAND...: 1000 connections by lb1; something changes, and lb2 has to go on in the same
# moment; $lost of them fail
failover() {
	routes lb1
	load_up v4 "$VIP4" 80 hold=700
	load_up v6 "$VIP6" 80 hold=300
	"$@"
	routes lb2
	sleep 2
	unload v4 >/dev/null
	unload v6 >/dev/null
	lost=$(($(of v4 failed) + $(of v6 failed)))
	on_all 'lb1 lb2' lb flows purge
}
# two changes more: the ring before is no longer the one that connections were balanced by
add_and_forget() {
	backend 'lb1 lb2' add vm 80/tcp
	backend lb2 set be1 80/tcp weight 2
	backend lb2 set be1 80/tcp weight 1
}

@test "failover at the moment of a change: agents send on what they do not know" {
	local host lost
	for host in be1 be2 vm; do service $host; done
	agents
	lbs 80/tcp 'be1 be2' 'lb1 lb2'
	failover add_and_forget
	figure "failover and a third backend at the same moment: $lost of 1000 connections lost where nobody knows the ring before"
	((lost > 200 && lost < 450)) # the third's share
	backend 'lb1 lb2' remove vm 80/tcp
	failover backend 'lb1 lb2' add vm 80/tcp
	figure "failover and a third backend at the same moment: $lost of 1000 connections lost with the second hop"
	[[ $lost == 0 ]]
	failover backend 'lb1 lb2' set vm 80/tcp drain
	figure "failover and one of three backends drained at the same moment: $lost of 1000 connections lost"
	[[ $lost == 0 ]]
	backend 'lb1 lb2' set vm 80/tcp up
	failover backend 'lb1 lb2' set vm 80/tcp down
	figure "failover and one of three backends down at the same moment: $lost of 1000 connections lost, $(($(of v4 vm failed) + $(of v6 vm failed))) of them its own"
	[[ $lost == $(($(of v4 vm failed) + $(of v6 vm failed))) ]]
}

@test "drain ends with the last flow, down moves flows on their next packet" {
	local host
	for host in be1 be2; do service $host; done
	agents
	lbs 80/tcp 'be1 be2' 'lb1 lb2' idle 2s
	# connections end by themselves, new ones go elsewhere
	load_up v4 "$VIP4" 80 churn=100 every=50
	sleep 0.5
	for host in lb1 lb2; do
		does "~ lb backend $(a4 be1) vip $(vip4 80/tcp) state up -> drain" \
			on $host lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" drain wait 30s
	done
	[[ -z $(in_ns be1 ss -Htn state established) ]]
	quiet v4
	backend 'lb1 lb2' set be1 80/tcp up

	load_up v4 "$VIP4" 80 hold=400
	# those that hold on are told of, and hold on
	run -1 --separate-stderr on lb1 lb backend set "$(a4 be1)" vip "$(vip4 80/tcp)" drain wait 300ms
	[[ $output == "~ lb backend $(a4 be1) vip $(vip4 80/tcp) state up -> drain" ]]
	[[ $stderr == "l3afctl: backend $(a4 be1) of vip $(vip4 80/tcp): $(flows_of lb1 be1) flows are left; it goes on draining" ]]
	[[ ! -s $BATS_TEST_TMPDIR/lbnet/v4.failed ]]
	host=$(in_ns be1 ss -Htn state established | wc -l)
	((host > 100))
	backend 'lb1 lb2' set be1 80/tcp down
	eventually eval '(($(wc -l <"$BATS_TEST_TMPDIR/lbnet/v4.failed") >= host))'
	unload v4
	# each of them once, and nobody else
	[[ $(of v4 failed) == "$host" && $(of v4 be1 failed) == "$host" ]]
	[[ $(flows_of lb1 be1) == 0 ]]
}
# flows_of LB HOST: that are in the table
flows_of() {
	on "$1" --json lb backend list vip "$(vip4 80/tcp)" | jq --arg at "$(a4 "$2")" '.[] | select(.backend == $at) | .active'
}
