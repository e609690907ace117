# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/measure_from_python.py, run as a user runs it, with a matrix of one scenario and one block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.netbench.cni.tests.benchmarks import _lab
from ansible_collections.netbench.cni.tests.roles.conftest import CLUSTERS

EXAMPLE = _lab.CHECKOUT / "examples" / "measure_from_python.py"
MATRIX = {
    "blocks": 1,
    "window": "0.8s",
    "baseline": "plain",
    "void": _lab.NEVER_VOID,
    "select": ["pod_to_pod_tcp"],
    "evidence": {},
}


def run_example(collections: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in the environment that has Ansible, and nothing of ours."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_lab.FOREIGN)}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    argv = [sys.executable, str(EXAMPLE), "--collections", str(collections), *arguments]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_it_follows_the_run_and_reads_the_facts(collections: Path, tmp_path: Path) -> None:
    lab = _lab.Site(tmp_path, "python", tmp_path / "labs", collections)
    where = {"lab_name": lab.lab, "lab_state_dir": str(lab.state_dir)}
    extra = {**where, "lab_line_rate": "300Mbit", "lab_clusters": CLUSTERS}
    given = ["--matrix", json.dumps(MATRIX), "--extra", json.dumps(extra)]
    try:
        done = run_example(collections, "--work-dir", str(tmp_path / "work"), *given)
    finally:
        lab.down()
    assert done.returncode == 0, done.stdout + done.stderr
    events = re.findall(r"^ +(ok|failed) +[0-9.]+ s  (.+)$", done.stdout, re.MULTILINE)
    assert ("ok", "Run the iperf3 matrix") in events
    assert ("ok", "Render the report") in events
    assert not [event for event in events if event[0] == "failed"]
    (verdict,) = re.findall(r"^- (.+)$", done.stdout, re.MULTILINE)
    assert verdict.startswith("pod_to_pod_tcp: throughput_bits_per_second of overlay")
    (report,) = re.findall(r"^report: (.+)$", done.stdout, re.MULTILINE)
    assert Path(report).is_relative_to(tmp_path / "work" / "results")
    assert Path(report).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_play_that_fails_says_why(collections: Path, tmp_path: Path) -> None:
    lab = _lab.Site(tmp_path, "python", tmp_path / "labs", collections)
    extra = {
        "lab_name": lab.lab,
        "lab_state_dir": str(lab.state_dir),
        "lab_clusters": CLUSTERS,
        "lab_line_rate": "1Gbit",
    }
    try:
        given = ["--matrix", '{"bloks": 1}', "--extra", json.dumps(extra)]
        done = run_example(collections, "--work-dir", str(tmp_path / "work"), *given)
    finally:
        lab.down()
    assert done.returncode != 0
    assert "failed" in done.stdout
    assert re.search(r"^ +matrix .*bloks", done.stdout, re.MULTILINE), done.stdout
