# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run: checks, watches, probes, trials in lanes, evidence; journal and manifest hold whatever was measured."""

from __future__ import annotations

import hashlib
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import (
    endpoints,
    evidence,
    plan,
    preflight,
    sampling,
)
from ansible_collections.netbench.cni.plugins.plugin_utils import matrix as matrices
from ansible_collections.netbench.cni.plugins.plugin_utils.bench import Bench
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Executor
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import stop_server
from ansible_collections.netbench.cni.plugins.plugin_utils.journal import Journal
from ansible_collections.netbench.cni.plugins.plugin_utils.machine_watch import MachineWatch
from ansible_collections.netbench.cni.plugins.plugin_utils.manifest import Manifest
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import (
    Cluster,
    Endpoint,
    FinishedTrial,
    NetbenchError,
    Trial,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.progress import Progress
from ansible_collections.netbench.cni.plugins.plugin_utils.trial_runner import run_trial

TRIAL_OVERHEAD_SECONDS = 0.1
SAMPLE_INTERVAL_SECONDS = 0.2
_SPEED_PROBES = 5
_SPEED_PROBES_DEADLINE = 20.0
_LOCK_WAIT_SECONDS = 10.0
_SAMPLER_MARGIN_SECONDS = 3600.0


@dataclass(frozen=True)
class Request:
    """What a run needs from outside. `pythons` maps an endpoint to its Python interpreter, `sources` are the files of
    the target-side programs (sampler, flow probe).
    """

    matrix: Matrix
    clusters: Mapping[str, Cluster]
    externals: Mapping[str, Endpoint]
    executors: Mapping[str, Executor]
    run_dir: Path
    resume: bool
    pythons: Mapping[str, str]
    sampler_source: Path
    probe_source: Path


def planned_seconds(matrix: Matrix, trials: Iterable[Trial], machines_of: plan.MachinesOf) -> float:
    """What the trials and the evidence will take, in seconds."""
    looks = len(matrix.clusters) * len(matrix.evidence.iftop_scenarios) * (matrix.evidence.iftop_seconds + 1.5)
    return plan.seconds(trials, TRIAL_OVERHEAD_SECONDS, machines_of) + looks


def machines_of(request: Request) -> plan.MachinesOf:
    """The machines that a trial may touch, by cluster and scenario."""
    known: dict[tuple[str, str], frozenset[str]] = {}

    def of(trial: Trial) -> frozenset[str]:
        key = (trial.cluster, trial.scenario.name)
        if key not in known:
            known[key] = endpoints.machines(request.clusters[trial.cluster], request.externals, trial.scenario)
        return known[key]

    return of


def execute(request: Request, manifest: Manifest, progress: Progress) -> list[FinishedTrial]:
    """Run all trials that the journal lacks and return the journal.

    Raises NetbenchError when the run cannot begin or cannot go on; whatever was measured by then is in the journal, and
    a run with `resume` carries on there. A trial that fails is in the journal as failed and ends nothing.
    """
    try:
        return _execute(request, manifest, progress)
    except OSError as exc:
        raise NetbenchError(
            f"the run directory {request.run_dir} cannot be written ({exc.strerror}); make room or mend the disk, then"
            " go on with resume: true"
        ) from exc


def _execute(request: Request, manifest: Manifest, progress: Progress) -> list[FinishedTrial]:
    with ExitStack() as stack:
        digest = matrices.digest(request.matrix)
        path = request.run_dir / "trials.jsonl"
        journal = stack.enter_context(Journal.open(path, digest, request.resume, _LOCK_WAIT_SECONDS))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=96, thread_name_prefix="netbench"))
        bench = Bench(
            matrix=request.matrix,
            clusters=request.clusters,
            externals=request.externals,
            executors=request.executors,
            pool=pool,
            run_dir=request.run_dir,
            pythons=request.pythons,
        )
        stack.callback(_close, bench)
        trials = plan.plan(request.matrix)
        pending = plan.remaining(trials, journal.done)
        seconds = planned_seconds(request.matrix, pending, machines_of(request))
        _prepare(bench, request, seconds, manifest, stack)
        point_latest_to(request.run_dir)
        progress.plan(len(pending), seconds)
        _look_where_flows_go(bench, request, manifest, progress)
        preflight.check_paths(bench)
        _run_all(bench, pending, journal, machines_of(request), progress)
        _watch_with_iftop(bench, manifest, progress)
        progress.end()
        return list(journal.trials)


def _prepare(bench: Bench, request: Request, seconds: float, manifest: Manifest, stack: ExitStack) -> None:
    """Everything before the first packet: versions, ports, samplers, clocks, the machines' speed."""
    involved = [e for name in bench.matrix.clusters for e in bench.clusters[name].endpoints]
    involved += bench.externals.values()
    hosts = [endpoint.name for endpoint in involved]
    bench.versions.update(preflight.iperf3_versions({host: bench.executors[host] for host in hosts}, bench.pool))
    preflight.check_versions(bench)
    preflight.free_ports(bench, hosts)
    bench.watches.update(_watches(bench, request))
    stack.callback(_stop_watches, bench, manifest)
    limit = seconds + _SAMPLER_MARGIN_SECONDS

    def start(machine: str) -> None:
        watch = bench.watches[machine]
        watch.start(str(request.sampler_source), max_seconds=limit)
        bench.probe_seconds[machine] = _speed(watch)

    preflight.on_all(bench.pool, bench.watches, start)
    manifest.update(
        versions={"iperf3": {host: ".".join(map(str, version)) for host, version in bench.versions.items()}},
        clock_offsets={name: watch.clock.as_plain() for name, watch in bench.watches.items()},
        planned_seconds=round(seconds, 1),
    )


def _watches(bench: Bench, request: Request) -> dict[str, MachineWatch]:
    """A watch for every machine that has nodes of the measured clusters or an external endpoint.

    Pods are watched where their namespaces can be entered: only there the kernel counts what their sockets lost.
    """
    by_machine: dict[str, dict[str, Endpoint]] = {}
    for name in bench.matrix.clusters:
        for node in bench.nodes(name).values():
            by_machine.setdefault(node.machine, {})[node.name] = node
    for name in bench.matrix.clusters:
        for pod in (*bench.clusters[name].of_role("client"), *bench.clusters[name].of_role("server")):
            if pod.netns and pod.machine in by_machine:
                by_machine[pod.machine][pod.name] = pod
    watches = {}
    for machine, residents in by_machine.items():
        host = next(iter(residents))
        # Named after the run, of which there is one engine at a time: a resumed run removes what a killed one left.
        place = hashlib.sha256(str(request.run_dir).encode()).hexdigest()[:8]
        unique = re.sub(r"[^A-Za-z0-9.-]", "_", f"{request.run_dir.name}-{place}-{machine}")
        watches[machine] = MachineWatch(
            machine,
            bench.executors[host],
            directory=f"/tmp/netbench-{unique}",
            python=bench.pythons[host],
            netns={name: endpoint.netns for name, endpoint in residents.items() if endpoint.netns},
            interval_seconds=SAMPLE_INTERVAL_SECONDS,
        )
    return watches


def _speed(watch: MachineWatch) -> float:
    """The CPU seconds of the machine's speed probe while nothing runs, the median of a few."""
    for _probe in range(_SPEED_PROBES):
        watch.probe()
    deadline = time.monotonic() + _SPEED_PROBES_DEADLINE
    while time.monotonic() < deadline and not watch.failure:
        watch.refresh()
        probes = sampling.parse_spool(watch.lines(0.0, float("inf"))).probes
        if len(probes) == _SPEED_PROBES:
            return statistics.median(probe.probe_seconds for probe in probes)
        time.sleep(0.02)
    raise NetbenchError(
        f"machine {watch.machine}: its sampler did not answer within {_SPEED_PROBES_DEADLINE:.0f} s"
        f" ({watch.failure or 'it runs'}); see whether the machine is overloaded"
    )


def _look_where_flows_go(bench: Bench, request: Request, manifest: Manifest, progress: Progress) -> None:
    """Learns each load balancer's ingress node and measures how often flows are forwarded."""
    external = [s for s in bench.matrix.scenarios if s.path == "external_to_load_balancer"]
    wants_share = bench.matrix.evidence.flow_share_flows and not manifest.has("flow_share")
    if not bench.externals or not (external or wants_share):
        return
    client = next(iter(bench.externals.values()))
    source = request.probe_source.read_text(encoding="utf-8")
    shares = {}
    for cluster in bench.matrix.clusters:
        bench.ingress[cluster] = evidence.find_ingress_node(bench, cluster, client, source)
        if wants_share:
            progress.note(f"{cluster}: where {bench.matrix.evidence.flow_share_flows} flows go (unscored)")
            shares[cluster] = evidence.measure_flow_share(bench, cluster, client, source)
    if shares:
        manifest.update(flow_share=shares)


def _run_all(
    bench: Bench, pending: tuple[Trial, ...], journal: Journal, machines: plan.MachinesOf, progress: Progress
) -> None:
    """Runs the trials in lanes and journals each as it ends."""
    waiting = list(pending)
    running: dict[Future[FinishedTrial], Trial] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(bench.watches)), thread_name_prefix="trial") as lanes:
        try:
            while waiting or running:
                taken = {machine for trial in running.values() for machine in machines(trial)}
                for trial in plan.next_startable(waiting, taken, machines):
                    waiting.remove(trial)
                    progress.start(trial)
                    running[lanes.submit(run_trial, bench, trial)] = trial
                done, _rest = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    trial = running.pop(future)
                    finished = future.result()
                    journal.append(finished)
                    progress.finish(trial, finished, left=len(waiting) + len(running))
        except BaseException:
            bench.abandoned.set()
            _stop_servers(bench, running.values())
            raise


def _stop_servers(bench: Bench, trials: Iterable[Trial]) -> None:
    """Ends the servers of trials under way, which ends their clients."""
    for trial in trials:
        with suppress(NetbenchError):
            for server in bench.chosen(trial.cluster, trial.scenario).servers:
                stop_server(bench.executors[server.name])


def _watch_with_iftop(bench: Bench, manifest: Manifest, progress: Progress) -> None:
    wanted = bench.matrix.evidence.iftop_scenarios
    if not wanted or manifest.has("evidence"):
        return
    seen: list[dict[str, Any]] = []
    missed: list[str] = []
    for cluster in bench.matrix.clusters:
        for name in wanted:
            progress.note(f"{cluster}: iftop on every NIC during {name} (unscored)")
            scenario = bench.matrix.scenario(name)
            try:
                seen += evidence.watch_with_iftop(bench, cluster, scenario, bench.matrix.evidence.iftop_seconds)
            except NetbenchError as exc:
                missed.append(f"iftop during {name} on {cluster}: {exc}")
                progress.note(missed[-1])
    manifest.update(evidence={"iftop": seen, "missed": missed})


def _stop_watches(bench: Bench, manifest: Manifest) -> None:
    usage = {}
    for machine, watch in bench.watches.items():
        with suppress(NetbenchError):
            usage[machine] = watch.stop()
    with suppress(NetbenchError):  # the disk is full, which somebody else has said or will say
        manifest.update(sampler=usage)


def _close(bench: Bench) -> None:
    for executor in bench.executors.values():
        executor.close()


def point_latest_to(run_dir: Path) -> None:
    """Makes `latest` beside the run directory a link to it."""
    link = run_dir.parent / "latest"
    fresh = run_dir.parent / f".latest-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run_dir.name)
    fresh.replace(link)


def counts(trials: Iterable[FinishedTrial]) -> dict[str, int]:
    """How many trials ended ok, failed and void."""
    seen = Counter(trial.status for trial in trials)
    return {"ok": seen["ok"], "failed": seen["failed"], "void": seen["void"]}
