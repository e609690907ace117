# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role on its own, from a playbook outside the checkout, with none but the variables that it documents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import find_processes
from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import host_vars
from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.tests.benchmarks import _lab
from ansible_collections.netbench.cni.tests.roles.conftest import CLUSTERS

ROLES = ("lab", "measurement", "report", "gate")
SCENARIO = {"name": "tcp", "path": "pod_to_pod", "protocol": "tcp", "window": "0.8s"}
UNDECIDED = {"name": "alike", "scenario": "tcp", "candidate": "overlay", "not_lower_than": "-1%"}
REPORT_FILES = {"results.json", "results.csv", "report.html", "report.md", "metrics.prom"}


def role(name: str, **variables: Any) -> dict[str, Any]:
    """A task that includes a role; every variable must be one that its argument specification documents."""
    specs = yaml.safe_load((_lab.CHECKOUT / "roles" / name / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    assert set(variables) <= set(specs["argument_specs"]["main"]["options"])
    return {"ansible.builtin.include_role": {"name": f"netbench.cni.{name}"}, "vars": variables}


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def keep(expression: str, path: Path) -> dict[str, Any]:
    return {"ansible.builtin.copy": {"content": f"{{{{ {expression} | to_json }}}}", "dest": str(path), "mode": "0600"}}


def lab_variables(site: _lab.Site) -> dict[str, Any]:
    where = {"lab_name": site.lab, "lab_state_dir": str(site.state_dir)}
    return {**where, "lab_line_rate": "300Mbit", "lab_clusters": CLUSTERS}


@pytest.fixture(scope="module")
def inventory(provisioned: _lab.Site) -> tuple[str, str]:
    """Arguments that name an inventory with endpoints and nothing else, as anybody may write it."""
    hosts = {host: given for host, given in host_vars(provisioned.state).items() if "netbench_role" in given}
    for given in hosts.values():
        given["netbench_lab_state_dir"] = str(provisioned.state_dir)
    path = provisioned.directory / "endpoints.yml"
    path.write_text(json.dumps({"netbench_endpoints": {"hosts": hosts}}), encoding="utf-8")
    return "--inventory", str(path)


@pytest.fixture(scope="module")
def measured(provisioned: _lab.Site, inventory: tuple[str, str]) -> Path:
    """A run directory that the role measurement made from an inventory and a description of the clusters."""
    matrix = {"blocks": 1, "baseline": "plain", "void": _lab.NEVER_VOID, "evidence": {}, "scenarios": [SCENARIO]}
    task = role(
        "measurement",
        measurement_clusters=provisioned.state["clusters"],
        measurement_results_dir=str(provisioned.results),
        measurement_run_id="alone",
        measurement_matrix=matrix,
    )
    provisioned.play([task, keep("measurement_result", provisioned.directory / "said.json")], *inventory)
    return provisioned.results / "alone"


@pytest.fixture
def run_dir(measured: Path, tmp_path: Path) -> Path:
    """A copy of the run, for a test to write to."""
    return Path(shutil.copytree(measured, tmp_path / "run"))


def with_limits(run_dir: Path, *limits: dict[str, Any]) -> Path:
    path = run_dir / "run.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["matrix"]["limits"] = list(limits)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    results.write(run_dir, results.build(run_dir))
    return run_dir


# --- lab ---


def test_the_lab_leaves_endpoints_in_the_inventory_and_clusters_in_a_variable(provisioned: _lab.Site) -> None:
    names = ("netbench_clusters", "netbench_provider", "netbench_shared_machine", "netbench_conditions", "groups")
    left = provisioned.directory / "left.json"
    expression = "{" + ", ".join(f"'{name}': {name}" for name in names) + "}"
    said = provisioned.play([role("lab", **lab_variables(provisioned)), keep(expression, left)])
    found = json.loads(left.read_text(encoding="utf-8"))
    assert found["netbench_clusters"] == provisioned.state["clusters"]
    assert (found["netbench_provider"], found["netbench_shared_machine"]) == ("lab", True)
    assert found["netbench_conditions"]["burst_bytes"] == 262144
    assert sorted(found["groups"]["overlay"]) == sorted(
        f"team-overlay-{name}" for name in ("w0", "w1", "client", "server-0", "server-1")
    )
    # It was there already; what was written is the file of this test.
    assert "changed=1 " in said


def test_modules_work_inside_the_labs_endpoints(provisioned: _lab.Site) -> None:
    plays = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [role("lab", **lab_variables(provisioned))]},
        {
            "hosts": "netbench_nodes",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.command": "ip route", "changed_when": False}],
        },
    ]
    path = provisioned.directory / "nodes.yml"
    path.write_text(json.dumps(plays), encoding="utf-8")
    done = provisioned.ansible(str(path))
    assert done.returncode == 0, done.stdout
    for node in ("team-plain-w0", "team-plain-w1", "team-overlay-w0", "team-overlay-w1"):
        assert f"ok: [{node}]" in done.stdout


def test_the_lab_says_in_check_mode_what_it_would_do(team: _lab.Site, tmp_path: Path) -> None:
    where = {"lab_name": "planned", "lab_state_dir": str(tmp_path / "labs")}
    said = team.play([role("lab", **where, lab_line_rate="100Mbit", lab_clusters=CLUSTERS)], "--check", "--diff")
    assert "changed=1 " in said
    assert '+    "state": "present"' in said
    assert not (tmp_path / "labs").exists()


def test_the_lab_is_removed(team: _lab.Site, tmp_path: Path) -> None:
    where = {"lab_name": "brief", "lab_state_dir": str(tmp_path / "labs")}
    cluster = {"name": "c", "datapath": "host_gateway", "workers": 1}
    made = role("lab", **where, lab_line_rate="100Mbit", lab_clusters=[cluster])
    removed = role("lab", **where, lab_state="absent")
    assert "changed=3 " in team.play([made, removed, removed, {"ansible.builtin.command": "true"}])
    assert not find_processes("brief", str(tmp_path / "labs"))
    assert not (tmp_path / "labs" / "brief" / "lab.json").exists()


# --- measurement ---


def test_the_measurement_says_how_it_went(measured: Path, provisioned: _lab.Site) -> None:
    said = json.loads((provisioned.directory / "said.json").read_text(encoding="utf-8"))
    assert (said["run_dir"], said["run_id"]) == (str(measured), "alone")
    assert (said["trials"], said["not_ok"]) == ({"ok": 2, "failed": 0, "void": 0}, [])
    assert files(measured) == {"run.json", "trials.jsonl", "raw"}
    manifest = json.loads((measured / "run.json").read_text(encoding="utf-8"))
    # Nobody said where the clusters are from.
    assert (manifest["provider"], manifest["shared_machine"]) == ("inventory", False)


@pytest.mark.parametrize(
    ("variables", "trials"),
    [
        ({}, 7 * 2 * 8),
        ({"measurement_profile": "full"}, 19 * 2 * 8),
        ({"measurement_matrix": {"clusters": ["overlay"], "blocks": 1}}, 7),
    ],
)
def test_a_profile_is_a_whole_matrix(
    provisioned: _lab.Site, inventory: tuple[str, str], variables: dict[str, Any], trials: int
) -> None:
    planned = provisioned.directory / "planned.json"
    copy = keep("measurement_result.trials", planned) | {"check_mode": False}
    task = role("measurement", measurement_clusters=provisioned.state["clusters"], **variables)
    provisioned.play([task, copy], "--check", *inventory)
    assert json.loads(planned.read_text(encoding="utf-8")) == {"planned": trials}


# --- report ---


def test_the_report_renders_a_run_and_leaves_facts(run_dir: Path, team: _lab.Site) -> None:
    facts = team.directory / "facts.json"
    said = team.play([role("report", report_run_dir=str(run_dir)), keep("ansible_facts.netbench", facts)])
    assert files(run_dir) == {"run.json", "trials.jsonl", "raw", *REPORT_FILES}
    assert str(run_dir / "report.html") in said
    assert "plain → overlay" in said
    found = json.loads(facts.read_text(encoding="utf-8"))
    assert found["directory"] == str(run_dir)
    assert found["verdicts"]
    assert {each["scenario"] for each in found["comparisons"]} == {"tcp"}


def test_rendering_again_changes_nothing(run_dir: Path, team: _lab.Site) -> None:
    task = role("report", report_run_dir=str(run_dir), report_show=False)
    assert "changed=1 " in team.play([task])
    before = {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    assert "changed=0 " in team.play([task])
    after = {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    assert {name: after[name] for name in before if name.startswith("report")} == {
        name: before[name] for name in before if name.startswith("report")
    }


def test_the_report_speaks_chinese_and_writes_what_is_asked_for(run_dir: Path, team: _lab.Site) -> None:
    team.play([role("report", report_run_dir=str(run_dir), report_language="zh", report_formats=["markdown"])])
    written = files(run_dir) & REPORT_FILES
    assert written == {"results.json", "results.csv", "report.md"}
    assert "吞吐" in (run_dir / "report.md").read_text(encoding="utf-8")


# --- gate ---


def test_the_gate_lets_limits_that_are_held_pass(run_dir: Path, team: _lab.Site) -> None:
    with_limits(run_dir, {"name": "all", "jmespath": "length(trials[?status=='ok']) == `2`"})
    assert "failed=0" in team.play([role("gate", gate_run_dir=str(run_dir))])


def test_the_gate_names_a_broken_limit(run_dir: Path, team: _lab.Site) -> None:
    with_limits(run_dir, {"name": "none at all", "jmespath": "length(trials) == `0`"}, UNDECIDED)
    done = team.try_play([role("gate", gate_run_dir=str(run_dir))])
    assert done.returncode == 2
    assert "none at all: " in done.stdout.partition("FAILED!")[2]
    assert "alike: " not in done.stdout.partition("FAILED!")[2]


def test_the_gate_names_what_could_not_be_judged(run_dir: Path, team: _lab.Site) -> None:
    with_limits(run_dir, UNDECIDED)
    task = role("gate", gate_run_dir=str(run_dir))
    assert '"msg": "alike: ' in team.play([task])
    strict = role("gate", gate_run_dir=str(run_dir), gate_undecided="fail")
    done = team.try_play([strict])
    assert done.returncode == 2
    assert "alike: " in done.stdout.partition("FAILED!")[2]


# --- wrong input ---


@pytest.mark.parametrize(
    ("name", "variables", "complaint"),
    [
        ("lab", {"lab_state": "up"}, "value of lab_state must be one of: present, absent, got: up"),
        ("lab", {"lab_clusters": [{"name": "c"}]}, "missing required arguments: datapath found in lab_clusters"),
        ("lab", {"lab_clusters": [{"name": "c", "datapath": "ipsec"}]}, "value of datapath must be one of"),
        ("lab", {"lab_queue_milliseconds": "soon"}, "argument 'lab_queue_milliseconds' is of type str"),
        ("lab", {"lab_bind_cpus": "perhaps"}, "argument 'lab_bind_cpus' is of type str"),
        ("measurement", {"measurement_profile": "quick"}, "value of measurement_profile must be one of: default, full"),
        ("measurement", {"measurement_matrix": "blocks"}, "argument 'measurement_matrix' is of type str"),
        ("measurement", {"measurement_resume": "perhaps"}, "argument 'measurement_resume' is of type str"),
        ("report", {"report_language": "de"}, "value of report_language must be one of: en, zh, got: de"),
        ("report", {"report_formats": ["pdf"]}, "value of report_formats must be one or more of"),
        ("gate", {"gate_undecided": "ignore"}, "value of gate_undecided must be one of: warn, fail, got: ignore"),
    ],
)
def test_wrong_types_are_refused_by_name(team: _lab.Site, name: str, variables: dict[str, Any], complaint: str) -> None:
    done = team.try_play([role(name, **variables)])
    assert done.returncode == 2
    assert complaint in " ".join(done.stdout.split())
    assert "changed=0 " in done.stdout


@pytest.mark.parametrize("name", ROLES)
def test_the_readme_names_only_documented_variables(name: str) -> None:
    directory = _lab.CHECKOUT / "roles" / name
    specs = yaml.safe_load((directory / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = set(specs["argument_specs"]["main"]["options"])
    defaults = yaml.safe_load((directory / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert set(defaults) == options
    examples = (directory / "README.md").read_text(encoding="utf-8").split("```yaml")[1:]
    assert examples
    for example in examples:
        for play in yaml.safe_load(example.partition("```")[0]):
            for task in play["tasks"]:
                assert set(task.get("vars", {})) <= options


def test_the_roles_here_are_all_there_are() -> None:
    assert sorted(path.name for path in (_lab.CHECKOUT / "roles").iterdir()) == sorted(ROLES)
