# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the reference experiment published, put beside this run's.

They were measured once each, in August 2023, on OKE with three VM.Optimized3.Flex workers of 2 OCPU a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Column, Table, columns
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import shown_effect


@dataclass(frozen=True)
class Published:
    """A row of the reference: which scenarios of ours it is like, and the throughput as it gives it.

    `saturating` is None for TCP, else whether the UDP rate is that of the line or below it.
    """

    key: str
    path: str
    forwarding: str | None
    protocol: str
    saturating: bool | None
    flannel: str
    native: str


PUBLISHED = (
    Published("tcp", "pod_to_pod", None, "tcp", None, "7.92 Gbit/s", "7.96 Gbit/s"),
    Published("udp_over", "pod_to_pod", None, "udp", True, NONE, NONE),
    Published("udp_sustainable", "pod_to_pod", None, "udp", False, NONE, NONE),
    Published("external", "external_to_load_balancer", "forwarded", "tcp", None, "≈ 4 Gbit/s", "≈ 4 Gbit/s"),
)


def published_table(measured: Measured, candidate: str | None) -> Table:
    """Their figures and conclusions, and for each row this run's primary figures and verdict where it has the like."""
    texts = measured.texts
    heads = (
        *columns(texts, "scenario", "their_flannel", "their_native", "their_conclusion"),
        *(Column(texts("column.ours", cluster=cluster["name"]), "num") for cluster in measured.clusters),
        *columns(texts, "our_difference"),
    )
    rows = []
    for row in PUBLISHED:
        scenario = next((s for s in measured.scenarios if _alike(row, s, measured)), None)
        rows.append(
            (
                texts(f"published.{row.key}"),
                row.flannel,
                row.native,
                texts(f"published.{row.key}_conclusion"),
                *(_mean(measured, scenario, cluster["name"]) for cluster in measured.clusters),
                _difference(measured, scenario, candidate),
            )
        )
    return Table(texts("table.published"), heads, tuple(rows), note=texts("published.note"))


def _alike(row: Published, scenario: Record, measured: Measured) -> bool:
    traffic = scenario["traffic"]
    rate = traffic.get("rate_bits_per_second")
    saturating = None if traffic["protocol"] == "tcp" else bool(rate and rate >= measured.line_rate())
    same_path = (scenario["path"], scenario.get("forwarding")) == (row.path, row.forwarding)
    unlimited = traffic["protocol"] == "udp" or rate is None
    single = traffic.get("streams", 1) == 1 and traffic.get("direction", "forward") == "forward"
    return same_path and single and unlimited and (traffic["protocol"], saturating) == (row.protocol, row.saturating)


def _mean(measured: Measured, scenario: Record | None, cluster: str) -> str:
    if scenario is None:
        return NONE
    metric = METRICS[scenario["primary"]]
    return measured.numbers.quantity(measured.mean(cluster, scenario["name"], metric.name), metric.unit)


def _difference(measured: Measured, scenario: Record | None, candidate: str | None) -> str:
    comparison = (
        measured.comparison(candidate, scenario["name"], scenario["primary"]) if scenario and candidate else None
    )
    if comparison is None:
        return NONE
    change, interval = shown_effect(comparison, measured.short)
    metric = measured.texts(f"metric.{comparison['metric']}")
    return measured.texts("published.difference", metric=metric, change=change, interval=interval)
