# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on clusters of which the truth is known: two that are alike, and one whose line is 2 % slower.

Asserted of the equal ones is that no primary metric gets a verdict `higher` or `lower`. One run may be wrong there with
the probability that the statistics claim, 5 % over all primaries together; so a run that finds a difference is
repeated, and fails the test only if it finds one again (1 in 400). The scenarios are those that the line rate or a
fixed rate holds down, so that this machine's other work is no difference between the clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.tests.benchmarks import _lab

CLUSTERS = [
    {"name": "left", "datapath": "routed", "workers": 2},
    {"name": "right", "datapath": "routed", "workers": 2},
    {"name": "slower", "datapath": "routed", "workers": 2, "line_rate": "98%"},
]
TCP = {"name": "tcp", "path": "pod_to_pod", "protocol": "tcp"}
FIXED = {"name": "fixed", "path": "pod_to_pod", "protocol": "tcp", "rate": "50%"}
UDP_OVER = {"name": "udp_over", "path": "pod_to_pod", "protocol": "udp", "rate": "100%", "length": 8192}
PRIMARIES = {
    "tcp": "throughput_bits_per_second",
    "fixed": "cpu_cores_per_gbit",
    "udp_over": "throughput_bits_per_second",
}
MATRIX = {
    "blocks": 8,
    "window": "0.8s",
    "void": _lab.NEVER_VOID,
    "evidence": {},
    "defaults": {"socket_buffer": "400K"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_lab.Site]:
    directory = tmp_path_factory.mktemp("truth")
    made = _lab.Site(directory, "truth", directory / "labs")
    try:
        made.up(lab_line_rate="500Mbit", lab_clusters=CLUSTERS)
        yield made
    finally:
        made.down()


def primaries(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Scenario → the comparison of its primary metric."""
    found = results.build(run_dir)
    assert [(trial["id"], trial["reason"]) for trial in found["trials"] if trial["status"] != "ok"] == []
    return {each["scenario"]: each for each in found["comparisons"] if each["primary"]}


def differences(site: _lab.Site) -> dict[str, dict[str, Any]]:
    """The primaries in which one run takes the equal clusters for different."""
    matrix = {**MATRIX, "clusters": ["left", "right"], "baseline": "left", "scenarios": [TCP, FIXED, UDP_OVER]}
    found = primaries(site.measure(matrix).directory)
    assert {scenario: each["metric"] for scenario, each in found.items()} == PRIMARIES
    assert {each["n"] for each in found.values()} == {MATRIX["blocks"]}
    return {scenario: each for scenario, each in found.items() if each["verdict"] in ("higher", "lower")}


def test_equal_clusters_get_no_verdict(site: _lab.Site) -> None:
    first = differences(site)
    if first:
        assert {"first": first, "again": differences(site)}["again"] == {}, first


def test_a_line_that_is_two_per_cent_slower_is_found(site: _lab.Site) -> None:
    matrix = {**MATRIX, "clusters": ["left", "slower"], "baseline": "left", "scenarios": [TCP]}
    found = primaries(site.measure(matrix).directory)["tcp"]
    assert found["metric"] == "throughput_bits_per_second"
    assert found["verdict"] == "lower", found
    assert found["relative"] == pytest.approx(-0.02, abs=0.01)
