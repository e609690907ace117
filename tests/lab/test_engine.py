# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of the engine by ansible-playbook on the session's lab: what is written, and whether it is right."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ansible_collections.netbench.cni.plugins.plugin_utils import journal, results
from ansible_collections.netbench.cni.tests.benchmarks import _lab
from ansible_collections.netbench.cni.tests.lab.engine_runs import ALONE, BOTH, EXTERNAL, MATRIX, PATHS, SERVICE, Runs

SCHEMA = json.loads((_lab.CHECKOUT / "docs" / "results.schema.json").read_text(encoding="utf-8"))
LINE_RATE = 500e6
TRAFFIC_METRICS = {"throughput_bits_per_second", "offered_bits_per_second", "path_cpu_cores", "cpu_cores_per_gbit"}
TCP_METRICS = {"retransmits", "rtt_seconds"}
UDP_METRICS = {"loss_ratio", "jitter_seconds", "packets_per_second"}
NODE_CPU_METRICS = ("cpu_cores", "softirq_cores")
# On the wire there are headers too: 0.6 % with TCP in 9000 bytes, and 50 bytes more with VXLAN.
NIC_TO_THROUGHPUT = (0.97, 1.05)


# --- what is written ---


def test_every_trial_is_there_and_counts(runs: Runs) -> None:
    done = [(trial["scenario"], trial["cluster"]) for _run, trial in runs.trials]
    wanted = [(each["name"], cluster) for each in BOTH for cluster in ("native", "flannel")]
    assert sorted(done) == sorted(wanted + [(each["name"], "flannel") for each in ALONE])
    assert [(trial["id"], trial["reason"]) for _run, trial in runs.trials if trial["status"] != "ok"] == []
    assert runs.first.result["trials"] == {"ok": len(wanted), "failed": 0, "void": 0}
    assert runs.first.result["not_ok"] == []


def test_each_run_has_its_own_directory_and_latest_moves_on(runs: Runs) -> None:
    assert runs.first.directory.name != runs.second.directory.name
    assert runs.latest == (runs.first.directory.name, runs.second.directory.name)


def test_what_the_run_takes_is_said_before_it_starts(runs: Runs) -> None:
    planned = runs.first.manifest["planned_seconds"]
    assert planned == runs.first.result["planned_seconds"]
    assert f"{len(runs.first.trials)}, about" in runs.first.output
    assert runs.first.output.index(", about") < runs.first.output.index("[1/")
    assert planned == pytest.approx(runs.first.result["elapsed_seconds"], rel=0.5)


def test_the_manifest_says_what_was_measured_with_what(runs: Runs, site: _lab.Site) -> None:
    manifest, state = runs.first.manifest, site.state
    assert manifest["finished"] >= manifest["started"]
    assert manifest["shared_machine"]
    assert (manifest["provider"], manifest["baseline"], manifest["candidates"]) == ("lab", "native", ["flannel"])
    endpoints = {name for name, each in state["endpoints"].items() if each["role"] not in ("fabric", "load_balancer")}
    assert set(manifest["versions"]["iperf3"]) == endpoints
    assert manifest["conditions"]["cpu_binding"] == state["cpu_binding"]
    machines = {each["machine"] for each in state["endpoints"].values()}
    assert set(manifest["clock_offsets"]) == set(manifest["sampler"]) == machines
    assert all(0 < used["cpu_seconds"] < used["seconds"] / 10 for used in manifest["sampler"].values())


def test_the_evidence_is_in_the_manifest(runs: Runs) -> None:
    shares = runs.first.manifest["flow_share"]
    assert {cluster: share["flows"] for cluster, share in shares.items()} == {"native": 200, "flannel": 200}
    # Two pods of three are on another node than the one a flow came in on.
    assert all(100 < share["forwarded"] < 170 for share in shares.values())
    evidence = runs.first.manifest["evidence"]
    assert evidence["missed"] == []
    seen = {(look["cluster"], look["node"], look["nic"]) for look in evidence["iftop"]}
    assert seen >= {("native", "native-w0", "ens5"), ("flannel", "flannel-w0", "ens3")}
    assert "evidence" not in runs.second.manifest


def test_the_journal_is_one(runs: Runs) -> None:
    for run in (runs.first, runs.second):
        _header, finished = journal.read(run.directory / "trials.jsonl", run.manifest["matrix_digest"])
        assert [trial.id for trial in finished] == [trial["id"] for trial in run.trials]


def test_nothing_raw_is_thrown_away(runs: Runs) -> None:
    for directory, trial in runs.trials:
        raw = directory / "raw" / trial["id"]
        names = {path.name for path in raw.iterdir()}
        (samples,) = [name for name in names if name.startswith("samples-")]
        assert names == {"client.json", f"server-{trial['endpoints']['server']}.json", samples, "series.json"}
        assert all("error" not in json.loads((raw / name).read_text()) for name in names if name.endswith(".json"))
        drawn = json.loads((raw / "series.json").read_text())
        assert drawn["window"] == {"start": 1.0, "end": 1.8}
        assert len(drawn["throughput"]["t"]) >= 18
        assert drawn["nodes"][trial["endpoints"]["client_node"]]["role"] == "client_node"


def test_the_results_fit_the_schema(runs: Runs) -> None:
    for run in (runs.first, runs.second):
        path = results.write(run.directory, results.build(run.directory))
        found = Draft202012Validator(SCHEMA).iter_errors(json.loads(path.read_text(encoding="utf-8")))
        assert [f"{error.json_path}: {error.message}" for error in found] == []


# --- the numbers ---


def expected_metrics(trial: dict[str, Any], cpu_bound: bool) -> set[str]:
    path = PATHS[trial["scenario"]]
    expected = TRAFFIC_METRICS | (UDP_METRICS if trial["scenario"] == "udp" else TCP_METRICS)
    if trial["scenario"] == "bidirectional":
        expected |= {"reverse_throughput_bits_per_second"}
    if path == EXTERNAL:
        expected |= {"ingress_node_rx_bits_per_second", "ingress_node_tx_bits_per_second"}
    if cpu_bound and path not in (EXTERNAL, SERVICE):
        nodes = ["client_node"] if path == "pod_to_pod_same_node" else ["client_node", "server_node"]
        expected |= {f"{node}_{metric}" for node in nodes for metric in NODE_CPU_METRICS}
    return expected


def test_metrics_are_there_where_they_can_be_known_and_nowhere_else(runs: Runs, site: _lab.Site) -> None:
    # The nodes on a two-node path own a CPU each, if there are two and they may be bound.
    cpu_bound = site.state["cpu_binding"]["possible"] and len(os.sched_getaffinity(0)) > 1
    for _run, trial in runs.trials:
        assert set(trial["metrics"]) == expected_metrics(trial, cpu_bound), trial["id"]


def test_one_flow_gets_the_line_rate_and_a_forwarded_one_half_of_it(runs: Runs) -> None:
    rates = {
        (trial["scenario"], trial["cluster"]): trial["metrics"]["throughput_bits_per_second"] / LINE_RATE
        for _run, trial in runs.trials
    }
    full = ("nodes", "pods", "service_forwarded", "reverse", "streams", "ipv6", "external_local")
    assert {key: rate for key, rate in rates.items() if key[0] in full and not 0.75 < rate < 1.04} == {}
    # In and out of the forwarding node's one line.
    assert {key: rate for key, rate in rates.items() if key[0] == "external_forwarded" and not 0.35 < rate < 0.55} == {}
    # Never on a line.
    assert rates["same_node", "flannel"] > 1.2
    assert rates["service_local", "flannel"] > 1.2


def test_udp_is_what_was_received(runs: Runs) -> None:
    for cluster in ("native", "flannel"):
        metrics = runs.of("udp", cluster)["metrics"]
        assert metrics["offered_bits_per_second"] == pytest.approx(0.925 * LINE_RATE, rel=0.05)
        received = metrics["packets_per_second"] * 8 * 8192
        assert metrics["throughput_bits_per_second"] == pytest.approx(received, rel=0.01)
        kept = metrics["offered_bits_per_second"] * (1 - metrics["loss_ratio"])
        assert metrics["throughput_bits_per_second"] == pytest.approx(kept, rel=0.05)


def test_both_directions_share_the_line(runs: Runs) -> None:
    metrics = runs.of("bidirectional")["metrics"]
    ways = metrics["throughput_bits_per_second"], metrics["reverse_throughput_bits_per_second"]
    assert 0.75 * LINE_RATE < sum(ways) < 1.04 * LINE_RATE
    assert min(ways) > 0.1 * LINE_RATE


def test_the_traffic_is_what_the_scenario_says(runs: Runs, site: _lab.Site) -> None:
    started = runs.json(runs.of("streams"), "client.json")["start"]
    assert len(started["connected"]) == started["test_start"]["num_streams"] == 4
    assert runs.json(runs.of("reverse"), "client.json")["start"]["test_start"]["reverse"] == 1
    assert "sum_received_bidir_reverse" in runs.json(runs.of("bidirectional"), "client.json")["end"]
    trial = runs.of("ipv6")
    (connection,) = runs.json(trial, "client.json")["start"]["connected"]
    assert connection["remote_host"] == site.state["endpoints"][trial["endpoints"]["server"]]["address6"]


@pytest.mark.parametrize(
    ("scenario", "cluster", "nic"),
    [
        ("nodes", "native", "ens3"),
        ("nodes", "flannel", "ens3"),
        ("pods", "native", "ens5"),
        ("pods", "flannel", "ens3"),
        ("udp", "native", "ens5"),
        ("udp", "flannel", "ens3"),
        ("reverse", "flannel", "ens3"),
        ("streams", "flannel", "ens3"),
    ],
)
def test_nic_counters_of_the_window_agree_with_iperf3(runs: Runs, scenario: str, cluster: str, nic: str) -> None:
    trial = runs.of(scenario, cluster)
    metrics, ends = trial["metrics"], ["client_node", "server_node"]
    sender, receiver = (trial["endpoints"][end] for end in (reversed(ends) if scenario == "reverse" else ends))
    low, high = NIC_TO_THROUGHPUT
    sent = runs.nic_rates(trial, sender)[nic].tx_bits_per_second
    assert low < sent / metrics["offered_bits_per_second"] < high
    received = runs.nic_rates(trial, receiver)[nic].rx_bits_per_second
    # What a full socket dropped had come in on the NIC.
    assert low < received / metrics["throughput_bits_per_second"] * (1 - metrics.get("loss_ratio", 0)) < high


def test_pods_talk_over_the_vxlan_nic_in_one_cluster_and_over_one_of_their_own_in_the_other(runs: Runs) -> None:
    flannel, native = runs.of("pods", "flannel"), runs.of("pods", "native")
    over = runs.nic_rates(flannel, flannel["endpoints"]["server_node"])
    assert over["flannel.1"].rx_bits_per_second > 0.9 * over["ens3"].rx_bits_per_second
    own = runs.nic_rates(native, native["endpoints"]["server_node"])
    assert own["ens3"].rx_bits_per_second < 0.01 * own["ens5"].rx_bits_per_second
    assert "ens5" not in over
    assert "flannel.1" not in own


def test_the_sum_of_node_cpu_is_within_the_machines(runs: Runs) -> None:
    for _run, trial in runs.trials:
        metrics = trial["metrics"]
        nodes = [value for name, value in metrics.items() if name.endswith("_node_cpu_cores")]
        assert 0 < metrics["path_cpu_cores"] <= (os.cpu_count() or 1)
        assert sum(nodes) <= metrics["path_cpu_cores"] * 1.001
        assert all(0 < value <= 1.001 for value in nodes)


# --- runs that measure nothing, or little ---


def test_check_mode_says_the_plan_and_measures_nothing(site: _lab.Site, runs: Runs) -> None:
    before = sorted(site.results.iterdir())
    site.play(site.measurement(MATRIX), "--check")
    said = json.loads((site.directory / _lab.RESULT).read_text(encoding="utf-8"))
    assert said["trials"] == {"planned": len(runs.first.trials)}
    assert said["planned_seconds"] == runs.first.result["planned_seconds"]
    assert sorted(site.results.iterdir()) == before
    assert not Path(said["run_dir"]).exists()


def test_a_resumed_run_measures_only_what_its_journal_lacks(site: _lab.Site, runs: Runs) -> None:
    copy = site.results / "broken-off"
    shutil.copytree(runs.first.directory, copy)
    path = copy / "trials.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lacking = [json.loads(lines[place])["id"] for place in (3, -1)]
    kept = [*lines[:3], *lines[4:-1]]
    path.write_text("".join(kept), encoding="utf-8")
    for trial in lacking:
        shutil.rmtree(copy / "raw" / trial)
    again = site.measure(MATRIX, measurement_run_id=copy.name, measurement_resume=True)
    assert again.directory == copy
    now = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert now[: len(kept)] == kept
    assert [json.loads(line)["id"] for line in now[len(kept) :]] == lacking
    assert all((copy / "raw" / trial / "client.json").exists() for trial in lacking)
    assert again.manifest["seed"] == runs.first.manifest["seed"]
    assert again.manifest["flow_share"] == runs.first.manifest["flow_share"]
    assert (site.results / "latest").readlink() == Path(copy.name)
