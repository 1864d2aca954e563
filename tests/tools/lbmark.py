#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What leaves a load balancer's host with a mark, and arrives.

lbmark.py send MARK SOURCE ADDR PORT udp|tcp   a datagram, or a connection's first packet
lbmark.py sniff IF N                       N IP packets that come in by IF, one a line:
    "A > B udp PORT", in GUE "A > B gue C > D udp|tcp PORT"; "BAD" where lengths or the outer
    IPv4 checksum are wrong. Neighbour discovery and the like are left out.
"""
import socket
import struct
import sys

SO_MARK = 36


def csum(data):
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s


def family(text):
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def send(mark, source, addr, port, kind):
    s = socket.socket(family(addr), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_MARK, int(mark, 0))
    s.bind((source, 0))
    s.setblocking(False)
    if kind == "tcp":
        s.connect_ex((addr, int(port)))
    else:
        s.sendto(b"probe", (addr, int(port)))


def text(packet):
    v4 = packet[0] >> 4 == 4
    head, n, at = (20, 4, 12) if v4 else (40, 16, 8)
    proto = packet[9 if v4 else 6]
    said = struct.unpack_from("!H", packet, 2 if v4 else 4)[0] + (0 if v4 else 40)
    names = [socket.inet_ntop(socket.AF_INET if v4 else socket.AF_INET6, packet[i:i + n]) for i in (at, at + n)]
    if said != len(packet) or (v4 and csum(packet[:head]) != 0xffff):
        return "BAD"
    line = "%s > %s" % tuple(names)
    l4 = packet[head:]
    if proto not in (6, 17):
        return None
    port = struct.unpack_from("!H", l4, 2)[0]
    if proto == 17 and struct.unpack_from("!H", l4, 4)[0] != len(l4):
        return "BAD"
    if proto == 17 and port == 6080:
        inside = text(l4[8:])
        return "%s gue %s" % (line, inside)
    return "%s %s %d" % (line, "tcp" if proto == 6 else "udp", port)


def sniff(dev, count):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((dev, 0))
    s.settimeout(10)
    print("listening", flush=True)
    left = int(count)
    while left:
        frame, at = s.recvfrom(65535)
        if at[2] == socket.PACKET_OUTGOING or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            continue
        line = text(frame[14:])
        if line:
            print(line, flush=True)
            left -= 1


if sys.argv[1] == "send":
    send(*sys.argv[2:])
else:
    sniff(*sys.argv[2:])
