# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials → comparisons with verdicts: candidate against baseline, pods against their hosts, one run against another.

Metrics that are `relative` in the registry are compared as log ratios, provided that every value is positive; the
others as differences in their unit. Methods, sources and how far to trust them: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ansible_collections.netbench.cni.plugins.plugin_utils import metrics
from ansible_collections.netbench.cni.plugins.plugin_utils.fields import nearest
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.statistics import (
    Estimate,
    Observations,
    benjamini_hochberg,
    holm,
    observations,
    paired,
    smallest_detectable,
    unpaired,
)

with suppress(ImportError):
    import numpy as np

if TYPE_CHECKING:
    from ansible_collections.netbench.cni.plugins.plugin_utils.statistics import Values

Verdict = Literal["higher", "lower", "equivalent", "inconclusive"]
Reason = Literal["no_pairs", "one_pair", "no_interval", "not_after_correction", "no_margin", "too_wide"]

DRIFT_CAVEAT = "not interleaved: drift between the runs is not excluded"
HOST_METRICS = ("throughput_bits_per_second", "cpu_cores_per_gbit")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the statistics say of one metric; what the values do not allow is None.

    `n` counts pairs, or the trials of the smaller sample where there are no pairs. `difference` is in the metric's
    unit, `relative` a fraction. The 95 % interval `ci_low` … `ci_high`, `minimum_detectable` and `margin` are on the
    scale of `relative` where that is defined, else of `difference`.
    """

    metric: str
    n: int
    difference: float | None
    relative: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    p_adjusted: float | None
    minimum_detectable: float | None
    margin: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison(Finding):
    """Candidate against baseline in one scenario, paired by block."""

    scenario: str
    primary: bool
    baseline: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class HostComparison(Finding):
    """A pod scenario against the same traffic between the nodes of the same cluster, paired by block."""

    cluster: str
    scenario: str
    host_scenario: str
    exploratory: bool


@dataclass(frozen=True, kw_only=True)
class RunComparison(Finding):
    """The same scenario on the cluster of the same name in a later run; trials are not paired."""

    cluster: str
    scenario: str
    primary: bool
    n_before: int
    n_after: int


@dataclass(frozen=True)
class Judge:
    """What a verdict is bound to: the margin (a fraction, for log ratios), the level and the power."""

    margin: float = 0.02
    alpha: float = 0.05
    power: float = 0.8


@dataclass(frozen=True)
class _Contrast:
    """An estimate on the scale it was made on; `difference` is in the metric's unit whatever the scale."""

    metric: str
    logs: bool
    difference: float | None
    estimate: Estimate


def compare(
    trials: Iterable[Mapping[str, Any]],
    *,
    baseline: str,
    primaries: Mapping[str, str],
    candidates: Sequence[str] | None = None,
    margin: float = 0.02,
    alpha: float = 0.05,
    power: float = 0.8,
) -> list[Comparison]:
    """Every candidate (None: every other cluster) with the baseline, scenario by scenario, the primary metric first.

    `primaries` maps scenarios to their primary metric; Holm's adjustment runs over all of these, Benjamini & Hochberg's
    over everything else. A primary is listed even when no pair of it could be measured. Raises NetbenchError when the
    baseline has no trials and for metrics that the registry lacks.
    """
    trials = list(trials)
    clusters = dict.fromkeys(trial["cluster"] for trial in trials)
    if baseline not in clusters:
        raise NetbenchError(f"baseline {baseline} was not measured; {nearest(baseline, clusters)}")
    if candidates is None:
        candidates = [cluster for cluster in clusters if cluster != baseline]
    found = observations(trials)
    scenarios = dict.fromkeys([*primaries, *(trial["scenario"] for trial in trials)])
    labels: list[dict[str, Any]] = []
    contrasts: list[_Contrast] = []
    for scenario in scenarios:
        for candidate in candidates:
            for metric in _measured(found, ((baseline, scenario), (candidate, scenario)), primaries.get(scenario)):
                primary = metric == primaries.get(scenario)
                labels.append({"scenario": scenario, "primary": primary, "baseline": baseline, "candidate": candidate})
                contrasts.append(_pairs(found, (baseline, scenario, metric), (candidate, scenario, metric)))
    judged = _judged(contrasts, [label["primary"] for label in labels], Judge(margin, alpha, power))
    return [Comparison(**label, **finding) for label, finding in zip(labels, judged, strict=True)]


def host_cost(
    trials: Iterable[Mapping[str, Any]],
    hosts: Mapping[str, str],
    *,
    margin: float = 0.02,
    alpha: float = 0.05,
    power: float = 0.8,
) -> list[HostComparison]:
    """What the pod network costs: each pod scenario of `hosts` against its node-to-node scenario, cluster by cluster.

    Exploratory: the two are in the same block but not adjacent in time, and only Benjamini & Hochberg's adjustment is
    made.
    """
    trials = list(trials)
    found = observations(trials)
    labels: list[dict[str, Any]] = []
    contrasts: list[_Contrast] = []
    for cluster in dict.fromkeys(trial["cluster"] for trial in trials):
        for scenario, host_scenario in hosts.items():
            for metric in _measured(found, ((cluster, scenario), (cluster, host_scenario)), None):
                if metric in HOST_METRICS:
                    labels.append({"cluster": cluster, "scenario": scenario, "host_scenario": host_scenario})
                    contrasts.append(_pairs(found, (cluster, host_scenario, metric), (cluster, scenario, metric)))
    judged = _judged(contrasts, [False] * len(labels), Judge(margin, alpha, power))
    return [HostComparison(**label, **finding, exploratory=True) for label, finding in zip(labels, judged, strict=True)]


def compare_runs(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    margin: float = 0.02,
    alpha: float = 0.05,
    power: float = 0.8,
) -> dict[str, Any]:
    """Two results of the same matrix, the later against the earlier, as plain data.

    Every metric that both have is compared, cluster by cluster and scenario by scenario, without pairs (Welch).
    `left_out` names the scenarios that are not the same in both, `changed` the versions and conditions that differ as
    [before, after]; `caveat` has to be shown with the verdicts. Raises NetbenchError when nothing can be compared.
    """
    scenarios = {scenario["name"]: scenario for scenario in after["scenarios"]}
    known = {scenario["name"]: scenario for scenario in before["scenarios"]}
    same = {name: scenario["primary"] for name, scenario in scenarios.items() if known.get(name) == scenario}
    compared = _between(before["trials"], after["trials"], same, Judge(margin, alpha, power))
    if not compared:
        raise NetbenchError(
            f"runs {before['run']['id']} and {after['run']['id']} have no scenario in common that both measured on a "
            "cluster of the same name; compare two runs of the same matrix"
        )
    return {
        "before": before["run"]["id"],
        "after": after["run"]["id"],
        "caveat": DRIFT_CAVEAT,
        "margin": margin,
        "left_out": sorted((known.keys() | scenarios.keys()) - same.keys()),
        "changed": {
            f"{part}.{key}": [old.get(key), new.get(key)]
            for part in ("versions", "conditions")
            for old, new in [(before["run"].get(part, {}), after["run"].get(part, {}))]
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        },
        "comparisons": [asdict(comparison) for comparison in compared],
    }


def _between(
    before: Iterable[Mapping[str, Any]],
    after: Iterable[Mapping[str, Any]],
    primaries: Mapping[str, str],
    judge: Judge,
) -> list[RunComparison]:
    old, new = observations(before), observations(after)
    labels: list[dict[str, Any]] = []
    contrasts: list[_Contrast] = []
    for key in old:
        cluster, scenario, metric = key
        if key in new and scenario in primaries:
            primary = metric == primaries[scenario]
            sizes = {"n_before": len(old[key]), "n_after": len(new[key])}
            labels.append({"cluster": cluster, "scenario": scenario, "primary": primary, **sizes})
            contrasts.append(_contrast(metric, _values(old[key]), _values(new[key]), unpaired))
    judged = _judged(contrasts, [label["primary"] for label in labels], judge)
    return [RunComparison(**label, **finding) for label, finding in zip(labels, judged, strict=True)]


def why_inconclusive(finding: Mapping[str, Any]) -> Reason | None:
    """Why a finding (as a mapping) is inconclusive; None if it is not.

    `not_after_correction`: the interval leaves out zero, but not after correcting for the number of comparisons.
    `no_margin`: the interval holds zero, and the metric has no margin within which a difference would not matter.
    `too_wide`: the interval holds zero and reaches beyond the margin.
    """
    if finding["verdict"] != "inconclusive":
        return None
    if finding["n"] < 2:
        return "one_pair" if finding["n"] else "no_pairs"
    low, high = finding["ci_low"], finding["ci_high"]
    if low is None or high is None:
        return "no_interval"
    if low > 0 or high < 0:
        return "not_after_correction"
    return "no_margin" if finding["margin"] is None else "too_wide"


def _measured(found: Observations, sides: Iterable[tuple[str, str]], primary: str | None) -> Iterator[str]:
    """The metrics that any of the (cluster, scenario) has, in the registry's order but the primary first."""
    if primary is not None:
        yield metrics.metric(primary).name
    sides = list(sides)
    for metric in metrics.METRICS:
        if metric != primary and any((*side, metric) in found for side in sides):
            yield metric


def _pairs(found: Observations, base: tuple[str, str, str], other: tuple[str, str, str]) -> _Contrast:
    """`other` against `base` in the blocks that have both."""
    left, right = found.get(base, {}), found.get(other, {})
    blocks = [block for block in left if block in right]
    first, second = (np.array([side[block] for block in blocks]) for side in (left, right))
    return _contrast(other[2], first, second, lambda a, b: paired(b - a))


def _contrast(name: str, base: Values, other: Values, test: Callable[[Values, Values], Estimate]) -> _Contrast:
    logs = metrics.metric(name).relative and bool((base > 0).all() and (other > 0).all())
    difference = float(other.mean() - base.mean()) if len(base) and len(other) else None
    estimate = test(np.log(base), np.log(other)) if logs else test(base, other)
    return _Contrast(name, logs, difference, estimate)


def _values(blocks: Mapping[int, float]) -> Values:
    return np.fromiter(blocks.values(), float)


def _judged(contrasts: Sequence[_Contrast], primary: Sequence[bool], judge: Judge) -> list[dict[str, Any]]:
    """The fields of a Finding for each contrast; the primaries and the rest are adjusted as families of their own."""
    findings: list[dict[str, Any]] = [{}] * len(contrasts)
    for kind, adjust in ((True, holm), (False, benjamini_hochberg)):
        family = [place for place, is_primary in enumerate(primary) if is_primary is kind]
        adjusted = adjust([contrasts[place].estimate.p for place in family])
        for place, p_adjusted in zip(family, adjusted, strict=True):
            findings[place] = _finding(contrasts[place], p_adjusted, len(family), judge)
    return findings


def _finding(contrast: _Contrast, p_adjusted: float | None, family: int, judge: Judge) -> dict[str, Any]:
    estimate = contrast.estimate
    registered = metrics.metric(contrast.metric)
    margin = judge.margin if contrast.logs else registered.absolute_margin
    scale = _fraction if contrast.logs else _as_is
    low, high = scale(estimate.low), scale(estimate.high)
    return {
        "metric": contrast.metric,
        "n": estimate.n,
        "difference": contrast.difference,
        "relative": _fraction(estimate.center) if contrast.logs else None,
        "ci_low": low,
        "ci_high": high,
        "p_value": estimate.p,
        "p_adjusted": p_adjusted,
        "minimum_detectable": scale(smallest_detectable(estimate, judge.alpha / family, judge.power)),
        "margin": margin,
        "verdict": _verdict(estimate.center, low, high, p_adjusted, margin, judge.alpha),
    }


def _verdict(
    center: float | None, low: float | None, high: float | None, p: float | None, margin: float | None, alpha: float
) -> Verdict:
    if center is None or low is None or high is None or p is None:
        return "inconclusive"
    if p < alpha:
        return "higher" if center > 0 else "lower"
    reach = margin or 0.0
    return "equivalent" if -reach <= low and high <= reach else "inconclusive"


def _fraction(log_ratio: float | None) -> float | None:
    """exp(x) − 1, bounded so that a hopelessly wide interval is still a number."""
    return None if log_ratio is None else math.expm1(min(log_ratio, 700.0))


def _as_is(value: float | None) -> float | None:
    return value
