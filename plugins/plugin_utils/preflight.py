# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked before the first trial, so that a run that cannot work ends at once and in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from ansible_collections.netbench.cni.plugins.plugin_utils import iperf3_command, iperf3_result
from ansible_collections.netbench.cni.plugins.plugin_utils.bench import Bench
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import TARGET_PORT, Chosen
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import NOT_FOUND, DeadlineExceeded, Executor
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import (
    Broken,
    Servers,
    listening_test,
    run_client,
    stop_server,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Scenario, Traffic

_DEADLINE = 20.0
# Many full-sized segments, yet done in a moment on any network that is worth measuring.
_PATH_CHECK_BYTES = 512 * 1024
_PATH_CHECK_SECONDS = 5.0

T = TypeVar("T")


def on_all(pool: ThreadPoolExecutor, hosts: Iterable[str], ask: Callable[[str], T]) -> dict[str, T]:
    """Ask all hosts at once; the first error is raised."""
    names = list(hosts)
    return dict(zip(names, pool.map(ask, names), strict=True))


def iperf3_versions(executors: Mapping[str, Executor], pool: ThreadPoolExecutor) -> dict[str, tuple[int, ...]]:
    """The version of iperf3 on every endpoint; raises NetbenchError where there is none."""

    def version(host: str) -> tuple[int, ...]:
        answer = executors[host].run(["iperf3", "--version"], deadline_seconds=_DEADLINE)
        if answer.rc == NOT_FOUND:
            raise NetbenchError(f"endpoint {host} has no iperf3; install it there")
        if answer.rc:
            why = " ".join((answer.stderr or answer.stdout).split()) or f"exit code {answer.rc}"
            raise NetbenchError(f"endpoint {host} has no working iperf3 ({why}); install it there")
        return iperf3_command.parse_version(answer.stdout)

    return on_all(pool, executors, version)


def check_versions(bench: Bench) -> None:
    """Raises NetbenchError when the two ends of any scenario cannot be measured with one another."""
    for cluster in bench.matrix.clusters:
        for scenario in bench.matrix.scenarios:
            chosen = chosen_for_any_ingress(bench, cluster, scenario)
            for server in chosen.servers:
                iperf3_command.check_versions(
                    scenario.traffic,
                    {chosen.client.name: bench.versions[chosen.client.name], server.name: bench.versions[server.name]},
                    allow_mismatch=bench.matrix.allow_version_mismatch,
                )


def chosen_for_any_ingress(bench: Bench, cluster: str, scenario: Scenario) -> Chosen:
    """The endpoints of a scenario, with any node as ingress node where the real one is not known yet."""
    if scenario.forwarding is None or scenario.path == "pod_to_service" or cluster in bench.ingress:
        return bench.chosen(cluster, scenario)
    for node in bench.clusters[cluster].of_role("node"):
        bench.ingress[cluster] = node.name
        try:
            return bench.chosen(cluster, scenario)
        except NetbenchError:
            continue
        finally:
            del bench.ingress[cluster]
    return bench.chosen(cluster, scenario)


def free_ports(bench: Bench, hosts: Iterable[str]) -> None:
    """Ends what an earlier run of ours left listening; raises NetbenchError when somebody else has the port."""

    def check(host: str) -> None:
        executor = bench.executors[host]
        stop_server(executor)
        script = f"for i in $(seq 5); do {listening_test(TARGET_PORT)} || exit 0; sleep 0.1; done; exit 1"
        if executor.run(["sh", "-c", script], deadline_seconds=_DEADLINE).rc:
            raise NetbenchError(
                f"port {TARGET_PORT} of endpoint {host} is taken by another program; stop it, every trial starts its"
                " own iperf3 server there"
            )

    on_all(bench.pool, hosts, check)


def check_paths(bench: Bench) -> None:
    """Sends some full-sized TCP segments over every path of every cluster.

    It uses the scenarios' socket buffers and congestion control, so that an endpoint that refuses them is found, and
    fills neighbour, forwarding and connection tracking tables before anything is measured. Raises NetbenchError when
    iperf3 refuses, and when no data gets through, as with a path MTU that swallows large packets.
    """
    for cluster in bench.matrix.clusters:
        seen = set()
        for scenario in bench.matrix.scenarios:
            chosen = bench.chosen(cluster, scenario)
            traffic = Traffic(
                family=scenario.traffic.family,
                socket_buffer_bytes=scenario.traffic.socket_buffer_bytes,
                congestion_control=scenario.traffic.congestion_control if scenario.traffic.protocol == "tcp" else None,
            )
            key = (chosen.client.name, chosen.target_address, chosen.target_port, traffic)
            if key not in seen:
                seen.add(key)
                _check_path(bench, f"path {scenario.path} of cluster {cluster}", traffic, chosen)


def _check_path(bench: Bench, path: str, traffic: Traffic, chosen: Chosen) -> None:
    where = f"{path} ({chosen.client.name} → {chosen.target_address}:{chosen.target_port})"
    try:
        error = _send(bench, traffic, chosen, _PATH_CHECK_BYTES)
    except Broken as exc:
        if not isinstance(exc.__cause__, DeadlineExceeded):
            raise
        if _gets_through(bench, replace(traffic, length_bytes=1), chosen):
            raise NetbenchError(
                f"{where}: small packets get through and large ones do not; lower the MTU of the interfaces to that of"
                " the path, or let ICMP 'fragmentation needed' through"
            ) from exc
        raise NetbenchError(
            f"{where}: nothing gets through within {_PATH_CHECK_SECONDS:.0f} s; look for a missing route or a firewall"
        ) from exc
    if error:
        raise NetbenchError(f"{where}: iperf3 says: {error}")


def _gets_through(bench: Bench, traffic: Traffic, chosen: Chosen) -> bool:
    try:
        return not _send(bench, traffic, chosen, 1)
    except NetbenchError:
        return False


def _send(bench: Bench, traffic: Traffic, chosen: Chosen, size: int) -> str | None:
    """Sends so many bytes and returns iperf3's complaint, if it has one; raises Broken as a trial does."""
    argv = iperf3_command.client_argv(
        traffic,
        host=chosen.target_address,
        port=chosen.target_port,
        seconds=1,
        version=bench.versions[chosen.client.name],
    )
    at = argv.index("--time")
    argv[at : at + 2] = ["--bytes", str(size)]
    with Servers(
        chosen.servers,
        bench.executors,
        bench.pool,
        argv=lambda server: iperf3_command.server_argv(TARGET_PORT, version=bench.versions[server.name]),
        seconds=_PATH_CHECK_SECONDS,
    ):
        run = run_client(bench.executors[chosen.client.name], argv, seconds=_PATH_CHECK_SECONDS, grace_seconds=0)
        return iperf3_result.parse(run.stdout).error
