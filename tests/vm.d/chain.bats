# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
load ../lib
setup_file() { pair; }
@test "hello" { uname -r >&3; in_ns srv ip link; }
@test "skip" { skip "none"; }
