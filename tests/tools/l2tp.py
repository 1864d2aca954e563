#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""
L2TPv3 from the outside.

l2tp.py frames NS1 NS2 IF[:IF2]...  every sort of frame through pseudowires, from IF in NS1 to IF2
                                (IF) in NS2 and back: each arrives as it was sent, tags included, once.
                                Prints how many did
l2tp.py outer NS IF WORD...     one packet of a session, made byte by byte, out of IF; WORD NAME=VALUE:
                                smac, dmac, src, dst, encap=udp|ip, sport, dport, sid, cookie=HEX,
                                sub=HEX (sublayer), ver=N and t=1 (UDP), inner=HEX (a frame), cut=N (IP
                                payload octets), more=1 (a first fragment), tail=N (behind the packet)
l2tp.py beyond NS IF SRC DST LEN  an IPv4 (without DF, df=DF) or IPv6 packet of LEN octets out of IF; prints the MTU in
                                the ICMP error that comes back, or nothing
l2tp.py sort NS1 IF NS2 IF2...  sends frames with other tags each out of IF; prints TAGS:IF2 for those that arrive
"""
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
OUTGOING = 4
MARK = b"l3af pseudowire "
libc = ctypes.CDLL(None, use_errno=True)


def enter(ns):
    fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), ns)
    os.close(fd)


def packet_socket(ns, dev):
    enter(ns)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.bind((dev, ETH_P_ALL))
    s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.setblocking(False)
    return s


def receive(s):
    """The next frame that came in, with its tag where it was; None: none is there."""
    while True:
        try:
            data, extra, _, sender = s.recvmsg(65536, 256)
        except BlockingIOError:
            return None
        if sender[2] == OUTGOING:
            continue
        for level, kind, aux in extra:
            if (level, kind) != (SOL_PACKET, PACKET_AUXDATA):
                continue
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", aux[:20])
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data


def mtu_of(ns, dev):
    enter(ns)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        req = struct.pack("16sI12x", dev.encode(), 0)
        return struct.unpack("16sI", fcntl.ioctl(s, 0x8921, req)[:20])[1]


def frames_of(number, mtu):
    """What is sent by interface number: pairs of a name and a frame, no two alike."""
    mac = b"\x02\x99\0\0\0" + bytes([number & 255]), b"\x02\x98\0\0\0" + bytes([number & 255])
    text = MARK + b"%d " % number
    many = bytes(i * 7 & 255 for i in range(mtu))

    def eth(kind, rest, dst=mac[0], tags=()):
        t = b"".join(struct.pack("!HH", *tag) for tag in tags)
        return dst + mac[1] + t + struct.pack("!H", kind) + rest

    arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac[1] + b"\x0a\1\1\1" + bytes(6) + b"\x0a\1\1\2"
    everybody, some = b"\xff" * 6, b"\x01\x80\xc2\0\0\x0e"
    yield "arp", eth(0x806, arp + text, everybody)
    yield "short arp", eth(0x806, arp[:-1] + bytes([number & 255]), everybody)
    yield "lldp", eth(0x88cc, text + b"lldp", some)
    yield "llc", eth(len(text) + 3, b"\x42\x42\3" + text)
    for n in (1, 2, 3, 45, 46, 47, 511, 512, 513, 1001):
        yield f"odd {n}", eth(0x88b5, text + b"%d " % n + many[:n])
    yield "full", eth(0x88b5, (text + b"full " + many)[:mtu])
    yield "vlan", eth(0x88b5, text + b"vlan", tags=[(0x8100, 100)])
    yield "vlan, priority", eth(0x88b5, text + b"pcp", tags=[(0x8100, 0xe000 | 4094)])
    yield "vlan arp", eth(0x806, arp + text + b"v", everybody, [(0x8100, 1)])
    yield "802.1ad", eth(0x88b5, text + b"ad", tags=[(0x88a8, 7)])
    yield "QinQ", eth(0x88b5, text + b"qinq", tags=[(0x88a8, 300), (0x8100, 200)])
    yield "QinQ of 802.1Q", eth(0x88b5, text + b"qq", tags=[(0x8100, 300), (0x8100, 200)])
    yield "three tags", eth(0x88b5, text + b"qqq", tags=[(0x88a8, 1), (0x8100, 2), (0x8100, 3)])
    yield "full vlan", eth(0x88b5, (text + b"fullv " + many)[:mtu - 4], tags=[(0x8100, 100)])


def is_same(sent, got):
    return got == sent or (got[:len(sent)] == sent and len(got) <= 60 and not any(got[len(sent):]))


def drain(s, sent, got):
    while (frame := receive(s)) is not None:
        for name, f in sent:
            if is_same(f, frame):
                got.append(name)
                break
        else:
            if MARK in frame:
                got.append("changed: " + frame.hex())


def one_way(label, src, dst, number, mtu):
    sent, got = list(frames_of(number, mtu)), []
    for _, frame in sent:
        src.send(frame)
        drain(dst, sent, got)
    end = time.monotonic() + float(os.environ.get("WAIT", "2"))
    while len(got) < len(sent) and time.monotonic() < end:
        select.select([dst], [], [], 0.1)
        drain(dst, sent, got)
    wrong = [name for name, _ in sent if got.count(name) != 1] + [n for n in got if n.startswith("changed")]
    if wrong:
        sys.exit(f"{label}: not once, or not as they were: {wrong}; {len(got)} of {len(sent)} arrived")
    return len(sent)


def frames(ns1, ns2, *pairs):
    total = 0
    for i, pair in enumerate(pairs):
        dev1, dev2 = pair.split(":") if ":" in pair else (pair, pair)
        mtu = min(mtu_of(ns1, dev1), mtu_of(ns2, dev2))
        a, b = packet_socket(ns1, dev1), packet_socket(ns2, dev2)
        total += one_way(f"{dev1} to {dev2}", a, b, 2 * i, mtu)
        total += one_way(f"{dev2} to {dev1}", b, a, 2 * i + 1, mtu)
        a.close()
        b.close()
    print(total)


def addr(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def ip(src, dst, proto, payload, df=True, more=False):
    src, dst = addr(src), addr(dst)
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + src + dst + payload
    off = (0x4000 if df else 0) | (0x2000 if more else 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, off, 64, proto, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ether(dmac, smac, packet):
    return dmac + smac + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def outer(ns, dev, *words):
    w = {"smac": "02:77:00:00:00:02", "dmac": "02:77:00:00:00:01", "src": "10.77.0.2", "dst": "10.77.0.1",
         "encap": "udp", "sport": "1701", "dport": "1701", "sid": "1", "cookie": "", "sub": "00000000", "ver": "3",
         "t": "", "inner": "029900000001" "029800000001" "88b5" + MARK.hex(), "cut": "", "more": "", "tail": "0"}
    for word in words:
        name, value = word.split("=", 1)
        if name not in w:
            sys.exit(f"{name} is not one of {', '.join(w)}")
        w[name] = value
    data = struct.pack("!I", int(w["sid"])) + bytes.fromhex(w["cookie"] + w["sub"] + w["inner"])
    if w["encap"] == "udp":
        data = struct.pack("!HH", int(w["ver"]) | (0x8000 if w["t"] else 0), 0) + data
        head = struct.pack("!HHHH", int(w["sport"]), int(w["dport"]), 8 + len(data), 0)
        if ":" in w["src"]:
            pseudo = addr(w["src"]) + addr(w["dst"]) + struct.pack("!II", 8 + len(data), 17)
            head = head[:6] + struct.pack("!H", checksum(pseudo + head + data) or 0xffff)
        data = head + data
    if w["cut"]:
        data = data[:int(w["cut"])]
    packet = ip(w["src"], w["dst"], 17 if w["encap"] == "udp" else 115, data, more=bool(w["more"]))
    packet_socket(ns, dev).send(ether(mac(w["dmac"]), mac(w["smac"]), packet) + bytes(int(w["tail"])))


def beyond(ns, dev, src, dst, length, df="1"):
    s = packet_socket(ns, dev)
    smac = b"\x02\x98\0\0\0\1"
    head = 40 if ":" in src else 20
    packet = ip(src, dst, 17, struct.pack("!HHHH", 7, 9, int(length) - head, 0) + bytes(int(length) - head - 8), df == "1")
    s.send(ether(b"\x02\x99\0\0\0\1", smac, packet))
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        select.select([s], [], [], 0.1)
        got = receive(s)
        if got is None or got[:6] != smac:
            continue
        if got[12:14] == b"\x08\0" and got[23] == 1 and got[34:36] == b"\3\4":
            if checksum(got[34:14 + struct.unpack("!H", got[16:18])[0]]) or checksum(got[14:34]):
                sys.exit("the checksum is wrong")
            print(socket.inet_ntop(socket.AF_INET, got[26:30]), struct.unpack("!H", got[40:42])[0])
            return
        if got[12:14] == b"\x86\xdd" and got[20] == 58 and got[54] == 2:
            length = struct.unpack("!H", got[18:20])[0]
            if checksum(got[22:54] + struct.pack("!II", length, 58) + got[54:54 + length]):
                sys.exit("the checksum is wrong")
            print(socket.inet_ntop(socket.AF_INET6, got[22:38]), struct.unpack("!I", got[58:62])[0])
            return


def sort(ns1, dev1, ns2, *devs):
    out, ins = packet_socket(ns1, dev1), {dev: packet_socket(ns2, dev) for dev in devs}
    want = {}
    for tags in ("none", "100", "100.200", "100.7", "7", "200.100"):
        head = b"".join(struct.pack("!HH", 0x8100, int(t)) for t in tags.split(".") if t != "none")
        want[tags] = b"\x02\x99\0\0\0\1" b"\x02\x98\0\0\0\1" + head + b"\x88\xb5" + MARK + tags.encode() + bytes(40)
    for frame in want.values():
        out.send(frame)
    time.sleep(0.3)
    got = {}
    for dev, s in ins.items():
        for tags, frame in want.items():
            got.setdefault(tags, [])
        while (frame := receive(s)) is not None:
            for tags in want:
                if is_same(want[tags], frame):
                    got[tags].append(dev)
    for tags, where in got.items():
        if where:
            print(f"{tags}:{','.join(where)}")


{"sort": sort, "frames": frames, "outer": outer, "beyond": beyond}[sys.argv[1]](*sys.argv[2:])
