# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow
from ansible_collections.netbench.cni.plugins.plugin_utils.flow_share import count, expected_mean
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit.service_paths import NODES, cluster, tables

FLANNEL = cluster("flannel")


def merged(ways: Iterable[tuple[int, int]]) -> dict[str, list[Flow] | None]:
    """The nodes' tables after flows that took these ways (ingress node, serving node)."""
    table: dict[str, list[Flow] | None] = {node: [] for node in NODES}
    for number, (ingress, serving) in enumerate(ways):
        for node, flows in tables("flannel", ingress, serving, sport=10000 + number).items():
            table[node] = [*(table[node] or ()), *(flows or ())]
    return table


def test_flows_are_counted_by_the_way_they_took() -> None:
    ways = [(0, 0)] * 30 + [(0, 1)] * 25 + [(1, 2)] * 40 + [(2, 2)] * 5
    assert count(FLANNEL, FLANNEL.services[0], merged(ways)) == {
        "path": "external_to_load_balancer",
        "flows": 100,
        "forwarded": 65,
        "local": 35,
        "by_ingress_node": {"w0": 55, "w1": 40, "w2": 5},
        "by_serving_pod": {"server-0": 30, "server-1": 25, "server-2": 45},
    }


def test_a_flow_that_is_listed_twice_counts_once() -> None:
    table = merged([(0, 1), (0, 1)])
    twice = {node: [*(flows or ()), *(flows or ())] for node, flows in table.items()}
    assert count(FLANNEL, FLANNEL.services[0], twice)["flows"] == 2


def test_a_flow_is_the_same_when_its_state_has_changed_between_two_readings() -> None:
    before, after = tables("flannel", 0, 1), tables("flannel", 0, 1, state="CLOSE", timeout_seconds=9)
    both = {node: [*(before[node] or ()), *(after[node] or ())] for node in NODES}
    assert count(FLANNEL, FLANNEL.services[0], both)["flows"] == 1


def test_tables_that_cannot_be_read_count_nothing() -> None:
    shares = count(FLANNEL, FLANNEL.services[0], dict.fromkeys(NODES))
    assert (shares["flows"], shares["by_ingress_node"]) == (0, {})


def test_the_references_arithmetic() -> None:
    assert expected_mean({"flows": 3, "local": 1, "forwarded": 2}, 8e9, 4e9) == pytest.approx(5.333e9, rel=1e-3)
    assert expected_mean({"flows": 240, "local": 240, "forwarded": 0}, 8e9, 4e9) == 8e9


def test_no_flows_give_no_mean() -> None:
    with pytest.raises(NetbenchError, match="at least one flow"):
        expected_mean({"flows": 0, "local": 0, "forwarded": 0}, 8e9, 4e9)
