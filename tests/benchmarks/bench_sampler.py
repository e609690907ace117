# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sampler itself costs: CPU time a sweep over ten namespaces, and a second at its usual 5 Hz.

Each namespace has the devices of a lab's node; in half of them packets move all the time, as on a trial's path, and at
its end there is a UDP socket. What a sampler costs that ends before its first sweep is taken off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.netbench.cni.plugins.module_utils import sampler

NAMESPACES, BUSY = 10, 5
USUAL_HERTZ = 5
SWEEP_BOUND, SECOND_BOUND = 1.0, 0.5
DEVICES = """
for name in ens3 ens5 cni0; do
    ip link add $name type veth peer name p$name
    ip link set $name up
    ip link set p$name up
done
tc qdisc add dev ens3 root tbf rate 1gbit burst 256k latency 20ms
ip link set lo up
echo ready
exec "$@"
"""
SEND = """
import socket, sys, time
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("ens3", 0))
datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[1:]]
for each in datagrams:
    each.bind(("127.0.0.1", 0))
while True:
    sender.send(bytes(60))
    time.sleep(0.05)
"""
SENDER = [sys.executable, "-c", SEND]
IDLE = ["sleep", "600"]


@contextmanager
def namespaces() -> Iterator[list[str]]:
    """Paths of network namespaces that end with the context."""
    command = ["unshare", "--net", "sh", "-e", "-c", DEVICES, "sh"]
    then = [[*SENDER, "with a UDP socket"]] + [SENDER] * (BUSY - 1) + [IDLE] * (NAMESPACES - BUSY)
    with tempfile.TemporaryFile() as errors:
        made = [subprocess.Popen([*command, *what], stdout=subprocess.PIPE, stderr=errors) for what in then]
        try:
            for process in made:
                if process.stdout is None or process.stdout.readline() != b"ready\n":
                    errors.seek(0)
                    raise SystemExit(errors.read().decode())
            yield [f"/proc/{process.pid}/ns/net" for process in made]
        finally:
            for process in made:
                process.kill()
                process.wait()


def run(paths: list[str], hertz: float, seconds: float) -> tuple[float, int]:
    """The CPU seconds of one sampler and how often it swept."""
    with tempfile.TemporaryDirectory() as directory:
        spool = Path(directory, "spool")
        command = [
            sys.executable,
            sampler.__file__,
            "--spool",
            str(spool),
            "--control",
            str(Path(directory, "control")),
        ]
        command += ["--interval", str(1 / hertz), "--max-seconds", str(seconds)]
        command += [f"--netns=node-{number}={path}" for number, path in enumerate(paths)]
        subprocess.run(command, check=True)
        entries = [json.loads(line) for line in spool.read_text().splitlines()]
    return entries[-1]["cpu_seconds"], sum("stat" in entry for entry in entries)


def line(name: str, value: float, unit: str, bound: float | None = None) -> None:
    verdict = "-" if bound is None else "holds" if value <= bound else "MISSES"
    print(f"{name} {value:.3f} {unit} {'-' if bound is None else f'<={bound:g}'} {verdict}", flush=True)


def main() -> None:
    with namespaces() as paths:
        begin, _none = run(paths, USUAL_HERTZ, 0)
        usual, sweeps = run(paths, USUAL_HERTZ, 10)
    sweep = (usual - begin) / sweeps
    line("sampler_start_cpu", 1000 * begin, "ms")
    line(f"sampler_sweep_cpu_{NAMESPACES}_namespaces", 1000 * sweep, "ms", SWEEP_BOUND)
    line(f"sampler_cpu_at_{USUAL_HERTZ}_hertz", 100 * USUAL_HERTZ * sweep, "%_of_a_core", SECOND_BOUND)


if __name__ == "__main__":
    if sys.argv[1:] != ["inside"]:  # become root of a user namespace, which everyone may
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--net", sys.executable, __file__, "inside"])
    main()
