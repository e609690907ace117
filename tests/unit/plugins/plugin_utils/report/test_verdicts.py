# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words match numbers: sign, significance, every number from results.json."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report import titles, verdicts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured
from ansible_collections.netbench.cni.tests.unit import synthetic

THROUGHPUT, CPU, LOSS = "throughput_bits_per_second", "cpu_cores_per_gbit", "loss_ratio"
SPECS = {
    "default": synthetic.Spec(),
    "noisy": synthetic.Spec(blocks=3, noise=0.1),
    "candidate_ahead": synthetic.Spec(
        effects={
            ("flannel", "pod_to_pod_tcp", THROUGHPUT): 1.05,
            ("flannel", "pod_to_pod_tcp_fixed", CPU): 0.5,
            ("native", "pod_to_pod_udp_sustainable", LOSS): 50.0,
        }
    ),
}


def results(metric: str = THROUGHPUT, **changes: Any) -> dict[str, Any]:
    """Results with one scenario and one comparison."""
    comparison = {
        "scenario": "pod_to_pod_tcp", "metric": metric, "primary": True, "baseline": "native", "candidate": "flannel",
        "n": 8, "difference": -1.1e7, "relative": -0.00561, "ci_low": -0.0072, "ci_high": -0.0041, "p_value": 0.0002,
        "p_adjusted": 0.0013, "minimum_detectable": 0.0031, "margin": 0.02, "verdict": "lower",
    } | changes  # fmt: skip
    clusters = [{"name": "native", "datapath": "routed"}, {"name": "flannel", "datapath": "vxlan"}]
    trial = {"scenario": "pod_to_pod_tcp", "status": "ok", "reason": "", "metrics": {}}
    return {
        "run": {"baseline": "native", "candidates": ["flannel"], "clusters": clusters, "shared_machine": True},
        "clusters": clusters,
        "scenarios": [{**synthetic.scenario("pod_to_pod_tcp"), "primary": metric}],
        "trials": [{**trial, "cluster": "native"}, {**trial, "cluster": "flannel"}],
        "summaries": [],
        "comparisons": [comparison],
    }


def told(metric: str = THROUGHPUT, language: str = "en", **changes: Any) -> verdicts.Verdict:
    return verdicts.all_verdicts(Measured(results(metric, **changes), Texts(language)))[0]


def test_lower() -> None:
    found = told()
    assert (found.word, found.label, found.good) == ("lower", "slower", False)
    assert found.sentence == (
        "flannel is 0.56 % slower than native (−0.72 … −0.41 %, p = 0.001, 8 pairs), less than the margin of 2 %."
    )


def test_higher() -> None:
    found = told(CPU, relative=0.121, ci_low=0.104, ci_high=0.138, p_adjusted=0.0001, verdict="higher")
    assert (found.word, found.label, found.good) == ("higher", "more CPU", False)
    assert found.sentence == (
        "flannel needs 12.1 % more CPU per Gbit/s than native (+10.4 … +13.8 %, p < 0.001, 8 pairs)."
    )


def test_equivalent() -> None:
    found = told(relative=-0.001, ci_low=-0.003, ci_high=0.004, p_adjusted=0.6, verdict="equivalent")
    assert (found.word, found.good) == ("equivalent", None)
    assert found.sentence == (
        "flannel and native are equivalent: throughput differs by less than 2 % (−0.30 … +0.40 %, 8 pairs)."
    )


def test_inconclusive() -> None:
    found = told(
        relative=-0.008, ci_low=-0.03, ci_high=0.014, p_adjusted=0.4, minimum_detectable=0.031, verdict="inconclusive"
    )
    assert (found.word, found.good) == ("inconclusive", None)
    assert found.sentence == (
        "inconclusive: throughput of flannel −0.8 % against native (−3.0 … +1.4 %, 8 pairs); "
        "this run could only have detected 3.1 %."
    )


def test_what_correction_took_away_is_said() -> None:
    found = told(relative=0.004, ci_low=0.001, ci_high=0.007, p_adjusted=0.08, verdict="inconclusive")
    assert "does not stand after correction for the number of comparisons (p = 0.080)" in found.sentence


def test_loss_is_told_in_percentage_points() -> None:
    found = told(LOSS, relative=None, difference=0.0031, ci_low=0.0021, ci_high=0.0041, margin=0.001, verdict="higher")
    assert (found.label, found.good) == ("more loss", False)
    assert found.sentence.startswith("flannel loses 0.31 percentage points more of its datagrams than native (+0.21 …")


def test_a_measure_without_better_or_worse_is_not_judged() -> None:
    assert told("offered_bits_per_second").good is None
    assert told("offered_bits_per_second").sentence.startswith("flannel: offered rate 0.56 % lower than native")


def test_no_verdict_without_an_interval() -> None:
    found = told(n=1, ci_low=None, ci_high=None, p_value=None, p_adjusted=None, verdict="inconclusive")
    assert (found.word, found.interval) == ("none", None)
    assert found.sentence == "no verdict: −0.56 % in 1 pair; an interval needs two or more."


def test_a_prediction_stands_beside_what_was_measured() -> None:
    found = results()
    place = {"scenario": "pod_to_pod_tcp", "metric": THROUGHPUT, "baseline": "native", "candidate": "flannel"}
    found["predictions"] = [{**place, "relative": -0.005588, "difference": -1.1e7}]
    verdict = verdicts.all_verdicts(Measured(found, Texts("en")))[0]
    assert verdict.sentence.endswith("; physics predicts −0.56 % for VXLAN's 50 bytes.")
    assert verdict.interval is not None
    assert verdict.interval.prediction == -0.005588
    found["predictions"][0]["relative"] = 0.0
    assert verdicts.all_verdicts(Measured(found, Texts("en")))[0].sentence.endswith("; physics predicts no difference.")


FASTER = {"faster": 1, "slower": -1, "more CPU": 1, "less CPU": -1, "more loss": 1, "less loss": -1}
SIGNS = {
    "en": {"faster than": 1, "slower than": -1, "more CPU": 1, "less CPU": -1, "more of its": 1, "fewer of its": -1},
    "zh": {" 高 ": 1, " 低 ": -1, " 多用 ": 1, " 少用 ": -1},
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", SPECS)
def test_words_match_the_numbers_of_whole_runs(make: Any, name: str, language: str) -> None:
    found = make(SPECS[name], series=False).results
    measured = Measured(found, Texts(language))
    seen = set()
    for verdict in verdicts.all_verdicts(measured):
        scenario = next(s for s in found["scenarios"] if s["name"] == verdict.scenario)
        comparison = measured.comparison(verdict.candidate, verdict.scenario, scenario["primary"])
        assert comparison is not None
        effect = verdicts.effect(comparison)
        assert effect is not None
        assert verdict.word == comparison["verdict"]
        seen.add(verdict.word)
        if verdict.word in ("higher", "lower"):
            assert comparison["p_adjusted"] < 0.05
            signs = {sign for words, sign in SIGNS[language].items() if words in verdict.sentence}
            assert signs == {1 if effect > 0 else -1}
            assert verdict.word == ("higher" if effect > 0 else "lower")
            assert verdict.good is ((effect > 0) == METRICS[comparison["metric"]].higher_is_better)
            if language == "en":
                assert FASTER[verdict.label] == (1 if effect > 0 else -1)
        if verdict.word == "equivalent":
            assert max(abs(comparison["ci_low"]), abs(comparison["ci_high"])) <= comparison["margin"]
        assert _numbers(verdict.sentence) <= _allowed(comparison, measured)
    assert seen == {
        "default": {"higher", "lower", "equivalent"},
        "noisy": {"inconclusive", "equivalent"},
        "candidate_ahead": {"higher", "lower", "equivalent"},
    }[name] | (seen & {"inconclusive"})


def _numbers(sentence: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", sentence)) - {"50", "0.001"}


def _allowed(comparison: dict[str, Any], measured: Measured) -> set[str]:
    """All the ways in which the fields of a comparison and its prediction may be written."""
    predicted = measured.prediction(comparison["candidate"], comparison["scenario"], comparison["metric"]) or {}
    values = [value for value in (*comparison.values(), *predicted.values()) if isinstance(value, (int, float))]
    rates = (f"{abs(factor * value):.{digits}f}" for value in values for factor in (1, 100) for digits in range(5))
    return {*rates, *(f"{100 * abs(value):.3g}" for value in values)}


def test_scenarios_in_words() -> None:
    scenario = synthetic.scenario("pod_to_pod_udp_sustainable")
    scenario["traffic"] |= {"streams": 4, "direction": "reverse", "family": 6}
    same = [synthetic.scenario("external_tcp_local"), {**synthetic.scenario("external_tcp_local"), "name": "again"}]
    assert list(titles.scenario_titles([scenario, *same], Texts("en")).values()) == [
        "UDP at 1.85\xa0Gbit/s (8192-byte datagrams, 4 streams, reverse, IPv6), pod → pod on another node",
        "TCP, test VM → load balancer → pod on the ingress node (external_tcp_local)",
        "TCP, test VM → load balancer → pod on the ingress node (again)",
    ]
