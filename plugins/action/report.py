# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a run's report on the controller; the arguments are those of the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.netbench.cni.plugins.plugin_utils import libraries, results
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report import build
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import LANGUAGES

RESULTS = ("results.json", "results.csv")


class ActionModule(ActionBase):
    """See the documentation of the module netbench.cni.report."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    ARGUMENTS: Mapping[str, Any] = {
        "run_dir": {"type": "path", "required": True},
        "language": {"type": "str", "default": "en", "choices": list(LANGUAGES)},
        "formats": {"type": "list", "elements": "str", "default": list(build.FORMATS), "choices": list(build.FORMATS)},
        "show": {"type": "bool", "default": False},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(self.ARGUMENTS)
        run_dir = Path(args["run_dir"]).resolve()
        names = [*RESULTS, *(build.FILES[name] for name in args["formats"])]
        answer: dict[str, Any] = {"paths": {name: str(run_dir / name) for name in names}}
        if self._task.check_mode and not (run_dir / "run.json").exists():
            return answer | {"changed": True, "msg": f"{run_dir} has no run yet; its report would be written"}
        try:
            libraries.check()
            return answer | self._render(run_dir, args)
        except NetbenchError as exc:
            raise AnsibleActionFail(str(exc)) from exc

    def _render(self, run_dir: Path, args: Mapping[str, Any]) -> dict[str, Any]:
        found = results.build(run_dir)
        report = build.render(found, run_dir, args["language"], args["formats"])
        stale = build.changed_files(report, run_dir)
        missing = [name for name in RESULTS if not (run_dir / name).exists()]
        if not self._task.check_mode:
            results.write(run_dir, found)
            results.write_csv(run_dir, found)
            build.write(report, run_dir, stale)
        if args["show"]:
            _show(report.table, [run_dir / name for name in report.files])
        return {
            "changed": bool(stale or missing),
            "changed_files": [*missing, *stale],
            "table": report.table,
            "limits": found["limits"],
            "ansible_facts": {"netbench": results.facts(found, run_dir)},
        }


def _show(table: str, paths: list[Path]) -> None:
    """Plain lines: a debug task would put them in quotes."""
    for line in ("", *table.splitlines(), "", *map(str, paths)):
        Display().display(line)
