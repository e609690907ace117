# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summaries and estimates against published worked examples and their own definitions."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ansible_collections.netbench.cni.plugins.plugin_utils import statistics
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.statistics import Estimate
from ansible_collections.netbench.cni.tests.unit import synthetic

# Student (1908), "The probable error of a mean": additional hours of sleep by two soporifics in ten patients.
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)


def trial(value: float | None, block: int = 1, **changes: object) -> dict[str, object]:
    metrics = {"throughput_bits_per_second": value}
    entry = {"id": f"b{block}", "block": block, "cluster": "a", "scenario": "s", "status": "ok", "metrics": metrics}
    return entry | changes


def test_summary_of_known_numbers() -> None:
    (summary,) = statistics.summarize([trial(x, block) for block, x in enumerate((2.0, 4.0, 4.0, 6.0), start=1)])
    assert (summary.cluster, summary.scenario, summary.metric) == ("a", "s", "throughput_bits_per_second")
    assert (summary.n, summary.mean, summary.median) == (4, 4.0, 4.0)
    assert summary.stdev == pytest.approx(math.sqrt(8 / 3))
    assert summary.cv == pytest.approx(math.sqrt(8 / 3) / 4)
    half = 3.182446305284263 * math.sqrt(8 / 3) / 2  # t table: 97.5 % at 3 degrees of freedom
    assert (summary.ci_low, summary.ci_high) == (pytest.approx(4 - half), pytest.approx(4 + half))


def test_summary_of_one_trial_has_no_scatter() -> None:
    (summary,) = statistics.summarize([trial(5.0)])
    assert astuple(summary)[3:] == (1, 5.0, 5.0, None, None, None, None)


def test_mean_of_zero_has_no_coefficient_of_variation() -> None:
    (summary,) = statistics.summarize([trial(-1.0, 1), trial(1.0, 2)])
    assert summary.cv is None
    assert summary.stdev == pytest.approx(math.sqrt(2))


def test_only_ok_trials_count() -> None:
    (summary,) = statistics.summarize(
        [trial(1.0, 1), trial(3.0, 2), trial(99.0, 3, status="void"), trial(0.0, 4, status="failed"), trial(None, 5)]
    )
    assert (summary.n, summary.mean) == (2, 2.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(NetbenchError, match=r"throughput_bits_per_second .* finite"):
        statistics.summarize([trial(value)])


def test_two_ok_trials_in_a_block_are_refused() -> None:
    with pytest.raises(NetbenchError, match="block 1; a block has one"):
        statistics.summarize([trial(1.0), trial(2.0)])


def test_void_and_ok_in_one_block_are_fine() -> None:
    assert statistics.summarize([trial(1.0, status="void"), trial(2.0)])[0].mean == 2.0


def test_paired_students_sleep() -> None:
    found = statistics.paired(SLEEP[1] - SLEEP[0])
    assert found.n == 10
    assert found.center == pytest.approx(1.58)
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert (found.low, found.high) == (pytest.approx(0.7001142, abs=1e-7), pytest.approx(2.4598858, abs=1e-7))


def test_unpaired_students_sleep() -> None:
    found = statistics.unpaired(*SLEEP)
    assert found.df == pytest.approx(17.776, abs=1e-3)
    assert found.p == pytest.approx(0.07939, abs=1e-5)
    assert (found.low, found.high) == (pytest.approx(-0.2054832, abs=1e-7), pytest.approx(3.3654832, abs=1e-7))


def test_too_few_values_have_no_interval() -> None:
    assert statistics.paired(np.array([])) == Estimate(0)
    assert statistics.paired(np.array([2.0])) == Estimate(1, center=2.0)
    assert statistics.unpaired(np.array([1.0]), np.array([2.0, 3.0])) == Estimate(1, center=1.5)
    assert statistics.unpaired(np.array([]), np.array([2.0])) == Estimate(0)


@pytest.mark.parametrize("n", [2, 5, 6, 8])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_values_all_alike_are_judged_by_signs(n: int, value: float) -> None:
    for found in (
        statistics.paired(np.full(n, value)),
        statistics.unpaired(np.full(n + 3, 7.0), np.full(n, 7.0 + value)),
    ):
        assert found.center == value
        assert found.p == pytest.approx(2 * 0.5**n if value else 1.0)
        assert (found.low, found.high) == ((value, value) if n >= 6 else (None, None))
        assert found.stderr is None
        assert statistics.smallest_detectable(found, 0.05, 0.8) is None


def test_rounding_noise_is_no_scatter() -> None:
    found = statistics.paired(np.log(np.full(8, 1e9)) - np.log(np.full(8, 1e9) * (1 + 1e-15 * np.arange(8))))
    assert (found.center, found.p) == (0.0, 1.0)


def test_one_sample_without_scatter_still_has_a_t_test() -> None:
    found = statistics.unpaired(np.zeros(8), np.array([1.0, 2, 3, 2, 1, 2, 3, 2]))
    assert found.p is not None
    assert found.p < 0.001
    assert found.df == pytest.approx(7)


def test_smallest_detectable_matches_a_published_power_calculation() -> None:
    # R's power.t.test(power = .90, delta = 1): 22.02110 in each of two groups of standard deviation 1, level 5 %
    n = 22.02110
    found = statistics.smallest_detectable(Estimate(22, stderr=math.sqrt(2 / n), df=2 * n - 2), 0.05, 0.9)
    assert found == pytest.approx(1.0, abs=1e-6)


@given(df=st.integers(1, 500), family=st.integers(1, 100))
def test_smallest_detectable_has_the_power_it_claims(df: int, family: int) -> None:
    """Power by its definition: the normal distribution averaged over what the estimated deviation may be."""
    alpha = 0.05 / family
    effect = statistics.smallest_detectable(Estimate(df + 1, stderr=1.0, df=df), alpha, 0.8)
    assert effect is not None
    ratios = np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, df) / df)
    power = stats.norm.sf(stats.t.isf(alpha / 2, df) * ratios - effect).mean()
    assert power == pytest.approx(0.8, abs=1e-3)


def test_holm_published_example() -> None:
    # Holm (1979) on the values of R's documentation of p.adjust
    assert statistics.holm([0.04, 0.01, 0.05, 0.02, 0.03]) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])


def test_benjamini_hochberg_published_example() -> None:
    # Benjamini & Hochberg (1995), table 1: at 5 % the four smallest of the fifteen are discoveries
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    adjusted = statistics.benjamini_hochberg(p)
    assert sum(q is not None and q <= 0.05 for q in adjusted) == 4
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)


def test_what_could_not_be_tested_counts_in_the_family() -> None:
    assert statistics.holm([0.01, None, None]) == [pytest.approx(0.03), None, None]
    assert statistics.benjamini_hochberg([None, 0.01]) == [None, pytest.approx(0.02)]
    assert statistics.holm([]) == []
    assert statistics.benjamini_hochberg([]) == []


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20))
def test_adjusting_never_lowers_and_keeps_the_order(p_values: list[float | None]) -> None:
    for adjust in (statistics.holm, statistics.benjamini_hochberg):
        adjusted = adjust(p_values)
        known = [(p, q) for p, q in zip(p_values, adjusted, strict=True) if p is not None and q is not None]
        assert [q is None for q in adjusted] == [p is None for p in p_values]
        assert all(p <= q + 1e-12 and q <= 1 for p, q in known)
        ordered = [q for _p, q in sorted(known)]
        assert ordered == sorted(ordered)


def test_proportion_interval_published_example() -> None:
    # Newcombe (1998), table I: 81 of 263 by Wilson's score method
    assert statistics.proportion_interval(81, 263) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_all_summaries_of_a_run() -> None:
    spec = synthetic.Spec(failed=2, void=2)
    entries = synthetic.trials(spec)
    summaries = statistics.summarize(entries)
    keys = [(s.cluster, s.scenario, s.metric) for s in summaries]
    assert len(set(keys)) == len(keys)
    measured = {(t["cluster"], t["scenario"], m) for t in entries if t["status"] == "ok" for m in t["metrics"]}
    assert set(keys) == measured
    ok = sum(1 for t in entries if t["status"] == "ok")
    assert sum(s.n for s in summaries if s.metric == "throughput_bits_per_second") == ok == len(entries) - 4
