# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Ansible's commands in a directory of the test's own, with this checkout as the collection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.lab_state import ROOT

CONFIG = f"""
[defaults]
collections_path = {ROOT}/collections
callbacks_enabled = netbench.cni.progress
interpreter_python = {sys.executable}
localhost_warning = false
inventory = hosts.netbench_lab.yml
[inventory]
enable_plugins = netbench.cni.lab, yaml
inventory_unparsed_warning = false
"""
# What decides how progress is shown, or where a lab is looked for, must come from the test alone.
FOREIGN = ("ANSIBLE_", "NETBENCH_", "RUNNER_", "AWX_", "CI", "JENKINS_URL", "TF_BUILD", "COLUMNS", "LINES")


def prepare(directory: Path, **files: str) -> dict[str, str]:
    """Write ansible.cfg and files (`play_yml` becomes play.yml, `a__b` is b in a); return the environment to run in."""
    (directory / "ansible.cfg").write_text(CONFIG, encoding="utf-8")
    (directory / "hosts.netbench_lab.yml").write_text("plugin: netbench.cni.lab\n", encoding="utf-8")
    for name, text in files.items():
        stem, _underscore, suffix = name.replace("__", "/").rpartition("_")
        path = directory / f"{stem}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {
        **inherited,
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "ANSIBLE_HOME": str(directory / ".ansible"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
        "NETBENCH_LAB_STATE_DIR": str(directory),
    }


def program(name: str) -> str:
    """The path of one of Ansible's commands, from the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


def run(directory: Path, environ: dict[str, str], name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands to its end."""
    return subprocess.run(
        [program(name), *arguments],
        check=False,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
