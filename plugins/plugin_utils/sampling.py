# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sampler's spool → CPU, memory, NIC and loss figures of a window.

All times taken as arguments are seconds of the sampled machine's realtime clock; the samples themselves map them to
its monotonic clock, by which counters are cut. Counters are interpolated linearly between the two samples around a
bound, so the load should be steady there: let the traffic go on for one sampling interval after a window's end.

CPU times have a resolution of one clock tick (10 ms): over a window of 1.7 s each kind is uncertain by ± 10 ms per CPU,
0.006 core. Idle time is exact when read (the kernel adds the time of an idle period under way, fs/proc/stat.c), so
that busy = wall − idle − iowait − steal is right, while user, system, irq and softirq are counted by the tick
that happens to interrupt them: they are indicative and need not add up.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import isfinite
from statistics import fmean
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.counters import (
    NIC_COLUMNS,
    Counters,
    Sample,
    backlog_drops,
    cpu_ticks,
    nic_counters,
    qdisc_drops,
    socket_drops,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

LINUX_USER_HZ = 100
MAX_BRACKET_SECONDS = 1.0


class WindowNotCovered(NetbenchError):
    """The spool does not reach over the window (yet): reading it again later may help."""


@dataclass(frozen=True)
class SpeedProbe:
    """One run of the sampler's fixed workload."""

    monotonic: float
    realtime: float
    probe_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Spool:
    """What a sampler wrote, in order of time. `cpu_seconds` is the sampler's own CPU time, known once it has ended."""

    samples: list[Sample]
    probes: list[SpeedProbe] = field(default_factory=list)
    clock_ticks: int = LINUX_USER_HZ
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class CpuUse:
    """Mean number of cores over a window; `cpus` is how many were looked at. Only `busy` is exact."""

    busy: float
    user: float
    system: float
    softirq: float
    irq: float
    steal: float
    iowait: float
    cpus: int


@dataclass(frozen=True)
class NicRate:
    """One NIC over a window: mean rates, and bytes, packets and drops in it."""

    rx_bits_per_second: float
    tx_bits_per_second: float
    rx_bytes: float
    tx_bytes: float
    rx_packets: float
    tx_packets: float
    rx_dropped: float
    tx_dropped: float


@dataclass(frozen=True)
class Window:
    """The samples around and in a window, whose bounds are monotonic seconds."""

    samples: Sequence[Sample]
    start: float
    end: float
    clock_ticks: int

    @property
    def seconds(self) -> float:
        return self.end - self.start


def parse_spool(lines: Iterable[str]) -> Spool:
    """Read a spool, or the slice of one; without its first line the clock ticks are Linux's usual 100 a second.

    A truncated last line is ignored, as it is still being written. Raises NetbenchError for any other line that the
    sampler does not write, and for samples that go back in time.
    """
    samples: list[Sample] = []
    probes: list[SpeedProbe] = []
    clock_ticks, cpu_seconds = LINUX_USER_HZ, None
    texts = list(lines)
    for number, text in enumerate(texts, start=1):
        try:
            entry = json.loads(text)
            if "stat" in entry:
                samples.append(_sample(entry))
            elif "probe_seconds" in entry:
                probes.append(_probe(entry))
            elif "hello" in entry:
                clock_ticks = int(entry["clock_ticks"])
            elif "bye" in entry:
                cpu_seconds = float(entry["cpu_seconds"])
            elif "gap" not in entry:
                raise ValueError("unknown kind of line")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
            if number == len(texts) and isinstance(exc, json.JSONDecodeError):
                break
            raise NetbenchError(
                f"line {number} of the sampler's spool is {text[:60]!r}; it must be one that the sampler writes"
            ) from exc
    if clock_ticks <= 0:
        raise NetbenchError(f"clock_ticks in the sampler's spool is {clock_ticks}; it must be above 0")
    if any(later.monotonic <= earlier.monotonic for earlier, later in pairwise(samples)):
        raise NetbenchError("the samples in the sampler's spool go back in time; they must come from one sampler")
    return Spool(samples, probes, clock_ticks, cpu_seconds)


def cpu_use(spool: Spool, start: float, end: float, cpus: Sequence[int] | None) -> CpuUse:
    """CPU use of the listed CPUs (None: all) from `start` to `end`.

    Raises WindowNotCovered, or NetbenchError for a CPU that the machine does not have.
    """
    return cpu_in(cut(spool, start, end), cpus)


def cpu_in(window: Window, cpus: Sequence[int] | None) -> CpuUse:
    """As `cpu_use`."""
    first, last = ({cpu for cpu, _kind in cpu_ticks(window.samples[end])} for end in (0, -1))
    wanted = first if cpus is None else {str(cpu) for cpu in cpus}
    if not wanted or wanted - (first & last):
        present = ", ".join(sorted(first & last, key=lambda cpu: (len(cpu), cpu)))
        raise NetbenchError(f"cpus is {cpus or 'all'}; the CPUs that were there all the time are {present}")
    ticks = _increase(window, cpu_ticks, lambda before, after: after - before)

    def cores(*kinds: str) -> float:
        counted = sum(ticks.get((cpu, kind), 0.0) for cpu in wanted for kind in kinds)
        return counted / window.clock_ticks / window.seconds

    return CpuUse(
        busy=max(0.0, len(wanted) - cores("idle", "iowait", "steal")),
        user=cores("user", "nice"),
        system=cores("system"),
        softirq=cores("softirq"),
        irq=cores("irq"),
        steal=cores("steal"),
        iowait=cores("iowait"),
        cpus=len(wanted),
    )


def steal_ratio(spool: Spool, start: float, end: float) -> float:
    """Which part of all CPUs' time the hypervisor took away, 0 to 1. Raises WindowNotCovered."""
    use = cpu_use(spool, start, end, None)
    return use.steal / use.cpus


def memory_used_bytes(spool: Spool, start: float, end: float) -> float:
    """Mean of MemTotal − MemAvailable over the samples of the window. Raises WindowNotCovered."""
    window = cut(spool, start, end)
    inside = [sample for sample in window.samples if window.start <= sample.monotonic <= window.end]
    return fmean(sample.memory_used_bytes for sample in inside or window.samples)


def nic_rates(spool: Spool, start: float, end: float, label: str) -> dict[str, NicRate]:
    """Every NIC of the namespace `label` ("": the sampler's own), also one that came or went in between.

    Raises WindowNotCovered, or NetbenchError for a label that was not sampled.
    """
    return nics_in(cut(spool, start, end), label)


def nics_in(window: Window, label: str) -> dict[str, NicRate]:
    """As `nic_rates`."""
    counted = _increase(window, partial(nic_counters, label=label), _count)
    rates = {}
    for nic in dict.fromkeys(nic for nic, _column in counted):
        values = {column: counted[nic, column] for column in NIC_COLUMNS}
        rates[nic] = NicRate(
            rx_bits_per_second=8 * values["rx_bytes"] / window.seconds,
            tx_bits_per_second=8 * values["tx_bytes"] / window.seconds,
            **values,
        )
    return rates


def drops(spool: Spool, start: float, end: float, labels: Sequence[str]) -> dict[str, int]:
    """Where packets were lost in the namespaces `labels`, as counts.

    "nic_rx", "nic_tx": by devices; "socket_buffer": UDP datagrams that found the receiver's buffer full;
    "backlog": packets that found a CPU's queue full (of the whole machine, the kernel does not tell by namespace);
    "qdisc": by root queueing disciplines, absent where the sampler could not read them.
    Raises WindowNotCovered, or NetbenchError for a label that was not sampled.
    """
    window = cut(spool, start, end)

    def lost(read: Callable[[Sample], Counters]) -> Counters:
        totals: Counters = {}
        for (_source, kind), value in _increase(window, read, _count).items():
            totals["", kind] = totals.get(("", kind), 0.0) + value
        return totals

    found = {"nic_rx": 0.0, "nic_tx": 0.0, "socket_buffer": 0.0, "backlog": sum(lost(backlog_drops).values())}
    for label in labels:
        nics = lost(partial(nic_counters, label=label))
        found["nic_rx"] += nics.get(("", "rx_dropped"), 0.0)
        found["nic_tx"] += nics.get(("", "tx_dropped"), 0.0)
        found["socket_buffer"] += sum(lost(partial(socket_drops, label=label)).values())
        if label in window.samples[0].qdisc:
            found["qdisc"] = found.get("qdisc", 0.0) + sum(lost(partial(qdisc_drops, label=label)).values())
    return {name: round(value) for name, value in found.items()}


def speed(spool: Spool, start: float, end: float) -> float | None:
    """CPU seconds that the fixed workload took at the last probe before `start` (else the first before `end`).

    None when there was none.
    """
    before = [probe.probe_seconds for probe in spool.probes if probe.realtime <= start]
    between = [probe.probe_seconds for probe in spool.probes if start < probe.realtime <= end]
    return before[-1] if before else between[0] if between else None


def cut(spool: Spool, start: float, end: float) -> Window:
    """The samples of a window, whose bounds are realtime seconds; raises WindowNotCovered."""
    if not start < end:
        raise NetbenchError(f"the window's end {end} is not after its start {start}; it must be")
    if not spool.samples:
        raise WindowNotCovered("the sampler's spool has no samples; the sampler must run before the trial begins")
    times = [sample.monotonic for sample in spool.samples]
    since, until = _monotonic(spool, start), _monotonic(spool, end)
    if not since < until:
        raise NetbenchError(f"the machine's realtime clock was set back between {start} and {end}; it must run on")
    first, last = bisect_right(times, since) - 1, bisect_left(times, until)
    if first < 0 or last == len(times):
        raise WindowNotCovered(
            f"the window {since:.3f} to {until:.3f} s is not covered by the samples from {times[0]:.3f} to"
            f" {times[-1]:.3f} s; there must be one at or before its start and one at or after its end"
        )
    gap = max(times[first + 1] - times[first], times[last] - times[last - 1])
    if gap > MAX_BRACKET_SECONDS:
        raise NetbenchError(
            f"the samples at a bound of the window are {gap:.1f} s apart; they must be at most {MAX_BRACKET_SECONDS} s"
        )
    return Window(spool.samples[first : last + 1], since, until, spool.clock_ticks)


def intervals(spool: Spool) -> list[Window]:
    """The windows between one sample and the next."""
    return [Window(pair, pair[0].monotonic, pair[1].monotonic, spool.clock_ticks) for pair in pairwise(spool.samples)]


def _monotonic(spool: Spool, realtime: float) -> float:
    """The monotonic time at a realtime: by the nearest sample, as the realtime clock may be stepped at any time."""
    nearest = min(spool.samples, key=lambda sample: abs(sample.realtime - realtime))
    return nearest.monotonic + (realtime - nearest.realtime)


def _increase(window: Window, read: Callable[[Sample], Counters], step: Callable[[float, float], float]) -> Counters:
    """By how much each counter grew in the window; of an interval that a bound divides, in proportion to time."""
    before = read(window.samples[0])
    total = dict.fromkeys(before, 0.0)
    for earlier, later in pairwise(window.samples):
        inside = min(later.monotonic, window.end) - max(earlier.monotonic, window.start)
        share = inside / (later.monotonic - earlier.monotonic)
        after = read(later)
        for key, value in after.items():
            total[key] = total.get(key, 0.0) + share * step(before.get(key, 0.0), value)
        before = after
    return total


def _count(before: float, after: float) -> float:
    """The step of a counter that only grows: it may have wrapped at 32 bits, or its NIC was made anew."""
    if after >= before:
        return after - before
    wrapped = after - before + 2**32
    return wrapped if 0 <= wrapped < 2**31 else after


def _sample(entry: Mapping[str, Any]) -> Sample:
    memory = {str(name): int(kib) for name, kib in entry["mem"].items()}
    return Sample(
        monotonic=_finite(entry["m"]),
        realtime=_finite(entry["r"]),
        stat=str(entry["stat"]),
        memory_used_bytes=1024.0 * (memory["MemTotal"] - memory["MemAvailable"]),
        softnet=str(entry["softnet"]),
        net={str(label): str(text) for label, text in entry["net"].items()},
        snmp={str(label): str(text) for label, text in entry["snmp"].items()},
        qdisc={
            str(label): {str(index): int(count) for index, count in counts.items()}
            for label, counts in entry.get("qdisc", {}).items()
        },
    )


def _probe(entry: Mapping[str, Any]) -> SpeedProbe:
    return SpeedProbe(
        monotonic=_finite(entry["m"]),
        realtime=_finite(entry["r"]),
        probe_seconds=_finite(entry["probe_seconds"]),
        wall_seconds=_finite(entry["wall_seconds"]),
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError("not a finite number")
    return number
