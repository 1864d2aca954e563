# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# The binary knows the words: nothing is listed here.
_l3afctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} word quoted
	COMPREPLY=()
	while IFS= read -r word; do
		if [[ $word == :file ]]; then
			compopt -o default
		elif [[ $word == "$cur"* ]]; then
			printf -v quoted %q "$word"
			COMPREPLY+=("$quoted")
		fi
	done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _l3afctl l3afctl l3af-chain l3af-limit
