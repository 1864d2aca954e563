#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""icmpecho.py ADDR: one echo request; exit status 0 if it is answered within half a second"""
import os
import socket
import struct
import sys


def sum16(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


ident = os.getpid() & 0xFFFF
head = struct.pack("!BBHHH", 8, 0, 0, ident, 1)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
    s.settimeout(0.5)
    s.sendto(head[:2] + struct.pack("!H", sum16(head + bytes(32))) + head[4:] + bytes(32), (sys.argv[1], 0))
    try:
        while True:
            got = s.recv(1500)
            if got[20] == 0 and got[24:28] == head[4:8]:
                sys.exit(0)
    except TimeoutError:
        sys.exit(1)
