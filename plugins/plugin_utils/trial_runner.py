# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One trial: servers that listen, one client, every node watched, the path traced, all cut to one window."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import (
    conntrack,
    iperf3_command,
    iperf3_metrics,
    iperf3_result,
    observation,
    path_trace,
    sampling,
    series,
    void_rules,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.bench import Bench
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import TARGET_PORT, Chosen
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import ExecutorError
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import (
    Broken,
    ClientRun,
    Servers,
    run_client,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import (
    SERVICE_PATHS,
    Endpoint,
    FinishedTrial,
    NetbenchError,
    Trial,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.observation import MachineView, NodeView

_BACKOFF_SECONDS = (0.2, 1.0, 3.0, 10.0)
_CONNTRACK_DEADLINE = 20.0

_Table = list[conntrack.Flow] | None


@dataclass
class _Ends:
    """What both ends of one attempt left: the client's run, and of every server that served, its host and result.

    `conntrack` is every node's connection tracking table, which is still being read.
    """

    client_run: ClientRun
    client: iperf3_result.IperfResult
    servers: dict[str, iperf3_result.IperfResult]
    texts: dict[str, str]
    conntrack: dict[str, Future[_Table]]

    @property
    def server(self) -> iperf3_result.IperfResult:
        return next(iter(self.servers.values()))


def run_trial(bench: Bench, trial: Trial) -> FinishedTrial:
    """Run one trial, again with back-off when it broke; what cannot be mended makes a failed trial, never an error."""
    started = datetime.now(UTC)
    clock = time.monotonic()
    finished = FinishedTrial(
        id=trial.id,
        block=trial.block,
        order=trial.order,
        cluster=trial.cluster,
        scenario=trial.scenario.name,
        status="failed",
        reason="",
        started=started.isoformat(timespec="milliseconds"),
        elapsed_seconds=0.0,
        attempts=0,
    )
    for attempt in range(bench.matrix.retries + 1):
        if attempt and bench.abandoned.wait(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS)) - 1]):
            break
        finished.attempts = attempt + 1
        try:
            _attempt(bench, trial, finished)
        except (Broken, ExecutorError) as exc:
            _fail(finished, exc)
        except NetbenchError as exc:
            _fail(finished, exc)
            break
        else:
            break
    finished.elapsed_seconds = round(time.monotonic() - clock, 4)
    return finished


def _fail(finished: FinishedTrial, reason: NetbenchError) -> None:
    """Keeps why, and nothing that was measured before it broke."""
    finished.reason = str(reason)
    finished.window, finished.metrics, finished.machines = {}, {}, {}
    finished.drops, finished.path_trace = {}, {}


def _attempt(bench: Bench, trial: Trial, finished: FinishedTrial) -> None:
    chosen = bench.chosen(trial.cluster, trial.scenario)
    finished.endpoints = {
        "client": chosen.client.name,
        "server": chosen.servers[0].name if len(chosen.servers) == 1 else None,
        "client_node": chosen.client_node,
        "server_node": chosen.server_node,
        "ingress_node": None,
    }
    for machine in _machines(bench, trial):
        bench.watches[machine].revive()
    ends = _measure(bench, trial, chosen)
    raw = bench.raw(trial.id)
    for name, text in ends.texts.items():
        (raw / name).write_text(text, encoding="utf-8")
    begin, uncertainty = _traffic_start(ends, trial.scenario.traffic_seconds)
    start = begin + trial.scenario.warmup_seconds
    end = start + trial.scenario.window_seconds
    finished.window = {"start": round(start, 4), "end": round(end, 4), "uncertainty_seconds": round(uncertainty, 4)}
    finished.metrics = iperf3_metrics.metrics(
        trial.scenario.traffic,
        ends.client,
        ends.server,
        trial.scenario.warmup_seconds,
        trial.scenario.warmup_seconds + trial.scenario.window_seconds,
    )
    machines = _machine_views(bench, trial, chosen, begin, start, end)
    parts = _parts(bench, trial, chosen, ends, finished, machines)
    views = _node_views(bench, trial, parts)
    finished.metrics.update(observation.node_metrics(views, machines))
    _add_cpu_per_gbit(finished.metrics)
    finished.drops = observation.path_drops(views, machines, _watched_pods(bench, chosen))
    on_path = {view.machine for view in views if view.part != "other"}
    finished.machines = {name: machines[name].health() for name in sorted(on_path)}
    series.write(raw / "series.json", series.build(trial.scenario, ends.client, ends.server, views, machines, begin))
    rules = bench.matrix.void
    finished.status, finished.reason = void_rules.judge(trial.scenario, finished, rules, bench.probe_seconds)


def _measure(bench: Bench, trial: Trial, chosen: Chosen) -> _Ends:
    """Servers up, client run, everything collected; raises Broken for whatever another attempt may mend."""
    traffic, seconds = trial.scenario.traffic, trial.scenario.traffic_seconds
    interval = bench.matrix.intervals[trial.scenario.name]

    def server_argv(server: Endpoint) -> list[str]:
        return iperf3_command.server_argv(TARGET_PORT, interval_seconds=interval, version=bench.versions[server.name])

    client_argv = iperf3_command.client_argv(
        traffic,
        host=chosen.target_address,
        port=chosen.target_port,
        seconds=seconds,
        interval_seconds=interval,
        version=bench.versions[chosen.client.name],
    )
    watched = [bench.watches[machine] for machine in chosen.machines if machine in bench.watches]
    probes = [bench.pool.submit(watch.probe) for watch in watched]
    with Servers(chosen.servers, bench.executors, bench.pool, argv=server_argv, seconds=seconds) as servers:
        wait(probes)
        run = run_client(bench.executors[chosen.client.name], client_argv, seconds=seconds)
        nodes = bench.clusters[trial.cluster].of_role("node") if chosen.service else ()
        tables = _ask_for_conntrack(bench, [node.name for node in nodes])
        client = _parsed(run.stdout or run.stderr, f"client on {chosen.client.name}")
        outputs = {name: done.stdout for name, done in servers.finished().items()}
    results = {name: _parsed(text, f"server on {name}") for name, text in outputs.items()}
    texts = {"client.json": run.stdout, **{f"server-{name}.json": text for name, text in outputs.items()}}
    return _Ends(run, client, results, texts, tables)


def _parsed(text: str, who: str) -> iperf3_result.IperfResult:
    try:
        result = iperf3_result.parse(text)
    except NetbenchError as exc:
        raise Broken(f"iperf3 {who}: {exc}") from exc
    if result.error:
        raise Broken(f"iperf3 {who}: {result.error}")
    return result


def _traffic_start(ends: _Ends, seconds: float) -> tuple[float, float]:
    """When the traffic began on the client machine's clock, and how far that may be off, in seconds.

    What iperf3 took beyond the test itself is split evenly between the connection before and the exchange of results
    after. From 3.20 on it names the moment of its control connection to the millisecond, which leaves less to split.
    """
    run, connected = ends.client_run, ends.client.started_at
    earliest = connected if connected is not None and run.started <= connected <= run.ended else run.started
    spare = max(0.0, run.ended - earliest - seconds)
    return earliest + spare / 2, spare / 2


def _machine_views(
    bench: Bench, trial: Trial, chosen: Chosen, begin: float, start: float, end: float
) -> dict[str, MachineView]:
    """The samples of all machines of the cluster and the client, each cut on its own clock."""
    client_clock = bench.watches[bench.nodes(trial.cluster)[chosen.client_node].machine].clock
    traffic_end = begin + trial.scenario.traffic_seconds
    names = _machines(bench, trial)

    def view(machine: str) -> MachineView:
        watch = bench.watches[machine]
        watch.refresh()
        if watch.failure:
            raise Broken(f"machine {machine}: its sampler ended before the trial did ({watch.failure})")
        shift = watch.clock.offset_seconds - client_clock.offset_seconds
        lines = watch.lines(begin + shift - 1.0, traffic_end + shift)
        (bench.raw(trial.id) / f"samples-{machine.replace('/', '_')}.jsonl").write_text("\n".join(lines) + "\n")
        spool = sampling.parse_spool(lines)
        last = spool.samples[-1].realtime
        cpus = _cpus_of(machine, bench.nodes(trial.cluster).values())
        return MachineView(spool, start + shift, end + shift, begin + shift, min(traffic_end + shift, last), cpus)

    return dict(zip(names, bench.pool.map(view, names), strict=True))


def _machines(bench: Bench, trial: Trial) -> list[str]:
    """The machines of the trial's cluster and of the external endpoints."""
    return sorted({node.machine for node in bench.nodes(trial.cluster).values()})


def _cpus_of(machine: str, nodes: Iterable[Endpoint]) -> tuple[int, ...] | None:
    """The CPUs of a machine whose nodes all own CPUs, which are but a part of it in a lab; None is all."""
    owned = [node.cpus for node in nodes if node.machine == machine]
    return tuple(sorted({cpu for cpus in owned for cpu in cpus})) if all(owned) else None


def _parts(
    bench: Bench,
    trial: Trial,
    chosen: Chosen,
    ends: _Ends,
    finished: FinishedTrial,
    machines: dict[str, MachineView],
) -> dict[str, str]:
    """Which node played which part; on the paths through a Service this is what the trace found."""
    parts = {chosen.client_node: "client_node"}
    serving = next(iter(ends.servers))
    server_node = next(s.node for s in chosen.servers if s.name == serving)
    finished.endpoints |= {"server": serving, "server_node": server_node}
    if trial.scenario.path in SERVICE_PATHS:
        finished.path_trace = _trace(bench, trial, chosen, ends, machines)
        ingress = finished.path_trace["ingress_node"]
        finished.endpoints["ingress_node"] = ingress
        if ingress is not None:
            parts.setdefault(ingress, "ingress_node")
    parts.setdefault(server_node, "server_node")
    return parts


def _trace(bench: Bench, trial: Trial, chosen: Chosen, ends: _Ends, machines: dict[str, MachineView]) -> dict[str, Any]:
    cluster = bench.clusters[trial.cluster]
    if chosen.service is None:
        raise NetbenchError(f"scenario {trial.scenario.name} has no Service to trace")
    views = [view for view in _node_views(bench, trial, {}) if view.node not in bench.externals]
    return path_trace.trace(
        cluster=cluster,
        client=chosen.client,
        service=chosen.service,
        path=trial.scenario.path,
        server_peers={name: sorted({c.remote_host for c in end.connected}) for name, end in ends.servers.items()},
        conntrack={node: table.result() for node, table in ends.conntrack.items()},
        nic_bytes=observation.nic_bytes(views, machines),
        traffic_bytes=_received_bytes(trial, ends),
        client_ports={c.local_port for c in ends.client.connected},
    )


def _received_bytes(trial: Trial, ends: _Ends) -> int:
    """Bytes of the trial's one flow, or of its forward flow, as its receiver counted them."""
    reverse = trial.scenario.traffic.direction == "reverse"
    receiver, flow = (ends.client, "reverse") if reverse else (ends.server, "forward")
    return sum(interval.bytes for interval in receiver.intervals if interval.flow == flow)


def _watched_pods(bench: Bench, chosen: Chosen) -> dict[str, list[str]]:
    """Machine → labels of the trial's endpoints that have namespaces of their own beside their node's."""
    labels: dict[str, list[str]] = {}
    for endpoint in (chosen.client, *chosen.servers):
        if endpoint.netns and endpoint.name != endpoint.node:
            labels.setdefault(endpoint.machine, []).append(endpoint.name)
    return labels


def read_conntrack(bench: Bench, nodes: Iterable[str]) -> dict[str, _Table]:
    """Every node's connection tracking table; None where it may not be read."""
    return {node: table.result() for node, table in _ask_for_conntrack(bench, nodes).items()}


def _ask_for_conntrack(bench: Bench, nodes: Iterable[str]) -> dict[str, Future[_Table]]:
    def table(node: str) -> _Table:
        answer = bench.executors[node].run(["sh", "-c", conntrack.READ_COMMAND], deadline_seconds=_CONNTRACK_DEADLINE)
        return None if answer.rc else conntrack.parse(answer.stdout)

    return {node: bench.pool.submit(table, node) for node in nodes}


def _node_views(bench: Bench, trial: Trial, parts: dict[str, str]) -> list[NodeView]:
    nodes = bench.nodes(trial.cluster)
    return observation.views_of(
        parts,
        nodes,
        {name: bench.watches[node.machine].label_of(name) for name, node in nodes.items()},
        bench.clusters[trial.cluster].facts.get("node_nics", {}),
        two_node_path=trial.scenario.path not in SERVICE_PATHS,
    )


def _add_cpu_per_gbit(metrics: dict[str, float]) -> None:
    """Adds the CPU time of the path for each gigabit that was received, both directions counted."""
    received = metrics.get("throughput_bits_per_second", 0.0) + metrics.get("reverse_throughput_bits_per_second", 0.0)
    if received > 0:
        metrics["cpu_cores_per_gbit"] = metrics["path_cpu_cores"] / (received / 1e9)
