#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""
lbtry.py VIP PORT FIRST COUNT [TIMES]: a host that is client and all backends at once. Sends TIMES (1)
UDP datagrams to the VIP from each of COUNT ports from FIRST on, and prints where each of them arrived
in GUE, "SPORT BACKEND" a line; "SPORT -": nowhere. Times of one port are apart.
"""
import socket
import struct
import sys

vip, port, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
times = int(sys.argv[5]) if len(sys.argv) > 5 else 1
inner6 = ":" in vip

# every backend of either family, told apart by the outer destination
catch = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
catch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
catch.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
catch.bind(("::", 6080))


def arrived(wait):
    """The inner source port of a datagram, and the backend; None: there is none."""
    catch.settimeout(wait)
    try:
        data, extra, _, _ = catch.recvmsg(2048, 256)
    except (TimeoutError, BlockingIOError):
        return None
    backend = next(d for level, kind, d in extra if level == socket.IPPROTO_IPV6)
    backend = socket.inet_ntop(socket.AF_INET6, backend[:16]).removeprefix("::ffff:")
    at = 40 if data[0] >> 4 == 6 else 20
    return struct.unpack_from("!H", data, at)[0], backend


for _ in range(times):
    where = {}
    for begin in range(first, first + count, 64):
        ports = range(begin, min(begin + 64, first + count))
        for sport in ports:
            s = socket.socket(socket.AF_INET6 if inner6 else socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("", sport))
            s.sendto(b"hello", (vip, port))
            s.close()
        while any(sport not in where for sport in ports):
            got = arrived(0.3)
            if not got:
                break
            where[got[0]] = got[1]
for sport in range(first, first + count):
    print(sport, where.get(sport, "-"))
