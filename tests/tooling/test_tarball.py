# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ansible-galaxy collection build` packs installs into an empty directory and is found there by its full name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAME = "netbench.cni"

Command = Callable[..., str]


def _run(directory: Path, program: str, *arguments: object, **environment: str) -> str:
    argv = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
    config = directory / "ansible.cfg"
    config.touch()
    kept |= {"ANSIBLE_HOME": str(directory / "home"), "ANSIBLE_CONFIG": str(config), "NO_COLOR": "1"} | environment
    result = subprocess.run(argv, cwd=directory, env=kept, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{' '.join(argv)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    _run(directory, "ansible-galaxy", "collection", "build", ROOT, "--output-path", directory)
    (built,) = directory.glob("netbench-cni-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs an Ansible command in an empty directory that sees the installed collection and no checkout."""
    directory = tmp_path_factory.mktemp("empty")
    collections = directory / "collections"
    _run(directory, "ansible-galaxy", "collection", "install", tarball, "--collections-path", collections, "--offline")

    def command(program: str, *arguments: object) -> str:
        return _run(directory, program, *arguments, ANSIBLE_COLLECTIONS_PATH=str(collections))

    assert str(ROOT) not in command("ansible-galaxy", "collection", "list", NAME)
    return command


def test_the_tarball_holds_the_collection_and_no_leftovers(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    wanted = {
        "site.yml",
        "README.md",
        "COPYING",
        "requirements.txt",
        "meta/runtime.yml",
        "playbooks/site.yml",
        "bindep.txt",
    }
    assert wanted <= set(names)
    leftovers = (".venv", ".git", ".ansible", "collections", "results", ".mypy_cache", ".ruff_cache", ".hypothesis")
    assert not [name for name in names if name.split("/")[0] in leftovers or "__pycache__" in name]


def test_the_tarball_is_the_version_that_other_files_name(tarball: Path) -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert tarball.name == f"netbench-cni-{version}.tar.gz"
    assert f"netbench-cni-{version}.tar.gz" in (ROOT / "execution-environment.yml").read_text()


def test_every_playbook_is_found_by_name(installed: Command) -> None:
    playbooks = sorted(file.stem for file in (ROOT / "playbooks").glob("*.yml"))
    assert {"site", "teardown"} <= set(playbooks)
    for playbook in playbooks:
        said = installed("ansible-playbook", f"{NAME}.{playbook}", "--syntax-check", "--inventory", "localhost,")
        assert "playbook: " in said


def test_every_role_is_found_by_name_with_its_arguments(installed: Command) -> None:
    roles = {f"{NAME}.{directory.name}" for directory in (ROOT / "roles").iterdir() if directory.is_dir()}
    assert roles
    listed = json.loads(installed("ansible-doc", "--type", "role", "--list", "--json", NAME))
    assert set(listed) == roles
    assert all("main" in role["entry_points"] for role in listed.values())


@pytest.mark.parametrize("directory", ["modules", "callback", "connection", "filter", "inventory"])
def test_every_plugin_is_documented_by_name(installed: Command, directory: str) -> None:
    files = {file.stem for file in (ROOT / "plugins" / directory).glob("[!_]*.py")}
    assert files
    kind = directory.removesuffix("s")
    listed = json.loads(installed("ansible-doc", "--type", kind, "--list", "--json", NAME))
    if kind == "filter":  # one file brings several
        assert len(listed) >= len(files)
    else:
        assert set(listed) == {f"{NAME}.{name}" for name in files}
    shown = json.loads(installed("ansible-doc", "--type", kind, "--json", *sorted(listed)))
    assert all(shown[name]["doc"]["short_description"] for name in listed)


def test_the_filters_are_found_by_name(installed: Command) -> None:
    names = sorted(json.loads(installed("ansible-doc", "--type", "filter", "--list", "--json", NAME)))
    assert names
    message = f"{{{{ {names} | reject('filter') | list }}}}"
    said = installed("ansible", "localhost", "-m", "ansible.builtin.debug", "-a", json.dumps({"msg": message}))
    assert json.loads(said.partition("=>")[2]) == {"msg": []}
