#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""echo.py serve PORT ADDR...: TCP and UDP, what comes goes back, until stdin ends
echo.py tcp|udp ADDR PORT OCTETS [SPORT]: sends so much, and compares what comes back
echo.py udp0 ...: without UDP checksums"""
import selectors
import socket
import sys
import threading


def family(a):
    return socket.AF_INET6 if ":" in a else socket.AF_INET


def listen(addr, port):
    udp = socket.socket(family(addr), socket.SOCK_DGRAM)
    udp.bind((addr, port))
    tcp = socket.create_server((addr, port), family=family(addr), backlog=1000)

    def one(c):
        while d := c.recv(1 << 20):
            c.sendall(d)
        c.close()

    def datagrams():
        while True:
            d, who = udp.recvfrom(65536)
            udp.sendto(d, who)

    def accept():
        while True:
            threading.Thread(target=one, args=(tcp.accept()[0],), daemon=True).start()

    threading.Thread(target=datagrams, daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def ask(kind, addr, port, octets, sport):
    data = bytes(i * 7 & 0xff for i in range(octets))
    s = socket.socket(family(addr), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(5)
    if kind == "udp0":
        s.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", sport))
    s.connect((addr, port))
    got = b""
    if kind == "tcp":
        t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        t.start()
        while d := s.recv(1 << 20):
            got += d
        t.join()
    else:
        s.send(data)
        got = s.recv(65536)
    print("same" if got == data else "differs: %d of %d" % (len(got), len(data)))


if sys.argv[1] == "serve":
    for a in sys.argv[3:]:
        listen(a, int(sys.argv[2]))
    print("serving", flush=True)
    sys.stdin.read()
else:
    ask(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else 0)
