#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A collector for tests that reads IPFIX on its own terms (RFC 7011), not on the exporter's.

collect.py udp|tcp ADDR PORT FILE   print "listening"; append messages to FILE until stdin ends;
                                    of what comes over UDP, all is read or refused then
collect.py sum FILE...              flows, packets, octets, sequence errors of all messages
collect.py flows FILE               a JSON object per flow record
collect.py options FILE             the same of options records
collect.py messages FILE            of each message: octets, sets of templates, records
"""
import json, os, selectors, socket, struct, sys

NAMES = {1: "octets", 2: "packets", 4: "proto", 5: "tos", 6: "flags", 7: "sport", 8: "src", 10: "in", 11: "dport",
         12: "dst", 14: "out", 27: "src", 28: "dst", 61: "direction", 136: "reason", 148: "id", 152: "start",
         153: "end", 82: "ifname", 32: "icmp", 139: "icmp", 40: "exported_octets", 41: "exported_messages",
         42: "exported_flows", 164: "ignored_packets", 165: "ignored_octets", 166: "unsent_flows",
         167: "unsent_packets", 168: "unsent_octets", 83: "alias", 302: "selector", 304: "algorithm", 305: "interval", 306: "space"}
ADDRESSES = {8: socket.AF_INET, 12: socket.AF_INET, 27: socket.AF_INET6, 28: socket.AF_INET6}
STRINGS = {82, 83, 96, 300}


class Reader:
    """Messages of one transport session, in order."""

    def __init__(self):
        self.templates, self.next, self.errors, self.messages, self.unknown = {}, {}, [], 0, 0

    def message(self, m):
        version, length, when, sequence, domain = struct.unpack_from(">HHIII", m)
        assert version == 10 and length == len(m), "message of %d octets says %d" % (len(m), length)
        if sequence != self.next.get(domain, sequence):
            self.errors.append((domain, self.next[domain], sequence))
        at, records = 16, 0
        self.messages += 1
        while at < length:
            kind, size = struct.unpack_from(">HH", m, at)
            assert size >= 4 and at + size <= length, "set of %d octets" % size
            body = m[at + 4:at + size]
            if kind in (2, 3):
                self.template(domain, kind, body)
            elif (domain, kind) in self.templates:
                for record in self.data(domain, kind, body):
                    record["time"], record["domain"] = when, domain
                    records += 1
                    yield self.templates[domain, kind][0], record
            else:
                self.unknown += 1
            at += size
        self.next[domain] = (sequence + records) & 0xffffffff

    def template(self, domain, kind, body):
        at = 0
        while len(body) - at >= 4:
            number, count = struct.unpack_from(">HH", body, at)
            at += 4 if kind == 2 else 6
            fields = []
            for _ in range(count):
                element, length = struct.unpack_from(">HH", body, at)
                at += 4
                pen = 0
                if element & 0x8000:
                    pen, = struct.unpack_from(">I", body, at)
                    at += 4
                fields.append((pen, element & 0x7fff, length))
            assert at <= len(body) and number >= 256
            self.templates[domain, number] = (kind, fields)

    def data(self, domain, kind, body):
        fields = self.templates[domain, kind][1]
        least = sum(1 if length == 65535 else length for _, _, length in fields)
        at = 0
        while len(body) - at >= least:
            record = {}
            for pen, element, length in fields:
                if length == 65535:
                    length, at = body[at], at + 1
                    if length == 255:
                        length, at = struct.unpack_from(">H", body, at)[0], at + 2
                raw, at = body[at:at + length], at + length
                assert len(raw) == length
                name = NAMES.get(element, str(element)) if not pen else "%d/%d" % (pen, element)
                if pen == 29305:
                    name = "reverse_" + NAMES.get(element, str(element))
                if not pen and element in ADDRESSES:
                    record[name] = socket.inet_ntop(ADDRESSES[element], raw)
                elif not pen and element in STRINGS:
                    record[name] = raw.decode()
                else:
                    record[name] = int.from_bytes(raw, "big")
            yield record
        assert not any(body[at:]), "padding is not zero"


def messages(f):
    while header := f.read(16):
        yield header + f.read(struct.unpack_from(">H", header, 2)[0] - 16)


def messages_of(path):
    with open(path, "rb") as f:
        yield from messages(f)


def total(paths):
    flows = packets = octets = options = 0
    errors, unknown, n = [], 0, 0
    for path in paths:
        r = Reader()
        for m in messages_of(path):
            for kind, record in r.message(m):
                if kind == 3:
                    options += 1
                    continue
                flows += 1
                packets += record["packets"] + record.get("reverse_packets", 0)
                octets += record["octets"] + record.get("reverse_octets", 0)
        errors += r.errors
        unknown += r.unknown
        n += r.messages
    print("flows", flows, "packets", packets, "octets", octets, "errors", len(errors) + unknown)
    for e in errors:
        print("domain %d: expected sequence %d, got %d" % e, file=sys.stderr)


def show(path, wanted):
    r = Reader()
    for m in messages_of(path):
        for kind, record in r.message(m):
            if kind == wanted:
                print(json.dumps(record))


def outline(path):
    r = Reader()
    for m in messages_of(path):
        at, templates = 16, 0
        while at < len(m):
            kind, size = struct.unpack_from(">HH", m, at)
            templates += kind in (2, 3)
            at += size
        print(len(m), templates, sum(1 for _ in r.message(m)))


def drain(s, out):
    """A socket that is connected elsewhere gets nothing more, and keeps what it has."""
    s.connect((s.getsockname()[0], 9))
    s.setblocking(False)
    try:
        while True:
            out.write(s.recv(65536))
    except BlockingIOError:
        pass


def listen(kind, addr, port, path):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    s.bind((addr, int(port)))
    if kind == "tcp":
        s.listen()
    ready = selectors.DefaultSelector()
    ready.register(s, selectors.EVENT_READ)
    ready.register(sys.stdin, selectors.EVENT_READ)
    out = open(path, "ab", buffering=0)
    print("listening", flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj is sys.stdin:
                if not os.read(0, 1):
                    return kind == "udp" and drain(s, out)
            elif kind == "udp":
                out.write(s.recv(65536))
            elif key.fileobj is s:
                ready.register(s.accept()[0], selectors.EVENT_READ)
            elif octets := key.fileobj.recv(1 << 20):
                out.write(octets)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()


def main():
    if sys.argv[1] in ("udp", "tcp"):
        listen(*sys.argv[1:5])
    elif sys.argv[1] == "sum":
        total(sys.argv[2:])
    elif sys.argv[1] == "messages":
        outline(sys.argv[2])
    else:
        show(sys.argv[2], {"flows": 2, "options": 3}[sys.argv[1]])


if __name__ == "__main__":
    main()
