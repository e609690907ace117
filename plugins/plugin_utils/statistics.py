# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials → summaries per cluster, scenario and metric, and the estimates that comparisons are made of.

Everything takes journal entries as mappings and counts the trials of status ok only. Methods, sources and how far to
trust them: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

with suppress(ImportError):
    import numpy as np
    from scipy import special, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

CONFIDENCE = 0.95
# Below six values without any scatter the order-statistic interval does not reach 95 %: 1 − 2 · 0.5^n.
LEAST_CONSTANT = 6

Key = tuple[str, str, str]
Observations = dict[Key, dict[int, float]]


@dataclass(frozen=True)
class Summary:
    """One metric of one scenario on one cluster over its trials, in its unit; what n does not allow is None."""

    cluster: str
    scenario: str
    metric: str
    n: int
    mean: float
    median: float
    stdev: float | None
    cv: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of means, with what is known of it; what the values do not allow is None.

    `stderr` and `df` are None where there is no scatter to learn from, `low` and `high` bound `center` with CONFIDENCE,
    `p` is two-sided for the hypothesis that the true value is zero.
    """

    n: int
    center: float | None = None
    stderr: float | None = None
    df: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def observations(trials: Iterable[Mapping[str, Any]]) -> Observations:
    """(cluster, scenario, metric) → block → value, of the trials that are ok.

    Raises NetbenchError for a value that is no finite number and for a second ok trial in one block.
    """
    found: Observations = {}
    for trial in trials:
        if trial["status"] != "ok":
            continue
        block, cluster, scenario = trial["block"], trial["cluster"], trial["scenario"]
        for metric, value in trial["metrics"].items():
            if value is None:
                continue
            if not math.isfinite(value):
                raise NetbenchError(f"trial {trial['id']} has {metric} {value}; it must be a finite number")
            blocks = found.setdefault((cluster, scenario, metric), {})
            if block in blocks:
                raise NetbenchError(
                    f"trial {trial['id']} is the second ok one of scenario {scenario} on cluster {cluster} in block "
                    f"{block}; a block has one"
                )
            blocks[block] = float(value)
    return found


def summarize(trials: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """One summary per (cluster, scenario, metric), in the order in which they first occur."""
    return [_summary(key, np.fromiter(blocks.values(), float)) for key, blocks in observations(trials).items()]


def _summary(key: Key, values: Values) -> Summary:
    n, mean = len(values), float(values.mean())
    stdev = half = None
    if n > 1:
        stdev = float(values.std(ddof=1))
        half = t_quantile(n - 1) * stdev / math.sqrt(n)
    return Summary(
        *key,
        n=n,
        mean=mean,
        median=float(np.median(values)),
        stdev=stdev,
        cv=stdev / abs(mean) if stdev is not None and mean else None,
        ci_low=None if half is None else mean - half,
        ci_high=None if half is None else mean + half,
    )


def paired(differences: Values) -> Estimate:
    """The mean of paired differences by the paired t-test (Student 1908; scipy.stats.ttest_1samp)."""
    n = len(differences)
    if n < 2:
        return Estimate(n, center=float(differences[0]) if n else None)
    if _constant(differences):
        return _without_scatter(n, float(differences[0]))
    result = stats.ttest_1samp(differences, 0.0)
    interval = result.confidence_interval(CONFIDENCE)
    center = float(differences.mean())
    stderr = float(stats.sem(differences))
    return Estimate(n, center, stderr, n - 1.0, float(interval.low), float(interval.high), float(result.pvalue))


def unpaired(before: Values, after: Values) -> Estimate:
    """The difference of two means by Welch's t-test (1947; scipy.stats.ttest_ind); `n` is the smaller sample's."""
    n = min(len(before), len(after))
    center = float(after.mean() - before.mean()) if n else None
    if n < 2 or center is None:
        return Estimate(n, center)
    if _constant(before) and _constant(after):
        return _without_scatter(n, float(after[0] - before[0]))
    result = stats.ttest_ind(after, before, equal_var=False)
    interval = result.confidence_interval(CONFIDENCE)
    stderr = math.hypot(stats.sem(before), stats.sem(after))
    return Estimate(
        n, center, stderr, float(result.df), float(interval.low), float(interval.high), float(result.pvalue)
    )


def smallest_detectable(estimate: Estimate, alpha: float, power: float) -> float | None:
    """The smallest true effect that a two-sided t-test at `alpha` finds, in its direction, with probability `power`.

    The scatter is taken as observed; the noncentrality comes from the noncentral t distribution (Johnson & Welch 1940;
    Cohen 1988, ch. 2; scipy.special.nctdtrinc). None without an estimate of scatter.
    """
    if estimate.stderr is None or estimate.df is None:
        return None
    return _noncentrality(estimate.df, alpha, power) * estimate.stderr


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Holm 1979), which SciPy lacks.

    A p value that is None could not be tested: it stays None and still counts as one of the family.
    """
    known, where = _ordered(p_values)
    size = len(known)
    adjusted = np.minimum(1.0, np.maximum.accumulate((size - np.arange(size)) * known[where]))
    return _restored(p_values, where, adjusted)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini & Hochberg's adjustment (1995; scipy.stats.false_discovery_control); None as in `holm`."""
    known, where = _ordered(p_values)
    adjusted = stats.false_discovery_control(known[where]) if len(known) else known
    return _restored(p_values, where, adjusted)


def _ordered(p_values: Sequence[float | None]) -> tuple[Values, NDArray[np.intp]]:
    known = np.array([1.0 if p is None else p for p in p_values])
    return known, np.argsort(known, kind="stable")


def _restored(p_values: Sequence[float | None], where: NDArray[np.intp], adjusted: Values) -> list[float | None]:
    places = dict(zip(where.tolist(), adjusted.tolist(), strict=True))
    return [None if p is None else places[place] for place, p in enumerate(p_values)]


def _constant(values: Values) -> bool:
    return bool(np.allclose(values, values[0], rtol=1e-9, atol=1e-12))


def _without_scatter(n: int, value: float) -> Estimate:
    """Values that are all alike say nothing of their scatter, so the t-test is undefined; signs and order still count.

    The sign test (Dixon & Mood 1946) has p = 2 · 0.5^n for equal signs and 1 for zeros; the interval of the median from
    the smallest to the largest value (David & Nagaraja 2003, 7.1) holds with probability 1 − 2 · 0.5^n.
    """
    if abs(value) <= 1e-12:
        value, p = 0.0, 1.0
    else:
        p = float(stats.binomtest(n, n).pvalue)
    bound = value if n >= LEAST_CONSTANT else None
    return Estimate(n, center=value, low=bound, high=bound, p=p)


@lru_cache(maxsize=256)
def t_quantile(df: float, confidence: float = CONFIDENCE) -> float:
    """How many standard errors a two-sided interval reaches."""
    return float(stats.t.isf((1 - confidence) / 2, df))


@lru_cache(maxsize=4096)
def _noncentrality(df: float, alpha: float, power: float) -> float:
    return float(special.nctdtrinc(df, 1 - power, stats.t.isf(alpha / 2, df)))


def proportion_interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's interval of a proportion (Wilson 1927; scipy.stats.binomtest)."""
    interval = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)
