#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The rules of the tree that a grep can hold.

setup() { cd "$BATS_TEST_DIRNAME/.." || exit; }
none() { run -1 grep "$@"; }

bats_require_minimum_version 1.5.0

@test "lib does not know the command line" {
	none -En '#include "(cmd|[^"]*cmd/[^"]*)\.h"' lib/*.[ch]
}
@test "cmd files include no cmd header but cmd.h" {
	for h in cmd/*.h; do
		[[ $h == cmd/cmd.h ]] || none -Fn "\"${h#cmd/}\"" cmd/*.[ch]
	done
	none -En '#include ".*\.c"' cmd/*.[ch]
}
@test "each skeleton has one includer" {
	run grep -ho '"[a-z0-9_]*\.skel\.h"' -r lib cmd
	[[ -z $(sort <<<"$output" | uniq -d) ]]
}
# (_exit ends a forked child)
@test "below main nothing exits" {
	none -nw 'exit(' lib/*.c cmd/*.c
	none -nwE 'abort|quick_exit' lib/*.c cmd/*.c
}
@test "values are parsed in lib/parse*.c only" {
	none -nwE '(strto(u?ll?|[df])|ato[il]|inet_(pton|aton|addr)|getaddrinfo|sscanf) *\(' \
		-r lib cmd --include='*.[ch]' --exclude=parsenet.c
}
@test "every source file names its licence" {
	run grep -L 'SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause' -r \
		Makefile lib cmd bpf man completions tests --include='*.[ch8]' --include=Makefile --include='*.bats' \
		--include='*.bash' --include='*.fish' --include='_l3afctl'
	[[ -z $output ]]
}
