# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured: clusters, nodes, pods, Services, and who talked to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Table, columns


def topology_tables(measured: Measured) -> list[Table]:
    tables = [_clusters(measured), _nodes(measured), _pods(measured), _services(measured), _talkers(measured)]
    return [table for table in tables if table.rows]


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as lines: {"a": {"b": [1, 2]}} → ("a.b", "1, 2")."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(shown(each) for each in value) or NONE
    else:
        yield prefix, shown(value)


def shown(value: Any) -> str:
    """A recorded value as text: booleans as yes and no would hide that they are settings, so as YAML writes them."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={shown(inner)}" for key, inner in value.items())
    return str(value)


def _clusters(measured: Measured) -> Table:
    texts, numbers = measured.texts, measured.numbers
    rows = []
    for cluster in measured.clusters:
        rate = numbers.setting(cluster.get("line_rate_bits_per_second"), "bits_per_second")
        if rate != NONE:
            rate = texts("cluster.shared" if cluster.get("line_rate_shared") else "cluster.per_direction", rate=rate)
        details = [shown(cluster.get(key)) for key in ("pod_mtu", "node_mtu", "pod_nic")]
        rows.append((cluster["name"], shown(cluster.get("cni")), shown(cluster.get("datapath")), rate, *details))
    heads = columns(texts, "cluster", "cni", "datapath", "line_rate", "pod_mtu", "node_mtu", "pod_nic")
    return Table(texts("table.clusters"), heads, tuple(rows))


def cluster_facts(measured: Measured) -> Table:
    """Everything that was recorded of the clusters beyond what the report computes with."""
    rows = [
        (cluster["name"], key, value)
        for cluster in measured.clusters
        for key, value in flat(cluster.get("facts") or {})
    ]
    return Table(measured.texts("table.facts"), columns(measured.texts, "cluster", "fact", "value"), tuple(rows))


def _nodes(measured: Measured) -> Table:
    texts = measured.texts
    rows = tuple(
        (
            cluster["name"],
            node["name"],
            shown(node.get("address")),
            shown(node.get("machine")),
            ", ".join(map(str, node.get("cpus") or [])) or texts("node.unbound"),
        )
        for cluster in measured.clusters
        for node in cluster.get("nodes", [])
    )
    heads = columns(measured.texts, "cluster", "node", "address", "machine", "cpus")
    return Table(measured.texts("table.nodes"), heads, rows)


def _pods(measured: Measured) -> Table:
    rows = []
    for cluster in measured.clusters:
        addresses = {node["name"]: node.get("address") for node in cluster.get("nodes", [])}
        for pod in cluster.get("pods", []):
            role = measured.texts.known(f"role.{pod.get('role')}", shown(pod.get("role")))
            node = pod.get("node")
            where = (shown(pod.get("address")), shown(node), shown(addresses.get(node)))
            rows.append((cluster["name"], pod["name"], role, *where))
    rows += [
        (NONE, each["name"], measured.texts("role.external"), shown(each.get("address")), NONE, NONE)
        for each in measured.run.get("external", [])
    ]
    heads = columns(measured.texts, "cluster", "endpoint", "role", "address", "node", "node_address")
    return Table(measured.texts("table.pods"), heads, tuple(rows))


def _services(measured: Measured) -> Table:
    texts, rows = measured.texts, []
    for cluster in measured.clusters:
        for service in cluster.get("services", []):
            balancer = shown(service.get("load_balancer_address"))
            if service.get("load_balancer_name"):
                balancer += f" ({service['load_balancer_name']})"
            ports = (
                f"{service.get('port')}:{service['node_port']}" if service.get("node_port") else f"{service['port']}"
            )
            affinity = texts("service.affinity" if service.get("affinity") else "service.any")
            backends = ", ".join(service.get("backends", []))
            row = (
                cluster["name"],
                service["name"],
                shown(service.get("cluster_ip")),
                balancer,
                ports,
                affinity,
                backends,
            )
            rows.append(row)
    heads = columns(
        measured.texts, "cluster", "service", "cluster_ip", "load_balancer", "ports", "affinity", "backends"
    )
    return Table(measured.texts("table.services"), heads, tuple(rows))


def _talkers(measured: Measured) -> Table:
    """The ends of each scenario's trials, the commonest where they varied."""
    rows = []
    for scenario in measured.scenarios:
        for cluster in measured.clusters:
            trials = measured.trials_of(scenario["name"], cluster["name"])
            counted = Counter(_ends(trial) for trial in trials if trial.get("endpoints"))
            for (client, server), count in counted.most_common(3):
                row = (measured.title(scenario["name"]), cluster["name"], client, server, f"{count} / {len(trials)}")
                rows.append(row)
    heads = columns(measured.texts, "scenario", "cluster", "client", "server", "trials")
    return Table(measured.texts("table.talkers"), heads, tuple(rows))


def _ends(trial: Record) -> tuple[str, str]:
    ends = trial["endpoints"]

    def told(end: str) -> str:
        name, node = shown(ends.get(end)), ends.get(f"{end}_node")
        return name if node in (None, name) else f"{name} ({node})"

    return told("client"), told("server")
