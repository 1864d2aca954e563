#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The manual against the tables of the binary.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/.." || exit
	L3AFCTL=${L3AF_BUILD:-build}/l3afctl
}

# page OBJECT: its manual page as plain text on one line
page() {
	local file=man/l3afctl-$1.8
	[[ -f $file ]] || file=man/l3afctl.8
	mandoc -Tascii "$file" | sed 's/.\x08//g' | tr -s ' \n' ' '
}

@test "mandoc has nothing to say" {
	run -0 mandoc -Tlint -Wwarning man/*.8
	[[ -z $output ]]
}

@test "every object with commands has its page" {
	for object in $("$L3AFCTL" --grammar | awk '!/^--/ && NF > 1 { print $1 }' | sort -u); do
		[[ -f man/l3afctl-$object.8 ]] || { echo "no page for $object"; return 1; }
	done
}

@test "every word of the grammar is in the page of its object" {
	declare -A pages=()
	local object words word missing=0
	while read -r object words; do
		[[ -n ${pages[$object]-} ]] || pages[$object]=$(page "$object")
		for word in $object $words; do
			grep -qE -- "(^|[^A-Za-z0-9-])$word([^A-Za-z0-9-]|\$)" <<<"${pages[$object]}" ||
				{ echo "$object: $word is not in the page"; missing=1; }
		done
	done < <("$L3AFCTL" --grammar)
	((!missing))
}

@test "every page has the sections people look for" {
	local file section
	for file in man/*.8; do
		for section in 'EXIT STATUS' FILES CAPABILITIES EXAMPLES; do
			grep -qx ".Sh $section" "$file" || { echo "$file has no $section"; return 1; }
		done
	done
}
