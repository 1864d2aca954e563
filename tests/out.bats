#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One description of output, rendered as text and as JSON.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/.." || exit
	PATH=$(readlink -f "${L3AF_BUILD:-build}")/tests:$PATH
}

@test "rows as text" {
	run -0 unit_out rows
	[[ $output == 'NAME                           PACKETS  VERDICTS
plain             18446744073709551615  pass 9007199254740993 tx 3
a\x1b"\\x0a\xffä  18446744073709551615  pass 9007199254740993 tx 3
-                                    -  -' ]]
}
@test "wide columns with -v" {
	run -0 unit_out rows verbose
	[[ ${lines[0]} == *'  VERDICTS                    CONTINUE  UP' ]]
	[[ ${lines[1]} == *'pass 9007199254740993 tx 3  pass,tx   yes' ]]
	[[ ${lines[3]} == *' -         -' ]]
}
@test "no rows: nothing as text, an empty array as JSON" {
	run -0 unit_out none
	[[ -z $output ]]
	run -0 unit_out none json
	[[ $output == '[]' ]]
}
@test "rows as JSON: all 64 bits, nothing that breaks a reader" {
	run -0 unit_out rows json
	[[ ${lines[0]} == '[{"name":"plain","packets":18446744073709551615,"verdicts":{"pass":9007199254740993,"drop":0,"tx":3},"continue":["pass","tx"],"up":true,"sha256":"00ff"},' ]]
	[[ ${lines[1]} == ' {"name":"a\u001b\"\\\u000a\ufffdä",'* ]]
	[[ ${lines[2]} == ' {"name":null,"packets":null,"verdicts":{},"continue":[],"up":null,"sha256":null}]' ]]
	jq -e 'length == 3' <<<"$output"
}
@test "one, with all its columns" {
	run -0 unit_out one
	[[ $output == $'NAME: plain\nPACKETS: 18446744073709551615\nVERDICTS: pass 9007199254740993 tx 3\nCONTINUE: pass,tx\nUP: yes' ]]
	run -0 unit_out one json
	jq -e '.continue == ["pass", "tx"]' <<<"$output"
}
@test "a stream: fixed columns, the same JSON, nothing without rows" {
	run -0 unit_out stream=3
	[[ $output == '     PACKETS  DEV     FLOW
           0  much-too-long  -
        1000  a\x1b   tcp/1
        2000  much-too-long  -' ]]
	run -0 unit_out stream=3 verbose
	[[ ${lines[0]} == '     PACKETS  DEV     SECRET  FLOW  MORE' && ${lines[3]} == *'  -       -  x,x' ]]
	run -0 unit_out stream=3 json
	[[ ${#lines[@]} == 3 && ${lines[1]} == ' {"packets":1000,"dev":"a\u001b","secret":null,'*'"more":["x"]},' ]]
	jq -e 'length == 3' <<<"$output"
	run -0 unit_out stream=0
	[[ -z $output ]]
	run -0 unit_out stream=0 json
	[[ $output == '[]' ]]
}
@test "a stream needs no more memory for more rows" {
	ulimit -v 32768
	[[ $(unit_out stream=300000 json | wc -l) == 300000 ]]
	[[ $(unit_out stream=300000 | wc -l) == 300001 ]]
}
@test "several listings in one answer" {
	run -0 --keep-empty-lines unit_out several
	[[ ${lines[0]} == 'NAME '* && ${lines[1]} == 'a '* && -z ${lines[2]} && ${lines[3]} == 'NAME '* && ${lines[4]} == 'b '* ]]
	run -0 unit_out several json
	jq -e 'keys == ["first", "nobody", "none", "second"] and .none == [] and .second[0].name == "b"' <<<"$output"
}
@test "changes" {
	run -0 unit_out changes
	[[ $output == '+ chain ratelimit dev eth0 position 18446744073709551615
~ chain weight 5 -> 10 order a,b -> b\x1b,a
- chain x unsent-packets 3' ]]
	run -0 unit_out changes json dry
	jq -e '.changed and .dry_run and (.changes | length == 3)' <<<"$output"
	jq -e '.changes[1] == {op: "change", object: "chain", weight: {from: 5, to: 10},
		order: {from: "a,b", to: "b\u001b,a"}}' <<<"$output"
	jq -e '.changes[2] == {op: "remove", object: "chain", name: "x", unsent_packets: 3}' <<<"$output"
}
@test "no changes: stdout is empty, also with -v" {
	run -0 --separate-stderr unit_out unchanged
	[[ -z $output$stderr ]]
	run -0 --separate-stderr unit_out unchanged verbose
	[[ -z $output && $stderr == 'l3afctl: unchanged' ]]
	run -0 --separate-stderr unit_out unchanged json
	[[ $output == '{"changed":false,"dry_run":false,"changes":[]}' && -z $stderr ]]
}
