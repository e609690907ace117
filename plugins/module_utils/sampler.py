# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches one machine: appends its CPU, memory, NIC and loss counters to a spool file, one JSON line a sweep.

Runs on a target as a program of its own, one long-lived process per machine; needs Python 3.7 and nothing else.

    sampler.py --spool FILE --control FIFO --interval 0.2 --max-seconds 600 [--netns LABEL=PATH ...]

The first line is {"hello": 1, "pid", "clock_ticks", "interval"}; the control FIFO exists by then. Every sweep adds
{"m": monotonic seconds, "r": realtime seconds, "stat": the cpu lines of /proc/stat, "mem": {"MemTotal",
"MemAvailable"} in KiB, "softnet": /proc/net/softnet_stat, and by namespace label "net": the NIC lines of
/proc/net/dev, "snmp": the Udp lines of /proc/net/snmp and snmp6, "qdisc": {interface index: packets that its root
queueing discipline dropped, if any}}. Without --netns the one label is "", the sampler's own namespace.

Lines understood on the control FIFO: `probe` runs a fixed piece of work and adds {"m", "r", "probe_seconds": CPU time,
"wall_seconds"}; `sweep` adds a sweep at once; `stop` ends it. It also ends on SIGTERM and SIGINT, after --max-seconds,
and within one interval when its parent has died or the spool file was removed. Its last line is {"bye": 1,
"cpu_seconds", "seconds"}.
While the disk is full it goes on and then adds {"gap": how many lines are missing, "m", "r"}.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
RTM_NEWQDISC = 36
RTM_GETQDISC = 38
NLM_F_REQUEST_DUMP = 0x301
NLMSG_HEADER = struct.Struct("=IHHII")
TCMSG = struct.Struct("=xxxxiIII")
ATTRIBUTE = struct.Struct("=HH")
KIND_NOQUEUE = ATTRIBUTE.pack(12, 1) + b"noqueue\0"
TCA_STATS = 3
TC_STATS_DROPS = struct.Struct("=12xI")
TC_H_ROOT = 0xFFFFFFFF
NAMESPACE_FILES = ("dev", "snmp", "snmp6", "sockstat", "sockstat6")
UDP_SOCKETS = re.compile("^UDP6?: inuse [1-9]", re.MULTILINE)
PROBE_ROUNDS = 300000


class QdiscReader:
    """Reads the drop counters of the network namespace that it was made in (linux/rtnetlink.h, linux/pkt_sched.h)."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        length = NLMSG_HEADER.size + TCMSG.size
        header = NLMSG_HEADER.pack(length, RTM_GETQDISC, NLM_F_REQUEST_DUMP, 0, 0)
        self._request = header + TCMSG.pack(0, 0, 0, 0)

    def read(self) -> dict[str, int]:
        self._socket.send(self._request)
        dropped: dict[str, int] = {}
        while True:
            reply = self._socket.recv(1 << 15)
            offset = 0
            while offset < len(reply):
                length, kind = NLMSG_HEADER.unpack_from(reply, offset)[:2]
                if kind != RTM_NEWQDISC:
                    return dropped
                index, _handle, parent, _info = TCMSG.unpack_from(reply, offset + NLMSG_HEADER.size)
                attributes = offset + NLMSG_HEADER.size + TCMSG.size
                if parent == TC_H_ROOT and not reply.startswith(KIND_NOQUEUE, attributes):
                    count = drops(reply, attributes, offset + length)
                    if count:
                        dropped[str(index)] = count
                offset += (length + 3) & ~3


def drops(reply: bytes, start: int, end: int) -> int:
    """What one queueing discipline dropped, from its attributes at start..end; 0 where it has no statistics."""
    while start < end:
        length, kind = ATTRIBUTE.unpack_from(reply, start)
        if kind == TCA_STATS:
            return int(TC_STATS_DROPS.unpack_from(reply, start + ATTRIBUTE.size)[0])
        start += (length + 3) & ~3
    return 0


class Namespace:
    """The open counters of one network namespace and what they said last.

    /proc/self/net names the namespace of the moment it is opened in, and an open file stays with it: so the sampler
    enters each namespace once and afterwards only reads. Most of the cost is in the counters of what was lost. They are
    left alone where no NIC has moved a packet since the last sweep, and those of UDP where it has no socket.
    """

    def __init__(self) -> None:
        self._files = {name: open_if_present("/proc/self/net/" + name) for name in NAMESPACE_FILES}
        self._qdiscs = QdiscReader()
        self._dev = ""
        self._has_udp = True
        self.net = ""
        self.snmp = ""
        self.qdisc: dict[str, int] = {}

    def read(self) -> None:
        dev = self._text("dev")
        if dev == self._dev:
            return
        self._dev = dev
        self.net = "\n".join([" ".join(line.split()) for line in dev.splitlines()[2:]])
        self.qdisc = self._qdiscs.read()
        had_udp, sockets = self._has_udp, self._text("sockstat") + self._text("sockstat6")
        self._has_udp = UDP_SOCKETS.search(sockets) is not None
        if had_udp or self._has_udp:
            self.snmp = between(self._text("snmp"), "\nUdp:", "\nUdpLite:")
            self.snmp += between(self._text("snmp6"), "\nUdp6RcvbufErrors", "\nUdp6SndbufErrors")

    def _text(self, name: str) -> str:
        descriptor = self._files[name]
        return "" if descriptor is None else read_all(descriptor)


def between(text: str, begin: str, end: str) -> str:
    """The text from `begin` up to `end` (or its own end), nothing where there is no `begin`."""
    start = text.find(begin)
    stop = text.find(end, start)
    return "" if start < 0 else text[start:] if stop < 0 else text[start:stop]


def open_if_present(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def read_all(descriptor: int) -> str:
    """The whole text of a file under /proc as it is now; the kernel hands out long ones in pieces."""
    pieces: list[bytes] = []
    offset = 0
    while True:
        piece = os.pread(descriptor, 8192, offset)
        if not piece:
            return b"".join(pieces).decode("ascii", "replace")
        pieces.append(piece)
        offset += len(piece)


def open_namespaces(paths: dict[str, str]) -> dict[str, Namespace]:
    """Open the counters of every label's namespace; raises OSError naming the path that cannot be entered."""
    if not paths:
        return {"": Namespace()}
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def enter(descriptor: int, path: str) -> None:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace", path)

    namespaces = {}
    for label, path in paths.items():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            enter(descriptor, path)
        finally:
            os.close(descriptor)
        namespaces[label] = Namespace()
    enter(home, "/proc/self/ns/net")
    os.close(home)
    return namespaces


class Spool:
    """Appends whole lines, each by one write, and keeps count of those the disk had no room for."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._missing = 0

    def removed(self) -> bool:
        return os.fstat(self._descriptor).st_nlink == 0

    def write(self, entry: dict[str, object]) -> None:
        lines = [entry]
        if self._missing:
            monotonic, realtime = clocks()
            lines.insert(0, {"gap": self._missing, "m": monotonic, "r": realtime})
        data = "".join([json.dumps(line, separators=(",", ":")) + "\n" for line in lines]).encode("ascii")
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        if written == len(data):
            self._missing = 0
        else:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            self._missing += 1


def clocks() -> tuple[float, float]:
    """Monotonic and realtime seconds of one moment: the best of a few readings, as something may come in between."""
    readings = [(time.monotonic(), time.time(), time.monotonic()) for _attempt in range(3)]
    before, realtime, after = min(readings, key=lambda reading: reading[2] - reading[0])
    return (before + after) / 2, realtime


class Machine:
    """What is read in every sweep."""

    def __init__(self, namespaces: dict[str, Namespace]) -> None:
        self._stat = os.open("/proc/stat", os.O_RDONLY)
        self._meminfo = os.open("/proc/meminfo", os.O_RDONLY)
        self._softnet = os.open("/proc/net/softnet_stat", os.O_RDONLY)
        self._namespaces = namespaces

    def sweep(self) -> dict[str, object]:
        monotonic, realtime = clocks()
        stat = read_all(self._stat)
        for namespace in self._namespaces.values():
            namespace.read()
        return {
            "m": monotonic,
            "r": realtime,
            "stat": stat[: stat.index("intr")],
            "mem": self._memory(),
            "softnet": read_all(self._softnet),
            "net": {label: namespace.net for label, namespace in self._namespaces.items()},
            "snmp": {label: namespace.snmp for label, namespace in self._namespaces.items()},
            "qdisc": {label: namespace.qdisc for label, namespace in self._namespaces.items()},
        }

    def _memory(self) -> dict[str, int]:
        found = {}
        for line in read_all(self._meminfo).splitlines():
            name, _colon, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0])
                if len(found) == 2:
                    break
        return found


def probe() -> dict[str, object]:
    """Run a fixed piece of work (about 5 ms): what it costs now against other times tells how fast the machine is."""
    monotonic, realtime = clocks()
    wall, cpu = time.monotonic(), time.thread_time()
    total = 0
    for number in range(PROBE_ROUNDS):
        total ^= number
    return {
        "m": monotonic,
        "r": realtime,
        "probe_seconds": time.thread_time() - cpu,
        "wall_seconds": time.monotonic() - wall,
    }


class Control:
    """The lines that come in on the control FIFO; made here if it is not there yet."""

    def __init__(self, path: str) -> None:
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for writing too: never an end of file
        self._rest = b""

    def wait(self, seconds: float) -> list[str]:
        """Sleep until `seconds` have passed or a line has come; returns the complete lines."""
        ready, _writable, _errors = select.select([self._descriptor], [], [], max(seconds, 0.0))
        if not ready:
            return []
        *lines, self._rest = (self._rest + os.read(self._descriptor, 4096)).split(b"\n")
        return [line.decode("ascii", "replace").strip() for line in lines]


def watch(spool: Spool, control: Control, machine: Machine, interval: float, max_seconds: float) -> None:
    """Sweep at multiples of `interval` after the start until there is a reason to end."""
    start = time.monotonic()
    parent = os.getppid()
    due = start
    while os.getppid() == parent and not spool.removed() and due < start + max_seconds:
        spool.write(machine.sweep())
        due += interval * (1 + max(0, int((time.monotonic() - due) / interval)))
        while time.monotonic() < due:
            for line in control.wait(due - time.monotonic()):
                if line == "stop":
                    return
                if line == "probe":
                    spool.write(probe())
                elif line == "sweep":
                    spool.write(machine.sweep())


def label_and_path(text: str) -> tuple[str, str]:
    label, equals, path = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(f"{text!r} must be LABEL=PATH")
    return label, path


def leave(_number: int, _frame: object) -> None:
    sys.exit(0)  # pylint: disable=ansible-bad-function  # a program of its own, not a module


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spool", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--interval", type=float, default=0.2)
    parser.add_argument("--max-seconds", type=float, required=True)
    parser.add_argument("--netns", action="append", type=label_and_path, default=[], metavar="LABEL=PATH")
    options = parser.parse_args(arguments)
    if not options.interval > 0:
        parser.error("--interval must be above 0 seconds")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    started = time.monotonic()
    try:
        machine = Machine(open_namespaces(dict(options.netns)))
        control = Control(options.control)
        spool = Spool(options.spool)
    except OSError as error:
        print(f"sampler: {error}", file=sys.stderr)  # pylint: disable=ansible-bad-function  # a program of its own, not a module
        return 1
    ticks = os.sysconf("SC_CLK_TCK")
    spool.write({"hello": 1, "pid": os.getpid(), "clock_ticks": ticks, "interval": options.interval})
    try:
        watch(spool, control, machine, options.interval, options.max_seconds)
    finally:
        seconds = time.monotonic() - started
        spool.write({"bye": 1, "cpu_seconds": time.process_time(), "seconds": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # pylint: disable=ansible-bad-function  # a program of its own, not a module
