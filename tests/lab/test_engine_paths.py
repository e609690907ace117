# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path that the engine's runs traced, on the session's lab."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netbench.cni.tests.lab.engine_runs import EXTERNAL, PATHS, SERVICE, Runs


@pytest.mark.parametrize("cluster", ["native", "flannel"])
@pytest.mark.parametrize(
    ("scenario", "forwarding"),
    [("service_forwarded", "forwarded"), ("external_forwarded", "forwarded"), ("external_local", "local")],
)
def test_the_trace_shows_the_path_that_was_asked_for(runs: Runs, scenario: str, forwarding: str, cluster: str) -> None:
    assert_traced(runs.of(scenario, cluster), forwarding)


@pytest.mark.parametrize("scenario", ["service_local", "service_any", "external_any"])
def test_the_trace_shows_the_path_that_was_taken(runs: Runs, scenario: str) -> None:
    trial = runs.of(scenario)
    same = trial["path_trace"]["ingress_node"] == trial["endpoints"]["server_node"]
    assert_traced(trial, "local" if same or scenario == "service_local" else "forwarded")


def assert_traced(trial: dict[str, Any], forwarding: str) -> None:
    """All three kinds of evidence tell the same story, which is the endpoints' too."""
    trace, endpoints = trial["path_trace"], trial["endpoints"]
    assert trace["agreed"] == ["server_peer", "conntrack", "nic_counters"], trace
    assert trace["forwarding"] == forwarding
    assert trace["cni_crossed"] == (forwarding == "forwarded")
    assert trace["serving_pod"] == endpoints["server"]
    assert trace["serving_node"] == endpoints["server_node"]
    assert trace["ingress_node"] == endpoints["ingress_node"]
    assert trace["load_balancer"] == (None if PATHS[trial["scenario"]] == SERVICE else f"nlb-{trial['cluster']}")
    assert [(hop["node"], hop["nic"], hop["direction"]) for hop in trace["hops"]] == expected_hops(trial, forwarding)


def expected_hops(trial: dict[str, Any], forwarding: str) -> list[tuple[str, str, str]]:
    """The NICs that the bulk of the bytes crosses: into the ingress node by its own, between nodes by the pods'."""
    ingress, serving = trial["endpoints"]["ingress_node"], trial["endpoints"]["server_node"]
    pod_nic = "ens5" if trial["cluster"] == "native" else "ens3"
    if PATHS[trial["scenario"]] == SERVICE:
        return [(ingress, pod_nic, "out"), (serving, pod_nic, "in")] if forwarding == "forwarded" else []
    onward = [(ingress, "ens3", "out"), (serving, pod_nic, "in")] if forwarding == "forwarded" else []
    return [(ingress, "ens3", "in"), *onward]


def test_direct_paths_have_no_trace(runs: Runs) -> None:
    direct = [trial for _run, trial in runs.trials if PATHS[trial["scenario"]] not in (SERVICE, EXTERNAL)]
    assert direct
    assert all(trial["path_trace"] == {} for trial in direct)


def test_pods_of_the_same_node_do_not_leave_it(runs: Runs) -> None:
    trial = runs.of("same_node")
    node = trial["endpoints"]["client_node"]
    assert trial["endpoints"]["server_node"] == node
    rate = runs.nic_rates(trial, node)["ens3"].tx_bits_per_second
    assert rate < 0.01 * trial["metrics"]["throughput_bits_per_second"]
