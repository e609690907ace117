# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line rate at which this machine is as busy as wanted: a short real UDP transfer over the costliest datapath."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.devices import read_sysctl
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import start_program
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import IPERF_PORT, ClusterLayout, Layout

LOWEST, HIGHEST = 100_000_000, 10_000_000_000
FIRST_GUESS = 2_000_000_000
ROUNDS = 3
SETTLE_SECONDS, WINDOW_SECONDS = 0.25, 0.6
PATIENCE_SECONDS = 10.0
COSTLIEST_FIRST = ("vxlan", "host_gateway", "routed")
DATAGRAM, HEADERS = 8192, 28
SOCKET_BUFFER = 2_097_152
OWN_TO_IPERF3 = (1.2, 1.6)
TCP_LISTEN = "0A"


@dataclass(frozen=True)
class Transfer:
    """From whom to whom the calibration sends, on which CPUs each runs, and the CPUs whose load counts (all: ())."""

    client: str
    server: str
    target: str
    port: int
    datagram: int
    client_cpus: tuple[int, ...]
    server_cpus: tuple[int, ...]


def two_digits(rate: float) -> int:
    """Rounded to two significant digits and kept within 100 Mbit/s to 10 Gbit/s."""
    return min(max(int(float(f"{rate:.1e}")), LOWEST), HIGHEST)


def choose_transfer(layout: Layout) -> Transfer:
    """Pod to pod on another node of the cluster with the costliest datapath; from the test VM if it has one node."""
    clusters = sorted(layout.clusters, key=lambda c: (len(c.workers) < 2, COSTLIEST_FIRST.index(c.spec.datapath)))
    cluster = clusters[0]
    datagram = min(DATAGRAM, cluster.pod_mtu - HEADERS)
    if len(cluster.workers) < 2:
        return _from_outside(layout, cluster, datagram)
    sender, receiver = cluster.workers[:2]
    client = next(pod for pod in sender.pods if pod.role == "client")
    server = receiver.pods[0]
    return Transfer(client.name, server.name, str(server.address), IPERF_PORT, datagram, sender.cpus, receiver.cpus)


def _from_outside(layout: Layout, cluster: ClusterLayout, datagram: int) -> Transfer:
    worker = cluster.workers[0]
    address = str(cluster.balancer_address)
    port = next(service.port for service in cluster.services if service.name == "iperf-0")
    return Transfer(layout.external.name, worker.pods[0].name, address, port, datagram, (), worker.cpus)


def idle_seconds(cpus: tuple[int, ...]) -> float:
    """Time these CPUs did not work for this machine so far: idle, iowait and steal (/proc/stat, proc(5))."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    ticks = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *fields = line.split()
        if name in wanted:
            ticks += int(fields[3]) + int(fields[4]) + int(fields[7])
    return ticks / os.sysconf("SC_CLK_TCK")


def calibrate(layout: Layout, pids: dict[str, int], machine_cpus: tuple[int, ...]) -> dict[str, Any]:
    """Find the rate at which the CPUs that do the work are as busy as the lab's specification wants them.

    The lines must be wide open meanwhile. Each round sends at the last estimate and scales it by what it cost. The CPUs
    that count are those of the two nodes; where nobody is bound, two of the machine's or its only one.

    Returns the evidence with `line_rate_bits_per_second`. Raises LabError where iperf3 fails.
    """
    transfer = choose_transfer(layout)
    counted = tuple(sorted({*transfer.client_cpus, *transfer.server_cpus})) or machine_cpus
    capacity = min(2, len(counted))
    estimate = float(FIRST_GUESS)
    rounds = []
    for _round in range(ROUNDS):
        measured = _measure(transfer, pids, estimate, counted)
        rounds.append({"offered_bits_per_second": estimate, **measured})
        target = layout.spec.calibration_target * capacity
        estimate = float(two_digits(measured["received_bits_per_second"] * target / own_cores(measured)))
    return {
        "line_rate_bits_per_second": int(estimate),
        "target_cpu_share": layout.spec.calibration_target,
        "cpus": list(counted),
        "client": transfer.client,
        "server": transfer.server,
        "datagram_bytes": transfer.datagram,
        "rounds": rounds,
    }


def own_cores(measured: dict[str, float]) -> float:
    """What the transfer itself cost: all that was busy less what had been busy just before.

    Other work on the machine comes and goes, so the difference is kept within bounds of what iperf3's own processes
    used by the scheduler's account, which other work cannot falsify. The bounds are what a quiet machine showed.
    """
    processes = max(measured["iperf3_cores"], 0.01)
    low, high = OWN_TO_IPERF3
    return min(max(measured["busy_cores"] - measured["background_cores"], low * processes), high * processes)


def _measure(transfer: Transfer, pids: dict[str, int], rate: float, cpus: tuple[int, ...]) -> dict[str, float]:
    """One UDP transfer: received bits per second and busy cores, before it and by whom."""
    server = start_program(pids[transfer.server], ["iperf3", "-s", "-1", "-p", str(IPERF_PORT)], transfer.server_cpus)
    try:
        _wait_for_listener(server)
        background = _watch(cpus, [])
        argv = ["iperf3", "-J", "-u", "-c", transfer.target, "-p", str(transfer.port), "-t", "1"]
        argv += ["-b", str(int(rate)), "-l", str(transfer.datagram), "-w", str(_socket_buffer())]
        client = start_program(pids[transfer.client], argv, transfer.client_cpus)
        time.sleep(SETTLE_SECONDS)
        busy = _watch(cpus, [client.pid, server.pid])
        text, _nothing = client.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        client.kill()
        raise LabError("The calibration's iperf3 did not end; name a line_rate instead of auto.") from error
    finally:
        server.kill()
        server.communicate()
    return {
        "received_bits_per_second": _received(text),
        "background_cores": background[0],
        "busy_cores": busy[0],
        "iperf3_cores": busy[1],
    }


def _socket_buffer() -> int:
    """What the kernel grants of the wanted size: iperf3 refuses to run with less than it asked for."""
    return min(SOCKET_BUFFER, int(read_sysctl("core/rmem_max")), int(read_sysctl("core/wmem_max")))


def _watch(cpus: tuple[int, ...], processes: list[int]) -> tuple[float, float]:
    """Busy cores of `cpus`, and cores used by `processes`, during a moment."""
    started, idle, used = time.monotonic(), idle_seconds(cpus), sum(map(_scheduled_seconds, processes))
    time.sleep(WINDOW_SECONDS)
    elapsed = time.monotonic() - started
    idle, used = idle_seconds(cpus) - idle, sum(map(_scheduled_seconds, processes)) - used
    return round(max(len(cpus) - idle / elapsed, 0.0), 3), round(used / elapsed, 3)


def _scheduled_seconds(pid: int) -> float:
    """CPU time of all threads of a process (first field of schedstat: nanoseconds on a CPU); 0 once it has ended."""
    try:
        texts = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        return 0.0
    return sum(int(text.split()[0]) for text in texts) / 1e9


def _wait_for_listener(server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanted = f":{IPERF_PORT:04X}"
    while server.poll() is None and time.monotonic() < deadline:
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{server.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == TCP_LISTEN:
                    return
        time.sleep(0.005)
    raise LabError("The calibration's iperf3 server does not listen; name a line_rate instead of auto.")


def _received(text: str) -> float:
    """iperf3's JSON of a UDP client → received bits per second. Raises LabError with iperf3's own words."""
    try:
        report = json.loads(text)
        if "error" in report:
            raise LabError(f"The calibration's iperf3 failed: {report['error']}; name a line_rate instead of auto.")
        total = report["end"]["sum"]
        return float(total["bits_per_second"]) * (1 - float(total["lost_percent"]) / 100)
    except (ValueError, KeyError, TypeError) as error:
        raise LabError("The calibration's iperf3 gave no usable JSON; name a line_rate instead of auto.") from error
