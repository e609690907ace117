# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unscored looks at the clusters: where flows go, and what iftop shows on every NIC while traffic runs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import flow_share, iftop, iperf3_command, path_trace
from ansible_collections.netbench.cni.plugins.plugin_utils.bench import Bench
from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import TARGET_PORT, spread_service, sticky_service
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import Servers, run_client
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint, NetbenchError, Scenario, Service
from ansible_collections.netbench.cni.plugins.plugin_utils.trial_runner import read_conntrack

_PROBE_SECONDS = 30.0
# More than enough to see which node a load balancer picks that hashes addresses, few enough to be unnoticeable.
_INGRESS_FLOWS = 10
# iftop notices that its time is over only when a packet arrives: an idle NIC needs one, here a datagram to nobody.
_WAKE = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
    s.sendto(b"x", ("255.255.255.255", 9))
"""
_WAKE_AFTER_SECONDS = 0.5


def find_ingress_node(bench: Bench, cluster: str, client: Endpoint, probe_source: str) -> str:
    """The node to which the load balancer of `cluster` sends what comes from `client`.

    Raises NetbenchError when no node's connection tracking can be read, or when the flows spread over several nodes.
    """
    service = sticky_service(bench.clusters[cluster])
    flows = _new_flows(bench, cluster, service, client, probe_source, flows=_INGRESS_FLOWS, sources=())
    found = path_trace.translations(bench.clusters[cluster], service, "external_to_load_balancer", flows)
    nodes = Counter(each.node for each in found)
    if len(nodes) != 1:
        seen = ", ".join(f"{node} ({count})" for node, count in nodes.most_common()) or "no node"
        raise NetbenchError(
            f"the load balancer of cluster {cluster} should send all flows of {client.name} to one node, but connection"
            f" tracking shows them on {seen}; it must pick nodes by a hash of addresses"
        )
    return next(iter(nodes))


def measure_flow_share(bench: Bench, cluster: str, client: Endpoint, probe_source: str) -> dict[str, Any]:
    """How many of many short flows left the node they came in on, with the client's addresses varied."""
    service = spread_service(bench.clusters[cluster])
    sources = (client.address, *client.source_addresses)
    wanted = bench.matrix.evidence.flow_share_flows
    flows = _new_flows(bench, cluster, service, client, probe_source, flows=wanted, sources=sources)
    return flow_share.count(bench.clusters[cluster], service, flows)


def _new_flows(
    bench: Bench,
    cluster: str,
    service: Service,
    client: Endpoint,
    probe_source: str,
    *,
    flows: int,
    sources: Sequence[str],
) -> dict[str, list[Flow] | None]:
    """Opens flows to the load balancer and returns what that added to every node's connection tracking."""
    by_name = {endpoint.name: endpoint for endpoint in bench.clusters[cluster].endpoints}
    nodes = [node.name for node in bench.clusters[cluster].of_role("node")]
    target = f"{service.load_balancer_address}:{service.port}"
    argv = [bench.pythons[client.name], "-c", probe_source, "--connect", target, "--flows", str(flows)]
    for source in sources:
        argv += ["--source", source]
    before = read_conntrack(bench, nodes)
    with Servers(
        [by_name[name] for name in service.backends],
        bench.executors,
        bench.pool,
        argv=lambda server: _lasting(iperf3_command.server_argv(TARGET_PORT, version=bench.versions[server.name])),
        seconds=_PROBE_SECONDS,
    ):
        answer = bench.executors[client.name].run(argv, deadline_seconds=_PROBE_SECONDS)
    if answer.rc:
        raise NetbenchError(f"the flow probe on {client.name} failed: {answer.stderr.strip() or answer.stdout.strip()}")
    opened = json.loads(answer.stdout)["opened"]
    if opened < flows:
        raise NetbenchError(
            f"the flow probe on {client.name} opened {opened} of {flows} flows to"
            f" {service.load_balancer_address}:{service.port}; every one should be answered"
        )
    after = read_conntrack(bench, nodes)
    return {node: _added(before[node], table) for node, table in after.items()}


def _added(before: list[Flow] | None, after: list[Flow] | None) -> list[Flow] | None:
    if after is None:
        return None
    old = {(flow.original, flow.reply) for flow in before or []}
    return [flow for flow in after if (flow.original, flow.reply) not in old]


def _lasting(argv: list[str]) -> list[str]:
    """The server's command without `--one-off`: it has to survive every probe."""
    return [word for word in argv if word != "--one-off"]


def watch_with_iftop(bench: Bench, cluster: str, scenario: Scenario, seconds: float) -> list[dict[str, Any]]:
    """Runs the scenario's traffic unscored, with iftop on every NIC of every node of the cluster, the idle ones too."""
    chosen = bench.chosen(cluster, scenario)
    nics = bench.clusters[cluster].facts.get("node_nics", {})
    places = [(node, nic) for node in sorted(nics) for nic in nics[node]]
    length = math.ceil(seconds) + 1
    client_argv = iperf3_command.client_argv(
        scenario.traffic,
        host=chosen.target_address,
        port=chosen.target_port,
        seconds=length,
        version=bench.versions[chosen.client.name],
    )
    with Servers(
        chosen.servers,
        bench.executors,
        bench.pool,
        argv=lambda server: iperf3_command.server_argv(TARGET_PORT, version=bench.versions[server.name]),
        seconds=length,
    ):
        client = bench.pool.submit(run_client, bench.executors[chosen.client.name], client_argv, seconds=length)
        looks = [bench.pool.submit(_look, bench, node, nic, seconds) for node, nic in places]
        traffic: list[Future[Any]] = [*looks, client]
        wait(traffic, timeout=seconds + _WAKE_AFTER_SECONDS)
        # More than once, for an iftop that started late was not over yet; each ends by its own deadline.
        while asleep := [place for place, look in zip(places, looks, strict=True) if not look.done()]:
            wakes = [bench.pool.submit(_wake, bench, node, nic) for node, nic in asleep]
            for wake in wakes:
                wake.result()
            wait(looks, timeout=_WAKE_AFTER_SECONDS)
        texts = [look.result() for look in looks]
        client.result()
    seen = []
    for (node, nic), text in zip(places, texts, strict=True):
        (bench.raw(f"iftop-{cluster}-{scenario.name}") / f"{node}-{nic}.txt").write_text(text, encoding="utf-8")
        screen = asdict(iftop.parse(text))
        seen.append({**screen, "cluster": cluster, "scenario": scenario.name, "node": node, "nic": nic})
    return seen


def _look(bench: Bench, node: str, nic: str, seconds: float) -> str:
    argv = ["iftop", "-t", "-n", "-N", "-s", str(math.ceil(seconds)), "-i", nic]
    answer = bench.executors[node].run(argv, deadline_seconds=seconds + 10)
    if answer.rc:
        raise NetbenchError(f"iftop on {node} ({nic}) failed: {answer.stderr.strip()}")
    return answer.stdout


def _wake(bench: Bench, node: str, nic: str) -> None:
    bench.executors[node].run([bench.pythons[node], "-c", _WAKE, nic], deadline_seconds=_PROBE_SECONDS)
