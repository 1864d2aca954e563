#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""taps.py NS1 TAP1 NS2 TAP2: makes two tap devices and carries frames between them, as a
virtual machine monitor does between the host's and the guest's: with their virtio headers, so
that partial checksums and large packets stay what they are. Until stdin ends."""
import fcntl
import os
import selectors
import struct
import sys

TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454ca, 0x400454d0, 0x400454d8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
OFFLOADS = 1 | 2 | 4 | 8  # checksums, TCP over IPv4 and IPv6, with ECN


def setns(path):
    import ctypes
    with open(path) as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), path)


def tap(ns, name):
    setns("/run/netns/" + ns)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 10))
    fcntl.ioctl(fd, TUNSETOFFLOAD, OFFLOADS)
    return fd


a, b = tap(sys.argv[1], sys.argv[2]), tap(sys.argv[3], sys.argv[4])
ready = selectors.DefaultSelector()
for fd in (a, b, 0):
    ready.register(fd, selectors.EVENT_READ)
print("up", flush=True)
while True:
    for key, _ in ready.select():
        if key.fd == 0:
            if not os.read(0, 1):
                sys.exit()
            continue
        try:
            while True:
                d = os.read(key.fd, 70000)
                os.write(b if key.fd == a else a, d)
        except BlockingIOError:
            pass
        except OSError:
            pass  # the other end is down
