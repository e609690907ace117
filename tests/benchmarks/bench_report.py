# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering the default run's report again: the whole process with its imports, and ansible-playbook around it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.netbench.cni.tests.unit import synthetic

REPEATS = 3
SECONDS_BOUND, MEGABYTES_BOUND = 5.0, 3.0
ROOT = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: netbench.cni.report
"""


def child(run_dir: str) -> None:
    """What the action plugin does: results from the journal, all formats, written."""
    from ansible_collections.netbench.cni.plugins.plugin_utils import results
    from ansible_collections.netbench.cni.plugins.plugin_utils.report import build

    found = results.build(run_dir)
    results.write(run_dir, found)
    results.write_csv(run_dir, found)
    report = build.render(found, Path(run_dir))
    build.write(report, Path(run_dir), list(report.files))


def best(run: Callable[[], object]) -> float:
    """The shortest of some repeats, in seconds: what the machine's other work added is not ours."""
    times = []
    for _repeat in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def process(*command: str, cwd: Path) -> None:
    here = str(ROOT / "collections")
    environment = {**os.environ, "PYTHONPATH": here, "ANSIBLE_COLLECTIONS_PATH": here}
    subprocess.run(command, check=True, cwd=cwd, env=environment, capture_output=True)


def line(name: str, value: float, unit: str, bound: float) -> None:
    print(f"{name} {value:.2f} {unit} <={bound:g} {'holds' if value <= bound else 'MISSES'}", flush=True)


def main() -> None:
    playbook = str(Path(sys.executable).parent / "ansible-playbook")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        run_dir = synthetic.write_run(directory / "run", synthetic.Spec())
        (directory / "play.yml").write_text(PLAY)
        again = best(lambda: process(sys.executable, __file__, str(run_dir), cwd=directory))
        play = (playbook, "-i", "localhost,", "-e", f"report_run_dir={run_dir}", "play.yml")
        by_role = best(lambda: process(*play, cwd=directory))
        size = (run_dir / "report.html").stat().st_size / 1e6
    line("report_render_again", again, "s", SECONDS_BOUND)
    line("report_render_again_by_ansible_playbook", by_role, "s", SECONDS_BOUND)
    line("report_html_size", size, "MB", MEGABYTES_BOUND)


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
