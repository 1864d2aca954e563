#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a collector got, against what production captured (pcap files of Ethernet frames; several as
FILE,FILE).

mirrorpcap.py longest FILE                      octets of its longest frame
mirrorpcap.py strip gue|vxlan MIRRORED OUT     the inner packets as a pcap file (GUE: raw IP)
mirrorpcap.py same ENCAP MIRRORED PRODUCTION [WORD]...
        each packet of production came, with every octet and as often, and nothing else:
        "N packets N octets the same", or what differs and exit status 1
mirrorpcap.py octets ENCAP MIRRORED PRODUCTION
        as above where the two were segmented differently: each flow's payload octets, the range
        of TCP's sequence numbers, and the segments without payload
mirrorpcap.py flows ENCAP MIRRORED        "N both N one" flows seen in both directions, in one
mirrorpcap.py outer MIRRORED WORD...           outer headers are as they should be: to=ADDR from=ADDR
        port=N mtu=N csum=on|off|some: "N frames", or what is not, exit status 1

ENCAP: gue, gue1 (variant 1), vxlan; frames, raw: from behind a tunnel device, with or without Ethernet header.
WORD of same: snap=N|headers (what is to be left of each), any (production may have more), nosum
(TCP's and UDP's checksums are not compared: production computes them after the capture).
Frames to UDP port 9 (marks) and neighbour discovery are left out of both.
"""
import collections
import socket
import struct
import sys

PORTS = {"gue": 6080, "gue1": 6080, "vxlan": 4789}
HEADER = {"gue": 4, "gue1": 0, "vxlan": 8}
NO_ETHERNET = ("gue", "gue1", "raw")
EXTENSIONS = {0, 43, 44, 51, 60, 135, 139, 140}


def frames(paths):
    """Frames of pcap files, as bytes."""
    for path in paths.split(","):
        yield from frames_of(path)


def frames_of(path):
    with open(path, "rb") as f:
        head = f.read(24)
        magic, link = head[:4], struct.unpack("<I", head[20:24])[0]
        if magic not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
            sys.exit("%s: not a pcap file of this byte order" % path)
        while len(rec := f.read(16)) == 16:
            _, _, caplen, length = struct.unpack("<IIII", rec)
            data = f.read(caplen)
            if len(data) < caplen:
                break
            if caplen != length:
                sys.exit("%s: cut by the capture" % path)
            yield data[16:] if link == 113 else data  # of "cooked" captures the addresses


def layer2(frame):
    """EtherType, offset of what is behind it."""
    at = 12
    while True:
        kind = struct.unpack_from("!H", frame, at)[0]
        at += 2
        if kind not in (0x8100, 0x88a8) or len(frame) < at + 4:
            return kind, at
        at += 2


Ip = collections.namedtuple("Ip", "src dst proto l4 end fragment")


def ip(data):
    """An IP packet's addresses, transport protocol, its offset, the packet's end; or None."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        total, _, off = struct.unpack_from("!HHH", data, 2)
        return Ip(data[12:16], data[16:20], data[9], (data[0] & 15) * 4, total or len(data), off & 0x1fff)
    if version == 6 and len(data) >= 40:
        payload = struct.unpack_from("!H", data, 4)[0]
        end = 40 + payload if payload else len(data)  # 0: more than 64 kB
        proto, at, fragment = data[6], 40, 0
        while proto in EXTENSIONS and at + 8 <= len(data) and not fragment:
            if proto == 44:
                fragment = struct.unpack_from("!H", data, at + 2)[0] >> 3
            size = 8 if proto == 44 else (data[at + 1] + 2) * 4 if proto == 51 else (data[at + 1] + 1) * 8
            proto, at = data[at], at + size
        return Ip(data[8:24], data[24:40], proto, at, end, fragment)
    return None


def udp(frame):
    """Of a frame that carries UDP: Ip, source port, destination port, offset of its payload."""
    kind, at = layer2(frame)
    head = ip(frame[at:]) if kind in (0x800, 0x86dd) else None
    if not head or head.proto != 17 or head.fragment:
        return None
    sport, dport, length, csum = struct.unpack_from("!HHHH", frame, at + head.l4)
    return head, at, sport, dport, length, csum


def is_noise(encap, data):
    """Marks and neighbour discovery."""
    at = 0
    if encap not in NO_ETHERNET:
        kind, at = layer2(data)
        if kind not in (0x800, 0x86dd):
            return False
    head = ip(data[at:])
    if not head or head.fragment or len(data) < at + head.l4 + 4:
        return False
    if head.proto == 17:
        return struct.unpack_from("!H", data, at + head.l4 + 2)[0] == 9
    return head.proto == 58 and 133 <= data[at + head.l4] <= 137


def tunneled(encap, path):
    """What was mirrored: of GUE IP packets, of VXLAN frames, or what tunnel devices received."""
    for frame in frames(path):
        u = udp(frame)
        if encap in ("frames", "raw"):
            yield frame
        elif u and u[3] == PORTS[encap]:
            head, at, _, _, _, _ = u
            yield frame[at + head.l4 + 8 + HEADER[encap]:at + head.end]


def inner(encap, path):
    return (d for d in tunneled(encap, path) if not is_noise(encap, d))


def produced(path):
    return (f for f in frames(path) if not is_noise("frames", f))


def end_of_headers(frame):
    """Octets of a frame up to the end of its transport header; of a later fragment, to its beginning."""
    kind, at = layer2(frame)
    head = ip(frame[at:]) if kind in (0x800, 0x86dd) else None
    if not head:
        return min(64, len(frame))
    end = at + head.l4
    if not head.fragment:
        end += (frame[end + 12] >> 4) * 4 if head.proto == 6 else 8
    return min(end, len(frame))


def as_mirrored(encap, frame, snap):
    if snap:
        frame = frame[:end_of_headers(frame) if snap == "headers" else int(snap)]
    if encap not in NO_ETHERNET:
        return frame
    kind, at = layer2(frame)
    head = ip(frame[at:]) if kind in (0x800, 0x86dd) else None
    return frame[at:at + head.end] if head else None  # padding behind it is not the packet's


def without_sum(encap, data):
    at = 0 if encap in NO_ETHERNET else layer2(data)[1]
    head = ip(data[at:])
    if not head or head.fragment or head.proto not in (6, 17):
        return data
    at += head.l4 + (16 if head.proto == 6 else 6)
    return data[:at] + b"\0\0" + data[at + 2:]


def show(data):
    return data[:100].hex() + ("... %d octets" % len(data) if len(data) > 100 else "")


def same(encap, mirrored, production, words):
    snap = next((w[5:] for w in words if w.startswith("snap=")), "")
    ready = (lambda d: without_sum(encap, d)) if "nosum" in words else (lambda d: d)
    want = collections.Counter(map(ready, filter(None, (as_mirrored(encap, f, snap) for f in produced(production)))))
    got = collections.Counter(map(ready, inner(encap, mirrored)))
    bad = [("not mirrored", n, d) for d, n in (want - got).items() if "any" not in words]
    bad += [("not production's", n, d) for d, n in (got - want).items()]
    for what, n, data in bad[:6]:
        print("%s: %d x %s" % (what, n, show(data)))
    if bad:
        print("%d packets of production, %d mirrored; %d differ" % (sum(want.values()), sum(got.values()),
                                                                    sum(n for _, n, _ in bad)))
        return 1
    print("%d packets %d octets the same" % (sum(got.values()), sum(len(d) * n for d, n in got.items())))
    return 0 if got else 1


def tally(packets):
    """By flow: payload octets, segments without any, lowest and highest sequence number."""
    flows = {}
    for data in packets:
        head = ip(data)
        if not head or head.fragment or head.proto not in (6, 17):
            flows["other"] = flows.get("other", 0) + 1
            continue
        sport, dport = struct.unpack_from("!HH", data, head.l4)
        key = (head.proto, head.src.hex(), sport, head.dst.hex(), dport)
        flow = flows.setdefault(key, [0, 0, None, None])
        if head.proto == 17:
            flow[0] += head.end - head.l4 - 8
            continue
        seq = struct.unpack_from("!I", data, head.l4 + 4)[0]
        payload = head.end - head.l4 - (data[head.l4 + 12] >> 4) * 4
        flow[0] += payload
        flow[1] += payload == 0
        base = flow[2] if flow[2] is not None else seq
        seq = base + ((seq - base + (1 << 31)) % (1 << 32)) - (1 << 31)
        flow[2] = min(base, seq)
        flow[3] = max(flow[3] if flow[3] is not None else seq, seq + payload)
    return flows


def octets(encap, mirrored, production):
    def bare(frame):
        kind, at = layer2(frame)
        return frame[at:] if kind in (0x800, 0x86dd) else b""

    want = tally(filter(None, (bare(f) for f in produced(production))))
    got = tally(filter(None, (d if encap in NO_ETHERNET else bare(d) for d in inner(encap, mirrored))))
    for key in sorted(set(want) | set(got), key=str):
        if want.get(key) != got.get(key):
            print("%s: %s in production, %s mirrored" % (key, want.get(key), got.get(key)))
    if want != got or not got:
        return 1
    print("%d flows %d octets the same" % (len(got), sum(f[0] for k, f in got.items() if k != "other")))
    return 0


def flows(encap, mirrored):
    seen = collections.defaultdict(set)
    for data in inner(encap, mirrored):
        if encap not in NO_ETHERNET:
            data = data[layer2(data)[1]:]
        head = ip(data)
        if head and head.proto in (6, 17) and not head.fragment:
            ports = struct.unpack_from("!HH", data, head.l4)
            a, b = (head.src, ports[0]), (head.dst, ports[1])
            seen[head.proto, min(a, b), max(a, b)].add(a < b)
    print("%d both %d one" % (sum(len(s) == 2 for s in seen.values()), sum(len(s) == 1 for s in seen.values())))
    return 0


def outer(path, words):
    want = dict(w.split("=", 1) for w in words)
    n, sums, bad = 0, 0, collections.Counter()
    for frame in frames(path):
        u = udp(frame)
        if not u or u[3] != int(want["port"]):
            continue
        head, at, sport, _, length, csum = u
        n, sums = n + 1, sums + (csum != 0)
        family = socket.AF_INET if len(head.src) == 4 else socket.AF_INET6
        wrong = {
            "source %s" % socket.inet_ntop(family, head.src): socket.inet_pton(family, want["from"]) != head.src,
            "destination %s" % socket.inet_ntop(family, head.dst): socket.inet_pton(family, want["to"]) != head.dst,
            "source port %d" % sport: sport < 49152,
            "%d octets of IP" % head.end: head.end > int(want["mtu"]),
            "%d octets behind the packet" % (len(frame) - at - head.end): len(frame) != at + head.end,
            "UDP length %d of %d" % (length, head.end - head.l4): length != head.end - head.l4,
            "UDP checksum %#x" % csum: (csum != 0) != (want["csum"] == "on") and want["csum"] != "some",
            "tagged": at != 14,
        }
        if family == socket.AF_INET:
            wrong["flags %#x" % frame[at + 6]] = frame[at + 6] != 0x40
            wrong["TTL %d" % frame[at + 8]] = frame[at + 8] != 64
        else:
            wrong["hop limit %d" % frame[at + 7]] = frame[at + 7] != 64
            wrong["no flow label"] = not int.from_bytes(frame[at + 1:at + 4], "big") & 0xfffff and sport != 49152
        bad.update(k for k, is_wrong in wrong.items() if is_wrong)
    if want["csum"] == "some" and not sums:
        bad["UDP checksum 0"] = n
    for what, times in bad.most_common(10):
        print("outer header: %s in %d of %d frames" % (what, times, n))
    if not bad:
        print("%d frames, %d with UDP checksum" % (n, sums))
    return 1 if bad or not n else 0


def strip(encap, path, out):
    with open(out, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101 if encap in NO_ETHERNET else 1))
        for data in inner(encap, path):
            f.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
    return 0


verb, args = sys.argv[1], sys.argv[2:]
if verb == "same":
    sys.exit(same(args[0], args[1], args[2], args[3:]))
sys.exit({"strip": strip, "octets": octets, "flows": flows, "outer": lambda p, *w: outer(p, w),
          "longest": lambda p: print(max(map(len, frames(p))))}[verb](*args))
