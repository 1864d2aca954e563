#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The IPFIX encoder: every value of every kind of record, read by nfcapd, tshark and
# ipfixDump. What was put in comes from tests/unit_ipfix.c.

load lib
load judges

setup() { quiet_netns srv; }
teardown() { wipe; }

# records FIELDS SIZE biflow|uniflow COUNT SEED: makes COUNT flows of each variant; the
# judges read them
records() {
	"$FP/unit_ipfix" make "$@" "$BATS_TEST_TMPDIR/made.ipfix" >"$BATS_TEST_TMPDIR/made.json"
	judge_file "$BATS_TEST_TMPDIR/made.ipfix"
	judge_check
}

# same JUDGE FILTER [FILTER of what was made]: the judge has read every record
same() {
	local made=$BATS_TEST_TMPDIR/made.json read=$BATS_TEST_TMPDIR/$1.json
	judge_jq "${3:-$2}" -S <"$made" | sort >"$made.sorted"
	judge_records "$1" | judge_jq "$2" -S | sort >"$read.sorted"
	[[ -s $made.sorted ]]
	diff "$made.sorted" "$read.sorted" | head -n 6
	cmp "$made.sorted" "$read.sorted"
}

# every value, of flows and options; tshark leaves empty strings out
every_value() {
	same ipfixDump .
	same tshark 'with_entries(select(.value != ""))'
	same nfdump 'with_entries(select(.value))' 'select(is_flow) | as_nfdump | with_entries(select(.value))'
}

@test "random flows, fields and message sizes against a strict reader" {
	run -0 "$FP/unit_ipfix"
	[[ $output =~ ^[0-9]+' checks'$ ]]
}

@test "uniflows, the default fields" {
	records -selectorId 1400 uniflow 20 1
	every_value
}
@test "biflows, the default fields" {
	records -selectorId 1400 biflow 20 2
	every_value
}
@test "all fields, of variable length too" {
	records all 1400 biflow 20 3
	every_value
}
@test "no field that can be left out" {
	records -all 1400 biflow 20 4
	same ipfixDump .
	same tshark 'with_entries(select(.value != ""))'
}
@test "messages of 512 octets" {
	records interfaceName 512 biflow 20 5
	every_value
}
@test "messages of 65535 octets" {
	records -all,flowId 65507 uniflow 700 6
	same ipfixDump .
}

@test "the default fields are those that all judges know" {
	run -0 "$FP/unit_ipfix" make -selectorId 1400 biflow 1 1 "$BATS_TEST_TMPDIR/made.ipfix"
	run -0 judge_ipfix "$BATS_TEST_TMPDIR/made.ipfix"
	run -0 jq -rs 'map(select(.flowDirection) | keys_unsorted) | unique | .[] | join(" ")' <<<"$output"
	for fields in \
		'sourceIPv4Address destinationIPv4Address sourceTransportPort destinationTransportPort protocolIdentifier ipClassOfService tcpControlBits minimumTTL maximumTTL flowEndReason flowDirection ingressInterface egressInterface packetDeltaCount octetDeltaCount flowStartMilliseconds flowEndMilliseconds' \
		'sourceIPv6Address destinationIPv6Address icmpTypeIPv6 icmpCodeIPv6 icmpTypeCodeIPv6 vlanId dot1qCustomerVlanId protocolIdentifier ipClassOfService minimumTTL maximumTTL flowEndReason flowDirection ingressInterface egressInterface packetDeltaCount octetDeltaCount flowStartMilliseconds flowEndMilliseconds' \
		'reverseOctetDeltaCount reversePacketDeltaCount reverseFlowStartMilliseconds reverseFlowEndMilliseconds reverseIpClassOfService reverseMinimumTTL reverseMaximumTTL sourceIPv4Address destinationIPv4Address vlanId protocolIdentifier ipClassOfService minimumTTL maximumTTL flowEndReason flowDirection ingressInterface egressInterface packetDeltaCount octetDeltaCount flowStartMilliseconds flowEndMilliseconds biflowDirection'; do
		grep -qxF "$fields" <<<"$output"
	done
	[[ $(wc -l <<<"$output") == 30 ]]
}

# without it a test with judges could not fail
@test "the judges complain where there is reason to" {
	"$FP/unit_ipfix" make -all 1400 uniflow 9 1 "$BATS_TEST_TMPDIR/made.ipfix" >/dev/null
	# the second stream begins with sequence number 0 again
	cat "$BATS_TEST_TMPDIR/made.ipfix" "$BATS_TEST_TMPDIR/made.ipfix" >"$BATS_TEST_TMPDIR/twice.ipfix"
	judge_file "$BATS_TEST_TMPDIR/twice.ipfix"
	for judge in "${JUDGES[@]}"; do
		run -1 judge_check "$judge"
		[[ -n $output ]]
	done
	run -0 judge_totals
	[[ $output == '324 '* ]]
}
