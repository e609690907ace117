# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way packets go in a lab: pods, nodes, Services and load balancers, with real sockets."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLOWS = 240
# Of chi-square with two degrees of freedom: exceeded once in 270,000 times where all three are equally likely.
CHI_SQUARE_LIMIT = 25.0
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2


@pytest.fixture(scope="module")
def answering(lab: Any) -> Iterator[Any]:
    """The lab with something on port 5201 of pods, nodes and the test VM that tells its name and who asked."""
    answerers = lab.answerers()
    try:
        yield lab
    finally:
        for process in answerers:
            process.kill()
            process.communicate()


def ask(address: str, port: int, source: str | None = None) -> list[str]:
    """Connect by TCP: [who answered, whom it saw]. Runs inside an endpoint."""
    with socket.create_connection((address, port), timeout=5, source_address=(source, 0) if source else None) as stream:
        return stream.recv(200).decode().split()


def ask_often(address: str, port: int, times: int) -> list[list[str]]:
    return [ask(address, port) for _time in range(times)]


def ask_by_datagram(address: str, port: int, size: int = 10, fragment: bool = True) -> str:
    """Send one datagram and return the answer's text, or EMSGSIZE. Runs inside an endpoint."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(5)
        if not fragment:
            datagrams.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        datagrams.connect((address, port))
        try:
            datagrams.send(b"x" * size)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return datagrams.recv(65536).decode()


def chi_square(counts: Counter[str], kinds: int) -> float:
    expected = counts.total() / kinds
    return sum((count - expected) ** 2 / expected for count in counts.values()) + (kinds - len(counts)) * expected


def service(lab: Any, cluster: str, name: str) -> dict[str, Any]:
    return next(entry for entry in lab.state["clusters"][cluster]["services"] if entry["name"] == name)


def nic_packets(lab: Any, node: str) -> dict[str, tuple[int, int]]:
    """NIC → received and sent packets of a node."""
    lines = lab.call(node, Path("/proc/self/net/dev").read_text).splitlines()[2:]
    table = {name.strip(): fields.split() for name, _colon, fields in (line.partition(":") for line in lines)}
    return {name: (int(fields[1]), int(fields[9])) for name, fields in table.items()}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_the_client_reaches_the_pod_on_every_node_as_itself(answering: Any, cluster: str, family: int) -> None:
    client = f"{cluster}-client"
    for worker in range(3):
        server = f"{cluster}-server-{worker}"
        own = answering.address(client, family)
        assert answering.call(client, ask, answering.address(server, family), 5201) == [server, own]
        assert answering.call(client, ask_by_datagram, answering.address(server, family), 5201) == own


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_nodes_reach_one_another_and_pods_reach_the_test_vm(answering: Any, cluster: str) -> None:
    for family in (4, 6):
        node, other = f"{cluster}-w0", f"{cluster}-w2"
        reply = answering.call(node, ask, answering.address(other, family), 5201)
        assert reply == [other, answering.address(node, family)]
    seen = answering.call(f"{cluster}-client", ask, answering.address("test-vm"), 5201)[1]
    # flannel hides pods behind their node from whoever is outside; a routed pod is itself everywhere.
    assert seen == answering.address("flannel-w0" if cluster == "flannel" else "native-client")


@pytest.mark.parametrize(
    ("client", "server", "mtu"),
    [
        ("flannel-client", "flannel-server-1", 8950),
        ("native-client", "native-server-1", 9000),
        ("flannel-w0", "flannel-w1", 9000),
    ],
)
def test_the_mtu_is_what_passes_unfragmented_and_not_a_byte_more(
    answering: Any, client: str, server: str, mtu: int
) -> None:
    payload = mtu - 28
    own, target = answering.address(client), answering.address(server)
    assert answering.call(client, ask_by_datagram, target, 5201, payload, False) == own
    assert answering.call(client, ask_by_datagram, target, 5201, payload + 1, False) == "EMSGSIZE"


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_a_service_without_affinity_spreads_over_all_pods(answering: Any, cluster: str) -> None:
    spread = service(answering, cluster, "iperf-spread")
    replies = answering.call(f"{cluster}-client", ask_often, spread["cluster_ip"], spread["port"], FLOWS)
    counts = Counter(name for name, _seen in replies)
    assert set(counts) == set(spread["backends"])
    assert chi_square(counts, 3) < CHI_SQUARE_LIMIT


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_the_balancer_spreads_over_nodes_and_two_thirds_are_forwarded(answering: Any, cluster: str) -> None:
    spread = service(answering, cluster, "iperf-spread")
    before = {worker: nic_packets(answering, f"{cluster}-w{worker}")["ens3"][0] for worker in range(3)}
    replies = answering.call("test-vm", ask_often, spread["load_balancer_address"], spread["port"], FLOWS)
    pods = Counter(name for name, _seen in replies)
    assert chi_square(pods, 3) < CHI_SQUARE_LIMIT
    ingress = Counter(ingress_of(answering, cluster, seen) for _name, seen in replies)
    assert chi_square(ingress, 3) < CHI_SQUARE_LIMIT
    forwarded = sum(name[-1] != ingress_of(answering, cluster, seen)[-1] for name, seen in replies)
    assert 0.52 < forwarded / FLOWS < 0.81
    assert all(nic_packets(answering, f"{cluster}-w{n}")["ens3"][0] > packets for n, packets in before.items())


def ingress_of(lab: Any, cluster: str, seen: str) -> str:
    """The node whose address a pod saw: by its pod network (tunnel or bridge) or its NIC."""
    if cluster == "native":
        return next(f"native-w{n}" for n in range(3) if lab.address(f"native-w{n}") == seen)
    third, last = (int(part) for part in seen.split(".")[2:])
    return f"flannel-w{third * 2 + last // 128}"


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_with_affinity_a_client_stays_with_its_pod(answering: Any, cluster: str) -> None:
    sticky = service(answering, cluster, "iperf")
    for server in range(3):
        replies = answering.call(f"{cluster}-server-{server}", ask_often, sticky["cluster_ip"], sticky["port"], 12)
        assert len({name for name, _seen in replies}) == 1


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_a_pods_own_service_is_reached_by_every_way(answering: Any, cluster: str) -> None:
    for worker in range(3):
        own = service(answering, cluster, f"iperf-{worker}")
        server = f"{cluster}-server-{worker}"
        ways = [
            (f"{cluster}-client", own["cluster_ip"], own["port"]),
            (server, own["cluster_ip"], own["port"]),  # itself: a hairpin
            (f"{cluster}-w1", own["cluster_ip"], own["port"]),
            ("test-vm", own["load_balancer_address"], own["port"]),
            ("test-vm", answering.address(f"{cluster}-w2"), own["node_port"]),
            (f"{cluster}-w0", own["load_balancer_address"], own["port"]),
        ]
        for source, address, port in ways:
            assert answering.call(source, ask, address, port)[0] == server
            assert answering.call(source, ask_by_datagram, address, port)


def test_the_balancer_sends_an_address_to_one_node_and_addresses_to_several(answering: Any) -> None:
    own = service(answering, "native", "iperf-0")
    target = (own["load_balancer_address"], own["port"])
    sources = answering.endpoint("test-vm")["source_addresses"]
    assert len(sources) == 8
    picked = {source: [answering.call("test-vm", ask, *target, source)[1] for _time in range(3)] for source in sources}
    assert all(len(set(nodes)) == 1 for nodes in picked.values())
    assert len({nodes[0] for nodes in picked.values()}) > 1


def test_forwarded_traffic_leaves_by_the_nodes_nic_and_enters_by_the_pods(answering: Any) -> None:
    own = service(answering, "native", "iperf-1")
    before = {node: nic_packets(answering, node) for node in ("native-w2", "native-w1")}
    replies = answering.call("test-vm", ask_often, answering.address("native-w2"), own["node_port"], 50)
    assert {tuple(reply) for reply in replies} == {("native-server-1", answering.address("native-w2"))}
    after = {node: nic_packets(answering, node) for node in before}
    ingress, serving = ("native-w2", "native-w1")
    assert after[ingress]["ens3"][1] - before[ingress]["ens3"][1] > 300  # towards the pod and back to the client
    assert after[ingress]["ens5"][0] - before[ingress]["ens5"][0] < 20
    assert after[serving]["ens5"][0] - before[serving]["ens5"][0] > 150
    assert after[serving]["ens3"][0] - before[serving]["ens3"][0] < 20


def test_the_test_vm_knows_the_balancers_by_name_and_everyone_has_a_host_name(answering: Any) -> None:
    assert answering.run("test-vm", ["getent", "hosts", "nlb-flannel"]).split()[0] == "10.0.20.11"
    assert answering.run("native-w1", ["hostname"]).strip() == "native-w1"


def test_packet_processing_of_each_worker_is_bound_to_its_cpu(answering: Any) -> None:
    assert answering.state["cpu_binding"] == {"possible": True, "why": ""}
    for name, nic in (
        ("flannel-w0", "ens3"),
        ("flannel-w1", "ens3"),
        ("native-w1", "ens5"),
        ("native-server-1", "eth0"),
    ):
        mask = answering.run(name, ["cat", f"/sys/class/net/{nic}/queues/rx-0/rps_cpus"])
        (cpu,) = answering.endpoint(name)["cpus"]
        assert int(mask, 16) == 1 << cpu
