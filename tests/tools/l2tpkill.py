#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""
l2tpkill.py TOOLS L3AFCTL BPFFS STEP WORD... [-- WORD...]

The first command, in the network namespace srv, is killed at every STEP-th system call, the second undoes it;
STEP fail:N: each N-th of its bpf(2) returns an error instead. After each, frames pass the pseudowire of
p1 in srv and cli; and once the next command was run all there is (sessions, what packets are told, interfaces, chains)
is as before, or as the command makes it.
"""
import difflib
import json
import os
import subprocess
import sys

tools, binary, bpffs, step = *sys.argv[1:4], sys.argv[4]
how = "fail" if step.startswith("fail:") else "call"
words = sys.argv[5:]
command, undo = words[:words.index("--")], words[words.index("--") + 1:]


def run(*what, may_fail=False):
    done = subprocess.run(["nsenter", "--net=/run/netns/srv", *what], capture_output=True, text=True)
    if done.returncode and not may_fail:
        sys.exit(f"{' '.join(what)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done


def l3af(*what):
    return run(binary, "--bpffs", bpffs, "-q", *what).stdout


def dump(name, *fields):
    """The elements of a map, without what packets write."""
    data = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{bpffs}/l3af/kf/l2tp/{name}").stdout)
    return sorted(json.dumps([e.get("key")] + [e.get("value") if f == "value" else None for f in fields]) for e in data)


def state():
    rows = json.loads(l3af("--json", "l2tp", "list"))
    chains = json.loads(l3af("--json", "chain", "list"))
    links = json.loads(run("ip", "-j", "-d", "link").stdout)
    for row in rows:
        row["since"] = None
    return json.dumps([
        rows, [[c["dev"], c["hook"], c["name"]] for c in chains if c.get("name")], dump("access"), dump("endpoints"),
        dump("sequences"), dump("stats"),
        sorted([link["ifname"], link["mtu"], link["promiscuity"], "UP" in link["flags"]] for link in links)], indent=1)


def frames(k):
    """An old session's frames pass, whatever becomes of the other one."""
    done = subprocess.run(["busybox", "ping", "-qc", "1", "-W", "2", "10.1.1.2"], capture_output=True,
                          preexec_fn=enter_srv)
    if done.returncode:
        sys.exit(f"call {k}: frames of another pseudowire are lost")


def enter_srv():
    import ctypes
    fd = os.open("/run/netns/srv", os.O_RDONLY)
    ctypes.CDLL(None).setns(fd, 0x40000000)


def differ(want, got):
    return "\n".join(difflib.unified_diff(want.split("\n"), got.split("\n"), lineterm="", n=2))


def next_command(k):
    done = l3af("l2tp", "remove", "nobody")
    if done:
        sys.exit(f"call {k}: the next command says {done}")


before = state()
l3af(*command)
after = state()
if before == after:
    sys.exit("the command changes nothing")
l3af(*undo)
if state() != before:
    sys.exit(f"not undone: {differ(before, state())}")
k, olds, news = 1, 0, 0
while True:
    killed = run(f"{tools}/killat", how, str(k), binary, "--bpffs", bpffs, "-q", *command, may_fail=True)
    if killed.returncode > 1:
        sys.exit(f"call {k}: {killed.stderr}")
    frames(k)
    if killed.returncode:
        break
    next_command(k)
    now = state()
    if now not in (before, after):
        sys.exit(f"call {k}: beside the old state:\n{differ(before, now)}\nbeside the new one:\n{differ(after, now)}")
    olds, news = olds + (now == before), news + (now == after)
    if now == after:
        l3af(*undo)
    k += int(step.removeprefix("fail:"))
if state() != after or not olds:
    sys.exit(f"{olds} times before, {news} times after, at the end {state()}")
print(f"{' '.join(command)}: {how} at {olds + news} system calls, {olds} times the old state, {news} times the new")
