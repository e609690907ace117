# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a run directory to results.json, results.csv and facts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit import synthetic

SPEC = synthetic.Spec(failed=1, void=2)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return synthetic.write_run(tmp_path / "run", SPEC, series=False)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_journal_and_the_manifest_go_in_whole(run_dir: Path) -> None:
    built = results.build(run_dir)
    assert built["schema"] == "netbench.cni/results/v1"
    assert built["run"] == synthetic.manifest(SPEC)
    assert built["clusters"] == built["run"]["clusters"]
    assert built["trials"] == synthetic.trials(SPEC)
    assert built["scenarios"] == [synthetic.scenario(name) for name in synthetic.SCENARIOS]


def test_the_verdicts_of_a_run_whose_truth_is_known(run_dir: Path) -> None:
    built = results.build(run_dir)
    verdicts = {each["scenario"]: each["verdict"] for each in built["comparisons"] if each["primary"]}
    assert set(verdicts) == set(synthetic.SCENARIOS)
    assert verdicts["pod_to_pod_tcp"] == "lower"
    assert verdicts["pod_to_pod_udp_over"] == "lower"
    assert verdicts["pod_to_pod_tcp_fixed"] == "higher"
    assert verdicts["node_to_node_tcp"] == "equivalent"
    assert verdicts["pod_to_pod_udp_sustainable"] == "equivalent"


def test_pods_are_held_against_hosts_with_the_same_traffic(run_dir: Path) -> None:
    built = results.build(run_dir)
    pairs = {(each["scenario"], each["host_scenario"]) for each in built["comparisons_to_host"]}
    assert pairs == {("pod_to_pod_tcp", "node_to_node_tcp")}
    cpu = {c["cluster"]: c for c in built["comparisons_to_host"] if c["metric"] == "cpu_cores_per_gbit"}
    assert cpu["flannel"]["verdict"] == "higher"
    assert cpu["native"]["verdict"] != "higher"


def test_predictions_stand_beside_the_measurements(run_dir: Path) -> None:
    built = results.build(run_dir)
    predicted = {(row["scenario"], row["metric"]): row for row in built["predictions"]}
    assert predicted["pod_to_pod_tcp", "throughput_bits_per_second"]["relative"] == pytest.approx(-0.005588, abs=1e-6)
    assert ("pod_to_pod_udp_over", "loss_ratio") in predicted


def test_the_references_arithmetic(run_dir: Path) -> None:
    built = results.build(run_dir)
    row = next(each for each in built["expected_means"] if each["cluster"] == "native")
    assert row["forwarded_share"] == pytest.approx(161 / 240)
    assert row["forwarded_share_ci_low"] < 2 / 3 < row["forwarded_share_ci_high"]
    expected = (161 * row["forwarded_bits_per_second"] + 79 * row["local_bits_per_second"]) / 240
    assert row["expected_bits_per_second"] == pytest.approx(expected)
    assert row["forwarded_bits_per_second"] == pytest.approx(row["local_bits_per_second"] / 2, rel=0.01)


def test_limits_are_judged(run_dir: Path) -> None:
    states = {limit["name"]: limit["state"] for limit in results.build(run_dir)["limits"]}
    assert states == {"flannel keeps 90 % of native": "held", "nothing failed": "broken"}


def test_only_selected_scenarios_are_described(run_dir: Path) -> None:
    manifest = synthetic.manifest(SPEC)
    manifest["matrix"]["select"] = ["pod_to_pod_tcp"]
    edit(run_dir / "run.json", matrix=manifest["matrix"])
    assert [scenario["name"] for scenario in results.build(run_dir)["scenarios"]] == ["pod_to_pod_tcp"]


def test_a_run_of_one_cluster_has_nothing_to_compare(tmp_path: Path) -> None:
    spec = synthetic.Spec(datapaths={"native": "routed"}, limits=())
    built = results.build(synthetic.write_run(tmp_path / "run", spec, series=False))
    assert (built["comparisons"], built["predictions"]) == ([], [])
    assert built["comparisons_to_host"]
    assert built["summaries"]


def test_three_clusters(tmp_path: Path) -> None:
    spec = synthetic.Spec(datapaths={"native": "routed", "flannel": "vxlan", "hostgw": "host_gateway"})
    built = results.build(synthetic.write_run(tmp_path / "run", spec, series=False))
    primaries = [(each["candidate"], each["scenario"]) for each in built["comparisons"] if each["primary"]]
    assert sorted(primaries) == sorted((c, s) for c in ("flannel", "hostgw") for s in synthetic.SCENARIOS)


def test_written_and_read_back(run_dir: Path) -> None:
    built = results.build(run_dir)
    path = results.write(run_dir, built)
    assert path == run_dir / "results.json"
    assert results.read(path) == built == json.loads(path.read_text())
    lines = path.read_text().splitlines()
    assert sum(line.startswith('{"id":"b0') for line in lines) == len(built["trials"])
    assert {each.name for each in run_dir.iterdir()} == {"results.json", "run.json", "trials.jsonl"}


def test_what_stood_there_survives_a_write_that_fails(run_dir: Path) -> None:
    built = results.build(run_dir)
    results.write(run_dir, built)
    with pytest.raises(ValueError, match="Out of range"):
        results.write(run_dir, built | {"limits": [float("nan")]})
    assert results.read(run_dir / "results.json") == built
    assert [each.name for each in run_dir.iterdir() if each.name.startswith(".")] == []


def test_a_directory_that_is_gone_is_named(run_dir: Path) -> None:
    with pytest.raises(NetbenchError, match=r"gone/results.json cannot be written"):
        results.write(run_dir / "gone", results.build(run_dir))


def test_csv_has_a_row_for_every_metric_and_every_failed_trial(run_dir: Path) -> None:
    built = results.build(run_dir)
    with results.write_csv(run_dir, built).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == sum(max(1, len(trial["metrics"])) for trial in built["trials"])
    (failed,) = (row for row in rows if row["status"] == "failed")
    assert (failed["metric"], failed["value"], failed["unit"]) == ("", "", "")
    assert failed["reason"] == "iperf3 on the client: the server has terminated"
    first = built["trials"][0]
    name, value = next(iter(first["metrics"].items()))
    assert rows[0] == {
        "run": built["run"]["id"],
        "trial": first["id"],
        "block": "1",
        "order": "0",
        "cluster": first["cluster"],
        "scenario": first["scenario"],
        "status": "ok",
        "reason": "",
        "metric": name,
        "value": repr(value),
        "unit": "bits_per_second",
    }


def test_facts_are_small_and_have_no_trials(run_dir: Path) -> None:
    built = results.build(run_dir)
    kept = results.facts(built, run_dir)
    assert len(json.dumps(kept)) < 50_000
    assert kept["trials"] == {"ok": 109, "failed": 1, "void": 2}
    assert (kept["run"], kept["directory"], kept["baseline"]) == (built["run"]["id"], str(run_dir), "native")
    assert all(each["primary"] for each in kept["comparisons"])
    assert len(kept["comparisons"]) == len(kept["verdicts"]) == 7
    assert len(kept["summaries"]) == 14
    assert kept["limits"] == built["limits"]


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "scenario": "pod_to_pod_tcp",
        "metric": "throughput_bits_per_second",
        "baseline": "native",
        "candidate": "flannel",
        "n": 8,
        "difference": -1e7,
        "relative": -0.0056,
        "ci_low": -0.0072,
        "ci_high": -0.0041,
        "minimum_detectable": 0.004,
        "margin": 0.02,
        "verdict": "lower",
    } | changes


SUBJECT = "pod_to_pod_tcp: throughput_bits_per_second of flannel"
LOSS = "pod_to_pod_tcp: loss_ratio of flannel"
TOO_WIDE = "the interval holds zero and reaches beyond the margin; from 0.40% on it would have been found"
UNKNOWN = dict.fromkeys(("relative", "difference", "ci_low", "ci_high", "minimum_detectable"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            finding(),
            f"{SUBJECT} is 0.56% lower than native's (95 % interval -0.72% to -0.41%, 8 pairs)",
        ),
        (
            finding(verdict="equivalent"),
            f"{SUBJECT} is equivalent to native's within 2.00% (95 % interval -0.72% to -0.41%, 8 pairs)",
        ),
        (
            finding(verdict="inconclusive", ci_low=-0.03, ci_high=0.02),
            f"{SUBJECT} against native is inconclusive (95 % interval -3.00% to +2.00%, 8 pairs): {TOO_WIDE}",
        ),
        (
            finding(metric="loss_ratio", verdict="higher", relative=None, difference=0.012, ci_low=0.01, ci_high=0.014),
            f"{LOSS} is 0.012 ratio higher than native's (95 % interval +0.01 ratio to +0.014 ratio, 8 pairs)",
        ),
        (
            finding(verdict="inconclusive", n=0, **UNKNOWN),
            f"{SUBJECT} against native is inconclusive (0 pairs): no block has a trial of both that counts",
        ),
    ],
)
def test_a_comparison_in_a_sentence(found: dict[str, Any], expected: str) -> None:
    assert results.sentence(found) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", None, "run.json cannot be read"),
        ("run.json", "{", "run.json is no JSON"),
        ("run.json", "[]", "run.json has another schema than netbench.cni/run/v1"),
        ("trials.jsonl", None, "trials.jsonl cannot be read"),
        ("trials.jsonl", "{}\n", "trials.jsonl does not begin with the header"),
    ],
)
def test_a_damaged_run_is_named(run_dir: Path, name: str, content: str | None, message: str) -> None:
    path = run_dir / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(NetbenchError, match=message):
        results.build(run_dir)


def test_a_journal_of_another_matrix_is_refused(run_dir: Path) -> None:
    edit(run_dir / "run.json", matrix_digest="0" * 64)
    with pytest.raises(NetbenchError, match="another matrix"):
        results.build(run_dir)


def test_a_candidate_that_the_manifest_does_not_describe_is_refused(run_dir: Path) -> None:
    edit(run_dir / "run.json", candidates=["flanel"])
    with pytest.raises(NetbenchError, match="does not describe cluster flanel; did you mean flannel"):
        results.build(run_dir)
