#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Exports that are killed, each followed by one that is not: nothing is lost.

exportkill.py KILLAT L3AFCTL BPFFS udp|tcp|FILE call|us STEP FLOWS BATCH [WORD...]

Runs where flows are counted on what goes to 10.77.0.2. Each time, FLOWS flows get a packet, an
export is killed at the next system call (call: every STEP-th) or after a random time (us: STEP
times), and a whole one follows: the collector has all packets then, and at most BATCH of them twice.
"""
import os, random, select, socket, subprocess, sys
sys.dont_write_bytecode = True
from collect import Reader, messages

killat, binary, bpffs, kind, how = sys.argv[1:6]
step, flows, batch = map(int, sys.argv[6:9])
is_file = kind not in ("udp", "tcp")
to = ["file", kind] if is_file else ["127.0.0.1:4739/" + kind]
command = [binary, "--bpffs", bpffs, "flows", "export", "to"] + to + sys.argv[9:]


class Collector:
    """Counts the packets that flow records say."""

    def __init__(self):
        self.reader, self.packets, self.buffer, self.connections = Reader(), 0, b"", []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(("127.0.0.1", 4739))
        if kind == "tcp":
            self.socket.listen()
        self.socket.setblocking(False)

    def count(self, message):
        self.packets += sum(r["packets"] for what, r in self.reader.message(message) if what == 2)

    def stream(self, connection):
        """All whole messages of a connection; what a killed exporter cut off is nobody's."""
        octets = b""
        while more := connection.recv(1 << 20):
            octets += more
        self.reader = Reader()
        at = 0
        while len(octets) - at >= 16 and len(octets) - at >= (length := int.from_bytes(octets[at + 2:at + 4], "big")):
            self.count(octets[at:at + length])
            at += length

    def read(self):
        try:
            while True:
                if kind == "udp":
                    self.count(self.socket.recv(65536))
                else:
                    with self.socket.accept()[0] as connection:
                        connection.setblocking(True)
                        self.stream(connection)
        except BlockingIOError:
            pass
        return self.packets


class File:
    """Counts on from where it was: what an export left that was not killed stays."""

    def __init__(self):
        self.reader, self.packets, self.at = Reader(), 0, 0

    def read(self):
        with open(kind, "rb") as f:
            f.seek(self.at)
            for m in messages(f):
                self.packets += sum(r["packets"] for what, r in self.reader.message(m) if what == 2)
            self.at = f.tell()
        assert not self.reader.errors, self.reader.errors
        return self.packets


class ReadTcp:
    """Somebody has to read while an export to TCP goes on."""

    def __init__(self, collector):
        self.collector = collector

    def wait(self, process):
        while process.poll() is None:
            select.select([self.collector.socket], [], [], 0.01)
            self.collector.read()


collector = File() if is_file else Collector()
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("10.77.0.1", 4000))
sent = got = twice = points = k = 0
while True:
    k += 1
    for port in range(1000, 1000 + flows):
        sender.sendto(b"", ("10.77.0.2", port))
    sent += flows
    at = 1 + (k - 1) * step if how == "call" else random.randrange(12000)
    was_killed = []
    for prefix in ([killat, how, str(at)], []):
        process = subprocess.Popen(prefix + command)
        if kind == "tcp":
            ReadTcp(collector).wait(process)
        status = process.wait()
        was_killed.append(status == 0)
        assert status in ((0, 1) if prefix else (0,)), "exit status %d" % status
    got = collector.read()
    points += was_killed[0]
    assert 0 <= got - sent - twice <= batch, \
        "killed at %s %d: %d packets sent, %d arrived, %d of them twice before" % (how, at, sent, got, twice)
    twice = got - sent
    if (how == "call" and not was_killed[0]) or (how == "us" and k == step):
        break
print("%s: killed at %d %s of an export of %d flows: %d packets, 0 lost, %d sent twice" % (
    "file" if is_file else kind, points, "system calls" if how == "call" else "moments", flows, sent, twice))
