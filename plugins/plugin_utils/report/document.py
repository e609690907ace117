# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""results.json → the report's content as plain data, which the HTML and the Markdown templates draw."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report import (
    external_path,
    findings,
    method,
    published,
    tables,
    topology,
    verdicts,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Table
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import Verdict

_DROPS = ("qdisc", "nic", "rcvbuf_errors", "softnet")


@dataclass(frozen=True)
class ScenarioPart:
    """What is told of one scenario besides its charts."""

    name: str
    title: str
    description: str
    verdicts: tuple[Verdict, ...]
    tables: tuple[Table, ...]
    drops: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """Everything a report says, in one language; `measured` is what the charts are drawn from."""

    measured: Measured
    title: str
    where: str
    when: str
    banner: str | None
    health: str
    reasons: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    means: tuple[str, ...]
    limits: Table | None
    comparison: tuple[Table, ...]
    doubts: tuple[str, ...]
    scenarios: tuple[ScenarioPart, ...]
    routes: tuple[external_path.Route, ...]
    traces: Table | None
    share: Table | None
    share_sentences: tuple[str, ...]
    iftop: tuple[Table, ...]
    topology: tuple[Table, ...]
    facts: Table
    method: tuple[Table, ...]
    method_paragraphs: tuple[str, ...]
    published: Table
    discarded: Table
    trials: Table


def build_document(measured: Measured) -> Document:
    found = verdicts.all_verdicts(measured)
    candidates = measured.candidates
    compared = [tables.primary_table(measured, candidate) for candidate in candidates]
    compared += [tables.cpu_table(measured, candidate) for candidate in candidates]
    compared.append(tables.host_cost_table(measured))
    traces = external_path.trace_table(measured)
    return Document(
        measured=measured,
        title=_title(measured),
        where=str(measured.run.get("where") or NONE),
        when=method.moment(measured.run.get("started")),
        banner=measured.texts("banner.lab") if measured.shared_machine else None,
        health=findings.health_sentence(measured),
        reasons=tuple(findings.reasons(measured)),
        verdicts=tuple(found),
        means=() if candidates else tuple(_means(measured)),
        limits=findings.limits_table(measured),
        comparison=tuple(table for table in compared if table.rows),
        doubts=tuple(findings.doubts(measured, found)),
        scenarios=tuple(_scenario(measured, scenario, found) for scenario in measured.scenarios),
        routes=tuple(external_path.routes(measured)),
        traces=traces if traces.rows else None,
        share=external_path.share_table(measured),
        share_sentences=tuple(external_path.share_sentences(measured)),
        iftop=tuple(external_path.iftop_tables(measured)),
        topology=tuple(topology.topology_tables(measured)),
        facts=topology.cluster_facts(measured),
        method=tuple(method.method_tables(measured)),
        method_paragraphs=tuple(method.paragraphs(measured)),
        published=published.published_table(measured, candidates[0] if candidates else None),
        discarded=findings.discarded_table(measured),
        trials=findings.trials_table(measured),
    )


def _title(measured: Measured) -> str:
    if not measured.candidates:
        return measured.texts("title.one", cluster=measured.baseline)
    candidates = measured.texts("list.comma").join(measured.candidates)
    return measured.texts("title.compared", candidates=candidates, baseline=measured.baseline)


def _means(measured: Measured) -> list[str]:
    """Where there is nothing to compare with: what the one cluster did, by scenario."""
    sentences = []
    for scenario in measured.scenarios:
        metric = METRICS[scenario["primary"]]
        title = measured.title(scenario["name"])
        summary = measured.summary(measured.baseline, scenario["name"], metric.name)
        if summary is None:
            trials = measured.trials_of(scenario["name"])
            reason = verdicts.most_common_reason(trials)
            sentences.append(measured.texts("single.none", title=title, n=len(trials), reason=reason))
            continue
        values = {
            "title": title,
            "metric": measured.texts(f"metric.{metric.name}"),
            "n": summary["n"],
            "mean": measured.numbers.quantity(summary["mean"], metric.unit),
            "interval": measured.numbers.together([summary["ci_low"], summary["ci_high"]], metric.unit, " … "),
        }
        key = "single.mean" if summary["ci_low"] is not None else "single.once"
        sentences.append(measured.texts(key, **values))
    return sentences


def _scenario(measured: Measured, scenario: Record, found: list[Verdict]) -> ScenarioPart:
    name = scenario["name"]
    parts = [tables.exploratory_table(measured, candidate, scenario) for candidate in measured.candidates]
    parts.append(tables.summary_table(measured, scenario))
    return ScenarioPart(
        name=name,
        title=measured.title(scenario["name"]),
        description=measured.texts.known(f"about.{scenario['path']}", ""),
        verdicts=tuple(verdict for verdict in found if verdict.scenario == name),
        tables=tuple(table for table in parts if table.rows),
        drops=tuple(_drops(measured, scenario)) if scenario["traffic"]["protocol"] == "udp" else (),
    )


def _drop(texts: Texts, kind: str, count: float) -> str:
    return texts.known(f"drops.{kind}", f"{kind} {count:g}", n=f"{count:g}")


def _drops(measured: Measured, scenario: Record) -> list[str]:
    """Where a UDP scenario's datagrams were lost, summed over the trials that count."""
    texts, sentences = measured.texts, []
    for cluster in measured.clusters:
        drops = [t["drops"] for t in measured.trials_of(scenario["name"], cluster["name"], "ok") if t.get("drops")]
        if not drops:
            continue
        kinds = dict.fromkeys([*(k for k in _DROPS if any(k in d for d in drops)), *(k for d in drops for k in d)])
        counts = (_drop(texts, kind, sum(d.get(kind, 0) for d in drops)) for kind in kinds)
        told = texts("drops.separator").join(counts)
        sentences.append(texts("drops.sentence", cluster=cluster["name"], counts=told, n=len(drops)))
    return sentences
