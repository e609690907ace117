# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow, Tuple
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.path_trace import canonical, trace
from ansible_collections.netbench.cni.tests.unit.service_paths import (
    BYTES,
    NODES,
    cluster,
    evidence,
    nic_bytes,
    peer,
    pod_address,
    tables,
)

ALL = ["server_peer", "conntrack", "nic_counters"]
both = pytest.mark.parametrize("name", ["native", "flannel"])


def hops(result: dict[str, Any]) -> list[str]:
    return [f"{hop['node']} {hop['nic']} {hop['direction']}" for hop in result["hops"]]


@both
@pytest.mark.parametrize("ingress", [0, 1, 2])
@pytest.mark.parametrize("serving", [0, 1, 2])
def test_every_way_through_the_cluster_is_traced_by_all_evidence(name: str, ingress: int, serving: int) -> None:
    result = trace(**evidence(name, ingress, serving))
    forwarded = ingress != serving
    assert (result["agreed"], result["disagreed"], result["missing"]) == (ALL, [], [])
    assert result["load_balancer"] == f"nlb-{name}"
    assert result["ingress_node"] == f"w{ingress}"
    assert (result["serving_pod"], result["serving_node"]) == (f"server-{serving}", f"w{serving}")
    assert result["forwarding"] == ("forwarded" if forwarded else "local")
    assert result["cni_crossed"] is forwarded
    into_pod = "ens3" if name == "flannel" else "ens5"
    crossed = [f"w{ingress} ens3 in", f"w{ingress} ens3 out", f"w{serving} {into_pod} in"]
    assert hops(result) == (crossed if forwarded else crossed[:1])
    assert result["hops"][0]["bytes"] == round(1.01 * BYTES)
    assert json.loads(json.dumps(result)) == result


def test_each_kind_of_evidence_says_what_it_can() -> None:
    says = {kind: each["says"] for kind, each in trace(**evidence("flannel", 1, 2))["evidence"].items()}
    nodes = {"ingress_node": "w1", "serving_node": "w2", "forwarding": "forwarded"}
    assert says == {
        "server_peer": {**nodes, "serving_pod": "server-2"},
        "conntrack": {**nodes, "serving_pod": "server-2"},
        "nic_counters": nodes,
    }


NOTHING = {
    "server_peer": {"server_peers": {}},
    "conntrack": {"conntrack": dict.fromkeys(NODES)},
    "nic_counters": {"nic_bytes": {}},
}


@both
@pytest.mark.parametrize("missing", ALL)
def test_two_kinds_of_evidence_are_enough(name: str, missing: str) -> None:
    result = trace(**evidence(name, 1, 2) | NOTHING[missing])
    assert result["missing"] == [missing]
    assert result["agreed"] == [kind for kind in ALL if kind != missing]
    assert (result["ingress_node"], result["serving_pod"]) == ("w1", "server-2")
    assert result["evidence"][missing] == {"says": {}, "agrees": False}


@pytest.mark.parametrize("present", ALL)
def test_one_kind_of_evidence_says_what_it_can(present: str) -> None:
    without = {key: value for kind in ALL if kind != present for key, value in NOTHING[kind].items()}
    result = trace(**evidence("native", 0, 2) | without)
    assert result["agreed"] == [present]
    assert (result["ingress_node"], result["serving_node"], result["forwarding"]) == ("w0", "w2", "forwarded")
    assert result["serving_pod"] == (None if present == "nic_counters" else "server-2")


def test_without_evidence_nothing_is_claimed() -> None:
    nothing = NOTHING["server_peer"] | NOTHING["conntrack"] | NOTHING["nic_counters"]
    result = trace(**evidence("native", 0, 2) | nothing)
    assert result["missing"] == ALL
    for field in ("ingress_node", "serving_pod", "serving_node", "forwarding", "cni_crossed"):
        assert result[field] is None


OTHER = {
    "server_peer": {"server_peers": {"server-0": [peer("native", 2, 0)]}},
    "conntrack": {"conntrack": tables("native", 2, 0)},
    "nic_counters": {"nic_bytes": nic_bytes("native", 2, 0)},
}


@pytest.mark.parametrize("liar", ALL)
def test_the_majority_outvotes_one_kind_of_evidence(liar: str) -> None:
    result = trace(**evidence("native", 1, 2) | OTHER[liar])
    assert result["disagreed"] == [liar]
    assert result["evidence"][liar]["agrees"] is False
    assert (result["ingress_node"], result["serving_node"]) == ("w1", "w2")
    if liar == "nic_counters":
        assert result["serving_pod"] == "server-2"


@pytest.mark.parametrize("other", ["server_peer", "nic_counters"])
def test_of_two_that_stand_against_one_another_conntrack_is_believed(other: str) -> None:
    third = next(kind for kind in ALL if kind not in ("conntrack", other))
    result = trace(**evidence("native", 1, 2) | OTHER[other] | NOTHING[third])
    assert result["agreed"] == ["conntrack"]
    assert result["disagreed"] == [other]
    assert (result["ingress_node"], result["serving_pod"]) == ("w1", "server-2")


def test_when_all_say_something_else_nothing_is_claimed() -> None:
    differing = {"server_peers": {"server-0": [peer("native", 1, 0)]}, "conntrack": tables("native", 2, 1)}
    result = trace(**evidence("native", 0, 2) | differing)
    assert result["disagreed"] == ALL
    assert result["agreed"] == []
    assert (result["ingress_node"], result["forwarding"], result["cni_crossed"]) == (None, None, None)


def test_a_node_whose_table_cannot_be_read_leaves_the_others() -> None:
    shown = tables("flannel", 1, 2)
    assert trace(**evidence("flannel", 1, 2) | {"conntrack": shown | {"w0": None}})["agreed"] == ALL
    assert trace(**evidence("flannel", 1, 2) | {"conntrack": shown | {"w1": None}})["missing"] == ["conntrack"]


def with_older(flows: dict[str, list[Flow] | None], older: dict[str, list[Flow] | None]) -> dict[str, list[Flow]]:
    return {node: [*(older[node] or ()), *(flows[node] or ())] for node in NODES}


@pytest.mark.parametrize(
    ("now", "before", "ports"),
    [
        ({"sport": 5}, {"sport": 4}, {5}),
        (
            {"sport": 5, "state": "CLOSE", "timeout_seconds": 9},
            {"sport": 4, "state": "TIME_WAIT", "timeout_seconds": 117},
            {5},
        ),
        ({}, {"state": "TIME_WAIT", "timeout_seconds": 119}, {999}),
        ({"state": "TIME_WAIT", "timeout_seconds": 119}, {"state": "TIME_WAIT", "timeout_seconds": 114}, ()),
    ],
)
def test_flows_of_earlier_trials_do_not_count(
    now: dict[str, Any], before: dict[str, Any], ports: Sequence[int]
) -> None:
    table = with_older(tables("flannel", 1, 2, **now), tables("flannel", 0, 0, **before))
    result = trace(**evidence("flannel", 1, 2) | {"conntrack": table, "client_ports": ports})
    assert result["agreed"] == ALL
    assert result["ingress_node"] == "w1"


@pytest.mark.parametrize(
    "original",
    [
        Tuple("10.0.20.5", "10.0.10.10", 40000, 31999),  # another Service's node port
        Tuple("10.0.20.5", "10.0.30.10", 40000, 31001),  # another cluster's node
        Tuple("10.0.20.5", "10.0.20.5", 40000, 5202),  # another port of the load balancer
        Tuple("10.0.20.5", "10.0.20.6", 40000, 5201),  # another load balancer
    ],
)
def test_flows_to_other_services_do_not_count(original: Tuple) -> None:
    table = tables("flannel", 1, 2)
    stranger = replace((table["w1"] or [])[0], original=original)
    result = trace(**evidence("flannel", 1, 2) | {"conntrack": table | {"w0": [stranger]}})
    assert result["evidence"]["conntrack"]["says"]["ingress_node"] == "w1"


def test_flows_to_pods_of_no_backend_do_not_count() -> None:
    table = tables("flannel", 1, 2)
    flow = (table["w1"] or [])[0]
    stranger = replace(flow, reply=replace(flow.reply, src="10.244.0.99"))
    assert trace(**evidence("flannel", 1, 2) | {"conntrack": {"w1": [stranger, flow]}})["agreed"] == ALL
    assert trace(**evidence("flannel", 1, 2) | {"conntrack": {"w1": [stranger]}})["missing"] == ["conntrack"]


def test_a_load_balancer_that_keeps_the_address_is_translated_like_a_node_port() -> None:
    # OCI's and others' load balancers may hand packets on unchanged: kube-proxy then translates their address.
    table = tables("flannel", 1, 2)
    flow = replace((table["w1"] or [])[0], original=Tuple("10.0.10.250", "10.0.20.5", 40000, 5201))
    assert trace(**evidence("flannel", 1, 2) | {"conntrack": table | {"w1": [flow]}})["agreed"] == ALL


@both
def test_when_the_pod_sends_the_bulk_the_hops_start_there(name: str) -> None:
    swapped = {
        node: {nic: (sent, received) for nic, (received, sent) in nics.items()}
        for node, nics in nic_bytes(name, 1, 2).items()
    }
    result = trace(**evidence(name, 1, 2) | {"nic_bytes": swapped})
    assert result["agreed"] == ALL
    into_pod = "ens3" if name == "flannel" else "ens5"
    assert hops(result) == [f"w2 {into_pod} out", "w1 ens3 in", "w1 ens3 out"]


def test_bulk_both_ways_leaves_the_order_to_the_others() -> None:
    counted = nic_bytes("flannel", 1, 2) | {"w2": {"ens3": (BYTES, BYTES)}}
    result = trace(**evidence("flannel", 1, 2) | {"nic_bytes": counted})
    assert result["missing"] == ["nic_counters"]
    assert hops(result) == ["w1 ens3 in", "w1 ens3 out", "w2 ens3 in", "w2 ens3 out"]


def test_bulk_at_more_nodes_than_one_path_has_says_nothing() -> None:
    counted = nic_bytes("flannel", 1, 2) | {"w0": {"ens3": (BYTES, BYTES)}}
    assert trace(**evidence("flannel", 1, 2) | {"nic_bytes": counted})["missing"] == ["nic_counters"]


def test_the_facts_say_which_devices_are_nics() -> None:
    given_names = {
        node: {"veth-out" if nic == "ens3" else nic: count for nic, count in nics.items()}
        for node, nics in nic_bytes("flannel", 1, 2).items()
    }
    system = cluster("flannel")
    system.facts["node_nics"] = {node: ["veth-out"] for node in NODES}
    result = trace(**evidence("flannel", 1, 2) | {"nic_bytes": given_names, "cluster": system})
    assert result["agreed"] == ALL
    assert hops(result)[0] == "w1 veth-out in"


def test_a_peer_whose_address_no_node_owns_alone_says_nothing_of_the_ingress_node() -> None:
    for address in ("169.254.1.1", "192.0.2.1"):
        result = trace(**evidence("native", 1, 2) | {"server_peers": {"server-2": [address]}})
        assert result["evidence"]["server_peer"]["says"] == {"serving_node": "w2", "serving_pod": "server-2"}
        assert result["agreed"] == ALL


def test_a_mapped_address_is_the_ipv4_address() -> None:
    result = trace(**evidence("flannel", 1, 2) | {"server_peers": {"server-2": ["::ffff:10.244.1.0"]}})
    assert result["evidence"]["server_peer"]["says"]["ingress_node"] == "w1"


def test_two_pods_that_served_say_nothing() -> None:
    peers = {"server-1": [peer("flannel", 1, 1)], "server-2": [peer("flannel", 1, 2)]}
    assert trace(**evidence("flannel", 1, 2) | {"server_peers": peers})["missing"] == ["server_peer"]


def from_pod(name: str, serving: int) -> dict[str, Any]:
    system = cluster(name)
    client = next(endpoint for endpoint in system.endpoints if endpoint.name == "client")
    pod = pod_address(name, serving, 2)
    flow = Flow("tcp", Tuple(client.address, "10.96.0.1", 5, 5201), Tuple(pod, client.address, 5201, 5), "ESTABLISHED")
    stranger = replace(flow, original=replace(flow.original, src="10.244.9.9"))
    nic = "ens3" if name == "flannel" else "ens5"
    counted = {node: {"ens3": (0.0, 0.0), "ens5": (0.0, 0.0)} for node in NODES}
    if serving:
        counted["w0"][nic] = (BYTES / 100, BYTES)
        counted[f"w{serving}"][nic] = (BYTES, BYTES / 100)
    return {
        "cluster": system,
        "client": client,
        "service": system.services[0],
        "path": "pod_to_service",
        "server_peers": {f"server-{serving}": [client.address]},
        "conntrack": {"w0": [flow], "w1": [stranger], "w2": []},
        "nic_bytes": counted,
        "traffic_bytes": BYTES,
    }


@both
@pytest.mark.parametrize("serving", [0, 1])
def test_a_service_is_translated_on_the_clients_node(name: str, serving: int) -> None:
    result = trace(**from_pod(name, serving))
    assert result["evidence"]["conntrack"]["says"]["ingress_node"] == "w0"
    assert (result["agreed"], result["load_balancer"]) == (ALL, None)
    assert (result["ingress_node"], result["serving_pod"]) == ("w0", f"server-{serving}")
    assert result["cni_crossed"] is bool(serving)
    nic = "ens3" if name == "flannel" else "ens5"
    assert hops(result) == ([f"w0 {nic} out", f"w1 {nic} in"] if serving else [])


def test_traffic_of_nobody_knows_what_says_nothing() -> None:
    assert trace(**from_pod("flannel", 0) | {"traffic_bytes": 0.0})["missing"] == ["nic_counters"]
    elsewhere = {"w0": {"ens3": (0.0, 0.0)}, "w1": {"ens3": (BYTES, 0.0)}}
    assert trace(**from_pod("flannel", 0) | {"nic_bytes": elsewhere})["missing"] == ["nic_counters"]


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(NetbenchError, match="'nlb'"):
        canonical("nlb")


COUNTS = st.tuples(st.floats(0, 3 * BYTES), st.floats(0, 3 * BYTES))


@given(
    st.dictionaries(st.sampled_from(NODES), st.dictionaries(st.sampled_from(["ens3", "ens5", "lo"]), COUNTS)),
    st.dictionaries(st.sampled_from(["server-0", "server-1", "x"]), st.lists(st.ip_addresses(v=4).map(str))),
    st.sampled_from(["external_to_load_balancer", "pod_to_service"]),
)
def test_whatever_is_counted_the_trace_is_consistent(nics: Any, peers: Any, path: Any) -> None:
    given_evidence = evidence("native", 1, 2) | {"nic_bytes": nics, "server_peers": peers, "path": path}
    result = trace(**given_evidence)
    assert sorted(result["agreed"] + result["disagreed"] + result["missing"]) == sorted(ALL)
    known = result["ingress_node"] is not None and result["serving_node"] is not None
    assert (result["forwarding"] is not None) == known
    assert result["cni_crossed"] == ((result["forwarding"] == "forwarded") if known else None)
