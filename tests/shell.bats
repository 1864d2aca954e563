#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

load lib

# every tracked or new file that is a shell script by its name or its first line
shell_files() {
	local f
	cd "$TOP" || return
	for f in .ci/* completions/*.bash tests/* tests/vm.d/*; do
		[[ -f $f ]] || continue
		case $f in
		*.bash | *.bats) echo "$f" ;;
		*) ! head -n 1 "$f" | grep -qaE '^#!.*/(ba)?sh$' || echo "$f" ;;
		esac
	done
}

@test "shellcheck finds nothing in any shell file" {
	local files
	mapfile -t files < <(shell_files)
	((${#files[@]} > 15))
	cd "$TOP"
	shellcheck -x "${files[@]}"
}

@test "shellcheck would find something" {
	echo 'echo $1' >"$BATS_TEST_TMPDIR/bad.bash"
	run shellcheck -s bash "$BATS_TEST_TMPDIR/bad.bash"
	[ "$status" -ne 0 ]
}

@test "the demo passes and leaves nothing" {
	run "$TOP/tests/demo"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output != *FAIL* && $output != *$'\e'* ]]
	[ "$(grep -c PASS <<<"$output")" -ge 12 ]
	no_residue
}
