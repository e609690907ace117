# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and plans of whole labs, computed without touching anything."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.fabric import hosts_file, plan_lab
from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import NamespacePlan, host
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import parse
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import Layout, lay_out

RATE = 1_000_000_000


def layout(*clusters: dict[str, Any], cpus: tuple[int, ...] = (0, 1), **given: Any) -> Layout:
    wanted = clusters or ({"name": "native", "datapath": "routed"}, {"name": "flannel", "datapath": "vxlan"})
    return lay_out(parse({"clusters": list(wanted), **given}, frozenset({0, 1, 2, 3})), cpus)


def plans(lab: Layout) -> dict[str, NamespacePlan]:
    return {plan.endpoint: plan for plan in plan_lab(lab, RATE)}


def test_every_endpoint_has_a_plan_and_every_plan_an_endpoint() -> None:
    lab = layout()
    assert sorted(plans(lab)) == sorted(lab.names())
    assert "native-w2" in lab.names()
    assert "flannel-client" in lab.names()


def test_a_lab_of_another_name_prefixes_all_of_its_endpoints() -> None:
    lab = layout(name="small")
    assert all(name.startswith("small-") for name in lab.names())
    assert "10.0.20.11 nlb-flannel small-nlb-flannel" in hosts_file(lab)


def test_no_address_is_given_twice_in_the_node_subnet() -> None:
    lab = layout(
        {"name": "a", "datapath": "routed", "workers": 20},
        {"name": "b", "datapath": "vxlan", "workers": 64},
        {"name": "c", "datapath": "routed", "workers": 5},
    )
    subnet = IPv4Network("10.0.10.0/24")
    used = Counter(
        address.interface.ip
        for plan in plans(lab).values()
        for address in plan.addresses
        if address.interface.ip in subnet
    )
    assert [address for address, times in used.items() if times > 1] == []
    assert IPv4Address("10.0.10.0") not in used
    assert IPv4Address("10.0.10.255") not in used


def test_too_many_workers_for_the_subnet_are_refused_in_one_sentence() -> None:
    with pytest.raises(LabError, match=r"clusters has too many workers: the node subnet 10\.0\.10\.0/24 has 253"):
        layout(*({"name": f"c{n}", "datapath": "routed", "workers": 60} for n in range(2)))


def test_clusters_whose_endpoints_would_share_a_name_are_refused() -> None:
    with pytest.raises(LabError, match="two endpoints the name 'nlb-w0'"):
        layout({"name": "nlb", "datapath": "vxlan"}, {"name": "w0", "datapath": "vxlan"})


def test_every_veth_has_both_ends() -> None:
    every = plans(layout())
    made = [link.peer for plan in every.values() for link in plan.links if link.peer]
    expected = [(link.name, plan.endpoint) for plan in every.values() for link in plan.links if link.kind == "peer"]
    assert sorted(made) == sorted(expected)
    macs = [link.mac for plan in every.values() for link in plan.links if link.mac]
    assert len(macs) == len(set(macs))


def test_vxlan_nodes_know_each_others_tunnel_ends() -> None:
    every = plans(layout())
    tunnels = {name: {link.name: link for link in plan.links}.get("flannel.1") for name, plan in every.items()}
    assert [name for name, tunnel in tunnels.items() if tunnel] == ["flannel-w0", "flannel-w1", "flannel-w2"]
    here, there = every["flannel-w0"], tunnels["flannel-w1"]
    assert there
    assert there.mtu == 8950
    assert there.attributes["vxlan_port"] == 8472
    assert there.mac in [neighbour.mac for neighbour in here.neighbours]
    assert (there.mac, "10.0.10.22") in [(entry.mac, str(entry.destination)) for entry in here.forwards]
    assert "10.244.0.128/25" in [str(route.destination) for route in here.routes]


def test_routed_pods_leave_by_the_second_nic_and_are_answered_for_there_alone() -> None:
    lab = layout()
    worker = lab.clusters[0].workers[0]
    plan = plans(lab)["native-w0"]
    for pod in worker.pods:
        sources = [rule.table for rule in plan.rules if rule.source == host(pod.address)]
        assert {route.device for route in plan.routes if route.table in sources} == {"ens5"}
    proxied = {(entry.device, entry.address) for entry in plan.neighbours if entry.mac is None}
    assert proxied == {("ens5", address) for pod in worker.pods for address in pod.addresses}
    assert plan.sysctls["ipv4/conf/all/rp_filter"] == "2"


def test_host_gateway_routes_by_node_addresses_with_the_full_mtu() -> None:
    every = plans(layout({"name": "gw", "datapath": "host_gateway"}))
    routes = {str(route.destination): str(route.gateway) for route in every["gw-w0"].routes}
    assert routes["10.244.0.128/25"] == "10.0.10.12"
    assert {link.mtu for link in every["gw-client"].links} == {9000}
    assert all(link.kind != "vxlan" for plan in every.values() for link in plan.links)


def test_workers_are_dealt_out_to_cpus_in_turn() -> None:
    lab = layout({"name": "a", "datapath": "vxlan", "cpus": [2, 3]}, {"name": "b", "datapath": "vxlan"})
    assert [worker.cpus for worker in lab.clusters[0].workers] == [(2,), (3,), (2,)]
    assert [worker.cpus for worker in lab.clusters[1].workers] == [(0,), (1,), (0,)]
    assert plans(lab)["a-server-1"].receive_cpus == (3,)
    assert plans(lab)["test-vm"].receive_cpus == ()
    unbound = layout({"name": "a", "datapath": "vxlan", "cpus": [2, 3]}, cpus=())
    assert {worker.cpus for worker in unbound.clusters[0].workers} == {()}


def test_the_test_vm_has_twice_a_workers_rate_and_the_balancer_none() -> None:
    every = plans(layout({"name": "a", "datapath": "vxlan", "line_rate": "98%"}))
    assert any("dev line root handle 1: tbf rate 980000000bit" in line for line in every["a-w0"].tc)
    assert any("dev line root handle 1: tbf rate 2000000000bit" in line for line in every["test-vm"].tc)
    assert every["nlb-a"].tc == []
    assert every["fabric"].tc == []


def test_offloads_are_set_on_nics_and_pods_as_asked() -> None:
    every = plans(layout({"name": "a", "datapath": "vxlan", "offloads": {"gso": False, "tso": False}}))
    wanted = {"tso": False, "gso": False, "gro": False}
    assert every["a-w0"].offloads == {"ens3": wanted, "veth0": wanted, "veth1": wanted}
    assert every["a-client"].offloads == {"eth0": wanted}
