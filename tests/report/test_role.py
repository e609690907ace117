# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module as a play uses them, from a directory of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.tests.unit import synthetic
from tests.unit import play

FILES = {"results.json", "results.csv", "report.html", "report.md", "metrics.prom"}
ROLE = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: netbench.cni.report
    - ansible.builtin.copy:
        content: "{{ {'result': report_result, 'facts': ansible_facts.netbench | default({})} | to_json }}"
        dest: answer.json
        mode: "0644"
      check_mode: false
"""
SMALL = synthetic.Spec(blocks=3, scenarios=("pod_to_pod_tcp",), void=1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    run_dir = synthetic.write_run(tmp_path / "results" / "20260105T090000Z", SMALL)
    (tmp_path / "results" / "latest").symlink_to(run_dir.name)
    return tmp_path


def run(directory: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    environ = play.prepare(directory, play_yml=ROLE)
    done = play.run(directory, environ, "ansible-playbook", "-i", "localhost,", "play.yml", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((directory / "answer.json").read_text()), done.stdout


def written(directory: Path) -> set[str]:
    return {path.name for path in (directory / "results" / "latest").iterdir()} - {"run.json", "trials.jsonl", "raw"}


def test_the_role_alone_renders_the_latest_run(directory: Path) -> None:
    answer, printed = run(directory)
    result = answer["result"]
    assert written(directory) == FILES == set(result["paths"])
    assert result["changed"] is True
    assert Path(result["paths"]["report.html"]) == directory / "results" / "20260105T090000Z" / "report.html"
    assert all(line in printed for line in result["table"].splitlines())
    assert result["paths"]["report.html"] in printed
    assert {limit["name"] for limit in result["limits"]} == {"flannel keeps 90 % of native", "nothing failed"}
    assert answer["facts"]["schema"] == "netbench.cni/facts/v1"
    again, _output = run(directory)
    assert (again["result"]["changed"], again["result"]["changed_files"]) == (False, [])


def test_check_mode_says_what_it_would_do(directory: Path) -> None:
    answer, _output = run(directory, "--check")
    assert answer["result"]["changed"] is True
    assert set(answer["result"]["changed_files"]) == FILES
    assert written(directory) == set()


def test_check_mode_before_anything_was_measured(directory: Path) -> None:
    answer, _output = run(directory, "--check", "-e", "netbench_results_dir=elsewhere")
    assert answer["result"]["changed"] is True
    assert answer["result"]["msg"].endswith("has no run yet; its report would be written")


def test_language_and_formats_are_chosen(directory: Path) -> None:
    variables = '{"report_language": "zh", "report_formats": ["markdown"], "report_show": false}'
    answer, printed = run(directory, "-e", variables)
    assert written(directory) == {"results.json", "results.csv", "report.md"}
    assert "结论" in answer["result"]["table"]
    assert "结论" not in printed


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("report_language=fr", "value of report_language must be one of: en, zh, got: fr"),
        ("report_run_dir=nowhere", "nowhere/run.json cannot be read"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(directory: Path, variables: str, message: str) -> None:
    environ = play.prepare(directory, play_yml=ROLE)
    done = play.run(directory, environ, "ansible-playbook", "-i", "localhost,", "play.yml", "-e", variables)
    assert done.returncode == 2
    assert message in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stdout + done.stderr
