# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts by simulation: whole runs of the default matrix whose truth is known, in the order that the plan gives them.

A trial's value is its cluster's true value × log-normal noise × the machine's drift, an autocorrelated process with a
trend that goes on through the run. `pytest -s` prints the rates.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from scipy import signal, stats

from ansible_collections.netbench.cni.plugins.plugin_utils import comparison, plan, statistics
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Scenario, Traffic
from ansible_collections.netbench.cni.tests.unit import synthetic

ALPHA, MARGIN, CV = 0.05, 0.02, 0.01
PRIMARIES = synthetic.PRIMARIES


def run(
    seed: int,
    *,
    clusters: tuple[str, ...] = ("a", "b"),
    scenarios: tuple[str, ...] = synthetic.SCENARIOS,
    effects: Mapping[str, float] | None = None,
    cv: float = CV,
    drift: float = 0.03,
) -> list[dict[str, Any]]:
    """The trials of one run; `effects` multiplies the primary of a scenario on the last cluster."""
    rng = np.random.default_rng(seed)
    described = tuple(Scenario(name, "pod_to_pod", Traffic(), PRIMARIES[name]) for name in scenarios)
    planned = plan.plan(Matrix(baseline=clusters[0], clusters=clusters, scenarios=described, seed=seed))
    shocks = drift * np.sqrt(1 - 0.9**2) * rng.standard_normal(len(planned))
    machine = signal.lfilter([1.0], [1.0, -0.9], shocks) + drift * np.linspace(-1, 1, len(planned))
    values = np.exp(machine + cv * rng.standard_normal(len(planned)))
    # most sustained UDP trials lose nothing, some a little, a few a lot
    losses = rng.choice((0.0, 1e-4, 1e-2), size=len(planned), p=(0.8, 0.17, 0.03)) * rng.lognormal(size=len(planned))
    entries = []
    for trial, value, loss in zip(planned, values.tolist(), losses.tolist(), strict=True):
        factor = (effects or {}).get(trial.scenario.name, 1.0) if trial.cluster == clusters[-1] else 1.0
        metric = trial.scenario.primary
        entries.append(
            {
                "id": trial.id,
                "block": trial.block,
                "cluster": trial.cluster,
                "scenario": trial.scenario.name,
                "status": "ok",
                "metrics": {metric: loss if metric == "loss_ratio" else value * factor},
            }
        )
    return entries


def compared(seed: int, **options: Any) -> dict[tuple[str, str], comparison.Comparison]:
    """The comparisons of one run's primaries by (candidate, scenario)."""
    entries = run(seed, **options)
    primaries = {scenario: PRIMARIES[scenario] for scenario in options.get("scenarios", synthetic.SCENARIOS)}
    found = comparison.compare(entries, baseline="a", primaries=primaries, margin=MARGIN, alpha=ALPHA)
    return {(each.candidate, each.scenario): each for each in found}


def report(what: str, count: int, total: int) -> float:
    low, high = statistics.proportion_interval(count, total)
    sys.stdout.write(f"{what}: {count / total:.3f} ({count} of {total}, 95 % interval {low:.3f} to {high:.3f})\n")
    return count / total


def at_most(count: int, total: int, rate: float) -> bool:
    """Whether so many would be seen in at least one of a thousand such simulations if the true rate were `rate`."""
    return bool(stats.binomtest(count, total, rate, alternative="greater").pvalue > 0.001)


def wrong(found: Mapping[tuple[str, str], comparison.Comparison]) -> bool:
    return any(each.verdict in ("higher", "lower") for each in found.values())


@pytest.mark.parametrize(
    ("clusters", "drift", "runs"),
    [(("a", "b"), 0.0, 500), (("a", "b"), 0.03, 1500), (("a", "b", "c"), 0.03, 300)],
    ids=["calm", "drifting", "two candidates"],
)
def test_equal_clusters_get_no_verdict(clusters: tuple[str, ...], drift: float, runs: int) -> None:
    """Family-wise: at most 5 % of runs name any difference that is not there, over all primaries of the matrix."""
    count = sum(wrong(compared(seed, clusters=clusters, drift=drift)) for seed in range(runs))
    report(f"runs of {len(clusters)} equal clusters, drift {drift:.0%}, with a false verdict", count, runs)
    assert at_most(count, runs, ALPHA)


def test_the_simulation_can_fail() -> None:
    """Without the correction the same runs would name false differences in far more than 5 % of cases."""
    runs = 200
    count = sum(any((each.p_value or 1) < ALPHA for each in compared(seed).values()) for seed in range(runs))
    assert report("runs with an uncorrected p below 5 %", count, runs) > 0.15
    assert not at_most(count, runs, ALPHA)


def test_exploratory_metrics_of_equal_clusters() -> None:
    """All metrics: with nothing to find every discovery is false, and at most 5 % of the runs have one."""
    runs, count = 150, 0
    for seed in range(runs):
        entries = synthetic.iter_trials(synthetic.Spec(seed=seed, datapaths={"a": "routed", "b": "routed"}))
        found = comparison.compare(entries, baseline="a", primaries=PRIMARIES)
        count += any(each.verdict in ("higher", "lower") for each in found if not each.primary)
    report("runs of equal clusters with a false exploratory verdict", count, runs)
    assert at_most(count, runs, ALPHA)


def test_known_differences_are_detected() -> None:
    """One scenario of the seven differs; how often the run says so, and in the right direction."""
    runs, scenario, rates = 150, "pod_to_pod_tcp", {}
    for effect in (0.01, 0.02, 0.05):
        verdicts = [
            compared(seed, effects={scenario: 1 - effect}, drift=0)["b", scenario].verdict for seed in range(runs)
        ]
        assert verdicts.count("higher") <= 1
        rates[effect] = report(
            f"a difference of {effect:.0%} at a cv of {CV:.0%} is found", verdicts.count("lower"), runs
        )
    assert rates[0.01] < rates[0.02] < rates[0.05]
    # by the noncentral t at Bonferroni's level, which Holm's first step uses: 0.13, 0.65 and more than 0.999
    assert 0.5 < rates[0.02] < 0.85
    assert rates[0.05] > 0.99


def test_the_smallest_detectable_difference_is_detected_as_often_as_claimed() -> None:
    runs, scenario = 400, "pod_to_pod_tcp"
    stderr = CV * np.sqrt(2 / 8)
    estimate = statistics.Estimate(8, stderr=stderr, df=7)
    smallest = statistics.smallest_detectable(estimate, ALPHA / len(PRIMARIES), 0.8)
    assert smallest is not None
    found = [compared(seed, effects={scenario: np.exp(smallest)}, drift=0)["b", scenario] for seed in range(runs)]
    rate = report(f"the smallest detectable difference, {np.expm1(smallest):.1%}, is found", _higher(found), runs)
    assert 0.73 < rate < 0.88
    claimed = np.median([each.minimum_detectable for each in found if each.minimum_detectable is not None])
    assert claimed == pytest.approx(np.expm1(smallest), rel=0.1)


def _higher(found: list[comparison.Comparison]) -> int:
    return sum(each.verdict == "higher" for each in found)


def _single(runs: int, **options: Any) -> Iterator[comparison.Comparison]:
    """A run each with the one scenario pod_to_pod_tcp."""
    for seed in range(runs):
        yield compared(seed, scenarios=("pod_to_pod_tcp",), **options)["b", "pod_to_pod_tcp"]


@pytest.mark.parametrize("drift", [0.0, 0.03])
def test_intervals_cover_the_truth(drift: float) -> None:
    runs, truth = 1000, 0.97
    found = list(_single(runs, effects={"pod_to_pod_tcp": truth}, drift=drift))
    count = sum(each.ci_low is not None and each.ci_low <= truth - 1 <= each.ci_high for each in found)
    report(f"95 % intervals that cover the truth, drift {drift:.0%}", count, runs)
    assert at_most(runs - count, runs, 0.05)
    assert at_most(count, runs, 0.98)  # and are not wider than they need be


@pytest.mark.parametrize("cv", [0.002, 0.005, 0.01])
def test_a_difference_as_large_as_the_margin_is_not_called_equivalent(cv: float) -> None:
    runs = 700
    found = list(_single(runs, effects={"pod_to_pod_tcp": 1 + MARGIN}, cv=cv, drift=0))
    said = sum(each.verdict == "equivalent" for each in found)
    within = sum(each.ci_low is not None and each.ci_low >= -MARGIN and each.ci_high <= MARGIN for each in found)
    report(f"a difference of the margin, cv {cv:.1%}, said to be equivalent", said, runs)
    report(f"a difference of the margin, cv {cv:.1%}, with its whole interval inside", within, runs)
    assert at_most(said, runs, 0.05)
    assert at_most(within, runs, 0.025)


def test_equal_clusters_are_called_equivalent_when_the_run_is_calm() -> None:
    runs = 300
    found = list(_single(runs, cv=0.005, drift=0.005))
    assert report("equal clusters said to be equivalent", sum(e.verdict == "equivalent" for e in found), runs) > 0.9


def test_two_runs_of_an_unchanged_cluster_on_a_machine_that_does_not_drift() -> None:
    """Welch's test holds its level; that nothing drifted between the runs is what its caveat is about."""
    runs, count = 600, 0
    for seed in range(runs):
        halves = [
            {
                "run": {"id": str(part)},
                "scenarios": [{"name": "pod_to_pod_tcp", "primary": PRIMARIES["pod_to_pod_tcp"]}],
            }
            | {"trials": run(2 * seed + part, clusters=("a",), scenarios=("pod_to_pod_tcp",), drift=0)}
            for part in (0, 1)
        ]
        (row,) = comparison.compare_runs(halves[0], halves[1])["comparisons"]
        count += row["verdict"] in ("higher", "lower")
    report("unchanged clusters with a false verdict between two runs", count, runs)
    assert at_most(count, runs, ALPHA)
