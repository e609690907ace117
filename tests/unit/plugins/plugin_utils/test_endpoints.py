# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.template import trust_as_template

from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import (
    check,
    client_and_servers,
    clusters_from_vars,
    machines,
    spread_service,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Scenario, Traffic
from ansible_collections.netbench.cni.tests.unit.topology import topology, variables


def scenario(path: Any, forwarding: Any = None, family: Any = 4) -> Scenario:
    return Scenario("s", path, Traffic(family=family), "throughput_bits_per_second", forwarding=forwarding)


def test_variables_become_clusters_and_externals() -> None:
    clusters, externals = topology()
    assert list(clusters) == ["flannel", "native"]
    assert list(externals) == ["test-vm"]
    assert externals["test-vm"].node == "test-vm"
    flannel = clusters["flannel"]
    assert len(flannel.endpoints) == 7
    assert flannel.facts == {"datapath": "routed"}
    assert flannel.services[0].backends == ("flannel-server-0", "flannel-server-1", "flannel-server-2")


def test_the_machine_is_the_node_where_none_is_given() -> None:
    clusters, hosts = variables("a")
    del hosts["a-client"]["netbench_machine"]
    found, _externals = clusters_from_vars(clusters, hosts)
    assert found["a"].of_role("client")[0].machine == "a-w0"


@pytest.mark.parametrize(
    ("path", "client", "server", "address"),
    [
        ("node_to_node", "flannel-w0", "flannel-w1", "10.0.10.11"),
        ("pod_to_pod", "flannel-client", "flannel-server-1", "10.244.1.2"),
        ("pod_to_pod_same_node", "flannel-client", "flannel-server-0", "10.244.0.2"),
    ],
)
def test_direct_paths(path: str, client: str, server: str, address: str) -> None:
    clusters, externals = topology()
    chosen = client_and_servers(clusters["flannel"], externals, scenario(path))
    assert (chosen.client.name, [s.name for s in chosen.servers]) == (client, [server])
    assert (chosen.target_address, chosen.target_port) == (address, 5201)
    assert (chosen.client_node, chosen.server_node) == ("flannel-w0", f"flannel-w{server[-1]}")
    assert chosen.service is None


@pytest.mark.parametrize(("forwarding", "server"), [("local", 0), ("forwarded", 1)])
def test_a_services_ingress_node_is_the_clients(forwarding: str, server: int) -> None:
    clusters, externals = topology()
    chosen = client_and_servers(clusters["native"], externals, scenario("pod_to_service", forwarding))
    assert [s.name for s in chosen.servers] == [f"native-server-{server}"]
    assert chosen.server_node == f"native-w{server}"
    assert (chosen.target_address, chosen.target_port) == (f"10.96.1.{3 + server}", 5210 + server)


@pytest.mark.parametrize("ingress", [0, 1, 2])
def test_the_load_balancers_backend_follows_from_the_ingress_node(ingress: int) -> None:
    clusters, externals = topology()
    local, forwarded = (
        client_and_servers(
            clusters["native"], externals, scenario("external_to_load_balancer", how), f"native-w{ingress}"
        )
        for how in ("local", "forwarded")
    )
    assert local.server_node == f"native-w{ingress}"
    assert forwarded.server_node not in (None, f"native-w{ingress}")
    assert local.client.name == "test-vm"
    assert local.target_address == "10.0.20.11"
    assert local.target_port == 5210 + ingress


def test_without_forwarding_every_pod_may_answer() -> None:
    clusters, externals = topology()
    for path, client in (("pod_to_service", "native-client"), ("external_to_load_balancer", "test-vm")):
        chosen = client_and_servers(clusters["native"], externals, scenario(path))
        assert chosen.client.name == client
        assert len(chosen.servers) == 3
        assert chosen.server_node is None
        assert chosen.service is not None
        assert chosen.service.name == "iperf"


def test_family_6() -> None:
    clusters, externals = topology()
    chosen = client_and_servers(clusters["native"], externals, scenario("pod_to_pod", family=6))
    assert chosen.target_address == "fd00:1:1::2"
    with pytest.raises(NetbenchError, match="needs an IPv6 address of native-w1, which has none"):
        client_and_servers(clusters["native"], externals, scenario("node_to_node", family=6))
    with pytest.raises(NetbenchError, match="needs an IPv6 cluster address of service iperf"):
        client_and_servers(clusters["native"], externals, scenario("pod_to_service", family=6))


def test_machines_hold_everything_a_trial_may_touch() -> None:
    clusters, hosts = variables("a")
    for worker in range(3):
        hosts[f"a-w{worker}"]["netbench_machine"] = f"m{worker}"
        hosts[f"a-server-{worker}"]["netbench_machine"] = f"m{worker}"
    hosts["a-client"]["netbench_machine"] = "m0"
    found, externals = clusters_from_vars(clusters, hosts)
    cluster = found["a"]
    assert machines(cluster, externals, scenario("pod_to_pod")) == {"m0", "m1"}
    assert machines(cluster, externals, scenario("pod_to_pod_same_node")) == {"m0"}
    assert machines(cluster, externals, scenario("pod_to_service")) == {"m0", "m1", "m2"}
    external = scenario("external_to_load_balancer", "local")
    assert machines(cluster, externals, external) == {"vm", "m0", "m1", "m2"}
    assert client_and_servers(cluster, externals, external, "a-w0").machines == {"vm", "m0", "m1", "m2"}


def test_the_spread_service_has_no_affinity() -> None:
    clusters, _externals = topology("a")
    assert spread_service(clusters["a"]).name == "iperf-spread"
    given, hosts = variables("a")
    given["a"]["services"] = [s for s in given["a"]["services"] if s["affinity"]]
    found, _externals = clusters_from_vars(given, hosts)
    with pytest.raises(NetbenchError, match="flow share probe needs a service of cluster a"):
        spread_service(found["a"])


@pytest.mark.parametrize(
    ("host", "change", "sentence"),
    [
        ("a-client", {"netbench_role": "klient"}, r"netbench_role of host a-client is 'klient'; it must be one of"),
        ("a-client", {"netbench_cluster": "aa"}, r"netbench_cluster of host a-client is 'aa'; did you mean a\?"),
        ("a-client", {"netbench_cluster": None}, r"netbench_cluster of host a-client is empty; known are: a"),
        ("a-client", {"netbench_node": None}, r"host a-client has no netbench_node"),
        ("a-client", {"netbench_node": "a-w9"}, r"is 'a-w9', which is no node of cluster a; did you mean a-w"),
        ("a-client", {"netbench_address": ""}, r"host a-client has no netbench_address"),
        ("a-client", {"netbench_address6": "10.0.0.1"}, r"address6 of host a-client is '10.0.0.1'; it must be an"),
        ("a-client", {"netbench_cpus": ["x"]}, r"netbench_cpus of host a-client is 'x'; it must be a whole number"),
        ("test-vm", {"netbench_source_addresses": "10.0.0.1"}, r"is '10.0.0.1'; it must be a list"),
    ],
)
def test_bad_host_variables(host: str, change: dict[str, Any], sentence: str) -> None:
    clusters, hosts = variables("a")
    hosts[host] |= change
    with pytest.raises(NetbenchError, match=sentence):
        clusters_from_vars(clusters, hosts)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cni": None}, r"netbench_clusters.a.cni is empty"),
        ({"line_rate": 1}, r"netbench_clusters.a has an unknown key line_rate; did you mean line_rate_shared\?"),
        ({"line_rate_bits_per_second": "2G"}, r"line_rate_bits_per_second is '2G'; it must be a number above 0"),
        ({"pod_mtu": 12}, r"netbench_clusters.a.pod_mtu is 12; it must be a whole number from 576"),
        (
            {"services": [{"name": "s", "cluster_ip": "10.1.1.1", "port": 1, "backends": ["a-client"]}]},
            r"services\[0\].backends names 'a-client', which is no server endpoint of that cluster",
        ),
        ({"services": [{"name": "s", "cluster_ip": "10.1.1.1", "port": 0}]}, r"services\[0\].port is 0"),
    ],
)
def test_bad_cluster_variables(change: dict[str, Any], sentence: str) -> None:
    clusters, hosts = variables("a")
    clusters["a"] |= change
    with pytest.raises(NetbenchError, match=sentence):
        clusters_from_vars(clusters, hosts)


def test_what_is_missing_is_named() -> None:
    clusters, hosts = variables("a")
    clusters["a"]["services"] = [s for s in clusters["a"]["services"] if s["name"] == "iperf-0"]
    for name in ("a-server-1", "a-server-2", "test-vm"):
        del hosts[name]
    found, externals = clusters_from_vars(clusters, hosts)
    expected = {
        "pod_to_pod": "needs a server pod on another node than a-w0, but cluster a has only a-server-0 on a-w0",
        "external_to_load_balancer": "scenario s needs an endpoint with netbench_role external, and there is none",
    }
    for path, sentence in expected.items():
        with pytest.raises(NetbenchError, match=sentence):
            client_and_servers(found["a"], externals, scenario(path))
    with pytest.raises(NetbenchError, match="on another node than a-w0, but cluster a has only iperf-0 of a-server-0"):
        client_and_servers(found["a"], externals, scenario("pod_to_service", "forwarded"))


def test_a_forwarded_external_scenario_can_be_checked_before_the_ingress_node_is_known() -> None:
    clusters, externals = topology("a")
    wanted = scenario("external_to_load_balancer", "forwarded")
    check(clusters["a"], externals, wanted)
    with pytest.raises(NetbenchError, match="before the ingress node of cluster a is known"):
        client_and_servers(clusters["a"], externals, wanted)
    given, hosts = variables("a")
    given["a"]["services"] = given["a"]["services"][:2]
    found, externals = clusters_from_vars(given, hosts)
    with pytest.raises(NetbenchError, match="needs a service with one server pod on another node than a-w0"):
        check(found["a"], externals, wanted)


def test_tagged_values_of_ansible_come_out_plain() -> None:
    clusters, hosts = variables("a")
    hosts["a-client"]["netbench_address"] = trust_as_template("10.9.9.9")
    found, _externals = clusters_from_vars(clusters, hosts)
    client = found["a"].of_role("client")[0]
    tagged = hosts["a-client"]["netbench_address"]
    assert type(tagged) is not str  # pylint: disable=unidiomatic-typecheck  # tagged ones are a subclass
    assert type(client.address) is str  # pylint: disable=unidiomatic-typecheck  # tagged ones are a subclass
    assert client.address == "10.9.9.9"
