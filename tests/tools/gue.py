#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames in GUE tunnels, made byte by byte.

gue.py send IF WORD...     send the frame out of IF
gue.py frame WORD...       print it in hex
gue.py inner WORD...       the frame as it is after decapsulation, in hex
gue.py table xdp|tc COMMAND...  lines "WORDS | RESULT" on stdin: each frame goes through COMMAND (agentrun),
                           and has to come out as RESULT says: "pass" as it is, "drop", "take
                           WORDS" decapsulated, "send WORDS" as another frame (with a tunnel),
                           where WORDS change those of the frame

Words, NAME=VALUE: smac, dmac, vlan=N (repeatable), osrc, odst (addresses; none: no tunnel),
sport, port (6080), gue=0|1 (variant), data=HEX (private data), c=1, flags=N, proto=N,
csum=0 (of the outer UDP header), tos=N, otos=N, oid=N, ofrag=OFFSET/8,MORE, oopts=1,
src, dst, ttl, l4=tcp|udp|icmp|icmp6|N, from, to (ports), tcp=SAPFRU (flags), seq, mss=N,
len=N (payload), zero=1 (no UDP checksum), frag=OFFSET/8,MORE, id=N, opts=1,
pad=N (behind the inner packet), size=N (the frame is cut), ulen=N (outer UDP length),
ilen=N (inner length), icmp=TYPE,CODE,REST and quote=WORDS-WITH-COMMAS, qlen=N (octets quoted)
"""
import socket
import struct
import subprocess
import sys


def csum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def addr(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo(src, dst, proto, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, proto, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, proto)


def ip(src, dst, proto, payload, ttl=64, tos=0, ident=0, frag=None, df=True, opts=False, length=None):
    """An IP header with its payload."""
    src, dst = addr(src), addr(dst)
    if len(src) == 4:
        options = b"\1\1\1\0" if opts else b""
        off = (frag[0] | (0x2000 if frag[1] else 0)) if frag else (0x4000 if df else 0)
        total = 20 + len(options) + len(payload) if length is None else length
        head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, tos, total, ident, off, ttl, proto, 0)
        head += src + dst + options
        return head[:10] + struct.pack("!H", csum(head)) + head[12:] + payload
    first = proto
    ext = b""
    if frag:
        ext = struct.pack("!BBHI", first, 0, frag[0] << 3 | (1 if frag[1] else 0), ident)
        first = 44
    if opts:
        ext = struct.pack("!BB6B", first, 0, 1, 4, 0, 0, 0, 0) + ext
        first = 60
    total = len(ext) + len(payload) if length is None else length
    return struct.pack("!IHBB", 6 << 28 | tos << 20, total, first, ttl) + src + dst + ext + payload


def number(text, default=None):
    return default if text is None else int(text, 0)


def pair(text):
    return tuple(int(x) for x in text.split(",")) if text else None


def l4(w):
    """The inner transport header and payload, its checksum right for src and dst."""
    src, dst = addr(w["src"]), addr(w["dst"])
    kind = w.get("l4", "udp")
    data = bytes(i & 0xff for i in range(number(w.get("len"), 0)))
    sport, dport = number(w.get("from"), 40000), number(w.get("to"), 80)
    if kind == "tcp":
        flags = sum({"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}[c] for c in w.get("tcp", "A"))
        options = bytes.fromhex(w.get("topts", ""))
        if "mss" in w:
            options += struct.pack("!BBH", 2, 4, number(w["mss"]))
        options += b"\0" * (-len(options) % 4)
        head = struct.pack("!HHIIBBHHH", sport, dport, number(w.get("seq"), 1), 1, (20 + len(options)) << 2, flags,
                           65535, 0, 0) + options
        s = csum(pseudo(src, dst, 6, len(head + data)) + head + data)
        return 6, head[:16] + struct.pack("!H", s) + head[18:] + data
    if kind == "udp":
        head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
        s = 0 if "zero" in w else csum(pseudo(src, dst, 17, len(head + data)) + head + data) or 0xffff
        return 17, head[:6] + struct.pack("!H", s) + data
    if kind in ("icmp", "icmp6"):
        t, c, rest = pair(w["icmp"])
        body = data
        if "quote" in w:
            quoted = dict(x.split("=", 1) for x in w["quote"].split(","))
            body = inner(quoted)[:number(w.get("qlen"), 65535)]
        head = struct.pack("!BBHI", t, c, 0, rest)
        proto = 1 if kind == "icmp" else 58
        s = csum((pseudo(src, dst, 58, len(head + body)) if proto == 58 else b"") + head + body)
        return proto, head[:2] + struct.pack("!H", s) + head[4:] + body
    return int(kind), data


def inner(w):
    proto, body = l4(w)
    frag = pair(w.get("frag"))
    if frag:
        # a fragment of the whole: as much as part says
        body = body[frag[0] * 8:][:number(w.get("part"), 65535)]
    return ip(w["src"], w["dst"], proto, body, number(w.get("ttl"), 64), number(w.get("tos"), 0),
              number(w.get("id"), 7), frag, True, "opts" in w, number(w.get("ilen")))


def gue(w, is_v6):
    if w.get("gue", "1") == "1":
        return b""
    data = bytes.fromhex(w.get("data", ""))
    proto = number(w.get("proto"), 41 if is_v6 else 4)
    return struct.pack("!BBH", len(data) // 4 | (0x20 if "c" in w else 0), proto, number(w.get("flags"), 0)) + data


def frame(w, tunnel=True):
    packet = inner(w)
    is_v6 = packet[0] >> 4 == 6
    if tunnel and w.get("odst", "none") != "none":
        body = gue(w, is_v6) + packet
        src, dst = addr(w["osrc"]), addr(w["odst"])
        length = number(w.get("ulen"), 8 + len(body))
        head = struct.pack("!HHHH", number(w.get("sport"), 50000), number(w.get("port"), 6080), length, 0)
        s = 0 if w.get("csum") == "0" else csum(pseudo(src, dst, 17, 8 + len(body)) + head + body) or 0xffff
        packet = ip(w["osrc"], w["odst"], 17, head[:6] + struct.pack("!H", s) + body, 64,
                    number(w.get("otos"), number(w.get("tos"), 0)), number(w.get("oid"), 0), pair(w.get("ofrag")),
                    True, "oopts" in w)
        kind = 0x86dd if packet[0] >> 4 == 6 else 0x800
    else:
        kind = 0x86dd if is_v6 else 0x800
    mac = bytes.fromhex(w.get("dmac", "02:77:00:00:00:01").replace(":", ""))
    mac += bytes.fromhex(w.get("smac", "02:77:00:00:00:02").replace(":", ""))
    for v in w.get("vlan", "").split("+"):
        if v:
            mac += struct.pack("!HH", 0x8100, int(v))
    whole = mac + struct.pack("!H", kind) + packet + b"\0" * number(w.get("pad"), 0)
    return whole[:number(w.get("size"), len(whole))]


def words(argv):
    w = {"src": "192.0.2.99", "dst": "192.0.2.1", "osrc": "10.77.0.2", "odst": "10.77.0.1"}
    for a in argv:
        k, _, v = a.partition("=")
        w[k] = v if k != "vlan" or "vlan" not in w else w["vlan"] + "+" + v
    return w


VERDICTS = {"xdp": {"pass": (2,), "take": (2,), "drop": (1,), "send": (3, 4)},
            "tc": {"pass": (-1,), "take": (-1,), "drop": (2,), "send": (7,)}}


def table(hook, command):
    runner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    bad = 0
    for line in sys.stdin:
        if "|" not in line:
            continue
        given, result = (x.split() for x in line.split("|"))
        sent = frame(words(given)).hex()
        runner.stdin.write(sent + "\n")
        runner.stdin.flush()
        verdict, got = runner.stdout.readline().split()
        change = words(given + result[1:])
        want = {"pass": lambda: sent, "drop": lambda: got, "take": lambda: frame(change, False).hex(),
                "send": lambda: frame(change).hex()}[result[0]]()
        if int(verdict) not in VERDICTS[hook][result[0]] or got != want:
            print("%s\n  verdict %s\n  got    %s\n  wanted %s" % (line.strip(), verdict, got, want))
            bad += 1
    return bad


def main():
    if sys.argv[1] == "table":
        sys.exit(1 if table(sys.argv[2], sys.argv[3:]) else 0)
    if sys.argv[1] == "frame":
        print(frame(words(sys.argv[2:])).hex())
    elif sys.argv[1] == "inner":
        print(frame(words(sys.argv[2:]), False).hex())
    else:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind((sys.argv[2], 0))
        s.send(frame(words(sys.argv[3:])))


if __name__ == "__main__":
    main()
