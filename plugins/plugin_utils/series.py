# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trial over time, for the report: what the receiver got and what every node did between one sample and the next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.counters import Sample
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_result import Flow, Interval, IperfResult
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Scenario
from ansible_collections.netbench.cni.plugins.plugin_utils.observation import MachineView, NodeView
from ansible_collections.netbench.cni.plugins.plugin_utils.sampling import Window

_CPU_KINDS = ("busy", "user", "system", "softirq", "steal")


def build(
    scenario: Scenario,
    client: IperfResult,
    server: IperfResult,
    views: Sequence[NodeView],
    machines: Mapping[str, MachineView],
    begin: float,
) -> dict[str, Any]:
    """The content of a trial's series.json.

    {"began": `begin`, the client's realtime, "window": {"start", "end"}, "throughput": {"t", "bits_per_second"},
    "loss": {"t", "ratio"} and "jitter": {"t", "seconds"} of UDP, "nodes": {node: {"role", "t", "cpu_cores": {kind: []}
    where the node's CPUs are its own, "memory_bytes": [] where its machine is, "nics": {nic: {"rx_bits_per_second",
    "tx_bits_per_second"}}}}}. Every `t` is in seconds since the traffic began, the middle of the interval that the
    value is of.
    """
    residents = Counter(view.machine for view in views)
    return {
        "began": begin,
        "window": {"start": scenario.warmup_seconds, "end": scenario.warmup_seconds + scenario.window_seconds},
        **_received(scenario, client, server),
        "nodes": {
            view.node: _node(view, machines[view.machine], owns_machine=residents[view.machine] == 1) for view in views
        },
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def _received(scenario: Scenario, client: IperfResult, server: IperfResult) -> dict[str, Any]:
    flow: Flow = "reverse" if scenario.traffic.direction == "reverse" else "forward"
    intervals = [
        interval
        for result in (client, server)
        if result.is_own(flow, sender=False)
        for interval in result.intervals
        if interval.flow == flow and not interval.sender and not interval.omitted and interval.seconds > 0
    ]
    found = {"throughput": _points(intervals, "bits_per_second", lambda interval: round(interval.bits_per_second))}
    if scenario.traffic.protocol == "udp":
        found["loss"] = _points(intervals, "ratio", _loss)
        found["jitter"] = _points(intervals, "seconds", lambda interval: interval.jitter_seconds)
    return found


def _points(
    intervals: Sequence[Interval], name: str, value_of: Callable[[Interval], float | None]
) -> dict[str, list[float]]:
    known = [(interval, value) for interval in intervals if (value := value_of(interval)) is not None]
    middles = [round((interval.start + interval.end) / 2, 4) for interval, _value in known]
    return {"t": middles, name: [value for _interval, value in known]}


def _loss(interval: Interval) -> float | None:
    if interval.lost_packets is None or not interval.packets:
        return None
    return min(1.0, max(0, interval.lost_packets) / interval.packets)


def _node(view: NodeView, machine: MachineView, *, owns_machine: bool) -> dict[str, Any]:
    windows = sampling.intervals(machine.spool)
    found: dict[str, Any] = {
        "role": view.part,
        "t": [round(_middle(window, lambda sample: sample.realtime) - machine.traffic_start, 4) for window in windows],
    }
    if view.cpu_known:
        uses = [sampling.cpu_in(window, view.cpus) for window in windows]
        found["cpu_cores"] = {kind: [round(getattr(use, kind), 4) for use in uses] for kind in _CPU_KINDS}
    if owns_machine:
        found["memory_bytes"] = [round(_middle(window, lambda sample: sample.memory_used_bytes)) for window in windows]
    found["nics"] = _nics(view, windows)
    return found


def _middle(window: Window, value_of: Callable[[Sample], float]) -> float:
    return (value_of(window.samples[0]) + value_of(window.samples[-1])) / 2


def _nics(view: NodeView, windows: Sequence[Window]) -> dict[str, dict[str, list[int]]]:
    """The NICs towards other machines, or all where those are not known; 0 while a NIC was not there."""
    readings = [sampling.nics_in(window, view.label) for window in windows]
    names = view.nics or tuple(dict.fromkeys(nic for rates in readings for nic in rates))
    return {
        nic: {
            f"{way}_bits_per_second": [
                round(getattr(rates[nic], f"{way}_bits_per_second")) if nic in rates else 0 for rates in readings
            ]
            for way in ("rx", "tx")
        }
        for nic in names
    }
