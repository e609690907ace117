# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `lab` alone, from a playbook outside the checkout, as an operations team would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.netbench.cni.plugins.module_utils.lab import lifecycle
from ansible_collections.netbench.cni.plugins.module_utils.lab.state import StateDir

ROOT = Path(__file__).resolve().parents[2]
SMALL = [{"name": "left", "datapath": "host_gateway", "workers": 1}]
ROLE = {"ansible.builtin.include_role": {"name": "netbench.cni.lab"}}
FACTS = (
    "{{ {'result': lab_result, 'groups': groups, 'clusters': netbench_clusters | default({}),"
    " 'provider': netbench_provider | default(''), 'conditions': netbench_conditions | default({})} | to_json }}"
)
NAMES = {"name": "Ask who we are", "ansible.builtin.command": "hostname", "changed_when": False, "register": "answer"}
CHECK = {"ansible.builtin.assert": {"that": ["answer.stdout == inventory_hostname"]}}


class Team:
    """A directory with a playbook that uses the role, and nothing else of the project's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.variables: dict[str, Any] = {
            "lab_name": "team",
            "lab_state_dir": str(home / "labs"),
            "lab_line_rate": "200Mbit",
            "lab_clusters": SMALL,
        }

    def play(self, *options: str, **variables: Any) -> tuple[int, str, dict[str, Any]]:
        """Exit code, output and what the role left behind."""
        facts = self.home / "facts.json"
        facts.unlink(missing_ok=True)
        write = {"content": FACTS, "dest": str(facts)}
        copy = {"ansible.builtin.copy": write, "check_mode": False, "diff": False, "changed_when": False}
        plays = [
            {"hosts": "localhost", "gather_facts": False, "tasks": [ROLE, copy]},
            {"hosts": "netbench_endpoints", "gather_facts": False, "tasks": [NAMES, CHECK]},
        ]
        (self.home / "play.yml").write_text(yaml.safe_dump(plays))
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", *options]
        argv += ["-e", json.dumps({**self.variables, **variables})]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / "collections")
        done = subprocess.run(
            argv, cwd=self.home, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        found = json.loads(facts.read_text()) if facts.exists() else {}
        return done.returncode, done.stdout + done.stderr, found


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path)
    yield team
    lifecycle.absent(StateDir(str(tmp_path / "labs"), "team"), check_mode=False)


def test_the_role_brings_up_a_lab_that_plays_can_use_and_takes_it_away(team: Team) -> None:
    code, text, found = team.play("--check", "--diff")
    assert code == 0, text
    assert found["result"]["changed"]
    assert not (team.home / "labs").exists()
    assert "host_gateway" in text  # the diff

    code, text, found = team.play()
    assert code == 0, text
    assert sorted(found["groups"]["left"]) == ["team-left-client", "team-left-server-0", "team-left-w0"]
    assert found["groups"]["netbench_nodes"] == ["team-left-w0"]
    assert "team-test-vm" in found["groups"]["netbench_endpoints"]
    assert found["provider"] == "lab"
    assert found["clusters"]["left"]["line_rate_bits_per_second"] == 200_000_000
    assert found["conditions"]["cpu_binding"]["possible"]
    assert "team-left-client" in text

    code, text, found = team.play("--diff")
    assert code == 0, text
    assert not found["result"]["changed"]
    assert "changed=0" in next(line for line in text.splitlines() if line.startswith("localhost "))

    code, text, found = team.play(lab_state="absent")
    assert code == 0, text
    assert found["result"]["changed"]
    assert not (team.home / "labs").exists()


def test_bad_input_is_one_sentence_before_anything_is_changed(team: Team) -> None:
    code, text, _found = team.play(lab_line_rate="quick")
    assert code != 0
    assert "line_rate is 'quick', but it must be a rate such as 500Mbit or 2Gbit." in text
    assert not (team.home / "labs").exists()
