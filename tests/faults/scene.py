# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of the test's own, real plays that measure in it, and the means to see and to break what goes on there."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import is_alive
from ansible_collections.netbench.cni.plugins.plugin_utils import journal
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial
from tests.unit import play as plays
from tests.unit.lab_state import ROOT, eventually

CLUSTERS = ("native", "flannel")
LAB = {
    "lab_line_rate": "300Mbit",
    "lab_clusters": [
        {"name": "native", "datapath": "routed", "workers": 2},
        {"name": "flannel", "datapath": "vxlan", "workers": 2},
    ],
}
POD_TO_POD = {"name": "pod_to_pod", "path": "pod_to_pod", "protocol": "tcp"}
EXTERNAL = {"name": "external", "path": "external_to_load_balancer", "forwarding": "forwarded", "protocol": "tcp"}
# No void rules: whether this machine is calm enough to measure on is not what these tests are about.
MATRIX = {
    "blocks": 2,
    "warmup": "1s",
    "window": "0.8s",
    "retries": 0,
    "void": {"offered_below": "0%", "steal_above": "100%", "speed_below": "0%"},
    "evidence": {},
    "defaults": {},
    "scenarios": [POD_TO_POD],
}
# A worker of a killed play may have a task or a clean-up to end, which a busy machine draws out (seen: over 3 s).
SECONDS_TO_VANISH = 8.0


class Play:
    """An ansible-playbook under way; its output goes to a file. `terminal`: the master side of its terminal, if any."""

    def __init__(self, argv: Sequence[str], directory: Path, environ: Mapping[str, str], on_terminal: bool) -> None:
        self._log = directory / f"play-{time.monotonic_ns()}.log"
        self.terminal, slave = pty.openpty() if on_terminal else (-1, -1)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *argv] if on_terminal else argv,
                cwd=directory,
                env=environ,
                stdin=slave if on_terminal else subprocess.DEVNULL,
                stdout=slave if on_terminal else log,
                stderr=subprocess.STDOUT,
            )
        if on_terminal:
            os.close(slave)
            threading.Thread(target=self._copy_terminal, daemon=True).start()

    def _copy_terminal(self) -> None:
        with self._log.open("ab", buffering=0) as log, suppress(OSError):  # it has hung up
            while data := os.read(self.terminal, 65536):
                log.write(data)

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def complaint(self) -> str:
        """What the failed task told the user, in the words of the one [ERROR] that Ansible shows."""
        told = re.findall(r"^\[ERROR\]: (?:Task failed: )?(?:Action failed: )?(.*)$", self.output, re.MULTILINE)
        assert len(told) == 1, self.output
        return str(told[0])

    def wait(self, seconds: float = 120) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the play did not end within {seconds:g} s:\n{self.output}") from None

    def kill(self) -> None:
        """End it by force, and nothing but its main process."""
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


class Scene:
    """The lab `name` with all its files under `directory`; it is made by `provision` and removed by `teardown`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self.results = directory / "results"
        self._labs = directory / "labs"
        (directory / "tmp").mkdir()
        self._environ = plays.prepare(directory) | {
            "NETBENCH_LAB": name,
            "NETBENCH_LAB_STATE_DIR": str(self._labs),
            "TMPDIR": str(directory / "tmp"),
        }
        self._plays: list[Play] = []
        self._found = set(self._files())

    # --- plays ---

    def start(self, *playbooks: str, on_terminal: bool = False, inventory: str = "", **variables: Any) -> Play:
        """Start playbooks of the collection, by name; `inventory` is one beside the lab's."""
        paths = [str(ROOT / "playbooks" / f"{name}.yml") for name in playbooks]
        variables = {"lab_name": self.name, "lab_state_dir": str(self._labs), **LAB, **variables}
        argv = [plays.program("ansible-playbook"), *paths, "--extra-vars", json.dumps(variables)]
        if inventory:
            argv += ["--inventory", "hosts.netbench_lab.yml", "--inventory", inventory]
        self._plays.append(Play(argv, self.directory, self._environ, on_terminal))
        return self._plays[-1]

    def run(self, *playbooks: str, **variables: Any) -> str:
        """Run playbooks that must succeed; returns what they printed."""
        play = self.start(*playbooks, **variables)
        assert play.wait() == 0, play.output
        return play.output

    def measure(
        self, run: str, *, resume: bool = False, on_terminal: bool = False, matrix: Mapping[str, Any], **others: Any
    ) -> Play:
        """Start a measurement into the run directory `run`; `matrix` are the keys that differ from MATRIX."""
        return self.start(
            "provision",
            "measure",
            on_terminal=on_terminal,
            measurement_matrix={**MATRIX, **matrix},
            measurement_resume=resume,
            **{"measurement_run_id": run, "measurement_results_dir": str(self.results), **others},
        )

    def refusal(self, run: str, *, matrix: Mapping[str, Any] | None = None, **others: Any) -> str:
        """What a measurement says that must fail before the first trial."""
        there = set(self.processes())
        before = self.journal_lines(run)
        play = self.measure(run, matrix=matrix or {}, **others)
        assert play.wait(60) != 0, play.output
        assert "trials to run" not in play.output or "[1/" not in play.output, play.output
        assert "Traceback" not in play.output
        assert eventually(lambda: set(self.processes()) <= there, SECONDS_TO_VANISH), self.processes()
        assert self.journal_lines(run) == before
        assert not self.leftovers(), self.leftovers()
        return play.complaint

    def journal_lines(self, run: str) -> list[bytes]:
        """The lines of a journal but its header, whatever they are."""
        path = self.results / run / "trials.jsonl"
        return path.read_bytes().splitlines()[1:] if path.is_file() else []

    def journal_of(self, run: str) -> list[FinishedTrial]:
        """What the journal holds; it must be valid. None yet is none."""
        path = self.results / run / "trials.jsonl"
        return journal.read(path)[1] if path.exists() and path.stat().st_size else []

    # --- what is there ---

    @cached_property
    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._labs / self.name / "lab.json").read_text(encoding="utf-8"))
        return content

    def forget(self) -> None:
        """Read lab.json again: the lab has been made anew."""
        del self.state

    def endpoint(self, name: str) -> dict[str, Any]:
        """lab.json's word on an endpoint, such as `flannel-w0`."""
        found: dict[str, Any] = self.state["endpoints"][f"{self.name}-{name}"]
        return found

    def processes(self) -> dict[int, str]:
        """All processes that our plays started, and all in the lab's namespaces, but not those that are the lab."""
        config = f"ANSIBLE_CONFIG={self.directory}/".encode()
        namespaces = self._namespaces()
        return {
            pid: command
            for pid, command in _processes()
            if not self._is_pause(command) and (_namespace(pid) in namespaces or config in _environ(pid))
        }

    def lab_processes(self) -> dict[int, str]:
        """The processes that are the lab."""
        return {pid: command for pid, command in _processes() if self._is_pause(command)}

    def iperf3(self, endpoint: str, role: str) -> list[int]:
        """The ids of the iperf3 processes of a role (client, server) in an endpoint."""
        namespace = self.endpoint(endpoint)["netns_inode"]
        return [
            pid
            for pid, command in _processes()
            if command.startswith(f"iperf3 --{role} ") and _namespace(pid) == namespace
        ]

    def leftovers(self) -> list[str]:
        """Files that a run left where they do not belong."""
        return sorted(set(self._files()) - self._found)

    def _files(self) -> Iterator[str]:
        own = (self.directory / "tmp").iterdir()
        yield from (str(path) for path in own if not path.name.startswith("pymp-"))  # Ansible's, from 2.21 on
        yield from (str(path) for path in Path("/tmp").glob("netbench-*") if self.name in path.name)

    def _namespaces(self) -> set[int]:
        if "state" not in self.__dict__ and not (self._labs / self.name / "lab.json").exists():
            return set()
        return {endpoint["netns_inode"] for endpoint in self.state["endpoints"].values()}

    def _is_pause(self, command: str) -> bool:
        return f"netbench-lab:{self.name}:" in command and str(self._labs) in command

    # --- events ---

    def wait_for_trial(self, run: str, number: int) -> str:
        """Return in the middle of the run's trial of that number (the first is 0), which is from pod to pod; the
        cluster it is on."""
        return self._wait_for_client(CLUSTERS, lambda: len(self.journal_of(run)) == number)

    def wait_for_cluster(self, cluster: str) -> None:
        """Return in the middle of the next trial from pod to pod on that cluster."""
        self._wait_for_client((cluster,), lambda: True)

    def _wait_for_client(self, clusters: Sequence[str], condition: Callable[[], bool]) -> str:
        found: list[str] = []

        def under_way() -> bool:
            found[:] = [cluster for cluster in clusters if self._sends(cluster)]
            return bool(found) and condition()

        assert eventually(under_way, 60), self._plays[-1].output
        time.sleep(0.5)
        return found[0]

    def _sends(self, cluster: str) -> bool:
        clients = self.iperf3(f"{cluster}-client", "client")
        return any("--time" in _command(pid) for pid in clients)  # the check of the paths counts bytes

    def inside(self, endpoint: str, script: str) -> str:
        """Run a shell script in an endpoint."""
        enter = ["nsenter", "-t", str(self.endpoint(endpoint)["pid"]), "-m", "-n", "-u", "--"]
        done = subprocess.run([*enter, "sh", "-ec", script], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_until_calm(self) -> None:
        """Nothing of a play that was stopped goes on for more than a moment, and its journal grows no more."""
        assert eventually(lambda: not self.processes(), SECONDS_TO_VANISH), self.processes()

    # --- the end ---

    def close(self) -> None:
        """Tear down; nothing may be left on this machine."""
        for play in self._plays:
            if play.process.poll() is None:
                play.kill()
        namespaces = self._namespaces()
        self.run("teardown", lab_state="absent")
        assert eventually(lambda: not self.processes()), self.processes()
        assert not self.lab_processes()
        assert not namespaces & {_namespace(pid) for pid, _command in _processes()}
        assert not self._labs.exists()
        assert not self.leftovers(), self.leftovers()


@contextmanager
def scene(directory: Path, name: str) -> Iterator[Scene]:
    """A lab from nothing to torn down, with a proof that nothing is left."""
    links = _host_links()
    made = Scene(directory, name)
    try:
        made.run("provision")
        assert all(is_alive(each["pid"], each["start"]) for each in made.state["endpoints"].values())
        yield made
    finally:
        made.close()
        assert _host_links() == links


def signal_all(pids: Iterator[int] | Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _processes() -> Iterator[tuple[int, str]]:
    """Id and command line of every process that runs; zombies and the kernel's have none."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return ((pid, command) for pid in pids if (command := _command(pid)))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _namespace(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _host_links() -> list[str]:
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return sorted(line.partition(" mtu ")[0] for line in listed.splitlines())
