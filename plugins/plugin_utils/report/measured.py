# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""results.json, indexed: what the report's parts look up in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import Numbers
from ansible_collections.netbench.cni.plugins.plugin_utils.report.titles import scenario_titles

Record = dict[str, Any]


def printable(value: Any) -> Any:
    """Plain data with every text in it freed of what is no letter: control characters and marks of direction.

    They would break the drawings' XML and could take over a terminal.
    """
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(
            " " if letter.isspace() else letter for letter in value if letter.isspace() or letter.isprintable()
        )
    if isinstance(value, dict):
        return {printable(key): printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    return value


class Measured:
    """One run's results together with the language they are told in."""

    def __init__(self, results: Record, texts: Texts) -> None:
        self.results = results
        self.run: Record = results["run"]
        self.texts = texts
        self.numbers = Numbers(texts)
        self.short = Numbers(texts, short=True)
        self.scenarios: list[Record] = results["scenarios"]
        self.trials: list[Record] = results["trials"]
        self.baseline: str = self.run["baseline"]
        by_name = {cluster["name"]: cluster for cluster in results["clusters"]}
        order = [self.baseline, *self.run.get("candidates", [])]
        self.clusters: list[Record] = [by_name[name] for name in order if name in by_name]
        self._titles = scenario_titles(self.scenarios, texts)
        self._summaries = {(s["cluster"], s["scenario"], s["metric"]): s for s in results["summaries"]}
        self._comparisons = {(c["candidate"], c["scenario"], c["metric"]): c for c in results["comparisons"]}
        self._predictions = {(p["candidate"], p["scenario"], p["metric"]): p for p in results.get("predictions", [])}

    @property
    def candidates(self) -> list[str]:
        return [cluster["name"] for cluster in self.clusters if cluster["name"] != self.baseline]

    @property
    def shared_machine(self) -> bool:
        return bool(self.run.get("shared_machine"))

    def title(self, scenario: str) -> str:
        """A scenario in words; a name that no scenario has stays as it is."""
        return self._titles.get(scenario, scenario)

    def cluster(self, name: str) -> Record:
        return next(cluster for cluster in self.clusters if cluster["name"] == name)

    def summary(self, cluster: str, scenario: str, metric: str) -> Record | None:
        return self._summaries.get((cluster, scenario, metric))

    def mean(self, cluster: str, scenario: str, metric: str) -> float | None:
        summary = self.summary(cluster, scenario, metric)
        return summary["mean"] if summary else None

    def comparison(self, candidate: str, scenario: str, metric: str) -> Record | None:
        return self._comparisons.get((candidate, scenario, metric))

    def prediction(self, candidate: str, scenario: str, metric: str) -> Record | None:
        return self._predictions.get((candidate, scenario, metric))

    def metrics_of(self, scenario: str) -> set[str]:
        return {metric for _cluster, name, metric in self._summaries if name == scenario}

    def pairs(self) -> Iterator[tuple[Record, str]]:
        """Every scenario with every candidate."""
        return ((scenario, candidate) for scenario in self.scenarios for candidate in self.candidates)

    def trials_of(self, scenario: str, cluster: str | None = None, status: str | None = None) -> list[Record]:
        return [
            t
            for t in self.trials
            if t["scenario"] == scenario and cluster in (None, t["cluster"]) and status in (None, t["status"])
        ]

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(trial["status"] for trial in self.trials)

    def cpus_of(self, node: str | None) -> int:
        """How many CPUs a node has for itself; 0 when that is not known."""
        nodes = (n for cluster in self.clusters for n in cluster.get("nodes", []))
        return next((len(n.get("cpus") or []) for n in nodes if n["name"] == node), 0)

    def line_rate(self) -> float:
        return max((cluster.get("line_rate_bits_per_second") or 0.0 for cluster in self.clusters), default=0.0)
