# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""results.json → OpenMetrics text, to be scraped from a file or pushed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS

with suppress(ImportError):
    from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.openmetrics.exposition import generate_latest

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_STATISTICS = ("mean", "median", "stdev", "ci_low", "ci_high")
_COMPARISON = (
    "difference",
    "relative",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "minimum_detectable",
    "margin",
    "n",
)
_VERDICTS = ("higher", "lower", "equivalent", "inconclusive")
_STATUSES = ("ok", "failed", "void")


def render(results: dict[str, Any]) -> str:
    """Gauges with the prefix netbench_; undefined numbers are left out. Ends with `# EOF`."""
    text: bytes = generate_latest(_Results(results))  # type: ignore[no-untyped-call]  # the library leaves it untyped
    return text.decode("utf-8")


@dataclass(frozen=True)
class _Results:
    """What the library asks for its metrics."""

    results: dict[str, Any]

    def collect(self) -> Iterator[Metric]:
        yield self._run()
        yield self._trials()
        yield from self._summaries()
        yield from self._comparisons()

    def _run(self) -> Metric:
        run = self.results["run"]
        keys = ("id", "provider", "baseline", "started")
        info = {key: str(run.get(key) or "") for key in keys} | {
            "shared_machine": str(bool(run["shared_machine"])).lower()
        }
        return InfoMetricFamily(
            "netbench_run", "The run that the other metrics describe; a shared machine is a lab, not a cloud.", info
        )

    def _trials(self) -> Metric:
        labels = ("cluster", "scenario", "status")
        family = GaugeMetricFamily("netbench_trials", "Trials by outcome.", labels=labels)
        counted = Counter((t["cluster"], t["scenario"], t["status"]) for t in self.results["trials"])
        for cluster, scenario in dict.fromkeys((t["cluster"], t["scenario"]) for t in self.results["trials"]):
            for status in _STATUSES:
                family.add_metric([cluster, scenario, status], counted[cluster, scenario, status])
        return family

    def _summaries(self) -> Iterator[Metric]:
        for name, metric in METRICS.items():
            rows = [s for s in self.results["summaries"] if s["metric"] == name]
            if not rows:
                continue
            text = f"{name.replace('_', ' ').capitalize()}, statistics over the trials that count."
            unit = metric.unit if name.endswith(metric.unit) else ""
            family = GaugeMetricFamily(f"netbench_{name}", text, labels=("cluster", "scenario", "stat"), unit=unit)
            for row in rows:
                for stat in _STATISTICS:
                    if row[stat] is not None:
                        family.add_metric([row["cluster"], row["scenario"], stat], row[stat])
            yield family

    def _comparisons(self) -> Iterator[Metric]:
        labels = ("baseline", "candidate", "scenario", "metric")
        numbers = GaugeMetricFamily(
            "netbench_comparison",
            "Candidate against baseline, by statistic; interval, margin and detectable difference are on the scale.",
            labels=(*labels, "primary", "scale", "stat"),
        )
        verdicts = GaugeMetricFamily(
            "netbench_verdict", "1 for the verdict on a scenario, 0 for the others.", labels=(*labels, "verdict")
        )
        for row in self.results["comparisons"]:
            place = [row[label] for label in labels]
            scale = "relative" if row["relative"] is not None else "difference"
            for stat in _COMPARISON:
                if row[stat] is not None:
                    numbers.add_metric([*place, str(row["primary"]).lower(), scale, stat], row[stat])
            for verdict in _VERDICTS if row["primary"] else ():
                verdicts.add_metric([*place, verdict], float(row["verdict"] == verdict))
        yield numbers
        yield verdicts
