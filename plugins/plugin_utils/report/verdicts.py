# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts in words. Every number in a sentence is a field of results.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS, Metric
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE, Numbers, decimals_of

# A predicted difference smaller than this is called none: it is below what any run here resolves.
_NO_DIFFERENCE = 0.0002


@dataclass(frozen=True)
class Interval:
    """A difference with its interval and the margin within which it does not matter, all on one scale."""

    value: float
    low: float
    high: float
    margin: float
    prediction: float | None


@dataclass(frozen=True)
class Verdict:
    """One comparison as it is told: `word` is higher, lower, equivalent, inconclusive or none; `good` says whether the
    difference is to the candidate's advantage (None: neither)."""

    scenario: str
    candidate: str
    title: str
    word: str
    label: str
    sentence: str
    good: bool | None
    interval: Interval | None

    @property
    def key(self) -> tuple[str, str]:
        return self.scenario, self.candidate


def all_verdicts(measured: Measured) -> list[Verdict]:
    """One verdict for every scenario and candidate, on the scenario's primary metric."""
    return [verdict(measured, scenario, candidate) for scenario, candidate in measured.pairs()]


def verdict(measured: Measured, scenario: Record, candidate: str) -> Verdict:
    comparison = measured.comparison(candidate, scenario["name"], scenario["primary"])
    metric = METRICS[scenario["primary"]]
    title = measured.title(scenario["name"])
    if comparison is None or comparison["ci_low"] is None or comparison["ci_high"] is None:
        sentence = _no_verdict(measured, scenario, candidate, comparison)
        label = measured.texts("word.none")
        return Verdict(scenario["name"], candidate, title, "none", label, sentence, None, None)
    predicted = _prediction(measured, comparison)
    sentence = comparison_sentence(measured, comparison)
    if predicted is not None:
        sentence += measured.texts("prediction.join") + _prediction_words(measured, comparison, predicted)
    word = comparison["verdict"]
    label = measured.texts.known(f"word.{metric.name}_{word}", measured.texts(f"word.{word}"))
    interval = _interval(comparison, predicted)
    sentence += measured.texts("list.stop")
    return Verdict(scenario["name"], candidate, title, word, label, sentence, _good(word, metric), interval)


def comparison_sentence(measured: Measured, comparison: Record) -> str:
    """flannel is 0.56 % slower than native (−0.72 … −0.41 %, p < 0.001, 8 pairs), without a full stop."""
    texts, numbers = measured.texts, measured.numbers
    metric, word = METRICS[comparison["metric"]], comparison["verdict"]
    value, scale = effect(comparison), scale_of(comparison)
    decimals = decimals_of(comparison["ci_low"], comparison["ci_high"])
    values: dict[str, Any] = {
        "candidate": comparison["candidate"],
        "baseline": comparison["baseline"],
        "metric": texts(f"metric.{metric.name}"),
        "amount": numbers.change(abs(value) if value is not None else None, scale, signed=False, decimals=decimals),
        "difference": numbers.change(value, scale, decimals=decimals),
        "interval": numbers.interval(comparison["ci_low"], comparison["ci_high"], scale),
        "p": numbers.p_value(corrected_p(comparison)),
        "n": comparison["n"],
        "margin": numbers.setting(comparison["margin"], scale),
        "detectable": numbers.change(comparison["minimum_detectable"], scale, signed=False),
    }
    if word in ("higher", "lower"):
        general = texts(f"verdict.{word}", **values)
        sentence = texts.known(f"verdict.{metric.name}_{word}", general, **values)
        if _within_margin(comparison):
            return sentence + texts("verdict.detail_small", **values)
        return sentence + texts("verdict.detail", **values)
    return texts(f"verdict.{_undecided(comparison)}", **values)


def _undecided(comparison: Record) -> str:
    """Which sentence tells of a comparison that found no difference."""
    low, high = comparison["ci_low"], comparison["ci_high"]
    if comparison["verdict"] == "equivalent":
        return "equivalent" if comparison["margin"] else "equivalent_same"
    if low > 0 or high < 0:
        return "inconclusive_corrected"
    return "inconclusive" if comparison["minimum_detectable"] is None else "inconclusive_detectable"


def effect(comparison: Record) -> float | None:
    """The number that the interval and the margin are about: the relative difference where that is defined."""
    value: float | None = comparison["relative" if comparison["relative"] is not None else "difference"]
    return value


def scale_of(comparison: Record) -> str:
    """The scale of that number: `relative`, or the metric's unit."""
    metric = METRICS[comparison["metric"]]
    absolute = comparison["difference"] is not None if metric.relative else True
    return metric.unit if absolute and comparison["relative"] is None else "relative"


def shown_effect(comparison: Record, numbers: Numbers) -> tuple[str, str]:
    """The difference and its interval, with the same number of decimals."""
    low, high, scale = comparison["ci_low"], comparison["ci_high"], scale_of(comparison)
    difference = numbers.change(effect(comparison), scale, decimals=decimals_of(low, high))
    return difference, numbers.interval(low, high, scale)


def corrected_p(comparison: Record) -> float | None:
    p: float | None = comparison["p_adjusted"] if comparison["p_adjusted"] is not None else comparison["p_value"]
    return p


def _within_margin(comparison: Record) -> bool:
    margin = comparison["margin"]
    return margin is not None and max(abs(comparison["ci_low"]), abs(comparison["ci_high"])) <= margin


def _prediction(measured: Measured, comparison: Record) -> float | None:
    """What the headers alone predict, on the comparison's scale."""
    found = measured.prediction(comparison["candidate"], comparison["scenario"], comparison["metric"])
    if found is None:
        return None
    value: float | None = found["relative" if scale_of(comparison) == "relative" else "difference"]
    return value


def _prediction_words(measured: Measured, comparison: Record, predicted: float) -> str:
    if abs(predicted) < _NO_DIFFERENCE:
        return measured.texts("prediction.none")
    datapaths = [measured.cluster(comparison[side]).get("datapath") for side in ("baseline", "candidate")]
    key = "prediction.vxlan" if datapaths.count("vxlan") == 1 else "prediction.headers"
    return measured.texts(key, value=measured.numbers.change(predicted, scale_of(comparison)))


def _interval(comparison: Record, predicted: float | None) -> Interval | None:
    value, margin = effect(comparison), comparison["margin"]
    if value is None or not margin:
        return None
    return Interval(value, comparison["ci_low"], comparison["ci_high"], margin, predicted)


def _good(word: str, metric: Metric) -> bool | None:
    if word not in ("higher", "lower") or metric.higher_is_better is None:
        return None
    return (word == "higher") == metric.higher_is_better


def _no_verdict(measured: Measured, scenario: Record, candidate: str, comparison: Record | None) -> str:
    """Why two clusters could not be compared on a scenario."""
    texts = measured.texts
    for cluster in (measured.baseline, candidate):
        trials = measured.trials_of(scenario["name"], cluster)
        if trials and not any(trial["status"] == "ok" for trial in trials):
            reason = most_common_reason(trials)
            return texts("verdict.none_ok", cluster=cluster, n=len(trials), reason=reason)
        if not trials:
            return texts("verdict.not_measured", cluster=cluster)
    pairs = comparison["n"] if comparison else 0
    value = effect(comparison) if comparison else None
    if comparison is None or value is None:
        return texts("verdict.no_pairs")
    difference = measured.numbers.change(value, scale_of(comparison))
    return texts("verdict.too_few_pairs", n=pairs, difference=difference)


def most_common_reason(trials: list[Record]) -> str:
    reasons = [trial["reason"] for trial in trials if trial["reason"]]
    return max(reasons, key=reasons.count) if reasons else NONE
