# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# The oracle of the object tests: UDP between the two hosts of pair().

# seen NS: UDP packets that arrived in NS
seen() { in_ns "$1" awk '/^Udp:/ && n++ { print $2 + $3 }' /proc/net/snmp; }

# arrives WANT [PORT [FROM TO]]: of 10 packets to PORT exactly WANT arrive
arrives() {
	local want=$1 port=${2:-7001} from=${3:-cli} to=${4:-srv} before now end
	before=$(seen "$to")
	in_ns "$from" bash -c "for i in {1..10}; do echo >/dev/udp/10.77.0.$([[ $to == srv ]] && echo 1 || echo 2)/$port; done"
	end=$((${EPOCHREALTIME/./} + 2000000))
	while now=$(($(seen "$to") - before)); ((now < want && ${EPOCHREALTIME/./} < end)); do :; done
	sleep 0.05 # for what should not arrive
	now=$(($(seen "$to") - before))
	((now == want)) || { echo "port $port, $from to $to: $now of 10 packets arrived, wanted $want"; return 1; }
}

# verdict NAME VERDICT: how many packets member NAME gave it
verdict() {
	l3af chain list --json | jq -r --arg n "$1" --arg v "$2" \
		'[.[] | select(.name == $n) | .verdicts[$v] // 0] | add // 0'
}

# slot INSTANCE/MAP INDEX: the u64 there (INDEX below 256)
slot() {
	bpftool -j map lookup pinned "$STATE/kf/$1" key "$2" 0 0 0 | jq -r '.formatted.value // .value'
}
