# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of CONTRIBUTING.md that no linter knows: headers, sizes, pins, and which room may depend on which."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = """\
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
HERE = "ansible_collections.netbench.cni."
LONGEST_FILE = 350
ADAPTER = "plugins/plugin_utils/executor.py"
# What the core may not name: a measurement knows nothing of a provider.
PROVIDERS = (HERE + "plugins.module_utils.lab", "pyroute2")
SHEBANG = re.compile(r"\A#!.*\n")
SILENCED = re.compile(
    r"# *(noqa(: *[A-Z]+\d+(, *[A-Z]+\d+)*)?|type: *ignore(\[[\w, -]+\])?|(pylint: *|shellcheck )disable=[\w,-]+)"
)


def _files(*suffixes: str) -> list[Path]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in listed.split("\0") if name.endswith(suffixes))
    return sorted(path for path in paths if path.is_file())


def _under(directory: str) -> list[Path]:
    return sorted((ROOT / directory).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports_of(path: Path, *packages: str) -> list[str]:
    return [
        module for module in _imports(path) if any(module == name or module.startswith(name + ".") for name in packages)
    ]


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_python_file_has_the_header_and_modern_annotations() -> None:
    files = [path for path in _files(".py") if path.read_text().strip()]
    assert files
    without = [
        _short(path)
        for path in files
        if not SHEBANG.sub("", path.read_text()).startswith(HEADER)
        or "\nfrom __future__ import annotations\n" not in path.read_text()
    ]
    assert not without


def test_no_file_is_longer_than_one_can_read() -> None:
    long = [_short(path) for path in _files(".py", ".sh") if len(path.read_text().splitlines()) > LONGEST_FILE]
    assert not long


def test_the_core_meets_ansible_in_one_file_and_no_provider() -> None:
    core = _under("plugins/plugin_utils")
    assert core
    found = {_short(path): _imports_of(path, "ansible", *PROVIDERS) for path in core}
    assert {name: modules for name, modules in found.items() if modules and name != ADAPTER} == {}
    assert found[ADAPTER]


def test_what_runs_on_a_target_depends_on_nothing_of_the_controller() -> None:
    found = {_short(path): _imports_of(path, HERE + "plugins.plugin_utils") for path in _under("plugins/module_utils")}
    assert found
    assert not any(found.values()), found


def test_the_core_does_not_import_the_plugins_that_use_it() -> None:
    adapters = tuple(f"{HERE}plugins.{kind}" for kind in ("action", "callback", "connection", "filter", "modules"))
    files = _under("plugins/plugin_utils") + _under("plugins/module_utils")
    assert not {_short(path): _imports_of(path, *adapters) for path in files if _imports_of(path, *adapters)}


def test_no_module_stands_beside_a_directory_of_its_name() -> None:
    # Python's loader takes the module, Ansible's the directory.
    assert not [_short(path) for path in _under("plugins") if path.with_suffix("").is_dir()]


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert not [
            line for line in lines if not re.match(r"[\w-]+==[\w.]+(; python_version [<>=]+ \"[\d.]+\")?$", line)
        ]


def test_every_silenced_finding_has_its_reason_beside_it() -> None:
    bare = [
        f"{_short(path)}:{number}"
        for path in _files(".py", ".sh")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := SILENCED.search(line)) and not line[match.end() :].strip(" #-")
    ]
    assert not bare
