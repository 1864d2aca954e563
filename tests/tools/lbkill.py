#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""
lbkill.py TOOLS L3AFCTL BPFFS STEP LOOK PORTS WORD... [-- WORD...]...

Runs where client and backends are (lbtry.py); l3afctl runs in the network namespace srv. The first
command is killed at every STEP-th system call, the others undo it; STEP last: at each of
those near the end that change anything, and at every 9th of all; STEP fail: in turn each of its bpf(2)
returns an error, and its exit status says what there is then. After each kill packets of PORTS
flows that were known before arrive, as do new ones; what LOOK says (ring: lbring state; otherwise
words of l3afctl) is what it was before or what the command makes it, once the next command was run.
"""
import subprocess
import sys
sys.dont_write_bytecode = True
from lbtry import Site

tools, binary, bpffs, step, look, ports = *sys.argv[1:4], sys.argv[4], sys.argv[5], int(sys.argv[6])
how = "fail" if step == "fail" else "call"
commands = [[]]
for word in sys.argv[7:]:
    commands[-1].append(word) if word != "--" else commands.append([])
VIP = "10.99.0.1", 53
known = range(20000, 20000 + ports)
site = Site()


def run(*words, may_fail=False):
    done = subprocess.run(["nsenter", "--net=/run/netns/srv", *words], capture_output=True, text=True,
                          env={"L3AF_BPFFS": bpffs})
    if done.returncode and not may_fail:
        sys.exit(f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done


def l3af(*words):
    return run(binary, "--bpffs", bpffs, "-q", *words)


def state():
    if look == "ring":
        return run(f"{tools}/lbring", "state", "lb").stdout
    return l3af(*look.split()).stdout


def settle(k):
    done = l3af("lb", "vip", "remove", "10.99.9.9/tcp")
    if done.stdout or done.stderr:
        sys.exit(f"call {k}: the next command says {done.stdout}{done.stderr}")
    left = subprocess.run(["find", f"{bpffs}/l3af", "-name", "new-*"], capture_output=True, text=True).stdout
    if left:
        sys.exit(f"call {k}: left behind: {left}")


fresh = 30000


def packets(k):
    """All arrive; what was known goes where it went unless that is no backend any more."""
    global fresh
    new = range(fresh, fresh + ports)
    fresh = fresh + ports if fresh < 60000 else 30000
    where = site.send(*VIP, [*known, *new])
    lost = [p for p in (*known, *new) if p not in where]
    if lost:
        sys.exit(f"call {k}: packets of ports {lost} are lost")


before = state()
l3af(*commands[0])
after = state()
if before == after:
    sys.exit("the command changes nothing")
for undo in commands[1:]:
    l3af(*undo)
if state() != before:
    sys.exit(f"not undone: {state()}, before {before}")
site.send(*VIP, known)
site.send(*VIP, known)
olds = news = 0


def undo_all(k):
    for undo in commands[1:]:
        l3af(*undo)
    if state() != before:
        sys.exit(f"call {k}: not undone: {state()}")


def says(k, killed, now):
    """After an error that was put in: the exit status is right, and there is one message if it is bad."""
    lines = killed.stdout.splitlines()
    errors = [line for line in lines[:-1] if line.startswith("l3afctl: ")]
    if (now == after) != lines[-1].endswith(" 0") or len(errors) != (now == before):
        sys.exit(f"call {k}: {lines}, and then {now}")


def sweep(k, step, last=1 << 30):
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
        packets(k)
        if how == "fail":
            says(k, killed, now)
        olds, news = olds + (now == before), news + (now == after)
        if now == after:
            undo_all(k)
        k += step


if step == "last":
    end = sweep(1, 9)
    undo_all(end)
    sweep(max(end - 60, 2), 1, end - 16)  # then there are munmap(2) and close(2)
    l3af(*commands[0])
else:
    sweep(1, 1 if step == "fail" else int(step))
if state() != after or not olds or not news and step in ("last", "fail"):
    sys.exit(f"{olds} times before, {news} times after, at the end {state()}")
print(f"{' '.join(commands[0])}: {how} at {olds + news} system calls, {olds} times the old state, {news} times the new")
