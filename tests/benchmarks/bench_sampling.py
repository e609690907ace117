# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sampling costs the traffic: throughput and CPU with the engine's sampler against without, in adjacent pairs.

One long iperf3 flow a case is cut into slices of a second; the sampler, started as the engine starts it on all nodes of
the lab, is stopped and continued by signals in the order on-off, off-on, on-off, … A machine that drifts within seconds
so drifts for both sides of a pair, and the flow's own start and end are in no slice. The loss is 1 − on/off; its 95 %
interval is that of a paired t test on log ratios.

The flow that only the CPUs hold down has no bound: its rate varies by some per cent from second to second, more than
the share of a CPU that the sampler could take from it, which is printed too.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ansible_collections.netbench.cni.plugins.plugin_utils import iperf3_command, iperf3_metrics, iperf3_result
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import TARGET_PORT
from ansible_collections.netbench.cni.plugins.plugin_utils.engine import SAMPLE_INTERVAL_SECONDS
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import Servers, run_client
from ansible_collections.netbench.cni.plugins.plugin_utils.machine_watch import MachineWatch
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint, Traffic
from ansible_collections.netbench.cni.tests.benchmarks import _lab
from ansible_collections.netbench.cni.tests.unit.process_executor import ProcessExecutor

PAIRS = 20
WARMUP, SLICE, TAIL = 2.0, 1.0, 1.0
# How far from a switch the counting begins and ends: when the traffic began is known to some 30 ms.
GUARD = 0.1
LOSS_BOUND = 1.0
LINE_RATE = 500e6
SAMPLER = _lab.CHECKOUT / "plugins" / "module_utils" / "sampler.py"
IDLE_COLUMNS = (3, 4, 7)  # idle, iowait and steal of a line of /proc/stat (proc_stat(5))

Pairs = NDArray[np.float64]
"""Shape (PAIRS, 2): with the sampler, without it."""


@dataclass(frozen=True)
class Case:
    """Traffic between the pods of a cluster, and the loss in per cent that is allowed."""

    name: str
    cluster: str
    traffic: Traffic
    bound: float | None = LOSS_BOUND


@dataclass(frozen=True)
class Slice:
    """A second of a flow: its realtime, and the machine's busy cores in it."""

    start: float
    end: float
    cores: float


CASES = (
    Case("line_rate_tcp", "capped", Traffic()),
    Case("half_rate_tcp", "capped", Traffic(rate_bits_per_second=LINE_RATE / 2)),
    Case("cpu_bound_tcp", "open", Traffic(), None),
)
CLUSTERS = [
    {"name": "capped", "datapath": "vxlan"},
    {"name": "open", "datapath": "vxlan", "line_rate": "100Gbit"},
]


class Sampler:
    """The engine's sampler on all nodes of the lab; it sleeps until it is switched on."""

    def __init__(self, watch: MachineWatch) -> None:
        self._pid = int(json.loads(watch.lines(0.0, time.time())[0])["pid"])
        self.switch(on=False)

    def switch(self, *, on: bool) -> None:
        os.kill(self._pid, signal.SIGCONT if on else signal.SIGSTOP)

    def cpu_seconds(self) -> float:
        """Its own user and system time so far (proc_pid_stat(5))."""
        words = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def sampler(state: dict[str, Any], directory: Path) -> Iterator[Sampler]:
    nodes = {name: each["netns"] for name, each in state["endpoints"].items() if each["role"] in ("node", "external")}
    watch = MachineWatch(
        "here",
        ProcessExecutor(),
        directory=str(directory / "watch"),
        python="python3",
        netns=nodes,
        interval_seconds=SAMPLE_INTERVAL_SECONDS,
    )
    watch.start(str(SAMPLER), max_seconds=600)
    made = Sampler(watch)
    try:
        yield made
    finally:
        made.switch(on=True)
        watch.stop()


def busy_cores(before: list[int], after: list[int], seconds: float) -> float:
    """Cores that were busy: all but idle, iowait and steal."""
    idle = sum(after[column] - before[column] for column in IDLE_COLUMNS)
    return (os.cpu_count() or 1) - idle / os.sysconf("SC_CLK_TCK") / seconds


def cpu_ticks() -> list[int]:
    with Path("/proc/stat").open(encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:]]


def one_slice() -> Slice:
    ticks, start, begin = cpu_ticks(), time.time(), time.monotonic()
    time.sleep(SLICE)
    return Slice(start, time.time(), busy_cores(ticks, cpu_ticks(), time.monotonic() - begin))


def alternate(sampler: Sampler) -> list[tuple[Slice, Slice]]:
    """Pairs of slices, with and without; on-off and off-on in turn."""
    time.sleep(WARMUP)
    pairs = []
    for pair in range(PAIRS):
        seen = {}
        for on in (True, False) if pair % 2 == 0 else (False, True):
            sampler.switch(on=on)
            seen[on] = one_slice()
        pairs.append((seen[True], seen[False]))
    sampler.switch(on=False)
    return pairs


def measure(case: Case, state: dict[str, Any], sampler: Sampler) -> tuple[Pairs, Pairs]:
    """Throughput in bits per second, and busy cores."""
    client, server = endpoint(state, f"{case.cluster}-client"), endpoint(state, f"{case.cluster}-server-1")
    executors = {each.name: executor(state, each.name) for each in (client, server)}
    seconds = round(WARMUP + 2 * PAIRS * SLICE + TAIL)
    argv = iperf3_command.client_argv(case.traffic, host=server.address, port=TARGET_PORT, seconds=seconds)
    server_argv = iperf3_command.server_argv(TARGET_PORT)
    with (
        ThreadPoolExecutor() as pool,
        Servers([server], executors, pool, argv=lambda _server: server_argv, seconds=seconds) as servers,
    ):
        flow = pool.submit(run_client, executors[client.name], argv, seconds=seconds)
        pairs = alternate(sampler)
        run = flow.result()
        sent, received = (iperf3_result.parse(text) for text in (run.stdout, servers.finished()[server.name].stdout))
    begin = run.started + (run.ended - run.started - seconds) / 2

    def throughput(part: Slice) -> float:
        bounds = part.start - begin + GUARD, part.end - begin - GUARD
        return iperf3_metrics.metrics(case.traffic, sent, received, *bounds)["throughput_bits_per_second"]

    return (
        np.array([[throughput(part) for part in pair] for pair in pairs]),
        np.array([[part.cores for part in pair] for pair in pairs]),
    )


def interval(differences: Pairs) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t."""
    mean = float(differences.mean())
    low, high = stats.t.interval(0.95, len(differences) - 1, loc=mean, scale=stats.sem(differences))
    return mean, float(low), float(high)


def endpoint(state: dict[str, Any], name: str) -> Endpoint:
    name = next(host for host in state["endpoints"] if host.endswith(name))
    found = state["endpoints"][name]
    return Endpoint(name, found["role"], found["cluster"], found["node"], found["machine"], found["address"])


def executor(state: dict[str, Any], name: str) -> ProcessExecutor:
    found = state["endpoints"][name]
    users = ["-U", "--preserve-credentials"] if state["user_namespace"] else []
    cpus = ["taskset", "-c", ",".join(map(str, found["cpus"]))] if found["cpus"] else []
    return ProcessExecutor(name, ["nsenter", "-t", str(found["pid"]), *users, "-m", "-n", "-u", "--", *cpus])


def report(case: Case, throughput: Pairs, cores: Pairs) -> None:
    ratio = interval(np.log(throughput[:, 0] / throughput[:, 1]))
    loss, low, high = (100 * -np.expm1(value) for value in (ratio[0], ratio[2], ratio[1]))
    name = f"sampling_{case.name}"
    _lab.line(f"{name}_throughput", float(throughput[:, 1].mean()) / 1e6, "Mbit/s")
    _lab.line(f"{name}_throughput_loss", float(loss), "%")
    _lab.line(f"{name}_throughput_loss_ci_low", float(low), "%")
    _lab.line(f"{name}_throughput_loss_ci_high", float(high), "%", case.bound)
    cost, least, most = interval(cores[:, 0] - cores[:, 1])
    _lab.line(f"{name}_cpu_without", float(cores[:, 1].mean()), "cores")
    _lab.line(f"{name}_cpu_cost", cost, "cores")
    _lab.line(f"{name}_cpu_cost_ci_low", least, "cores")
    _lab.line(f"{name}_cpu_cost_ci_high", most, "cores")


def main() -> None:
    with _lab.site("sampling", lab_line_rate=f"{LINE_RATE:.0f}", lab_clusters=CLUSTERS) as site:
        state = site.state
        with sampler(state, site.directory) as watching:
            before = watching.cpu_seconds()
            for case in CASES:
                with _lab.told(case.name):
                    report(case, *measure(case, state, watching))
            own = (watching.cpu_seconds() - before) / (len(CASES) * PAIRS * SLICE)
        _lab.line(f"sampler_own_cpu_at_{1 / SAMPLE_INTERVAL_SECONDS:.0f}_hertz", 1000 * own, "ms/s")


if __name__ == "__main__":
    main()
