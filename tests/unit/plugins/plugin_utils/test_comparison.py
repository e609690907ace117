# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts: what is paired with what, on which scale, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ansible_collections.netbench.cni.plugins.plugin_utils import comparison
from ansible_collections.netbench.cni.plugins.plugin_utils.comparison import Comparison, compare
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit import synthetic

THROUGHPUT = "throughput_bits_per_second"
NOISE = (0.3, -0.8, 1.1, -0.2, 0.6, -1.3, 0.1, 0.4)


def trials(
    values: Mapping[str, Sequence[float | None]], metric: str = THROUGHPUT, scenario: str = "s"
) -> list[dict[str, Any]]:
    """Trials of several clusters, block by block; None is a failed trial."""
    return [
        {
            "id": f"b{block}-{scenario}-{cluster}",
            "block": block,
            "cluster": cluster,
            "scenario": scenario,
            "status": "failed" if value is None else "ok",
            "metrics": {} if value is None else {metric: value},
        }
        for cluster, column in values.items()
        for block, value in enumerate(column, start=1)
    ]


def one(
    base: Sequence[float | None], other: Sequence[float | None], metric: str = THROUGHPUT, **options: Any
) -> Comparison:
    entries = trials({"base": base, "other": other}, metric)
    (found,) = compare(entries, baseline="base", primaries={"s": metric}, **options)
    return found


def around(center: float, spread: float) -> list[float]:
    return [center * math.exp(spread * x) for x in NOISE]


def test_ratios_are_compared_on_logs_and_shown_as_a_fraction() -> None:
    base = around(100.0, 0.01)
    other = [b * 0.95 * math.exp(0.002 * x) for b, x in zip(base, reversed(NOISE), strict=True)]
    found = one(base, other)
    logs = np.log(other) - np.log(base)
    expected = stats.ttest_rel(np.log(other), np.log(base))
    assert found.relative == pytest.approx(math.exp(logs.mean()) - 1)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))
    assert found.difference == pytest.approx(np.mean(other) - np.mean(base))
    assert (found.n, found.margin, found.verdict) == (8, 0.02, "lower")
    assert (found.baseline, found.candidate, found.scenario, found.primary) == ("base", "other", "s", True)


def test_pairing_takes_out_what_both_share() -> None:
    drift = [1.0, 0.5, 0.8, 0.6, 0.9, 0.7, 0.55, 0.95]
    base = [100 * d for d in drift]
    other = [100 * d * 1.03 * math.exp(0.001 * x) for d, x in zip(drift, NOISE, strict=True)]
    assert one(base, other).verdict == "higher"
    assert stats.ttest_ind(base, other).pvalue > 0.5


def test_equivalent_needs_the_whole_interval_within_the_margin() -> None:
    base = around(100.0, 0.0)
    other = around(100.0, 0.01)
    assert one(base, other).verdict == "equivalent"
    assert one(base, other, margin=0.005).verdict == "inconclusive"


def test_a_difference_smaller_than_the_margin_is_still_named() -> None:
    found = one(around(100.0, 0.0), around(99.0, 0.001))
    assert found.verdict == "lower"
    assert found.ci_low is not None
    assert found.ci_low > -0.02


def test_loss_is_compared_by_difference_with_a_margin_of_its_own() -> None:
    base = [0.0, 0.0, 1e-5, 0.0, 0.0, 2e-5, 0.0, 0.0]
    other = [0.0, 1e-5, 0.0, 0.0, 3e-5, 0.0, 0.0, 0.0]
    found = one(base, other, "loss_ratio")
    assert found.relative is None
    assert (found.margin, found.verdict) == (0.001, "equivalent")
    assert one(base, [0.01 + 0.001 * x for x in NOISE], "loss_ratio").verdict == "higher"


def test_no_loss_at_all_is_equivalent_from_six_pairs_on() -> None:
    assert one([0.0] * 6, [0.0] * 6, "loss_ratio").verdict == "equivalent"
    few = one([0.0] * 5, [0.0] * 5, "loss_ratio")
    assert (few.verdict, few.ci_low, few.minimum_detectable) == ("inconclusive", None, None)


def test_without_a_margin_only_no_difference_is_equivalent() -> None:
    assert one([0.0] * 8, [0.0] * 8, "retransmits").verdict == "equivalent"
    found = one([3.0, 4, 3, 5, 2, 4, 3, 4], [4.0, 3, 3, 4, 3, 4, 2, 5], "retransmits")
    assert (found.margin, found.verdict) == (None, "inconclusive")
    assert comparison.why_inconclusive(asdict(found)) == "no_margin"


def test_the_same_step_in_every_pair_is_no_proof_by_itself() -> None:
    """A t-test would call two pairs that differ alike infinitely significant; signs do not."""
    assert one([1.0, 1.0], [2.0, 2.0], "retransmits").verdict == "inconclusive"
    found = one([1.0] * 8, [2.0] * 8, "retransmits")
    assert (found.p_value, found.verdict) == (pytest.approx(2 / 2**8), "higher")


def test_a_zero_among_positive_values_falls_back_to_differences() -> None:
    found = one([1e-5] * 4 + [2e-5] * 4, [0.0] + [1e-5] * 7, "jitter_seconds")
    assert found.relative is None
    assert found.margin is None
    assert found.difference == pytest.approx(-5 / 8 * 1e-5)


def test_only_blocks_with_both_are_paired() -> None:
    found = one([100.0, None, 102.0, 103.0, 101.0], [99.0, 500.0, 101.5, None, 99.0])
    assert found.n == 3
    assert found.difference == pytest.approx((-1 - 0.5 - 2) / 3)


@pytest.mark.parametrize(
    ("base", "other", "n", "reason"),
    [
        ([100.0, 100.0], [None, None], 0, "no_pairs"),
        ([100.0, None], [None, 100.0], 0, "no_pairs"),
        ([100.0, 101.0], [99.0, None], 1, "one_pair"),
        ([100.0, 100.0], [99.0, 99.0], 2, "no_interval"),
        ([100.0, 101.0, 99.0], [90.0, 111.0, 99.0], 3, "too_wide"),
    ],
)
def test_what_could_not_be_measured_is_listed_and_inconclusive(
    base: list[float | None], other: list[float | None], n: int, reason: str
) -> None:
    found = one(base, other)
    assert (found.n, found.verdict) == (n, "inconclusive")
    assert comparison.why_inconclusive(asdict(found)) == reason
    if n < 2:
        assert (found.ci_low, found.ci_high, found.p_value, found.p_adjusted) == (None, None, None, None)
    if n == 0:
        assert (found.difference, found.relative, found.margin) == (None, None, 0.02)


def test_holm_runs_over_all_primaries_and_the_rest_is_separate() -> None:
    spec = synthetic.Spec(datapaths={"native": "routed", "flannel": "vxlan", "hostgw": "host_gateway"})
    found = compare(synthetic.trials(spec), baseline="native", primaries=synthetic.PRIMARIES)
    primaries = [each for each in found if each.primary]
    assert len(primaries) == 2 * len(synthetic.PRIMARIES)
    assert {(each.scenario, each.metric) for each in primaries} == set(synthetic.PRIMARIES.items())
    smallest = min(primaries, key=lambda each: each.p_value or 1)
    assert smallest.p_value is not None
    assert smallest.p_adjusted == pytest.approx(14 * smallest.p_value)
    rest = [each for each in found if not each.primary]
    assert [each.p_adjusted for each in rest] == pytest.approx(
        stats.false_discovery_control([each.p_value for each in rest])
    )


def test_a_difference_may_not_survive_the_correction() -> None:
    entries = trials({"base": around(100, 0.0), "other": around(100.8, 0.01)})
    for name in "tuvw":
        entries += trials({"base": around(100, 0.0), "other": around(100.0, 0.05)}, scenario=name)
    found = compare(entries, baseline="base", primaries=dict.fromkeys("stuvw", THROUGHPUT), margin=0.001)
    assert found[0].p_value is not None
    assert found[0].p_value < 0.05
    assert found[0].verdict == "inconclusive"
    assert comparison.why_inconclusive(asdict(found[0])) == "not_after_correction"


def test_the_smallest_detectable_difference_grows_with_the_family() -> None:
    base, other = around(100.0, 0.0), around(100.0, 0.01)
    alone = one(base, other).minimum_detectable
    entries = trials({"base": base, "other": other}) + trials({"base": base, "other": other}, scenario="t")
    both = compare(entries, baseline="base", primaries={"s": THROUGHPUT, "t": THROUGHPUT})
    assert alone is not None
    assert both[0].minimum_detectable is not None
    assert both[0].minimum_detectable > alone
    stderr = stats.sem(np.log(other) - np.log(base))
    assert alone == pytest.approx(math.expm1(3.26976 * stderr), rel=1e-4)  # noncentrality at 7 degrees, 5 %, 80 %


def test_metrics_that_only_one_side_has_are_listed() -> None:
    entries = trials({"base": around(100, 0.01), "other": around(100, 0.01)})
    for entry in entries:
        if entry["cluster"] == "other":
            entry["metrics"]["rtt_seconds"] = 0.001
    found = compare(entries, baseline="base", primaries={"s": THROUGHPUT})
    assert [(each.metric, each.n, each.primary) for each in found] == [(THROUGHPUT, 8, True), ("rtt_seconds", 0, False)]


def test_candidates_without_trials_are_listed() -> None:
    entries = trials({"base": around(100, 0.01)})
    (found,) = compare(entries, baseline="base", candidates=["other"], primaries={"s": THROUGHPUT})
    assert (found.candidate, found.n, found.verdict) == ("other", 0, "inconclusive")


def test_a_baseline_that_was_not_measured_is_refused() -> None:
    with pytest.raises(NetbenchError, match="baseline nativ was not measured; did you mean native"):
        compare(trials({"native": [1.0]}), baseline="nativ", primaries={"s": THROUGHPUT})


def test_an_unknown_primary_is_refused() -> None:
    with pytest.raises(NetbenchError, match="metric throughput_bits is not known"):
        compare(trials({"base": [1.0], "other": [1.0]}), baseline="base", primaries={"s": "throughput_bits"})


def test_a_hopeless_interval_is_still_a_number() -> None:
    found = one([1e-300, 1.0], [1.0, 1.0])
    assert found.ci_high is not None
    assert math.isfinite(found.ci_high)
    found = one([1e-300, 1e300], [1e300, 1e-300])
    assert found.ci_high is not None
    assert math.isfinite(found.ci_high)


values = st.lists(st.floats(1, 1e3), min_size=2, max_size=12)


@given(st.data())
def test_exchanging_the_clusters_mirrors_the_comparison(data: st.DataObject) -> None:
    base = data.draw(values)
    other = data.draw(st.lists(st.floats(1, 1e3), min_size=len(base), max_size=len(base)))
    there, back = one(base, other), one(other, base)
    assert there.relative is not None
    assert back.relative is not None
    assert (1 + there.relative) * (1 + back.relative) == pytest.approx(1)
    assert there.p_value == pytest.approx(back.p_value)
    mirror = {"higher": "lower", "lower": "higher", "inconclusive": "inconclusive"}
    if "equivalent" not in (there.verdict, back.verdict):  # the margin is symmetric in per cent, not in logs
        assert mirror[there.verdict] == back.verdict


@given(values, st.randoms(use_true_random=False), st.floats(0.1, 10))
def test_order_and_unit_do_not_matter(base: list[float], random: Any, factor: float) -> None:
    other = [value * random.uniform(0.9, 1.1) for value in base]
    entries = trials({"base": base, "other": other})
    scaled = trials({"base": [x * factor for x in base], "other": [x * factor for x in other]})
    random.shuffle(scaled)
    (first,) = compare(entries, baseline="base", primaries={"s": THROUGHPUT})
    (second,) = compare(scaled, baseline="base", primaries={"s": THROUGHPUT})
    assert first.verdict == second.verdict
    assert first.relative == pytest.approx(second.relative, abs=1e-9)
    assert first.p_value == pytest.approx(second.p_value, rel=1e-3, abs=1e-9)


@given(st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6)), min_size=1, max_size=9))
def test_every_verdict_has_an_interval_that_bears_it_out(pairs: list[tuple[float | None, float | None]]) -> None:
    found = one([a for a, _b in pairs], [b for _a, b in pairs], "jitter_seconds")
    assert all(value is None or math.isfinite(value) for value in asdict(found).values() if isinstance(value, float))
    if found.verdict == "inconclusive":
        assert comparison.why_inconclusive(asdict(found)) is not None
        return
    assert comparison.why_inconclusive(asdict(found)) is None
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_low <= found.ci_high
    if found.verdict == "higher":
        assert found.ci_low > 0
    elif found.verdict == "lower":
        assert found.ci_high < 0
    else:
        assert max(abs(found.ci_low), abs(found.ci_high)) <= (found.margin or 0)


def test_host_cost_pairs_the_pod_with_its_own_host() -> None:
    entries = []
    for cluster, cost in (("native", 1.0), ("flannel", 1.1)):
        for scenario, factor in (("node_to_node_tcp", 1.0), ("pod_to_pod_tcp", cost)):
            rows = trials({cluster: around(0.3 * factor, 0.002)}, "cpu_cores_per_gbit", scenario)
            for row, x in zip(rows, reversed(NOISE), strict=True):
                row["metrics"][THROUGHPUT] = 2e9 * math.exp(0.001 * x * factor)
                row["metrics"]["rtt_seconds"] = 0.001
            entries += rows
    found = comparison.host_cost(entries, {"pod_to_pod_tcp": "node_to_node_tcp"})
    assert {(each.cluster, each.metric) for each in found} == {
        (cluster, metric) for cluster in ("native", "flannel") for metric in comparison.HOST_METRICS
    }
    (cpu,) = (each for each in found if each.cluster == "flannel" and each.metric == "cpu_cores_per_gbit")
    assert (cpu.scenario, cpu.host_scenario, cpu.n) == ("pod_to_pod_tcp", "node_to_node_tcp", 8)
    assert cpu.relative == pytest.approx(0.1)
    assert cpu.exploratory


def results(run: str, values: Mapping[str, Sequence[float | None]], **changes: Any) -> dict[str, Any]:
    scenario = {"name": "s", "path": "pod_to_pod", "primary": THROUGHPUT, "traffic": {"streams": 1}}
    return {
        "run": {"id": run, "versions": {"iperf3": "3.12"}, "conditions": {"qdisc": "tbf"}},
        "scenarios": [scenario],
        "trials": trials(values),
    } | changes


def test_two_runs_are_compared_without_pairs_and_with_a_caveat() -> None:
    base, other = around(100, 0.002), around(95, 0.003)[:6]
    found = comparison.compare_runs(results("r1", {"a": base, "b": base}), results("r2", {"a": other, "c": other}))
    assert (found["before"], found["after"], found["margin"]) == ("r1", "r2", 0.02)
    assert "drift between the runs is not excluded" in found["caveat"]
    (row,) = found["comparisons"]
    expected = stats.ttest_ind(np.log(other), np.log(base), equal_var=False)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))
    assert (row["cluster"], row["n_before"], row["n_after"], row["n"]) == ("a", 8, 6, 6)
    assert (row["verdict"], row["primary"]) == ("lower", True)


def test_two_runs_say_what_changed_and_what_was_left_out() -> None:
    before, after = results("r1", {"a": [1.0, 2.0]}), results("r2", {"a": [1.0, 2.0]})
    after["run"] |= {"versions": {"iperf3": "3.18"}, "conditions": {"qdisc": "tbf", "offloads": "on"}}
    for place, run in enumerate((before, after)):
        run["scenarios"] = [*run["scenarios"], {"name": "t", "primary": THROUGHPUT, "traffic": {"streams": place}}]
        run["trials"] = run["trials"] + trials({"a": [1.0, 2.0]}, scenario="t")
    found = comparison.compare_runs(before, after)
    assert found["changed"] == {"versions.iperf3": ["3.12", "3.18"], "conditions.offloads": [None, "on"]}
    assert found["left_out"] == ["t"]
    assert [row["scenario"] for row in found["comparisons"]] == ["s"]


def test_two_runs_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(NetbenchError, match="r1 and r2 have no scenario in common"):
        comparison.compare_runs(results("r1", {"a": [1.0]}), results("r2", {"b": [1.0]}))
