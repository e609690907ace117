# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real lab for the tests: fixture `lab` is one for the whole session, `make_lab` makes small ones of a test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.module_utils.lab import lifecycle
from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import (
    call_inside,
    find_processes,
    start_program,
)
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import parse
from ansible_collections.netbench.cni.plugins.module_utils.lab.state import StateDir
from ansible_collections.netbench.cni.tests.benchmarks import _lab
from ansible_collections.netbench.cni.tests.lab import engine_runs

LINE_RATE = 500_000_000
SECONDS = 30
# Answers every TCP connection and every UDP datagram on port 5201 with the address it came from.
ANSWERER = """
import socket, threading
def answer_datagrams():
    while True:
        data, peer = udp.recvfrom(65536)
        udp.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 5201))
tcp = socket.create_server(("::", 5201), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
threading.Thread(target=answer_datagrams, daemon=True).start()
print("listening", flush=True)
while True:
    connection, peer = tcp.accept()
    connection.sendall(f"{NAME} {peer[0].removeprefix('::ffff:')}".encode())
    connection.close()
"""


class Lab:
    """A lab that is up: `state` is lab.json's content, the methods do something inside an endpoint."""

    def __init__(self, directory: StateDir, wanted: dict[str, Any]) -> None:
        self.directory = directory
        self.spec = parse(wanted, frozenset(os.sched_getaffinity(0)))
        self.state: dict[str, Any] = {}

    def up(self) -> lifecycle.Outcome:
        outcome = lifecycle.present(self.spec, self.directory, check_mode=False)
        assert outcome.state
        self.state = outcome.state
        return outcome

    def down(self) -> lifecycle.Outcome:
        return lifecycle.absent(self.directory, check_mode=False)

    def processes(self) -> list[int]:
        return find_processes(self.spec.name, str(self.directory.root))

    def endpoint(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.state["endpoints"][name]
        return found

    def address(self, name: str, family: int = 4) -> str:
        return str(self.endpoint(name)["address" if family == 4 else "address6"])

    def start(self, endpoint: str, argv: list[str]) -> subprocess.Popen[str]:
        """Start a program on an endpoint's CPUs; whoever starts it ends it."""
        found = self.endpoint(endpoint)
        return start_program(found["pid"], argv, tuple(found["cpus"]))

    def run(self, endpoint: str, argv: list[str], timeout: float = SECONDS) -> str:
        """Run a program to its end and return what it said; it must succeed."""
        with self.start(endpoint, argv) as process:
            try:
                text, _nothing = process.communicate(timeout=timeout)
            finally:
                process.kill()
        assert process.returncode == 0, f"{endpoint}: {argv}: {text}"
        return text

    def call(self, endpoint: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a Python function inside an endpoint; its result must fit into JSON."""
        return call_inside(self.endpoint(endpoint)["pid"], function, *arguments)

    def iperf3(self, client: str, server: str, target: str, *options: str) -> dict[str, Any]:
        """One second of iperf3: the client's JSON report. `target` is `server` or something that leads to it."""
        with self.start(server, ["iperf3", "-s", "-1", "--forceflush"]) as process:
            assert process.stdout
            while "listening" not in process.stdout.readline():
                assert process.poll() is None
            try:
                report: dict[str, Any] = json.loads(
                    self.run(client, ["iperf3", "-J", "-t", "1", "-c", target, *options])
                )
            finally:
                process.kill()
        return report

    def answerers(self) -> list[subprocess.Popen[str]]:
        """Start an answerer on every server pod, node and the test VM, and wait until they listen."""
        started = []
        for name, endpoint in self.state["endpoints"].items():
            if endpoint["role"] in ("server", "node", "external"):
                started.append(self.start(name, [sys.executable, "-c", f"NAME = {name!r}\n{ANSWERER}"]))
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "listening\n"
        return started


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The default lab (clusters native and flannel, three workers each) with a line rate of 500 Mbit/s."""
    clusters = [{"name": "native", "datapath": "routed"}, {"name": "flannel", "datapath": "vxlan"}]
    directory = StateDir(str(tmp_path_factory.mktemp("labs")), "lab")
    made = Lab(directory, {"clusters": clusters, "line_rate": f"{LINE_RATE}bit"})
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """A function that prepares a small lab (one cluster `c`, two workers) without making it: call its `up`."""
    made: list[Lab] = []

    def make(name: str = "small", **given: Any) -> Lab:
        wanted = {"clusters": [{"name": "c", "datapath": "vxlan", "workers": 2}], "line_rate": "200Mbit", **given}
        made.append(Lab(StateDir(str(tmp_path / "labs"), name), {"name": name, **wanted}))
        return made[-1]

    yield make
    for one in made:
        one.down()


@pytest.fixture(scope="session")
def site(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> _lab.Site:
    """A directory with playbooks for the session's lab."""
    return _lab.Site(tmp_path_factory.mktemp("engine"), "lab", Path(lab.directory.root))


@pytest.fixture(scope="session")
def runs(site: _lab.Site) -> engine_runs.Runs:
    """What the engine measured on the session's lab."""
    return engine_runs.measure(site)
