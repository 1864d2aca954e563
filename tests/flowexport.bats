#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# flows export: real traffic to real collectors. Nothing is lost, whatever happens to an
# export; what is said of it.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of run, load and start

load lib

load flowexport

setup() { hosts; }
teardown() {
	finish_all
	wipe
}

# ---- what is sent ----

@test "two collectors, each on its own schedule, get all of it" {
	local i
	enable idle 1s
	collector u udp
	for i in 1 2 3 4 5 6; do
		datagrams 1000 $((i * 100)) 3 $((i * 20))
		datagrams $((2000 + i * 100)) 50
		export_to "$C4/udp"
		((i % 2)) || export_to file "$T/f.ipfix"
		((i != 3)) || sleep 1.2
	done
	datagrams 1000 30
	export_to file "$T/f.ipfix"
	export_to "$C4/udp" flush
	export_to file "$T/f.ipfix"
	[[ $(truth) == 'packets 6630 octets '* ]]
	soon "$(truth)" got "$T/u"
	[[ $(got "$T/f.ipfix") == "$(truth)" ]]
	run -0 ipfixDump -i "$T/f.ipfix" --stats
	[[ $(pending "$C4/udp") == 'packets 0 octets 0' && $(pending "file $T/f.ipfix") == 'packets 0 octets 0' ]]
	# both have all of what is closed: no slot is in use
	does '' l3af flows list
}

@test "over IPv6, TCP, and two exports that change places in one file" {
	local i
	enable
	collector u6 udp fd78::2
	collector t4 tcp
	collector t6 tcp fd78::2
	for i in 1 2 3; do
		datagrams 1000 500
		export_to "$C6/udp"
		export_to "$C4/tcp"
		export_to "$C6/tcp"
		export_to file "$T/f"
		# another instance knows nothing of the file
		l3af flows collector remove file "$T/f" >/dev/null
		((i == 3)) || datagrams 3000 0
	done
	soon 'packets 1500 octets 57000' got "$T/u6"
	# each run is a session of its own there
	[[ $("$COLLECT" sum "$T/t4") == 'flows 1500 packets 1500 octets 57000 errors '* ]]
	[[ $("$COLLECT" sum "$T/t6") == 'flows 1500 packets 1500 octets 57000 errors '* ]]
	[[ $(got "$T/f") == 'packets 3000 octets 114000' ]]
}

# timed: one datagram, and the times between which it was sent, added to t
timed() {
	t+=("$(now_ms)")
	datagrams 1000 1
	t+=("$(now_ms)")
}

@test "each report has the times of its own interval" {
	local t=() f
	enable idle 0
	timed; sleep 0.2; timed
	export_to file "$T/a"
	export_to file "$T/b"
	sleep 0.2
	timed; sleep 0.2; timed
	export_to file "$T/a"
	# one that fails, and one that does not: the interval is still the same
	run -1 l3af flows export to file /dev/full
	export_to file "$T/b"
	timed
	export_to file "$T/c"
	[[ $(records "$T/a" '"\(.packets) \(.reason)"') == $'2 2\n2 2' && $(records "$T/b" .packets) == $'2\n2' ]]
	# within a tick of the clock
	for f in a b; do
		"$COLLECT" flows "$T/$f" | jq -se --argjson t "[$(IFS=,; echo "${t[*]}")]" '
			. as $r | [range(2)] | all((4 * .) as $i |
				$r[.].start >= $t[$i] - 10 and $r[.].start <= $t[$i + 1] + 10 and
				$r[.].end >= $t[$i + 2] - 10 and $r[.].end <= $t[$i + 3] + 10)'
	done
	# a new collector: since the flow began
	[[ $(records "$T/c" .packets) == 5 ]]
	records "$T/c" .start | jq -se --argjson t "[${t[0]}, ${t[1]}]" '.[0] >= $t[0] - 10 and .[0] <= $t[1] + 10'
}

@test "why a flow ended: idle, active, FIN, flush" {
	enable idle 1s
	export_to file "$T/f" fields flowId
	datagrams 1000 1 2
	export_to file "$T/f" fields flowId
	datagrams 1000 1 3
	sleep 1.3
	export_to file "$T/f" fields flowId
	export_to file "$T/f" fields flowId
	# closed: the next packet begins another flow
	datagrams 1000 1 4
	export_to file "$T/f" fields flowId flush
	[[ $(records "$T/f" '"\(.packets) \(.reason)"') == $'2 2\n3 1\n4 4' ]]
	[[ $(records "$T/f" .id | sort -u | wc -l) == 2 ]]

	echo hello >"$T/index.html"
	in_ns srv busybox httpd -p 80 -h "$T" 3>&-
	in_ns cli curl -s -o /dev/null http://10.77.0.1/index.html
	l3af flows enable dev s0 direction ingress idle 0 active 2s >/dev/null
	datagrams 1000 1
	export_to file "$T/g"
	[[ -z $(records "$T/g" .packets) ]]
	sleep 2.2
	datagrams 1000 1 2
	export_to file "$T/g"
	datagrams 1000 1 5
	export_to file "$T/g"
	[[ $(records "$T/g" 'select(.proto == 17) | "\(.packets) \(.reason)"') == '3 2' ]]
	[[ $(records "$T/g" 'select(.proto == 6) | .reason') == 3 ]]
}

@test "options: what was exported, ignored and flushed, interfaces, sampling" {
	enable max 64
	in_ns srv ip link set s0 alias 'to the clients; näher'
	datagrams 1000 100
	l3af -q flows export to file "$T/f"
	l3af flows flush >/dev/null
	enable sample 1/4
	datagrams 1000 1
	l3af -q flows export to file "$T/f"
	"$COLLECT" options "$T/f" >"$T/options"
	jq -se 'any(.ifname == "s0") and any(.alias == "to the clients; näher")' "$T/options"
	jq -se 'any(.ignored_packets == 36 and .ignored_octets == 36 * 38)' "$T/options"
	jq -se 'any(.exported_flows == 64) and any(.exported_flows == 0)' "$T/options"
	jq -se 'any(.selector == 1 and .interval == 1 and .space == 3)' "$T/options"
	[[ $(got "$T/f") == 'packets 64 octets 2432' ]]
}

@test "biflow: both directions in one record, each committed for itself" {
	l3af flows enable dev s0 >/dev/null
	echo hello >"$T/index.html"
	in_ns srv busybox httpd -p 80 -h "$T" 3>&-
	in_ns cli curl -s -o /dev/null http://10.77.0.1/index.html
	in_ns cli curl -s -o /dev/null 'http://[fd77::1]/index.html'
	datagrams 1000 5
	export_to file "$T/f" biflow
	[[ $(got "$T/f") == "$(truth)" ]]
	[[ $(records "$T/f" 'select(.dport == 80) | "\(.direction) \(.reverse_packets > 3)"') == $'0 true\n0 true' ]]
	export_to file "$T/f" biflow
	[[ $(got "$T/f") == "$(truth)" ]]
}

@test "--dry-run says what would be sent and touches nothing" {
	enable
	datagrams 1000 300 2
	for to in "file $T/f" "$C4/udp" "$C4/tcp"; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr l3af --json --dry-run flows export to $to
		[[ $(jq -c '[.dry_run, .flows, .packets, .octets]' <<<"$output") == '[true,300,600,22800]' && -z $stderr ]]
	done
	[[ $(l3af --json flows collector list) == '[]' && ! -e $T/f ]]
	export_to file "$T/f"
	datagrams 1200 100
	sum=$(md5sum <"$T/f")
	run -0 l3af --json --dry-run flows export to file "$T/f"
	[[ $(jq .flows <<<"$output") == 100 && $sum == "$(md5sum <"$T/f")" ]]
	run -0 l3af --json flows export to file "$T/f"
	[[ $(jq .flows <<<"$output") == 100 ]]
}

@test "UDP: paced by default, all of it at once on request; templates come again" {
	enable idle 0
	collector u udp
	datagrams 1000 4000
	start=$(now_ms)
	export_to "$C4/udp" pace 8000/s
	(($(now_ms) - start >= 480))
	soon 'packets 4000 octets 152000' got "$T/u"
	datagrams 1000 4000
	export_to "$C4/udp" pace none
	soon 'packets 8000 octets 304000' got "$T/u"
	: >"$T/u"
	datagrams 1000 4000
	export_to "$C4/udp" pace none mtu 330
	soon 'packets 4000 octets 152000' got "$T/u"
	# after every 256 messages, whole batches of up to 64
	"$COLLECT" messages "$T/u" | awk '
		$1 > 302 { exit 1 }
		{ gap = $2 ? 0 : gap + 1; if (gap > most) most = gap }
		END { exit !(NR > 1000 && most >= 256 && most < 256 + 64) }'
	: >"$T/u"
	datagrams 1000 4000
	export_to "$C4/udp" pace 2000/s template-interval 1s
	soon 4000 packets "$T/u"
	[[ $("$COLLECT" messages "$T/u" | awk '$2 && !before { n++ } { before = $2 } END { print n }') -ge 2 ]]
}

@test "UDP: the source port stays, unless somebody else has it" {
	local port
	port_of() { l3af --json flows collector list | jq '.[0].source_port'; }
	enable
	collector u udp
	export_to "$C4/udp"
	port=$(port_of)
	datagrams 1000 10
	export_to "$C4/udp"
	[[ $(port_of) == "$port" ]]
	start rival srv python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", int(sys.argv[1]))); print("up", flush=True)
sys.stdin.read()' "$port"
	datagrams 1000 20
	export_to "$C4/udp"
	[[ $(port_of) != "$port" ]]
	soon "$(truth)" got "$T/u"
}

@test "file patterns: a new file is a new session; what a killed run left in the last one goes" {
	local old size
	enable
	datagrams 1000 10
	export_to file "$T/%s.ipfix"
	old=$(echo "$T"/*.ipfix)
	size=$(stat -c %s "$old")
	sleep 1
	# octets that were written and not committed
	printf 'half a message' >>"$old"
	poke 400 100
	datagrams 1000 20
	export_to file "$T/%s.ipfix"
	[[ $(stat -c %s "$old") == "$size" ]]
	run -0 bash -c 'ls "$1"/*.ipfix | wc -l' - "$T"
	[[ $output == 2 ]]
	[[ $(got "$T"/*.ipfix) == 'packets 30 octets 1140' ]]
	# more than one run can have written is not ours to cut
	datagrams 1000 5
	export_to file "$T/f"
	poke 400 100 1
	head -c 200 /dev/zero >>"$T/f"
	size=$(stat -c %s "$T/f")
	run -2 --separate-stderr l3af flows export to file "$T/f"
	[[ $stderr == "l3afctl: $T/f: is no IPFIX file (at octet "* && $(stat -c %s "$T/f") == "$size" ]]
	# and no file is written by two at once
	truncate -s 0 "$T/f"
	refuses 4 "l3afctl: $T/f: another command is writing it" \
		flock "$T/f" nsenter --net=/run/netns/srv "$BUILD/l3afctl" --bpffs "$BPFFS" flows export to file "$T/f"
	does '' l3af flows export to file "$T/f"
}
# poke OFFSET VALUE [COLLECTOR]: into 64 bits of what is remembered of a collector
poke() {
	local pin=$STATE/kf/flows/collector/${3-0}/state value i
	read -ra value < <(bpftool -j map lookup pinned "$pin" key 0 0 0 0 | jq -r '.value | join(" ")')
	for ((i = 0; i < 8; i++)); do value[$1 + i]=$(printf '0x%02x' $(($2 >> 8 * i & 255))); done
	bpftool map update pinned "$pin" key 0 0 0 0 value "${value[@]}"
}

@test "progress on a terminal, after a second" {
	enable
	collector u udp
	datagrams 1000 6000
	run -0 in_ns srv script -qec "$BUILD/l3afctl --bpffs $BPFFS flows export to $C4/udp pace 3000/s" /dev/null
	[[ $output =~ 'exported '[0-9]+' of 6000 flows' ]]
	datagrams 1000 6000
	run -0 in_ns srv script -qec "$BUILD/l3afctl --bpffs $BPFFS -q flows export to $C4/udp pace 4000/s" /dev/null
	[[ -z $output ]]
	soon "$(truth)" got "$T/u"
}

# ---- what fails, is told and loses nothing ----

# kept NAME: the warning after a failure of a collector that was never reached
kept() { echo "l3afctl: warning: $1 was never reached: flows are kept for it until it is, or until it is forgotten: l3afctl flows collector remove $1"; }

@test "UDP: nobody listens, no route, no such host: next time all of it" {
	enable
	datagrams 1000 1000
	refuses 1 "l3afctl: $C4/udp: nobody listens there, says 10.78.0.2"$'\n'"$(kept "$C4/udp")" \
		l3af flows export to "$C4/udp"
	refuses 1 "l3afctl: $C6/udp: nobody listens there, says fd78::2"$'\n'"$(kept "$C6/udp")" \
		l3af flows export to "$C6/udp" pace none
	refuses 1 "l3afctl: 192.0.2.1:4739/udp: there is no route to it" l3af flows export to 192.0.2.1:4739/udp
	refuses 1 "l3afctl: 10.78.0.9:4739/udp: the host is unreachable, says 10.78.0.1"$'\n'"$(kept 10.78.0.9:4739/udp)" \
		l3af flows export to 10.78.0.9:4739/udp
	l3af flows collector remove 10.78.0.9:4739/udp >/dev/null
	datagrams 1500 1000
	refuses 1 "l3afctl: $C4/udp: nobody listens there, says 10.78.0.2"$'\n'"$(kept "$C4/udp")" \
		l3af flows export to "$C4/udp"
	collector u udp
	collector u6 udp fd78::2
	does '' l3af flows export to "$C4/udp"
	does '' l3af flows export to "$C6/udp"
	soon "$(truth)" got "$T/u"
	soon "$(truth)" got "$T/u6"
	# reached before: no more is said than that
	finish u
	refuses 1 "l3afctl: $C4/udp: nobody listens there, says 10.78.0.2" l3af flows export to "$C4/udp"
	[[ $(l3af --json flows collector list | jq -r ".[] | select(.name == \"$C4/udp\").failure") == 'Connection refused' ]]
}

@test "a collector that goes away in the middle: what it did not get comes later" {
	local before committed
	enable idle 0
	datagrams 1000 20000
	collector u udp
	slowly "$C4/udp" pace 20000/s
	sleep 0.4
	finish u
	status=0
	wait "${PID[slow]}" || status=$?
	[[ $status == 1 && $(<"$T/err") == "l3afctl: $C4/udp: nobody listens there, says 10.78.0.2" ]]
	before=$(got "$T/u" | cut -d ' ' -f 2)
	((before > 2000 && before < 18000))
	# of the batch under way when it ended it may have got some, which come again
	committed=$(l3af --json flows collector list | jq '.[0].flow_packets')
	((committed <= before && before - committed <= 16 * 30))
	: >"$T/u"
	collector u udp
	export_to "$C4/udp"
	soon $((20000 - committed)) packets "$T/u"
}

@test "TCP: refused, reset, never read: next time all of it" {
	local committed
	enable idle 0
	datagrams 1000 40000
	refuses 1 "l3afctl: $C4/tcp: connection refused"$'\n'"$(kept "$C4/tcp")" l3af flows export to "$C4/tcp"
	start bad col python3 -c '
import socket, struct, sys
s = socket.create_server(("10.78.0.2", 4739)); print("listening", flush=True)
c = s.accept()[0]
n = 0
while n < 1500000: n += len(c.recv(65536))
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()'
	refuses 1 "l3afctl: $C4/tcp: the collector has closed the connection" l3af flows export to "$C4/tcp"
	finish bad
	committed=$(l3af --json flows collector list | jq '.[0].flow_packets')
	((committed > 5000 && committed < 30000))
	start bad col python3 -c '
import socket, sys
s = socket.create_server(("10.78.0.2", 4739)); print("listening", flush=True)
c = s.accept()[0]; sys.stdin.read()'
	refuses 1 "l3afctl: $C4/tcp: the collector has read nothing for 10 s" l3af flows export to "$C4/tcp"
	finish bad
	collector t tcp
	export_to "$C4/tcp"
	soon "packets $((40000 - committed)) octets $(((40000 - committed) * 38))" got "$T/t"
}

@test "a full disk: the file ends with a whole message, and goes on when there is room" {
	local f=$T/small/f.ipfix
	mkdir "$T/small"
	mount -t tmpfs -o size=1m small "$T/small"
	enable idle 0
	datagrams 1000 20000
	refuses 1 $'l3afctl: /dev/full: no space left\n'"$(kept 'file /dev/full')" l3af flows export to file /dev/full
	l3af flows collector remove file /dev/full >/dev/null
	refuses 1 "l3afctl: $f: no space left" l3af flows export to file "$f"
	[[ $(got "$f") == "packets $(l3af --json flows collector list | jq '.[0].flow_packets') "* ]]
	refuses 1 "l3afctl: $f: no space left" l3af flows export to file "$f"
	mount -o remount,size=8m "$T/small"
	does '' l3af flows export to file "$f"
	[[ $(got "$f") == 'packets 20000 octets 760000' ]]
	run -0 --separate-stderr ipfixDump -i "$f" --stats
	[[ -z $stderr ]]
	# larger than a file may be
	datagrams 1000 20000
	run -1 --separate-stderr bash -c 'ulimit -f 2000; exec "$@"' - "$BUILD/l3afctl" --bpffs "$BPFFS" -n srv \
		flows export to file "$f"
	[[ -z $output && $stderr == "l3afctl: $f: file too large" ]]
	export_to file "$f"
	[[ $(got "$f") == 'packets 40000 octets 1520000' ]]
	umount "$T/small"
}

@test "what is wrong with the words or the path: exit 2, no collector is made" {
	enable
	mkdir "$T/dir"
	echo 'no flows' >"$T/text"
	refuses 2 "l3afctl: $T/none/f: its directory does not exist" l3af flows export to file "$T/none/f"
	refuses 2 "l3afctl: $T/dir: is a directory" l3af flows export to file "$T/dir"
	refuses 2 "l3afctl: $T/new/: is a directory" l3af flows export to file "$T/new/"
	refuses 2 "l3afctl: $T/text: is no IPFIX file (at octet 0)" l3af flows export to file "$T/text"
	refuses 2 "l3afctl: $T/text: is no IPFIX file (at octet 0)" l3af --dry-run flows export to file "$T/text"
	refuses 2 "l3afctl: /proc/version: permission denied" \
		setpriv --bounding-set -dac_override --inh-caps -dac_override "$BUILD/l3afctl" --bpffs "$BPFFS" -n srv \
		flows export to file /proc/version
	refuses 2 "l3afctl: mtu: 100 leaves 72 octets for a message, which needs 288 at least" \
		l3af flows export to "$C4/udp" mtu 100
	run --separate-stderr l3af flows export to nosuch.invalid:4739/udp
	[[ $status == 2 && -z $output && $stderr == *nosuch.invalid* ]]
	run --separate-stderr l3af flows export to 10.78.0.2:0/udp
	[[ $status == 2 && -z $output && $stderr == *10.78.0.2:0/udp* ]]
	[[ $(l3af --json flows collector list) == '[]' ]]
	refuses 1 "l3afctl: instance other counts no flows; enable them: l3afctl flows enable dev IF" \
		l3af flows export to "$C4/udp" instance other
	[[ $(<"$T/text") == 'no flows' ]]
	# of an IPFIX file that somebody else cut
	export_to file "$T/f"
	l3af flows collector remove file "$T/f" >/dev/null
	truncate -s -5 "$T/f"
	run --separate-stderr l3af flows export to file "$T/f"
	[[ $status == 2 && $stderr == "l3afctl: $T/f: ends within a message, which somebody else wrote; mend it: truncate -s "* ]]
	mend=$(sed -n 's/.*mend it: //p' <<<"$stderr")
	$mend
	does '' l3af flows export to file "$T/f"
	got "$T/f"
}

# writing: as a killed run leaves the first collector: octets were being written
writing() {
	local value pin=$STATE/kf/flows/collector/0/state
	read -ra value < <(bpftool -j map lookup pinned "$pin" key 0 0 0 0 | jq -r '.value | join(" ")')
	[[ ${value[*]:400:8} == '0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00' ]]
	value[402]=0x01
	bpftool map update pinned "$pin" key 0 0 0 0 value "${value[@]}"
}

@test "what a killed run wrote is cut off, but not what another instance has appended instead" {
	enable idle 0
	l3af flows enable dev s0 direction egress instance other >/dev/null
	datagrams 1000 10
	export_to file "$T/f"
	writing
	in_ns srv bash -c 'echo >/dev/udp/10.77.0.2/9'
	export_to file "$T/f" instance other
	export_to file "$T/f"
	[[ $(got "$T/f") == "$(truth)" ]]
	writing
	head -c 1000 "$T/f" >"$T/part"
	cat "$T/part" >>"$T/f"
	# one that cannot be cut off now is kept in mind
	exec {lock}<"$T/f"
	flock "$lock"
	refuses 4 "l3afctl: $T/f: another command is writing it" l3af flows export to file "$T/f"
	exec {lock}<&-
	does '' l3af flows export to file "$T/f"
	[[ $(got "$T/f") == "$(truth)" ]]
}

@test "FIFOs: read, not read, and left by the reader" {
	enable
	datagrams 1000 5000
	mkfifo "$T/fifo"
	refuses 1 "l3afctl: $T/fifo: nobody reads it"$'\n'"$(kept "file $T/fifo")" l3af flows export to file "$T/fifo"
	head -c 1000 "$T/fifo" >/dev/null 3>&- &
	sleep 0.1
	run -1 --separate-stderr l3af flows export to file "$T/fifo"
	[[ ${stderr_lines[0]} == "l3afctl: $T/fifo: nobody reads it any more" ]]
	cat "$T/fifo" >"$T/f" 3>&- &
	eventually l3af -q flows export to file "$T/fifo" 2>/dev/null
	wait $!
	[[ $(got "$T/f") == 'packets 5000 octets 190000' ]]
	datagrams 1000 10
	[[ $(l3af flows export to file /dev/stdout | "$COLLECT" sum /dev/stdin) == 'flows 5000 '* ]]
}

@test "a queue that stays full: an error after five seconds, nothing lost" {
	enable idle 0
	collector u udp
	export_to "$C4/udp"
	datagrams 1000 3000
	# dropped by the queue
	in_ns srv tc qdisc replace dev k0 root tbf rate 1kbit burst 2000 limit 3000
	refuses 1 "l3afctl: $C4/udp: this host's queue stayed full" l3af flows export to "$C4/udp"
	# kept by the queue, until the socket's room is used up
	in_ns srv tc qdisc replace dev k0 root tbf rate 1kbit burst 2000 limit 10000000
	refuses 1 "l3afctl: $C4/udp: this host's queue stayed full" l3af flows export to "$C4/udp" pace none
	in_ns srv tc qdisc delete dev k0 root
	committed=$(l3af --json flows collector list | jq '.[0].flow_packets')
	: >"$T/u"
	export_to "$C4/udp"
	soon $((3000 - committed)) packets "$T/u"
	# slow is not dead
	datagrams 1000 3000
	in_ns srv tc qdisc replace dev k0 root tbf rate 2mbit burst 3000 limit 6000
	: >"$T/u"
	export_to "$C4/udp"
	soon 3000 packets "$T/u"
}

@test "the path's MTU: of a route, and one that a router tells of during the run" {
	enable
	collector u udp
	in_ns srv ip route replace 10.78.0.0/24 dev k0 mtu 600
	datagrams 1000 1000
	export_to "$C4/udp" pace none
	soon "$(truth)" got "$T/u"
	[[ $("$COLLECT" messages "$T/u" | sort -nr | head -n 1 | cut -d ' ' -f 1) -le 572 ]]
	quiet_netns far
	ip link add r0 mtu 1300 address 02:79:00:00:00:01 netns col \
		type veth peer name r1 mtu 1300 address 02:79:00:00:00:02 netns far
	in_ns col ip -b - <<-'END'
		link set r0 up
		addr add 10.79.0.1/24 dev r0
		addr add fd79::1/64 dev r0 nodad
		neigh add fd79::2 dev r0 lladdr 02:79:00:00:00:02 nud permanent
	END
	in_ns far ip -b - <<-'END'
		link set r1 up
		addr add 10.79.0.2/24 dev r1
		addr add fd79::2/64 dev r1 nodad
		route add default via 10.79.0.1
		route add default via fd79::1
	END
	in_ns col bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	in_ns srv ip route add 10.79.0.0/24 via 10.78.0.2
	in_ns srv ip route add fd79::/64 via fd78::2
	local to
	for to in 10.79.0.2 fd79::2; do
		start "far$to" far "$COLLECT" udp "$to" 4739 "$T/far$to"
		[[ $to != *:* ]] || to="[$to]"
		does '' l3af flows export to "$to:4739/udp"
		does '' l3af flows export to "$to:4739/udp" pace none
		to=${to//[\[\]]/}
		soon "$(truth)" got "$T/far$to"
		[[ $("$COLLECT" messages "$T/far$to" | sort -nr | head -n 1 | cut -d ' ' -f 1) -le 1272 ]]
	done
}

@test "the clock steps back: exit 1, Export Time does not, nothing is lost" {
	local later=$(($(date +%s) + 3600))
	enable
	datagrams 1000 10
	export_to file "$T/f"
	# the state says that the last export was in an hour
	poke 280 $later
	datagrams 1000 20
	run -1 --separate-stderr l3af flows export to file "$T/f"
	[[ -z $output && $stderr =~ ^'l3afctl: file '.*': the clock is 3'[56][0-9][0-9]' s behind the last export: all was sent, with the Export Time of that one'$ ]]
	[[ $(got "$T/f") == 'packets 30 octets 1140' ]]
	"$COLLECT" flows "$T/f" | jq -se --argjson t $later '.[-1].time == $t and .[-1].end < ($t - 3000) * 1000'
}

@test "a full table: said at the end of each export, and who closed flows wait for" {
	enable max 100 idle 1s
	datagrams 1000 80
	run -1 l3af flows export to "$C4/udp"
	does '' l3af flows export to file "$T/f"
	datagrams 1100 50
	run -0 --separate-stderr l3af flows export to file "$T/f"
	[[ $stderr == "l3afctl: warning: instance flows: 100 of 100 flows are in its table, and 30 packets of others were not counted; a larger max or a shorter idle makes room" ]]
	sleep 1.2
	run -0 --separate-stderr l3af flows export to file "$T/f"
	[[ $stderr == "l3afctl: warning: instance flows: 100 of 100 flows are in its table; closed ones wait for $C4/udp (100)" ]]
	l3af flows collector remove "$C4/udp" >/dev/null
	does '' l3af flows export to file "$T/f"
	does '' l3af flows list
}

# ---- several at once ----

@test "two exports to one collector: the second waits, or does not; to two: at once" {
	enable idle 0
	collector u udp
	datagrams 1000 6000
	slowly "$C4/udp" pace 3000/s
	sleep 0.3
	refuses 4 "l3afctl: another l3afctl is at work on collector $C4/udp; waited 0 s (--wait DURATION waits longer)" \
		l3af --wait 0 flows export to "$C4/udp"
	# no lock of all is held meanwhile
	does '' l3af --wait 0 flows export to file "$T/f"
	[[ $(got "$T/f") == "$(truth)" ]]
	datagrams 1000 100
	does '' l3af flows export to "$C4/udp"
	soon "$(truth)" got "$T/u"
	wait "${PID[slow]}"
}

# ---- contrib ----

@test "the crontab line, the systemd units, and the capabilities they are content with" {
	local line lines service=$TOP/contrib/systemd/l3af-flows-export@.service caps cap
	enable
	collector u udp
	datagrams 1000 50
	mapfile -t lines < <(grep -v '^#' "$TOP/contrib/l3af-flows.cron")
	[[ ${#lines[@]} == 1 && ${lines[0]} == '* * * * * root /usr/local/sbin/l3afctl '* ]]
	line=${lines[0]#'* * * * * root /usr/local/sbin/'}
	does '' in_ns srv env PATH="$BUILD:$PATH" L3AF_BPFFS="$BPFFS" sh -c "${line/collector.example/10.78.0.2}"
	soon 'packets 50 octets 1900' got "$T/u"

	# the service's command, as root with its capabilities and no other
	read -ra caps < <(sed -n 's/^CapabilityBoundingSet=//p' "$service")
	caps=("${caps[@]/#CAP_/+}")
	caps=("${caps[@],,}")
	line=$(sed -n 's/^ExecStart=//p' "$service")
	with() {
		in_ns srv env PATH="$BUILD:$PATH" L3AF_BPFFS="$BPFFS" EXPORT="to file $T/%Y.ipfix" \
			setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$1" sh -c "${line#/usr/local/sbin/}"
	}
	l3af flows enable dev s0 direction ingress idle 1s >/dev/null
	sleep 1.2
	does '' with "$(IFS=,; echo "${caps[*]}")"
	datagrams 1000 60
	does '' with "$(IFS=,; echo "${caps[*]}")"
	[[ $(got "$T/$(date +%Y).ipfix") == "$(truth)" ]]
	[[ ${#caps[@]} == 2 ]]
	for cap in "${caps[@]}"; do
		run -1 --separate-stderr with "$cap"
		[[ -z $output && $stderr == *'not permitted; needs CAP_BPF'* ]]
	done

	if command -v systemd-analyze >/dev/null; then
		mkdir "$T/units"
		for unit in "$TOP"/contrib/systemd/*; do
			sed "s|/usr/local/sbin/l3afctl|$BUILD/l3afctl|" "$unit" >"$T/units/${unit##*/}"
		done
		run -0 systemd-analyze verify --man=no "$T"/units/*@.service "$T"/units/*@.timer
		[[ -z $output ]]
	fi
}
