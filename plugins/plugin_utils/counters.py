# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's text in one sample → counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

CPU_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
NIC_COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_dropped": 11,
}

# Of whom (a CPU, a NIC, …) and what.
Counters = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Sample:
    """One sweep: the machine's clocks and the kernel's text, parsed where it is used."""

    monotonic: float
    realtime: float
    stat: str
    memory_used_bytes: float
    softnet: str
    net: Mapping[str, str]
    snmp: Mapping[str, str]
    qdisc: Mapping[str, Mapping[str, int]]


def cpu_ticks(sample: Sample) -> Counters:
    """(CPU number, kind of time) → clock ticks since boot (proc_stat(5)); the line of all CPUs is left out."""
    lines = (line.split() for line in sample.stat.splitlines())
    return {
        (words[0].removeprefix("cpu"), kind): _number(ticks, "/proc/stat")
        for words in lines
        if words and words[0] != "cpu"
        for kind, ticks in zip(CPU_KINDS, words[1:], strict=False)
    }


def nic_counters(sample: Sample, label: str) -> Counters:
    """(NIC, column) → count since the NIC was made, for the columns of `NicRate` (proc_net(5), the file `dev`)."""
    counters = {}
    for line in _of_label(sample.net, label).splitlines():
        nic, colon, numbers = line.rpartition(":")
        columns = numbers.split()
        if not colon:
            continue  # the two lines of headings
        if len(columns) < 16:
            raise NetbenchError(f"the /proc/net/dev line {line!r} is too short; it must have 16 counters")
        for name, column in NIC_COLUMNS.items():
            counters[nic.strip(), name] = _number(columns[column], "/proc/net/dev")
    return counters


def socket_drops(sample: Sample, label: str) -> Counters:
    """UDP datagrams of both families that found their socket's buffer full."""
    lines = [line.split() for line in _of_label(sample.snmp, label).splitlines()]
    counters = {("udp6", name): _number(count, "snmp6") for name, count in (w for w in lines if len(w) == 2)}
    udp = [words[1:] for words in lines if words[:1] == ["Udp:"]]
    if len(udp) == 2 and "RcvbufErrors" in udp[0]:
        values = dict(zip(*udp, strict=False))
        counters["udp", "RcvbufErrors"] = _number(values.get("RcvbufErrors", ""), "/proc/net/snmp")
    return counters


def qdisc_drops(sample: Sample, label: str) -> Counters:
    """Packets that each interface's root queueing discipline dropped; those that dropped none are left out."""
    return {(index, "dropped"): float(count) for index, count in sample.qdisc.get(label, {}).items()}


def backlog_drops(sample: Sample) -> Counters:
    """Packets that found a CPU's backlog full, by line of /proc/net/softnet_stat."""
    lines = [line.split() for line in sample.softnet.splitlines()]
    return {
        (str(cpu), "dropped"): _number(words[1], "/proc/net/softnet_stat", 16)
        for cpu, words in enumerate(lines)
        if len(words) > 1
    }


def _of_label(texts: Mapping[str, str], label: str) -> str:
    if label not in texts:
        raise NetbenchError(f"namespace {label!r} was not sampled; the sampler watches {', '.join(map(repr, texts))}")
    return texts[label]


def _number(text: str, source: str, base: int = 10) -> float:
    try:
        return float(int(text, base))
    except (ValueError, OverflowError) as exc:
        raise NetbenchError(f"{source} has {text[:40]!r} where a counter must be") from exc
