# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.limits import evaluate, limit_as_plain, parse_limits
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Scenario, Traffic

SCENARIOS = (
    Scenario("tcp", "pod_to_pod", Traffic(), "throughput_bits_per_second"),
    Scenario("udp", "pod_to_pod", Traffic("udp", rate_bits_per_second=1e9), "loss_ratio"),
)
CLUSTERS = ("native", "flannel")
THROUGHPUT = "throughput_bits_per_second"


def comparison(low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    row = {"scenario": "tcp", "metric": THROUGHPUT, "baseline": "native", "candidate": "flannel", "n": 8}
    return {**row, "difference": -1e8, "relative": -0.05, "ci_low": low, "ci_high": high, **changes}


def results(*comparisons: dict[str, Any], summaries: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"comparisons": list(comparisons), "summaries": summaries or [], "trials": [{"status": "ok"}]}


def judge(row: dict[str, Any], found: dict[str, Any]) -> tuple[str, str]:
    (judged,) = evaluate(parse_limits([{"name": "x", **row}], SCENARIOS, CLUSTERS), found)
    assert judged["name"] == "x"
    return judged["state"], judged["message"]


@pytest.mark.parametrize(
    ("low", "high", "state", "message"),
    [
        (-0.04, -0.01, "held", "the interval -4 % … -1 % keeps the limit -5 %"),
        (-0.09, -0.06, "broken", "the interval -9 % … -6 % lies beyond the limit -5 %"),
        (-0.07, -0.02, "undecided", "the run was too noisy to judge: the interval -7 % … -2 % spans the limit -5 %"),
        (-0.05, 0.5, "held", "the interval -5 % … 50 % keeps the limit -5 %"),
        (None, None, "undecided", f"{THROUGHPUT} of tcp has no interval after 8 trial(s); run more blocks"),
    ],
)
def test_a_comparison_is_judged_by_its_interval(low: Any, high: Any, state: str, message: str) -> None:
    row = {"scenario": "tcp", "metric": THROUGHPUT, "candidate": "flannel", "not_lower_than": "-5%"}
    assert judge(row, results(comparison(low, high))) == (state, message)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(0.01, 0.02, "held"), (0.04, 0.06, "undecided"), (0.06, 0.08, "broken"), (-0.3, 0.3, "undecided")],
)
def test_both_sides(low: float, high: float, state: str) -> None:
    row = {"scenario": "tcp", "not_lower_than": "-5%", "not_higher_than": 0.05}
    assert judge(row, results(comparison(low, high)))[0] == state


@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted), st.floats(-1, 1))
def test_held_and_broken_are_never_a_matter_of_noise(interval: list[float], bound: float) -> None:
    low, high = interval
    state, _message = judge({"scenario": "tcp", "not_lower_than": bound}, results(comparison(low, high)))
    assert state == ("held" if low >= bound else "broken" if high < bound else "undecided")


def test_loss_is_compared_by_difference() -> None:
    row = {"scenario": "udp", "metric": "loss_ratio", "not_higher_than": "1%"}
    found = comparison(0.002, 0.004, scenario="udp", metric="loss_ratio", relative=None)
    assert judge(row, results(found))[0] == "held"


def test_a_ratio_limit_on_a_comparison_without_ratio_is_undecided() -> None:
    state, message = judge({"scenario": "tcp", "not_lower_than": 0}, results(comparison(1e8, 2e8, relative=None)))
    assert state == "undecided"
    assert "has no relative difference" in message


def test_what_was_not_measured_is_undecided() -> None:
    state, message = judge({"scenario": "tcp", "not_lower_than": 0}, results(comparison(0, 1, candidate="other")))
    assert (state, message) == ("undecided", f"{THROUGHPUT} of tcp was not measured in this run")


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({"at_least": "1.8 Gbit/s"}, "held"),
        ({"at_least": "1.95G"}, "undecided"),
        ({"at_least": "2G"}, "broken"),
        ({"at_most": "2G"}, "held"),
        ({"at_least": "1G", "at_most": "1.5G"}, "broken"),
        ({"metric": "rtt_seconds", "at_most": "1ms"}, "held"),
        ({"metric": "cpu_cores_per_gbit", "at_most": "0.4"}, "broken"),
    ],
)
def test_absolute_limits_on_summaries(row: dict[str, Any], state: str) -> None:
    place = {"cluster": "native", "scenario": "tcp", "n": 8}
    summaries = [
        {**place, "metric": THROUGHPUT, "ci_low": 1.9e9, "ci_high": 1.96e9},
        {**place, "metric": "rtt_seconds", "ci_low": 0.0001, "ci_high": 0.0002},
        {**place, "metric": "cpu_cores_per_gbit", "ci_low": 0.5, "ci_high": 0.6},
        {**place, "cluster": "flannel", "metric": THROUGHPUT, "ci_low": 0, "ci_high": 0},
    ]
    found = judge({"cluster": "native", "scenario": "tcp", **row}, results(summaries=summaries))
    assert found[0] == state
    assert "nan" not in found[1]


@pytest.mark.parametrize(
    ("expression", "state", "said"),
    [
        ("length(trials[?status=='failed']) == `0`", "held", "the expression is true"),
        ("length(trials[?status=='ok']) == `0`", "broken", "do not"),
        ("trials[0].nothing", "broken", "the expression gives empty, neither true nor false: trials[0].nothing"),
        ("trials[?status < `1`]", "broken", "the expression fails on the data: '<' not supported"),
        ("length(trialz) == `0`", "broken", "the expression fails on the data: In function length()"),
    ],
)
def test_expressions(expression: str, state: str, said: str) -> None:
    found = judge({"jmespath": expression, "message": "do not"}, results())
    assert found[0] == state
    assert found[1].startswith(said)


def test_the_plain_form_reads_as_the_same_limits() -> None:
    rows = [
        {"name": "a", "scenario": "tcp", "not_lower_than": "-5%", "not_higher_than": "250%"},
        {"name": "b", "scenario": "udp", "cluster": "native", "at_most": "1%"},
        {"name": "c", "scenario": "tcp", "cluster": "flannel", "metric": "rtt_seconds", "at_most": "2ms"},
        {"name": "d", "jmespath": "`true`", "message": "m"},
    ]
    limits = parse_limits(rows, SCENARIOS, CLUSTERS)
    assert parse_limits([limit_as_plain(limit) for limit in limits], SCENARIOS, CLUSTERS) == limits
    assert limit_as_plain(limits[1]) == {
        "name": "b", "scenario": "udp", "metric": "loss_ratio", "cluster": "native", "at_most": "1%",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"scenario": "tpc", "not_lower_than": 0}, r"scenario is 'tpc', but there is none; did you mean tcp\?"),
        ({"scenario": "tcp", "metric": "speed", "not_lower_than": 0}, r"metric speed is not known"),
        ({"scenario": "tcp", "metric": "loss_ratio", "not_lower_than": 0}, r"'loss_ratio', which only UDP produces"),
        (
            {"scenario": "tcp", "candidate": "kalico", "not_lower_than": 0},
            r"candidate is 'kalico'; it must be one of f",
        ),
        (
            {"scenario": "tcp", "baseline": "flannel", "not_lower_than": 0},
            r"baseline is 'flannel'; it must be one of n",
        ),
        ({"scenario": "tcp", "cluster": "kalico", "at_least": 0}, r"cluster is 'kalico'; it must be one of native, f"),
        ({"scenario": "tcp"}, r"limits\[0\] limits nothing; give not_lower_than, not_higher_than, or both"),
        ({"scenario": "tcp", "cluster": "native"}, r"limits nothing; give at_least, at_most, or both"),
        ({"scenario": "tcp", "at_least": 1}, r"has an unknown key at_least"),
        ({"scenario": "tcp", "not_lower_than": "fast"}, r"not_lower_than is 'fast'; it must be a percentage"),
        ({"scenario": "tcp", "cluster": "native", "at_least": "5 s"}, r"at_least is '5 s'; it must be a rate"),
        ({"scenario": "tcp", "not_lower_than": "5%", "not_higher_than": "1%"}, r"is 5%, above not_higher_than 1%"),
        (
            {"scenario": "tcp", "cluster": "native", "metric": "retransmits", "at_most": "few"},
            r"at_most is 'few'; it must be a number of events",
        ),
        ({"jmespath": "length(("}, r"matrix.limits\[0\].jmespath is no valid JMESPath expression"),
        ({"jmespath": "`true`", "scenario": "tcp"}, r"has an unknown key scenario"),
    ],
)
def test_bad_limits(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NetbenchError, match=sentence) as caught:
        parse_limits([{"name": "x", **row}], SCENARIOS, CLUSTERS)
    assert "\n" not in str(caught.value)


def test_names_are_given_and_different() -> None:
    with pytest.raises(NetbenchError, match=r"matrix.limits\[0\].name is empty"):
        parse_limits([{"jmespath": "`true`"}], SCENARIOS, CLUSTERS)
    with pytest.raises(NetbenchError, match=r"matrix.limits has the name 'x' twice"):
        parse_limits([{"name": "x", "jmespath": "`true`"}] * 2, SCENARIOS, CLUSTERS)


def test_a_comparison_needs_two_clusters() -> None:
    with pytest.raises(NetbenchError, match="limits a comparison, but only native is measured"):
        parse_limits([{"name": "x", "scenario": "tcp", "not_lower_than": 0}], SCENARIOS, CLUSTERS[:1])
    several = ("native", "a", "b")
    with pytest.raises(NetbenchError, match=r"candidate is empty; it must be one of a, b"):
        parse_limits([{"name": "x", "scenario": "tcp", "not_lower_than": 0}], SCENARIOS, several)
