# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables as plain data, drawn alike by the HTML and the Markdown templates; and those that compare clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE, VCPUS_PER_OCPU
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import (
    corrected_p,
    scale_of,
    shown_effect,
)

Kind = Literal["text", "wide", "num", "code", "verdict"]
CPU_ROLES = (
    ("client_node_cpu_cores", "client_node"),
    ("server_node_cpu_cores", "server_node"),
    ("ingress_node_cpu_cores", "ingress_node"),
    ("path_cpu_cores", None),
)


@dataclass(frozen=True)
class Column:
    """`text` and `wide` wrap, `num` is aligned right, `code` is a technical name, `verdict` is marked by the row's."""

    title: str
    kind: Kind = "text"


_NUMERIC = frozenset(
    {"block", "by_chance", "cores", "cv", "detectable", "difference", "flows", "forwarded", "host", "interval", "local"}
    | {"mean", "mean_interval", "median", "n", "node_mtu", "ocpu", "of_node", "offset", "order", "p", "pod_mtu", "pods"}
    | {"primary_value", "received", "sampler_cpu", "sampler_share", "sent", "trials", "uncertainty"}
)
_OTHER: dict[str, Kind] = {
    "scenario": "wide",
    "fact": "code",
    "trial": "code",
    "state": "verdict",
    "verdict": "verdict",
}


def columns(texts: Texts, *names: str) -> tuple[Column, ...]:
    """Columns by their names in the texts, which also decide the kind."""
    return tuple(Column(texts(f"column.{n}"), "num" if n in _NUMERIC else _OTHER.get(n, "text")) for n in names)


@dataclass(frozen=True)
class Table:
    """`marks` has the verdict of each row where the table has a verdict column."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...] = ()
    note: str = ""


def primary_table(measured: Measured, candidate: str) -> Table:
    """The comparison on which each scenario is decided."""
    found = [
        (measured.title(scenario["name"]), comparison)
        for scenario in measured.scenarios
        if (comparison := measured.comparison(candidate, scenario["name"], scenario["primary"]))
    ]
    caption = measured.texts("table.primary", candidate=candidate, baseline=measured.baseline)
    return _comparisons(measured, candidate, found, caption, with_scenario=True)


def exploratory_table(measured: Measured, candidate: str, scenario: Record) -> Table:
    """Every other metric of a scenario."""
    found = [
        (measured.texts(f"metric.{metric}"), comparison)
        for metric in METRICS
        if metric != scenario["primary"] and (comparison := measured.comparison(candidate, scenario["name"], metric))
    ]
    caption = measured.texts("table.exploratory", candidate=candidate, baseline=measured.baseline)
    return _comparisons(measured, candidate, found, caption, with_scenario=False)


def _comparisons(
    measured: Measured, candidate: str, found: list[tuple[str, Record]], caption: str, *, with_scenario: bool
) -> Table:
    texts, numbers = measured.texts, measured.short
    heads = (
        *columns(texts, *(("scenario", "metric") if with_scenario else ("metric",))),
        Column(measured.baseline, "num"),
        Column(candidate, "num"),
        *columns(texts, "difference", "interval", "p", "detectable", "n", "verdict"),
    )
    rows = []
    for title, comparison in found:
        metric = METRICS[comparison["metric"]]
        means = (measured.mean(name, comparison["scenario"], metric.name) for name in (measured.baseline, candidate))
        first = (title, texts(f"metric.{metric.name}")) if with_scenario else (title,)
        rows.append(
            (
                *first,
                *(numbers.quantity(mean, metric.unit) for mean in means),
                *shown_effect(comparison, numbers),
                numbers.p_value(corrected_p(comparison)).removeprefix("p = ").removeprefix("p "),
                numbers.change(comparison["minimum_detectable"], scale_of(comparison), signed=False),
                str(comparison["n"]),
                texts(f"word.{comparison['verdict']}"),
            )
        )
    return Table(caption, heads, tuple(rows), tuple(c["verdict"] for _title, c in found))


def summary_table(measured: Measured, scenario: Record) -> Table:
    """Each cluster's own figures for a scenario, with their spread."""
    texts, numbers = measured.texts, measured.short
    heads = columns(texts, "metric", "cluster", "mean", "mean_interval", "median", "cv", "trials")
    rows = []
    for metric in METRICS.values():
        for cluster in measured.clusters:
            summary = measured.summary(cluster["name"], scenario["name"], metric.name)
            if summary is None:
                continue
            rows.append(
                (
                    texts(f"metric.{metric.name}"),
                    cluster["name"],
                    numbers.quantity(summary["mean"], metric.unit),
                    numbers.together([summary["ci_low"], summary["ci_high"]], metric.unit, " … "),
                    numbers.quantity(summary["median"], metric.unit),
                    numbers.percent(summary["cv"], signed=False),
                    str(summary["n"]),
                )
            )
    return Table(texts("table.summary"), heads, tuple(rows))


def cpu_table(measured: Measured, candidate: str) -> Table:
    """CPU of the nodes in cores and per cent of the node, their difference also in OCPU."""
    texts, numbers = measured.texts, measured.short
    heads = (
        *columns(texts, "scenario", "node"),
        Column(measured.baseline, "num"),
        Column(candidate, "num"),
        *columns(texts, "cores", "ocpu", "of_node", "difference", "interval", "verdict"),
    )
    rows, marks = [], []
    for scenario in measured.scenarios:
        for name, role in CPU_ROLES:
            comparison = measured.comparison(candidate, scenario["name"], name)
            if comparison is None:
                continue
            cpus = {cluster: _cpus(measured, scenario, cluster, role) for cluster in (measured.baseline, candidate)}
            means = {cluster: measured.mean(cluster, scenario["name"], name) for cluster in cpus}
            difference = comparison["difference"]
            rows.append(
                (
                    measured.title(scenario["name"]),
                    texts(f"role.{role or 'path'}"),
                    *(_cores(measured, means[cluster], cpus[cluster]) for cluster in cpus),
                    numbers.signed(difference),
                    numbers.signed(None if difference is None else difference / VCPUS_PER_OCPU),
                    _share_difference(measured, means, cpus),
                    *shown_effect(comparison, numbers),
                    texts(f"word.{comparison['verdict']}"),
                )
            )
            marks.append(comparison["verdict"])
    caption = texts("table.cpu", candidate=candidate, baseline=measured.baseline)
    return Table(caption, heads, tuple(rows), tuple(marks), texts("table.cpu_note"))


def _cores(measured: Measured, cores: float | None, cpus: int) -> str:
    text = measured.short.quantity(cores, "cores", 3)
    share = measured.short.share_of_cpus(cores, cpus)
    return text if share == NONE else measured.texts("unit.with_share", value=text, share=share)


def _share_difference(measured: Measured, means: dict[str, float | None], cpus: dict[str, int]) -> str:
    shares = [mean / cpus[cluster] if mean is not None and cpus[cluster] else None for cluster, mean in means.items()]
    if shares[0] is None or shares[1] is None:
        return NONE
    return measured.short.change(shares[1] - shares[0], "ratio", decimals=1)


def _cpus(measured: Measured, scenario: Record, cluster: str, role: str | None) -> int:
    """CPUs of the node that has a role in a scenario's trials; 0 for a sum over nodes or where unknown."""
    trials = measured.trials_of(scenario["name"], cluster, "ok")
    return measured.cpus_of(trials[0]["endpoints"].get(role)) if role and trials else 0


def host_cost_table(measured: Measured) -> Table:
    """What each cluster's pod network costs against its own nodes without it."""
    texts, numbers = measured.texts, measured.short
    compared = measured.results.get("comparisons_to_host", [])
    rows = []
    for comparison in compared:
        unit = METRICS[comparison["metric"]].unit
        scenarios = (comparison["host_scenario"], comparison["scenario"])
        means = (measured.mean(comparison["cluster"], scenario, comparison["metric"]) for scenario in scenarios)
        rows.append(
            (
                measured.title(comparison["scenario"]),
                comparison["cluster"],
                texts(f"metric.{comparison['metric']}"),
                *(numbers.quantity(mean, unit) for mean in means),
                *shown_effect(comparison, numbers),
                texts(f"word.{comparison['verdict']}"),
            )
        )
    heads = columns(texts, "scenario", "cluster", "metric", "host", "pods", "difference", "interval", "verdict")
    marks = tuple(comparison["verdict"] for comparison in compared)
    return Table(texts("table.host_cost"), heads, tuple(rows), marks, texts("table.host_cost_note"))
