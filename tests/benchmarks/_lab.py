# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of a benchmark's or test's own, and plays that measure in it: real ansible-playbook, outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIG = """
[defaults]
collections_path = {collections}
callbacks_enabled = netbench.cni.progress
interpreter_python = auto_silent
localhost_warning = false
inventory = endpoints.netbench_lab.yml
[inventory]
enable_plugins = netbench.cni.lab, yaml
inventory_unparsed_warning = false
"""
# What decides how Ansible runs, or where a lab is looked for, must come from here alone.
FOREIGN = ("ANSIBLE_", "NETBENCH_", "RUNNER_", "AWX_", "PYTHONPATH")
# For those who want every trial to count, however busy this machine is.
NEVER_VOID = {"offered_below": "0%", "steal_above": "100%", "speed_below": "0%"}
RESULT = "measurement_result.json"


@dataclass(frozen=True)
class Measured:
    """A measurement that ended well: its directory, what the role left in `measurement_result`, what was printed, the
    journal's entries and the manifest.
    """

    directory: Path
    result: dict[str, Any]
    output: str
    trials: list[dict[str, Any]]
    manifest: dict[str, Any]

    def trial(self, scenario: str, cluster: str) -> dict[str, Any]:
        """The one trial of a scenario on a cluster."""
        (found,) = [each for each in self.trials if (each["scenario"], each["cluster"]) == (scenario, cluster)]
        return found


class Site:
    """Where plays on one lab run: `directory` holds ansible.cfg, the inventory and the results."""

    def __init__(
        self, directory: Path, lab: str, state_dir: Path, collections: Path = CHECKOUT / "collections"
    ) -> None:
        self.directory = directory
        self.lab = lab
        self.state_dir = state_dir
        self.results = directory / "results"
        (directory / "ansible.cfg").write_text(CONFIG.format(collections=collections), encoding="utf-8")
        source = {"plugin": "netbench.cni.lab", "lab": lab, "state_dir": str(state_dir)}
        (directory / "endpoints.netbench_lab.yml").write_text(json.dumps(source), encoding="utf-8")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environ = {
            **inherited,
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / ".ansible"),
            "LC_ALL": "C.UTF-8",
        }

    @property
    def state(self) -> dict[str, Any]:
        """What lab.json says of the lab."""
        path = self.state_dir / self.lab / "lab.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def ansible(self, *arguments: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook of the interpreter that runs this, to its end."""
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), *arguments],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def play(self, tasks: Sequence[Mapping[str, Any]], *arguments: str, **variables: Any) -> str:
        """Run tasks on localhost, which must succeed; returns what was printed."""
        done = self.try_play(tasks, *arguments, **variables)
        if done.returncode:
            raise RuntimeError(f"the play ended with code {done.returncode}:\n{done.stdout}")
        return done.stdout

    def try_play(
        self, tasks: Sequence[Mapping[str, Any]], *arguments: str, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run tasks on localhost, whatever comes of it."""
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": list(tasks)}
        path = self.directory / "play.yml"
        path.write_text(json.dumps([play]), encoding="utf-8")
        return self.ansible(str(path), *arguments)

    def measurement(self, matrix: Mapping[str, Any], **variables: Any) -> list[dict[str, Any]]:
        """Tasks that run a matrix on the lab, which is up, and keep what the role measurement says of it."""
        where = {"netbench_results_dir": str(self.results)}
        keep = {"content": "{{ measurement_result | to_json }}", "dest": str(self.directory / RESULT), "mode": "0600"}
        return [
            {
                "ansible.builtin.include_role": {"name": "netbench.cni.measurement"},
                "vars": {**where, "measurement_matrix": matrix, **variables},
            },
            {"ansible.builtin.copy": keep, "check_mode": False},
        ]

    def measure(self, matrix: Mapping[str, Any], *arguments: str, **variables: Any) -> Measured:
        """Run a matrix on the lab, which is up."""
        output = self.play(self.measurement(matrix, **variables), *arguments)
        result = json.loads((self.directory / RESULT).read_text(encoding="utf-8"))
        return Measured(Path(result["run_dir"]), result, output, *read_run(Path(result["run_dir"])))

    def up(self, **lab: Any) -> str:
        """Make the lab, with variables of the role lab; returns what was printed."""
        return self.play([self._role(lab)])

    def down(self) -> None:
        """Remove the lab."""
        self.play([self._role({"lab_state": "absent"})])

    def _role(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        where = {"lab_name": self.lab, "lab_state_dir": str(self.state_dir)}
        return {"ansible.builtin.include_role": {"name": "netbench.cni.lab"}, "vars": {**where, **variables}}


def read_run(directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A run directory's journal entries and manifest."""
    _header, *lines = (directory / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(each) for each in lines], json.loads((directory / "run.json").read_text(encoding="utf-8"))


@contextmanager
def site(lab: str, **variables: Any) -> Iterator[Site]:
    """A lab made with variables of the role lab, and removed at the end together with everything that was measured."""
    with tempfile.TemporaryDirectory(prefix=f"netbench-{lab}-") as directory:
        made = Site(Path(directory), lab, Path(directory) / "labs")
        try:
            made.up(**variables)
            yield made
        finally:
            made.down()


def line(name: str, value: float, unit: str, bound: float | None = None) -> None:
    """Print one figure of a benchmark; with a bound, which it must not exceed, whether that holds."""
    verdict = "-" if bound is None else "holds" if value <= bound else "MISSES"
    print(f"{name} {value:.4g} {unit} {'-' if bound is None else f'<={bound:g}'} {verdict}", flush=True)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say on stderr how long a part of a benchmark took."""
    start = time.monotonic()
    yield
    print(f"   {what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
