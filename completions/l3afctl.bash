# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# The binary knows the words: nothing is listed here.
_l3afctl() {
	local line=${COMP_LINE:0:COMP_POINT} cur word quoted cut=''
	local -a words
	# readline takes HOST:PORT for three words
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=('')
	cur=${words[-1]}
	[[ $COMP_WORDBREAKS != *:* || $cur != *:* ]] || cut=${cur%"${cur##*:}"}
	COMPREPLY=()
	while IFS= read -r word; do
		if [[ $word == :file ]]; then
			compopt -o default
		elif [[ $word == "$cur"* ]]; then
			printf -v quoted %q "${word#"$cut"}"
			COMPREPLY+=("$quoted")
		fi
	done < <("${words[0]}" --complete "${words[@]:1}" 2>/dev/null)
}
complete -F _l3afctl l3afctl l3af-agent l3af-chain l3af-flows l3af-l2tp l3af-lb l3af-limit l3af-mirror
