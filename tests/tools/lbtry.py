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


class Site:
    """Every backend of either family, told apart by the outer destination."""

    def __init__(self):
        self.catch = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.catch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.catch.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.catch.bind(("::", 6080))

    def arrived(self, wait):
        """The inner source port of a datagram, and the backend; None: there is none."""
        self.catch.settimeout(wait)
        try:
            data, extra, _, _ = self.catch.recvmsg(2048, 256)
        except (TimeoutError, BlockingIOError):
            return None
        backend = next(d for level, kind, d in extra if level == socket.IPPROTO_IPV6)
        backend = socket.inet_ntop(socket.AF_INET6, backend[:16]).removeprefix("::ffff:")
        at = 40 if data[0] >> 4 == 6 else 20
        return struct.unpack_from("!H", data, at)[0], backend

    def send(self, vip, port, ports):
        """One datagram of each port: where they arrived, by port."""
        where = {}
        for begin in range(0, len(ports), 64):
            some = ports[begin:begin + 64]
            for sport in some:
                with socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.bind(("", sport))
                    s.sendto(b"hello", (vip, port))
            while any(sport not in where for sport in some):
                got = self.arrived(0.3)
                if not got:
                    break
                where[got[0]] = got[1]
        return where


if __name__ == "__main__":
    site = Site()
    ports = range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4]))
    for _ in range(int(sys.argv[5]) if len(sys.argv) > 5 else 1):
        where = site.send(sys.argv[1], int(sys.argv[2]), ports)
    for sport in ports:
        print(sport, where.get(sport, "-"))
