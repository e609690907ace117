# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up on machines that lack things: a copy of tools/setup.sh among invented commands, packages and Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "cp", "dirname", "env", "ln", "mkdir", "rm", "sh", "sha256sum", "sort")

BINDEP = """
# a comment
netbench-anywhere                              # netbench-one netbench-two
netbench-debian [platform:dpkg]                # netbench-two
netbench-fedora [platform:rpm]                 # netbench-two
netbench-tests [test platform:dpkg]            # netbench-old-browser|netbench-browser
"""

PYTHON = f"""#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "venv" >>"$CALLS" ;;
    "-m pip") shift 2 && echo "pip $*" >>"$CALLS" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


class Machine:
    """A checkout of three files on a machine that has only the commands of `commands`."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.commands = directory / "bin"
        self.calls = directory / "calls"
        self.commands.mkdir()
        (self.checkout / "tools").mkdir(parents=True)
        shutil.copy(ROOT / "tools/setup.sh", self.checkout / "tools/setup.sh")
        (self.checkout / "bindep.txt").write_text(BINDEP)
        (self.checkout / "requirements.txt").write_text("one==1\n")
        (self.checkout / "requirements-dev.txt").write_text("two==2\n")
        for tool in TOOLS:
            (self.commands / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not on this machine"))
        self.command("id", "echo 0")
        self.command("sudo", "exit 1")

    def command(self, name: str, script: str) -> None:
        """Adds a command, a line of shell or a whole script."""
        path = self.commands / name
        path.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def package_manager(self, name: str, brings: tuple[str, ...]) -> None:
        """Adds a package manager that notes its arguments; an installation brings the commands."""
        made = "; ".join(f"cp $(dirname $0)/id $(dirname $0)/{command}" for command in brings)
        self.command(name, f'echo "{name} $*" >>"$CALLS"; case "$1" in install|add) {made or ":"} ;; esac')

    def setup(self, *arguments: str, python: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the set-up and returns what it said."""
        environment = {"PATH": str(self.commands), "CALLS": str(self.calls), "PYTHON": python, "HOME": os.devnull}
        script = str(self.checkout / "tools/setup.sh")
        return subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def called(self) -> list[str]:
        """What the invented commands were asked to do since the last question."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_installs_only_what_is_missing_on_this_platform(machine: Machine) -> None:
    machine.command("netbench-one", "exit 0")
    machine.package_manager("apt-get", ("netbench-two",))

    first = machine.setup("packages", "run")

    assert first.returncode == 0, first.stderr
    assert first.stdout == "Installing system packages with apt-get: netbench-anywhere netbench-debian.\n"
    update, install = machine.called()
    assert update.startswith("apt-get update")
    assert install.startswith("apt-get install ")
    assert install.endswith(" netbench-anywhere netbench-debian")

    assert machine.setup("packages", "run").stdout == ""
    assert machine.called() == []


def test_tests_need_more_and_an_alternative_command_will_do(machine: Machine) -> None:
    for name in ("netbench-one", "netbench-two"):
        machine.command(name, "exit 0")
    machine.package_manager("apt-get", ())
    assert "Still missing after the installation: netbench-tests." in machine.setup("packages", "test").stderr
    machine.command("netbench-browser", "exit 0")
    assert machine.setup("packages", "test").returncode == 0


def test_dnf_gets_the_names_of_its_platform(machine: Machine) -> None:
    machine.package_manager("dnf", ("netbench-one", "netbench-two"))
    assert machine.setup("packages", "run").returncode == 0
    assert machine.called() == ["dnf install --assumeyes netbench-anywhere netbench-fedora"]


def test_ordinary_user_without_sudo_is_told_in_one_sentence(machine: Machine) -> None:
    machine.command("id", "echo 1000")
    machine.package_manager("apt-get", ())
    result = machine.setup("packages", "run")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        "Missing on this machine: netbench-anywhere netbench-debian; install them with 'sudo apt-get"
    )
    assert machine.called() == []


def test_no_namespaces_is_told_in_one_sentence(machine: Machine) -> None:
    machine.command("unshare", "exit 1")
    result = machine.setup("namespaces")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("The lab needs root or unprivileged user namespaces")


def test_an_ordinary_user_may_use_a_user_namespace(machine: Machine) -> None:
    machine.command("unshare", 'test "$1" = --user')
    assert machine.setup("namespaces").returncode == 0


def test_environment_passes_over_shims_and_is_made_once(machine: Machine) -> None:
    machine.command("python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    machine.command("python3.12", PYTHON)

    first = machine.setup("environment", "run")

    assert first.returncode == 0, first.stderr
    venv, pip, requirements = machine.called()
    assert venv == "venv"
    assert pip.startswith("pip install")
    assert "pip==" in pip
    assert requirements.endswith("--requirement=requirements.txt")
    assert (machine.checkout / "collections/ansible_collections/netbench/cni").resolve() == machine.checkout

    assert machine.setup("environment", "run").stdout == ""
    assert machine.called() == []


def test_environment_follows_requirements_profile_and_place(machine: Machine) -> None:
    machine.command("python3", PYTHON)
    assert machine.setup("environment", "run").returncode == 0
    machine.called()

    assert machine.setup("environment", "test").returncode == 0
    assert machine.called()[-1].endswith("--requirement=requirements.txt --requirement=requirements-dev.txt")
    assert machine.setup("environment", "run").stdout == ""
    assert machine.called() == []

    (machine.checkout / "requirements.txt").write_text("one==2\n")
    assert machine.setup("environment", "run").returncode == 0
    assert "venv" not in machine.called()

    machine.checkout = machine.checkout.rename(machine.checkout.with_name("elsewhere"))
    assert machine.setup("environment", "run").returncode == 0
    assert machine.called()[0] == "venv"


def test_a_python_that_does_not_run_is_named(machine: Machine) -> None:
    result = machine.setup("environment", "run", python="netbench-python")
    assert result.returncode == 1
    assert "PYTHON=netbench-python is not a Python of at least 3.11" in result.stderr
