#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Packets that an agent seldom sees: each of them either left as it is, to the octet, or taken
# apart as a whole.

load lib
load agent

setup() { pair; }
teardown() { wipe; }

# left PROGRAM WORD...: the frame of these words of gue.py comes out as it went in; EXT octets
# of destination options stand in front of an inner TCP header
left() {
	local frame out
	frame=$(python3 - "$TOP/tests/tools" "${@:2}" <<-'END'
		import sys
		sys.path.insert(0, sys.argv[1])
		import gue
		w = gue.words(sys.argv[2:])
		if "ext" in w:
		    plain = gue.ip
		    def ip(src, dst, proto, payload, *rest, **more):
		        if proto == 6:
		            n = int(w["ext"])
		            payload = bytes([6, n // 8 - 1, 1, n - 4]) + bytes(n - 4) + payload
		            proto = 60
		        return plain(src, dst, proto, payload, *rest, **more)
		    gue.ip = ip
		f = bytearray(gue.frame(w))
		if "short" in w: # outer IPv4 header
		    f[16:18] = int(w["short"]).to_bytes(2, "big")
		    f[24:26] = bytes(2)
		    f[24:26] = gue.csum(bytes(f[14:34])).to_bytes(2, "big")
		print(f.hex())
	END
	)
	out=$(in_ns srv "$FP/agentrun" "$1" <<<"$frame")
	[[ ${out#* } == "$frame" ]] || { echo "$*" "$frame" "$out"; return 1; }
}

# taken PROGRAM WORD...: it does not
taken() {
	run left "$@"
	((status))
}

@test "what cannot be translated as a whole, or is longer than its headers, is left as it is" {
	local hook id
	for hook in xdp tc; do
		agent hook $hook vip 192.0.2.1 vip 192.0.2.2 to 10.77.0.1 vip fd55::2 to fd77::1
		id=$(program "${hook/#tc/tc-ingress}")
		taken "$id" l4=tcp dst=192.0.2.2 len=9
		left "$id" l4=tcp dst=192.0.2.2 len=9 ilen=39
		taken "$id" l4=tcp dst=192.0.2.2 len=9 ilen=40
		left "$id" l4=udp dst=192.0.2.2 len=9 ilen=27
		taken "$id" l4=tcp src=fd56::9 dst=fd55::2 osrc=fd77::2 odst=fd77::1 ext=16
		taken "$id" l4=tcp src=fd56::9 dst=fd55::2 osrc=fd77::2 odst=fd77::1 ext=200
		left "$id" l4=tcp src=fd56::9 dst=fd55::2 osrc=fd77::2 odst=fd77::1 ext=256
		# 20 + 8 + 20 + 8 + 9
		taken "$id" len=9 short=65
		left "$id" len=9 short=64
		left "$id" len=9 short=19
	done
}

# hops VERDICT ADDR...: of a packet in XDP that names each as the second hop: 2 taken, 3 sent on
hops() {
	local want=$1 hop outer
	for hop in "${@:2}"; do
		outer='osrc=10.77.0.2 odst=10.77.0.1'
		[[ $hop != *:* ]] || outer='osrc=fd77::2 odst=fd77::1'
		# shellcheck disable=SC2086
		run -0 in_ns srv "$FP/agentrun" "$(program xdp)" < <(python3 "$GUE" frame l4=tcp $outer gue=0 data="4c334146$(
			python3 -c 'import ipaddress as i, sys; a = i.ip_address(sys.argv[1])
print(a.packed.hex() if a.version == 6 else "0" * 20 + "ffff" + a.packed.hex())' "$hop")")
		[[ ${output%% *} == "$want" ]] || { echo "$hop: $output"; return 1; }
	done
}

@test "a second hop is another host, by a way that this one has" {
	agent vip 192.0.2.1 strict source 10.77.0.0/24 strict source fd77::/64
	# where the kernel tells no way, the router it came from knows one
	hops 2 224.0.0.1 255.255.255.255 127.0.0.1 0.0.0.0 ff02::1 ::1 ::
	hops 3 10.77.0.9 203.0.113.1 fd77::9
	in_ns srv sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1
	hops 2 10.77.0.1 192.0.2.1 203.0.113.1 fd77::1
	hops 3 10.77.0.9
}
