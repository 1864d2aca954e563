#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""
mirrorkill.py TOOLS L3AFCTL BPFFS STEP WORD... [-- WORD...]...

Runs in cli; l3afctl runs in the network namespace srv, VXLAN arrives in col. The first command is killed
at every STEP-th system call, the others undo it; STEP last: at each of those near the end that
change anything, and at every 41st of all; STEP failN: in turn each N-th of its bpf(2) returns an error, and its
exit status says what there is then. After each kill a datagram to srv is mirrored as before, or as the
command makes it; after the next command listings say the same of all. Meanwhile srv answers every
ping.
"""
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

tools, binary, bpffs, step = sys.argv[1:5]
how = "fail" if step.startswith("fail") else "call"
commands = [[]]
for word in sys.argv[5:]:
    commands[-1].append(word) if word != "--" else commands.append([])
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def socket_in(ns, *kind):
    """A socket of another network namespace."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{ns}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
        s = socket.socket(*kind)
        libc.setns(home.fileno(), CLONE_NEWNET)
    return s


class Pings(threading.Thread):
    """One after the other; one that is not answered in two seconds is lost."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.settimeout(2)
        self.sent, self.lost, self.is_over = 0, 0, False

    def run(self):
        while not self.is_over:
            self.sent += 1
            if not self.one(self.sent & 0xffff):
                self.lost += 1
            time.sleep(0.002)

    def one(self, number):
        body = struct.pack("!BBHHH", 8, 0, 0, 4711, number)
        total = sum(struct.unpack("!4H", body))
        total = (total & 0xffff) + (total >> 16)
        self.socket.sendto(body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:], ("10.77.0.1", 0))
        try:
            while True:
                got = self.socket.recv(256)[20:]
                if struct.unpack("!BxxxHH", got[:8]) == (0, 4711, number):
                    return True
        except TimeoutError:
            return False


pings = Pings()
collector = socket_in("col", socket.AF_INET, socket.SOCK_DGRAM)
collector.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
collector.bind(("0.0.0.0", 4789))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("", 5000))
client.connect(("10.77.0.1", 9))
tokens = 0


def arrived(wait):
    """Frames in VXLAN, until nothing came for so long."""
    collector.settimeout(wait)
    try:
        while True:
            yield collector.recv(2048)
    except (TimeoutError, BlockingIOError):
        return


def mirrored(wait=0.005):
    """The VNIs that a datagram to srv arrived with. Nobody is at its port, as srv says once it went
    through the chain."""
    global tokens
    for _ in arrived(0):
        pass
    tokens += 1
    token = b"token %d." % tokens
    client.settimeout(2)
    client.send(token)
    try:
        client.recv(64)
    except ConnectionRefusedError:
        pass
    except TimeoutError:
        sys.exit("a datagram to srv is lost")
    vnis, until = [], time.monotonic() + wait
    for frame in arrived(wait):
        if frame[31] == 17 and frame.endswith(token):
            vnis.append(int.from_bytes(frame[4:7], "big"))
        if time.monotonic() > until:
            break
    return vnis


def run(*words, may_fail=False):
    done = subprocess.run(["nsenter", "--net=/run/netns/srv", *words], capture_output=True, text=True,
                          env={"L3AF_BPFFS": bpffs})
    if done.returncode and not may_fail:
        sys.exit(f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done


def l3af(*words):
    return run(binary, "--bpffs", bpffs, "-q", *words)


KEPT = ("number", "dev", "name", "hook", "filter", "target", "state", "instance")


def state():
    """What there is, without counters and times, and what a datagram shows."""
    rows = [json.loads(l3af("--json", *look).stdout) for look in
            (("mirror", "filter", "list"), ("mirror", "target", "list"), ("chain", "list"))]
    pins = sorted(os.listdir(f"{bpffs}/l3af/kf")) if os.path.isdir(f"{bpffs}/l3af/kf") else []
    look = [[{k: row[k] for k in KEPT if k in row} for row in part if row.get("name") or "number" in row]
            for part in rows]
    return json.dumps([*look, pins, mirrored()])


def settle(k):
    done = l3af("mirror", "target", "remove", "nosuch")
    if done.stdout or done.stderr:
        sys.exit(f"call {k}: the next command says {done.stdout}{done.stderr}")
    left = subprocess.run(["find", f"{bpffs}/l3af", "-name", "new-*"], capture_output=True, text=True).stdout
    if left:
        sys.exit(f"call {k}: left behind: {left}")


def packets(k):
    if pings.lost:
        sys.exit(f"call {k}: {pings.lost} of {pings.sent} pings are lost")
    for wait in 0.005, 1:
        now = mirrored(wait)
        if now in shown:
            return
    sys.exit(f"call {k}: a datagram is mirrored to {now}, not as {shown}")


def vnis(of):
    return json.loads(of)[-1]


before = state()
l3af(*commands[0])
after = state()
if before == after:
    sys.exit(f"the command changes nothing: {before}")
for undo in commands[1:]:
    l3af(*undo)
if state() != before:
    sys.exit(f"not undone: {state()}, before {before}")
shown = vnis(before), vnis(after)
olds = news = 0
pings.start()


def undo_all(k):
    for undo in commands[1:]:
        l3af(*undo)
    now = state()
    if now != before:
        sys.exit(f"call {k}: not undone: {now}, before {before}")


def says(k, killed, now):
    """After an error that was put in: the exit status is right, and there is one message if it is bad."""
    lines = killed.stdout.splitlines()
    errors = [line for line in lines[:-1] if line.startswith("l3afctl: ")]
    if (now == after) != lines[-1].endswith(" 0") or len(errors) != (now == before):
        sys.exit(f"call {k}: {lines}, and then {now}")


def sweep(k, every, last=1 << 30):
    """From the k-th system call to the last: which one was not reached any more."""
    global olds, news
    while k <= last:
        killed = run(f"{tools}/killat", how, str(k), binary, "--bpffs", bpffs, "-q", *commands[0], may_fail=True)
        if killed.returncode > 1:
            sys.exit(f"call {k}: {killed.stderr}")
        packets(k)
        if killed.returncode:
            return k
        settle(k)
        now = state()
        if now not in (before, after):
            sys.exit(f"call {k}: {now}\nwanted {before}\nor {after}")
        if how == "fail":
            says(k, killed, now)
        olds, news = olds + (now == before), news + (now == after)
        if now == after:
            undo_all(k)
        k += every
    return k


if step == "last":
    end = sweep(1, 41)
    undo_all(end)
    sweep(max(end - 40, 2), 1, end - 6)  # then there are munmap(2) and close(2)
    l3af(*commands[0])
else:
    sweep(1, int(step.removeprefix("fail")))
packets("last")
pings.is_over = True
if state() != after or not olds or not news and not step.isdigit():
    sys.exit(f"{olds} times before, {news} times after, at the end {state()}, wanted {after}")
print(f"{' '.join(commands[0])}: {how} at {olds + news} system calls, {olds} times the old state, {news} times "
      f"the new; {pings.sent} pings, 0 lost")
