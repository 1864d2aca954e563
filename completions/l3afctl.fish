# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The binary knows the words: nothing is listed here.
function __l3afctl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l command $words[1]
    set -e words[1]
    set -l candidates ($command --complete $words 2>/dev/null)
    if test "$candidates[1]" = :file
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $candidates
    end
end
for command in l3afctl l3af-agent l3af-chain l3af-flows l3af-l2tp l3af-lb l3af-limit l3af-mirror
    complete -c $command -f -a '(__l3afctl_complete)'
end
