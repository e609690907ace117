# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watched machines say about one trial: CPU, memory and NIC metrics in the trial's window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils import sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint
from ansible_collections.netbench.cni.plugins.plugin_utils.sampling import Spool


@dataclass(frozen=True)
class MachineView:
    """A machine's samples around a trial, with the window on the machine's own clock (realtime seconds).

    `cpus` are those of its CPUs that count: in a lab whose clusters own CPUs a cluster's, else None, which is all.
    """

    spool: Spool
    start: float
    end: float
    traffic_start: float
    traffic_end: float
    cpus: tuple[int, ...] | None = None

    def health(self) -> dict[str, float]:
        """Steal as a share of all CPU time in the window and the speed probe's CPU seconds, where they are known."""
        health = {"steal_ratio": sampling.steal_ratio(self.spool, self.start, self.end)}
        probe = sampling.speed(self.spool, self.traffic_start, self.traffic_end)
        if probe is not None:
            health["probe_seconds"] = probe
        return health


@dataclass(frozen=True)
class NodeView:
    """One node in a trial: its part in it, its machine's view and the label of its counters there.

    `cpus` are the CPUs whose time is this node's: None means all of its machine, an empty tuple that it cannot be told.
    `nics` are its NICs towards other machines, as far as they are known.
    """

    node: str
    part: str
    machine: str
    label: str
    cpus: tuple[int, ...] | None
    nics: tuple[str, ...] = ()

    @property
    def cpu_known(self) -> bool:
        return self.cpus is None or bool(self.cpus)


def views_of(
    parts: Mapping[str, str],
    nodes: Mapping[str, Endpoint],
    labels: Mapping[str, str],
    nics: Mapping[str, Sequence[str]],
    *,
    two_node_path: bool,
) -> list[NodeView]:
    """How to read every node; `parts` maps a node to its part in the trial (client_node, server_node, ingress_node).

    A node that shares its machine has a CPU figure only on a two-node path, and only when it owns CPUs that the other
    node of the path does not.
    """
    residents = Counter(node.machine for node in nodes.values())
    views = []
    for name, node in nodes.items():
        cpus: tuple[int, ...] | None = node.cpus or None
        if residents[node.machine] > 1:
            others = [n for n in parts if n != name and nodes[n].machine == node.machine]
            alone = not any(set(nodes[other].cpus) & set(node.cpus) for other in others)
            cpus = node.cpus if two_node_path and name in parts and alone else ()
        part = parts.get(name, "other")
        views.append(NodeView(name, part, node.machine, labels[name], cpus, tuple(nics.get(name, ()))))
    return views


def node_metrics(views: Sequence[NodeView], machines: Mapping[str, MachineView]) -> dict[str, float]:
    """CPU, memory and NIC metrics of the nodes that have a part in the trial; what cannot be told is absent.

    `path_cpu_cores` is the busy time of all machines on the path: in a lab, of the whole shared machine.
    """
    metrics: dict[str, float] = {}
    residents = Counter(view.machine for view in views)
    on_path = [view for view in views if view.part != "other"]
    for view in on_path:
        seen = machines[view.machine]
        if view.cpu_known:
            use = sampling.cpu_use(seen.spool, seen.start, seen.end, view.cpus)
            metrics[f"{view.part}_cpu_cores"] = use.busy
            metrics[f"{view.part}_softirq_cores"] = use.softirq
        if residents[view.machine] == 1:
            metrics[f"{view.part}_memory_bytes"] = sampling.memory_used_bytes(seen.spool, seen.start, seen.end)
        if view.part == "ingress_node" and view.nics:
            rates = sampling.nic_rates(seen.spool, seen.start, seen.end, view.label)
            metrics["ingress_node_rx_bits_per_second"] = sum(rates[nic].rx_bits_per_second for nic in view.nics)
            metrics["ingress_node_tx_bits_per_second"] = sum(rates[nic].tx_bits_per_second for nic in view.nics)
    busy = [machines[machine] for machine in sorted({view.machine for view in on_path})]
    metrics["path_cpu_cores"] = sum(sampling.cpu_use(seen.spool, seen.start, seen.end, seen.cpus).busy for seen in busy)
    return metrics


def path_drops(
    views: Sequence[NodeView], machines: Mapping[str, MachineView], pods: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Where packets were lost while the traffic ran, summed over the nodes of the path and its pods.

    `pods` maps a machine to the labels of the pods whose namespaces its sampler enters.
    """
    labels = {machine: list(names) for machine, names in pods.items()}
    for view in views:
        if view.part != "other":
            labels.setdefault(view.machine, []).append(view.label)
    total: dict[str, int] = {}
    for machine, names in labels.items():
        seen = machines[machine]
        for place, count in sampling.drops(seen.spool, seen.traffic_start, seen.traffic_end, names).items():
            total[place] = total.get(place, 0) + count
    return total


def nic_bytes(
    views: Sequence[NodeView], machines: Mapping[str, MachineView]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Bytes in and out of every NIC of every node while the traffic ran: {node: {nic: (rx, tx)}}."""
    return {
        view.node: {
            nic: (rate.rx_bytes, rate.tx_bytes)
            for nic, rate in sampling.nic_rates(
                machines[view.machine].spool,
                machines[view.machine].traffic_start,
                machines[view.machine].traffic_end,
                view.label,
            ).items()
        }
        for view in views
    }
