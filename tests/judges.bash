# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# Three programs that are not ours read what an export sent: nfcapd with nfdump, tshark,
# and ipfixDump of libfixbuf.
#
#	judge_start 4739          they listen on 127.0.0.1 in the network namespace $NS (srv)
#	l3af flows export to 127.0.0.1:4739/udp ...
#	judge_stop                and have read all of it
#	judge_check               fails unless none of them has anything to complain about
#	judge_totals              "flows packets octets" where the judges agree
#	judge_totals '.protocolIdentifier == "6"'     of the records that jq selects
#
# judge_records nfdump|tshark|ipfixDump prints records as JSON with IANA's names, one a line
# (tests/judges.jq); judge_file FILE is judge_start, _stop for messages in a file.

JUDGES=(ipfixDump tshark nfdump)

# where the judges keep what they heard
judge_dir() { echo "${BATS_TEST_TMPDIR:-$TMPDIR}/judge"; }

judge_start() {
	local dir
	dir=$(judge_dir)
	JUDGE_PORT=$1
	rm -rf "$dir"
	judge_collector
	# what is sent to the next port marks the time
	nsenter --net="/run/netns/${NS:-srv}" dumpcap -q -B 64 -i lo -f "udp and portrange $JUDGE_PORT-$((JUDGE_PORT + 1))" \
		-w "$dir/lo.pcapng" 2>"$dir/dumpcap.log" 3>&- &
	JUDGE_TAP=$!
	judge_mark start
}

# judge_collector: starts nfcapd, which knows nothing, or starts it again
judge_collector() {
	local dir
	dir=$(judge_dir)
	judge_collector_stop
	mkdir -p "$dir/nfcapd"
	rm -f "$dir"/nfcapd/*
	nsenter --net="/run/netns/${NS:-srv}" nfcapd -b 127.0.0.1 -p "$JUDGE_PORT" -w "$dir/nfcapd" -t 86400 -B 8000000 \
		>"$dir/nfcapd.log" 2>&1 3>&- &
	JUDGE_COLLECTOR=$!
	eventually grep -q '^Startup nfcapd' "$dir/nfcapd.log"
}

judge_collector_stop() {
	[[ -n ${JUDGE_COLLECTOR-} ]] || return 0
	eventually judge_has_read
	kill -TERM "$JUDGE_COLLECTOR"
	wait "$JUDGE_COLLECTOR" || true
	JUDGE_COLLECTOR=''
}
judge_has_read() {
	[[ $(in_ns "${NS:-srv}" ss -Huln "sport = :$JUDGE_PORT" | awk '{ sum += $2 } END { print sum + 0 }') == 0 ]]
}

# judge_mark WORD: what was sent before it has been captured
judge_mark() {
	eventually judge_marked "$1"
}
judge_marked() {
	in_ns "${NS:-srv}" bash -c 'echo "mark $1" >"/dev/udp/127.0.0.1/$2"' - "$1" $((JUDGE_PORT + 1))
	grep -qa "mark $1" "$(judge_dir)/lo.pcapng" 2>/dev/null
}

judge_stop() {
	local dir
	dir=$(judge_dir)
	judge_mark stop
	kill -TERM "$JUDGE_TAP"
	wait "$JUDGE_TAP" || true
	judge_collector_stop
	judge_tshark -T fields -e udp.payload | xxd -r -p >"$dir/messages.ipfix"
}

# judge_file FILE: the judges get the messages of a file, one datagram each
judge_file() {
	judge_start 4739
	in_ns "${NS:-srv}" "$FP/unit_ipfix" send "$1" 4739
	judge_stop
	cmp "$1" "$(judge_dir)/messages.ipfix"
}

# judge_tshark ARGS...: on the messages captured
judge_tshark() {
	TZ=UTC tshark -r "$(judge_dir)/lo.pcapng" -d "udp.port==$JUDGE_PORT,cflow" -Y "udp.dstport==$JUDGE_PORT" "$@" \
		2>/dev/null
}

# judge_faults JUDGE: what it complains about, one a line
judge_faults() {
	local dir
	dir=$(judge_dir)
	case $1 in
	nfdump) # how many messages is not of interest
		grep -vE '^(Add flow source|Bound to|Standard setsockopt|System set|Init |Startup|Terminating|Process_ipfix: New)' \
			"$dir/nfcapd.log" | grep -v 'Sequence Errors: 0, Bad Packets: 0$' ;;
	tshark)
		TZ=UTC tshark -r "$dir/lo.pcapng" -d "udp.port==$JUDGE_PORT,cflow" -Y '_ws.expert && cflow' \
			-T fields -e frame.number -e _ws.expert.message 2>/dev/null
		# what it has no template for it passes over
		judge_tshark -V | grep -F 'No template found' ;;
	ipfixDump)
		ipfixDump -i "$dir/messages.ipfix" --stats 2>&1 >/dev/null | grep . ;;
	esac
	return 0
}

# judge_check [JUDGE]...: no sequence error, no malformed message, no missing template
judge_check() {
	local judge faults bad=0
	(($#)) || set -- "${JUDGES[@]}"
	for judge; do
		faults=$(judge_faults "$judge")
		[[ -z $faults ]] || { printf '%s: %s\n' "$judge" "$faults" | head -n 20; bad=1; }
	done
	return $bad
}

judge_records() {
	local dir
	dir=$(judge_dir)
	case $1 in
	nfdump)
		[[ -n $(find "$dir/nfcapd" -name 'nfcapd.2*' -size +0) ]] || return 0
		TZ=UTC nfdump -R "$dir/nfcapd" -o json | sed -E 's/ : ([0-9]+)(,?)$/ : "\1"\2/' |
			judge_jq '.[] | nfdump' ;;
	tshark)
		judge_tshark --no-duplicate-keys -T json | judge_jq tshark ;;
	ipfixDump)
		judge_ipfix "$dir/messages.ipfix" ;;
	esac
}

# judge_ipfix FILE: its records, as ipfixDump reads them
judge_ipfix() {
	ipfixDump -d -i "$1" 2>/dev/null | awk '
		# groups of four digits, mostly all eight, shortened as RFC 5952 says
		function short(address,  part, n, i, zeros, group, at, run, best, text) {
			n = split(address, part, ":")
			zeros = 8
			for (i = 1; i <= n; i++) zeros -= part[i] != ""
			for (i = 1; i <= n; i++)
				if (part[i] != "") group[++at] = part[i]
				else while (zeros > 0) { group[++at] = "0"; zeros-- }
			for (i = 1; i <= 8; i++) {
				sub(/^0+/, "", group[i])
				run = group[i] == "" ? run + 1 : 0
				if (run > best) { best = run; at = i - run + 1 }
			}
			for (i = 1; i <= 8; i++) {
				if (best > 1 && i == at) {
					text = text (i == 1 ? "::" : ":")
					i += best - 1
				} else
					text = text (group[i] == "" ? "0" : group[i]) (i < 8 ? ":" : "")
			}
			return text
		}
		function end() { if (line != "") print line "}"; line = ""; split("", seen) }
		/^--- / { end() }
		/^\t\(/ {
			name = value = $0
			sub(/ : .*/, "", name); sub(/.* /, "", name)
			sub(/^[^:]* : /, "", value); sub(/^\(len: [0-9]*\) /, "", value)
			if (value ~ /^[0-9-]+ [0-9:.]+$/) sub(/ /, "T", value)
			if (name ~ /IPv6Address$/) value = short(value)
			if (seen[name]++) name = name "2"
			line = line (line == "" ? "{" : ",") "\"" name "\":\"" value "\""
		}
		END { end() }'
}

# judge_jq FILTER...: jq with the words of tests/judges.jq
judge_jq() {
	local filter=$1
	shift
	jq -c "$@" "$(cat "$TOP/tests/judges.jq") $filter"
}

# judge_total JUDGE [SELECT]: flows, packets and octets (biflows: of both directions)
judge_total() {
	judge_records "$1" | judge_jq "[inputs | select(is_flow) | select(${2:-true})] | total" -n -r
}

# judge_totals [SELECT]: fails where the judges differ
judge_totals() {
	local judge total first=''
	for judge in "${JUDGES[@]}"; do
		total=$(judge_total "$judge" "${1:-true}") || return
		if [[ -n $first && $total != "$first" ]]; then
			echo "ipfixDump read flows, packets, octets $first; $judge $total"
			return 1
		fi
		first=$total
	done
	echo "$first"
}
