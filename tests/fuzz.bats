#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Damaged objects: an error with a message, never a crash, nothing left behind.
# The damage follows from a seed: L3AF_FUZZ_SEED=N L3AF_FUZZ_COUNT=N tests/run tests/fuzz.bats

load lib
load arrives

setup() { pair; }
teardown() {
	ip -all netns delete
	rm -rf "${STATE:?}"
	find "$BPFFS" /sys/fs/bpf -type f ! -name '*.debug' -delete
}

# damage SEED COUNT DIR NAME...: COUNT damaged copies of DIR/NAME.o, in turn, as 0.o 1.o ...
damage() {
	python3 - "$@" <<-'END'
		import random, sys
		rnd = random.Random(int(sys.argv[1]))
		files = [open(f"{sys.argv[3]}/{f}.o", "rb").read() for f in sys.argv[4:]]
		for n in range(int(sys.argv[2])):
		    b = bytearray(files[n % len(files)])
		    kind = rnd.randrange(5)
		    if kind == 0:                      # cut off
		        del b[rnd.randrange(len(b)):]
		    elif kind == 1:                    # a block from elsewhere
		        size = rnd.choice((4, 8, 64, 256))
		        a, c = rnd.randrange(len(b) - size), rnd.randrange(len(b) - size)
		        b[a:a + size] = b[c:c + size]
		    elif kind == 2:                    # section headers (the last 64 * n bytes)
		        for _ in range(rnd.randrange(1, 8)):
		            b[-rnd.randrange(1, min(len(b), 1024))] = rnd.randrange(256)
		    else:                              # single bytes or bits
		        for _ in range(rnd.randrange(1, 24)):
		            at = rnd.randrange(len(b))
		            b[at] = rnd.choice((0, 0xff, rnd.randrange(256), b[at] ^ 1 << rnd.randrange(8)))
		    open(f"{n}.o", "wb").write(b)
	END
}

@test "200 damaged objects: exit 1 or 2 and a message, or loaded and removed" {
	local seed=${L3AF_FUZZ_SEED:-3} count=${L3AF_FUZZ_COUNT:-200} n loaded=0 refused=0
	local good=(l3af_xdp own_tail stack same_names run_config counter pin_by_name frags)
	local program=([1]='program first') # of own_tail
	cd "$BATS_TEST_TMPDIR"
	damage "$seed" "$count" "$FP/bpf" "${good[@]}"
	for ((n = 0; n < count; n++)); do
		# shellcheck disable=SC2086  # a keyword and its value, or nothing
		run --separate-stderr timeout 20 nsenter --net=/run/netns/srv "$BUILD/l3afctl" --bpffs "$BPFFS" \
			chain add victim dev s0 hook xdp object $n.o ${program[n % 8]-}
		if [ "$status" -eq 0 ]; then
			loaded=$((loaded + 1))
			l3af -q chain remove victim dev s0 hook xdp
			l3af -q chain detach dev s0 hook xdp
		else
			refused=$((refused + 1))
			if [[ $status -gt 2 || -n $output || $stderr != "l3afctl: "* || $stderr == *$'\n'* ]]; then
				printf '%s\n' "seed $seed, object $n" "status: $status" "stdout: $output" "stderr: $stderr"
				return 1
			fi
		fi
		if [[ -n $(find "$BPFFS" /sys/fs/bpf -type f ! -name '*.debug' ! -path "$STATE/meta") ]]; then
			echo "seed $seed, object $n"
			no_residue
		fi
	done
	no_residue
	arrives 10
	figure "damaged objects: $refused refused, $loaded loaded"
}
