# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trace of real traffic through a lab's load balancers and Services, against what a capture saw of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.module_utils import flow_probe, sampler
from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import host_vars
from ansible_collections.netbench.cni.plugins.plugin_utils import conntrack, flow_share, path_trace, sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import clusters_from_vars
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint, PathName, Service

FLOWS = 240
DEADLINE = 20.0
INTERVAL = 0.05
SERVED = re.compile(r"Accepted connection from (\S+), port")
# tcpdump would do, but as root of a user namespace it insists on becoming another user and may not.
CAPTURE = """
import collections, json, selectors, socket, sys
ETH_P_ALL = 3
found, ready = collections.Counter(), selectors.DefaultSelector()
for nic in sys.argv[1:]:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    packets.bind((nic, ETH_P_ALL))
    ready.register(packets, selectors.EVENT_READ)
print("capturing", flush=True)
try:
    while True:
        for key, _events in ready.select():
            data, (nic, _protocol, kind, *_rest) = key.fileobj.recvfrom(1 << 17)
            found[nic, "out" if kind == socket.PACKET_OUTGOING else "in"] += len(data) > 1000
except KeyboardInterrupt:
    print(json.dumps([[*place, count] for place, count in found.items()]))
"""
clusters = pytest.mark.parametrize("name", ["native", "flannel"])


class Scene:
    """One cluster of the lab as the engine sees it, with a sampler that watches its nodes and pods."""

    def __init__(self, lab: Any, name: str) -> None:
        hosts = {host: given for host, given in host_vars(lab.state).items() if "netbench_role" in given}
        found, externals = clusters_from_vars(lab.state["clusters"], hosts)
        self.lab = lab
        self.cluster: Cluster = found[name]
        self.nodes = [node.name for node in self.cluster.of_role("node")]
        self.test_vm: Endpoint = externals["test-vm"]
        self.client: Endpoint = self.cluster.of_role("client")[0]

    def service(self, name: str) -> Service:
        return next(service for service in self.cluster.services if service.name == name)

    def conntrack(self) -> dict[str, list[conntrack.Flow]]:
        return {node: conntrack.parse(self.lab.run(node, ["sh", "-c", conntrack.READ_COMMAND])) for node in self.nodes}

    def added(self, before: dict[str, list[conntrack.Flow]]) -> dict[str, list[conntrack.Flow]]:
        """The flows that were not there before."""
        old = {(node, flow.original) for node, flows in before.items() for flow in flows}
        return {
            node: [flow for flow in flows if (node, flow.original) not in old]
            for node, flows in self.conntrack().items()
        }

    def ingress_node(self) -> str:
        """The node that the load balancer picks for the test VM."""
        before = self.conntrack()
        service = self.service("iperf-0")
        self.probe(service, 1)
        (flow,) = path_trace.translations(self.cluster, service, "external_to_load_balancer", self.added(before))
        return flow.node

    def probe(self, service: Service, flows: int, *sources: str) -> dict[str, Any]:
        target = f"{service.load_balancer_address}:{service.port}"
        argv = [sys.executable, flow_probe.__file__, "--connect", target, "--flows", str(flows)]
        with self.servers(service):
            answer: dict[str, Any] = json.loads(
                self.lab.run("test-vm", [*argv, *(f"--source={source}" for source in sources)])
            )
        return answer

    @contextmanager
    def servers(self, service: Service) -> Iterator[None]:
        """iperf3 on every pod that may serve."""
        with ExitStack() as started:
            for backend in service.backends:
                process = started.enter_context(self.lab.start(backend, ["iperf3", "-s", "--forceflush"]))
                started.callback(process.kill)
                while "listening" not in process.stdout.readline():
                    assert process.poll() is None
            yield

    @contextmanager
    def watched(self, directory: Path) -> Iterator[Path]:
        spool = directory / "spool"
        argv = [sys.executable, sampler.__file__, f"--spool={spool}", f"--control={directory / 'control'}"]
        argv += [f"--interval={INTERVAL}", "--max-seconds=60"]
        argv += [f"--netns={node}={self.lab.endpoint(node)['netns']}" for node in self.nodes]
        with self.lab.start("test-vm", argv) as process:
            try:
                wait_until(lambda: spool.exists() and "stat" in spool.read_text())
                yield spool
            finally:
                process.kill()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Capture:
    """A capture at every NIC of every node, of packets too long to be acknowledgements."""

    def __init__(self, scene: Scene, ended: ExitStack) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}
        for node, nics in scene.cluster.facts["node_nics"].items():
            process = ended.enter_context(scene.lab.start(node, [sys.executable, "-c", CAPTURE, *nics]))
            ended.callback(process.kill)
            self._running[node] = process
        for process in self._running.values():
            assert process.stdout
            assert process.stdout.readline() == "capturing\n"

    def seen(self) -> set[tuple[str, str, str]]:
        """Where the bulk passed; ends the capture."""
        counts = {}
        for node, process in self._running.items():
            process.send_signal(signal.SIGINT)
            text, _nothing = process.communicate(timeout=DEADLINE)
            counts |= {(node, nic, direction): count for nic, direction, count in json.loads(text)}
        return {place for place, count in counts.items() if count > max(counts.values()) / 2}


def traced(scene: Scene, client: Endpoint, service: Service, path: PathName, directory: Path, *options: str) -> Any:
    """Trace one second of traffic; returns the trace and the places at which a capture saw the bulk of it."""
    (server,) = service.backends
    target = service.load_balancer_address if path == "external_to_load_balancer" else service.cluster_ip
    with ExitStack() as ended, scene.watched(directory) as spool:
        capture = Capture(scene, ended)
        begin = time.time()
        report = scene.lab.iperf3(
            client.name, server, target, "-p", str(service.port), "-b", "40M", "--get-server-output", *options
        )
        end = time.time()
        wait_until(lambda: sampling.parse_spool(spool.read_text().splitlines()).samples[-1].realtime > end)
        samples = sampling.parse_spool(spool.read_text().splitlines())
        seen = capture.seen()
    rates = {node: sampling.nic_rates(samples, begin, end, node) for node in scene.nodes}
    found = path_trace.trace(
        cluster=scene.cluster,
        client=client,
        service=service,
        path=path,
        server_peers={server: SERVED.findall(report["server_output_text"])},
        conntrack=scene.conntrack(),
        nic_bytes={node: {nic: (r.rx_bytes, r.tx_bytes) for nic, r in nics.items()} for node, nics in rates.items()},
        traffic_bytes=sum(interval["sum"]["bytes"] for interval in report["intervals"]),
        client_ports={connection["local_port"] for connection in report["start"]["connected"]},
    )
    return found, seen


def hops(trace: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(hop["node"], hop["nic"], hop["direction"]) for hop in trace["hops"]}


@pytest.mark.parametrize("options", [(), ("--reverse",), ("-u", "-l", "8192")], ids=["forward", "reverse", "udp"])
@pytest.mark.parametrize("forwarding", ["forwarded", "local"])
@clusters
def test_the_trace_of_external_traffic_is_what_the_capture_saw(
    lab: Any, tmp_path: Path, name: str, forwarding: str, options: tuple[str, ...]
) -> None:
    scene = Scene(lab, name)
    ingress = scene.ingress_node()
    number = scene.nodes.index(ingress) if forwarding == "local" else (scene.nodes.index(ingress) + 1) % 3
    service = scene.service(f"iperf-{number}")
    trace, seen = traced(scene, scene.test_vm, service, "external_to_load_balancer", tmp_path, *options)
    assert trace["agreed"] == ["server_peer", "conntrack", "nic_counters"], trace
    assert trace["load_balancer"] == f"nlb-{name}"
    assert trace["ingress_node"] == ingress
    assert trace["serving_pod"] == f"{name}-server-{number}"
    assert trace["forwarding"] == forwarding
    assert trace["cni_crossed"] is (forwarding == "forwarded")
    assert hops(trace) == seen
    order = [hop["node"] for hop in trace["hops"]]
    assert order == sorted(order, key=lambda node: (node == ingress) == ("--reverse" in options))


@pytest.mark.parametrize("number", [0, 2])
@clusters
def test_the_trace_of_a_pods_traffic_is_what_the_capture_saw(lab: Any, tmp_path: Path, name: str, number: int) -> None:
    scene = Scene(lab, name)
    service = scene.service(f"iperf-{number}")
    trace, seen = traced(scene, scene.client, service, "pod_to_service", tmp_path)
    assert trace["agreed"] == ["server_peer", "conntrack", "nic_counters"], trace
    assert (trace["load_balancer"], trace["ingress_node"]) == (None, f"{name}-w0")
    assert trace["serving_node"] == f"{name}-w{number}"
    assert trace["cni_crossed"] is (number != 0)
    assert hops(trace) == (seen if number else set())


@clusters
def test_flows_are_counted_as_they_spread(lab: Any, name: str) -> None:
    scene = Scene(lab, name)
    service = scene.service("iperf-spread")
    before = scene.conntrack()
    sources = (scene.test_vm.address, *scene.test_vm.source_addresses)
    assert scene.probe(service, FLOWS, *sources) == {"opened": FLOWS, "failed": 0, "reasons": {}}
    share = flow_share.count(scene.cluster, service, scene.added(before))
    assert share["flows"] == FLOWS
    assert share["forwarded"] + share["local"] == FLOWS
    # A third stays: within five standard deviations of the binomial distribution, 36.5.
    assert abs(share["local"] - FLOWS / 3) < 37
    assert set(share["by_serving_pod"]) == set(service.backends)
    assert len(share["by_ingress_node"]) > 1
