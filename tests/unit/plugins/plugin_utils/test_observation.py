# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import observation, sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint
from ansible_collections.netbench.cni.plugins.plugin_utils.observation import MachineView, NodeView
from ansible_collections.netbench.cni.tests.unit.spools import BOOT, every, net_dev, spool_lines, stat

BEGAN = BOOT + 101.0
LABELS = ("w0", "w1", "w2")
LOAD = {0: {"system": 0.5, "softirq": 0.25, "idle": 0.25}, 1: {"system": 0.125, "idle": 0.875}}


def sweep(time: float) -> dict[str, Any]:
    """CPU 0 three quarters busy, CPU 1 an eighth; a gigabyte a second into every node's ens3."""
    return {
        "stat": stat(LOAD, time),
        "net": {label: net_dev({"lo": {}, "ens3": {"rx_bytes": 1e9 * time}}) for label in LABELS},
        "snmp": dict.fromkeys(LABELS, ""),
    }


SPOOL = sampling.parse_spool(spool_lines(every(0.2, 100.0, 104.4), sweep))


def machine(cpus: tuple[int, ...] | None = None) -> MachineView:
    return MachineView(SPOOL, BEGAN + 1.0, BEGAN + 2.8, BEGAN, BEGAN + 3.0, cpus)


def node(name: str, *cpus: int, machine: str = "m") -> Endpoint:
    return Endpoint(name, "node", "c", name, machine, "10.0.0.1", cpus=cpus)


def views(*nodes: Endpoint, two_node_path: bool = True) -> dict[str, NodeView]:
    """The first node is the client's, the second the server's, all others have no part."""
    parts = dict(zip((each.name for each in nodes), ("client_node", "server_node"), strict=False))
    found = observation.views_of(
        parts,
        {each.name: each for each in nodes},
        {each.name: each.name for each in nodes},
        {"w0": ["ens3"]},
        two_node_path=two_node_path,
    )
    return {view.node: view for view in found}


def test_a_node_that_has_its_machine_for_itself_has_all_its_cpus() -> None:
    found = views(node("w0", machine="a"), node("w1", machine="b"))
    assert [view.cpus for view in found.values()] == [None, None]
    assert all(view.cpu_known for view in found.values())


def test_nodes_of_a_shared_machine_are_told_apart_by_the_cpus_they_own() -> None:
    found = views(node("w0", 0), node("w1", 1), node("w2", 0))
    assert (found["w0"].cpus, found["w1"].cpus) == ((0,), (1,))
    assert not found["w2"].cpu_known  # it has no part, and works on the client's CPU


@pytest.mark.parametrize("owned", [((0,), (0,)), ((0, 1), (1,)), ((), ())])
def test_nodes_that_share_a_cpu_are_not_told_apart(owned: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    found = views(node("w0", *owned[0]), node("w1", *owned[1]))
    assert not any(view.cpu_known for view in found.values())


def test_a_path_with_more_than_two_nodes_has_no_node_cpu() -> None:
    assert not any(view.cpu_known for view in views(node("w0", 0), node("w1", 1), two_node_path=False).values())


def test_the_only_node_of_a_part_of_a_machine_has_that_part() -> None:
    assert views(node("w0", 1, machine="host/cpu1"))["w0"].cpus == (1,)


def test_node_metrics() -> None:
    found = observation.node_metrics(list(views(node("w0", 0), node("w1", 1)).values()), {"m": machine()})
    assert found == {
        "client_node_cpu_cores": pytest.approx(0.75, abs=0.01),
        "client_node_softirq_cores": pytest.approx(0.25, abs=0.01),
        "server_node_cpu_cores": pytest.approx(0.125, abs=0.01),
        "server_node_softirq_cores": pytest.approx(0.0, abs=0.01),
        "path_cpu_cores": pytest.approx(0.875, abs=0.01),
    }


def test_memory_is_that_of_a_node_only_where_the_machine_is() -> None:
    alone = observation.node_metrics(list(views(node("w0")).values()), {"m": machine()})
    assert alone["client_node_memory_bytes"] == (4096 - 1024) * 1024


def test_the_ingress_node_has_the_rates_of_its_nics() -> None:
    view = NodeView("w0", "ingress_node", "m", "w0", (), ("ens3",))
    found = observation.node_metrics([view], {"m": machine()})
    assert found["ingress_node_rx_bits_per_second"] == pytest.approx(8e9, rel=0.01)
    assert found["ingress_node_tx_bits_per_second"] == 0


@pytest.mark.parametrize(("cpus", "busy"), [((0,), 0.75), ((1,), 0.125), (None, 0.875)])
def test_a_path_costs_the_cpus_of_its_machine_alone(cpus: tuple[int, ...] | None, busy: float) -> None:
    """Where clusters own a part of the machine each, another one works on the rest at the same time."""
    both = list(views(node("w0", *(cpus or ())), node("w1", *(cpus or ()))).values())
    found = observation.node_metrics(both, {"m": machine(cpus)})
    assert found["path_cpu_cores"] == pytest.approx(busy, abs=0.01)
