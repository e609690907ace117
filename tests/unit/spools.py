# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spools of a made-up machine whose counters grow at known rates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

BOOT = 1_700_000_000.0
KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
HELLO = json.dumps({"hello": 1, "pid": 4242, "clock_ticks": 100, "interval": 0.2}) + "\n"

# CPU → kind → cores, that is seconds a second.
CpuLoad = Mapping[int, Mapping[str, float]]
IDLE: CpuLoad = {0: {"idle": 1.0}, 1: {"idle": 1.0}}


def net_dev(nics: Mapping[str, Mapping[str, float]]) -> str:
    """The text of /proc/net/dev; columns that are not given are 0."""
    columns = ("rx_bytes", "rx_packets", "", "rx_dropped", "", "", "", "", "tx_bytes", "tx_packets", "", "tx_dropped")
    lines = [f"{nic}: " + " ".join(f"{int(c.get(name, 0))}" for name in columns) + " 0" * 4 for nic, c in nics.items()]
    return "\n".join(lines)


def stat(load: CpuLoad, seconds: float) -> str:
    """The cpu lines of /proc/stat after this time under this load."""
    rows = {cpu: [int(100 * seconds * kinds.get(kind, 0.0)) for kind in KINDS] for cpu, kinds in load.items()}
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = ["cpu  " + " ".join(map(str, total)) + " 0 0"]
    lines += [f"cpu{cpu} " + " ".join(map(str, row)) + " 0 0" for cpu, row in rows.items()]
    return "\n".join(lines) + "\n"


def entry(monotonic: float, **changes: Any) -> dict[str, Any]:
    """One sweep of an idle machine with 2 CPUs and one namespace, some keys of which are given."""
    plain = {
        "m": monotonic,
        "r": BOOT + monotonic,
        "stat": stat(IDLE, monotonic),
        "mem": {"MemTotal": 4096, "MemAvailable": 1024},
        "softnet": "0000001a 00000000 00000000\n00000020 00000000 00000000\n",
        "net": {"": net_dev({"lo": {}, "ens3": {}})},
        "snmp": {"": "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 0 0 0 0 0"},
        "qdisc": {"": {}},
    }
    return plain | changes


def spool_lines(times: Sequence[float], make: Callable[[float], Mapping[str, Any]] = lambda _time: {}) -> list[str]:
    """A spool with a sweep at each of `times`; `make` gives what differs from an idle machine at that time."""
    return [HELLO, *(json.dumps(entry(time, **make(time))) + "\n" for time in times)]


def every(interval: float, start: float, end: float) -> list[float]:
    return [start + step * interval for step in range(round((end - start) / interval) + 1)]
