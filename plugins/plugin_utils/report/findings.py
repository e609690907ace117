# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sound the run was: its health, the limits, and everything that could not be concluded, with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Column, Table, columns
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import (
    Verdict,
    scale_of,
    shown_effect,
)

_MOST_ROWS = 1000
_NUMBER = re.compile(r"\d+(\.\d+)?")


def health_sentence(measured: Measured) -> str:
    """112 trials: 110 ok, 1 failed, 1 void."""
    counts = measured.counts
    parts = [
        measured.texts(f"status.{status}", n=counts[status])
        for status in ("ok", "failed", "void")
        if counts[status] or status == "ok"
    ]
    return measured.texts("health.trials", n=len(measured.trials), parts=measured.texts("list.comma").join(parts))


def reasons(measured: Measured) -> list[str]:
    """Why trials do not count, the commonest reason first; reasons that differ in numbers only are told as one."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for trial in measured.trials:
        if trial["status"] != "ok":
            kinds.setdefault((trial["status"], _NUMBER.sub("", trial["reason"])), []).append(trial["reason"])
    found = []
    for (status, _reason), told in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        key = "health.reason" if len(set(told)) == 1 else "health.reason_like"
        word = measured.texts(f"status_word.{status}")
        found.append(measured.texts(key, status=word, n=len(told), reason=told[0]))
    return found


def discarded_table(measured: Measured) -> Table:
    """Every trial that failed or is void, with its reason."""
    rows = []
    for trial in measured.trials:
        if trial["status"] != "ok":
            word = measured.texts(f"status_word.{trial['status']}")
            attempts = str(trial.get("attempts", 1))
            rows.append((trial["id"], word, trial["reason"], attempts, trial["started"]))
    heads = columns(measured.texts, "trial", "status", "reason", "attempts", "started")
    return _long_table(measured, "table.discarded", heads, rows)


def trials_table(measured: Measured) -> Table:
    """All trials in the order in which they ran."""
    titles = {scenario["name"]: scenario for scenario in measured.scenarios}
    rows = []
    for trial in measured.trials:
        primary = titles[trial["scenario"]]["primary"]
        value = measured.numbers.quantity(trial["metrics"].get(primary), METRICS[primary].unit)
        status = measured.texts(f"status_word.{trial['status']}")
        row = (str(trial["order"]), str(trial["block"]), trial["scenario"], trial["cluster"], status, value)
        rows.append((*row, measured.texts(f"metric.{primary}")))
    names = ("order", "block", "scenario", "cluster", "status", "primary_value", "metric")
    return _long_table(measured, "table.trials", columns(measured.texts, *names), rows)


def _long_table(measured: Measured, caption: str, heads: tuple[Column, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """As many rows as a page can bear, and where the others are."""
    left = len(rows) - _MOST_ROWS
    note = measured.texts("table.rest", n=left) if left > 0 else ""
    return Table(measured.texts(caption), heads, tuple(rows[:_MOST_ROWS]), note=note)


def limits_table(measured: Measured) -> Table | None:
    limits = measured.results.get("limits") or []
    rows = tuple((each["name"], measured.texts(f"limit.{each['state']}"), each["message"]) for each in limits)
    marks = tuple(each["state"] for each in limits)
    heads = columns(measured.texts, "limit", "state", "message")
    return Table(measured.texts("table.limits"), heads, rows, marks) if rows else None


def doubts(measured: Measured, verdicts: list[Verdict]) -> list[str]:
    """What this run cannot say, one sentence each."""
    texts = measured.texts
    found = [_open_question(measured, verdict) for verdict in verdicts if verdict.word == "inconclusive"]
    without = dict.fromkeys(verdict.sentence for verdict in verdicts if verdict.word == "none")
    for sentence in without:
        titles = dict.fromkeys(verdict.title for verdict in verdicts if verdict.sentence == sentence)
        found.append(texts("doubt.verdict", titles=texts("list.semicolon").join(titles), sentence=sentence))
    discarded = len(measured.trials) - measured.counts["ok"]
    if discarded:
        found.append(texts("doubt.discarded", n=discarded, total=len(measured.trials)))
    found += [
        texts("doubt.limit", name=limit["name"], message=limit["message"])
        for limit in measured.results.get("limits") or []
        if limit["state"] == "undecided"
    ]
    if measured.shared_machine:
        found.append(texts("doubt.shared_machine"))
    found += _cpu_doubts(measured) + _memory_doubts(measured) + _trace_doubts(measured)
    versions = {str(v) for v in (measured.run.get("versions") or {}).get("iperf3", {}).values()}
    if len(versions) > 1:
        found.append(texts("doubt.versions", versions=texts("list.comma").join(sorted(versions))))
    return found


def _open_question(measured: Measured, verdict: Verdict) -> str:
    """Why a comparison is inconclusive, and how large a difference it could have missed."""
    scenario = next(each for each in measured.scenarios if each["name"] == verdict.scenario)
    comparison = measured.comparison(verdict.candidate, verdict.scenario, scenario["primary"]) or {}
    low, high = comparison["ci_low"], comparison["ci_high"]
    corrected = low > 0 or high < 0
    return measured.texts(
        "doubt.corrected" if corrected else "doubt.too_wide",
        title=verdict.title,
        candidate=verdict.candidate,
        n=comparison["n"],
        interval=shown_effect(comparison, measured.numbers)[1],
        detectable=measured.numbers.change(comparison["minimum_detectable"], scale_of(comparison), signed=False),
    )


def _cpu_doubts(measured: Measured) -> list[str]:
    texts, binding = measured.texts, (measured.run.get("conditions") or {}).get("cpu_binding")
    why: Any = binding.get("why") if isinstance(binding, dict) else None
    of_nodes = {"client_node_cpu_cores", "server_node_cpu_cores", "ingress_node_cpu_cores"}
    without = [
        scenario
        for scenario in measured.scenarios
        if measured.metrics_of(scenario["name"]) and not measured.metrics_of(scenario["name"]) & of_nodes
    ]
    if not without:
        return []
    if len(without) == len(measured.scenarios):
        return [texts("doubt.no_cpu_why", why=why) if why else texts("doubt.no_cpu")]
    names = texts("list.semicolon").join(measured.title(scenario["name"]) for scenario in without)
    summed = any("path_cpu_cores" in measured.metrics_of(scenario["name"]) for scenario in without)
    return [texts("doubt.cpu_sum" if summed else "doubt.no_cpu_on", scenarios=names)]


def _memory_doubts(measured: Measured) -> list[str]:
    given = any(
        metric.endswith("memory_bytes") for s in measured.scenarios for metric in measured.metrics_of(s["name"])
    )
    if given:
        return []
    return [measured.texts("doubt.memory_lab" if measured.shared_machine else "doubt.memory")]


def _trace_doubts(measured: Measured) -> list[str]:
    traces = [t["path_trace"] for t in measured.trials if t["status"] == "ok" and t.get("path_trace")]
    found = []
    for key in ("disagreed", "missing"):
        kinds = Counter(kind for trace in traces for kind in trace.get(key) or [])
        for kind, n in kinds.most_common():
            evidence = measured.texts.known(f"evidence.{kind}", kind)
            found.append(measured.texts(f"doubt.trace_{key}", evidence=evidence, n=n, total=len(traces)))
    return found
