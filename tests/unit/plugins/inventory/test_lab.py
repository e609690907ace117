# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os

import pytest

from tests.unit import lab_state, play


@pytest.fixture
def environ(tmp_path):
    return play.prepare(tmp_path)


def listed(directory, environ, *arguments):
    done = play.run(directory, environ, "ansible-inventory", "--list", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_lab_that_is_up_is_listed_with_variables_and_groups(tmp_path, environ):
    lab_state.write_state(tmp_path, os.getpid(), user_namespace=False)
    found, warnings = listed(tmp_path, environ)
    assert found["netbench_endpoints"]["hosts"] == ["native-w0", "test-vm"]
    assert found["netbench_nodes"]["hosts"] == found["native"]["hosts"] == ["native-w0"]
    assert found["netbench_external"]["hosts"] == ["test-vm"]
    variables = found["_meta"]["hostvars"]["native-w0"]
    assert variables["netbench_cpus"] == [0]
    assert variables["netbench_lab_state_dir"] == str(tmp_path)
    assert list(variables["netbench_clusters"]) == ["native"]
    assert warnings == ""


def test_another_lab_is_named_by_an_extra_variable(tmp_path, environ):
    lab_state.write_state(tmp_path, os.getpid(), user_namespace=False, lab="second")
    assert listed(tmp_path, environ)[0]["_meta"]["hostvars"] == {}
    found, _warnings = listed(tmp_path, environ, "-e", "netbench_lab=second")
    assert "native-w0" in found["_meta"]["hostvars"]


def test_no_lab_and_a_lab_that_is_down_are_empty_and_no_error(tmp_path, environ):
    assert listed(tmp_path, environ) == (
        {"_meta": {"hostvars": {}, "profile": "inventory_legacy"}, "all": {"children": ["ungrouped"]}},
        "",
    )
    lab_state.write_state(tmp_path, os.getpid(), user_namespace=False, holder_start=1)
    found, warnings = listed(tmp_path, environ)
    assert (found["_meta"]["hostvars"], warnings) == ({}, "")


def test_a_damaged_state_file_is_told(tmp_path, environ):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.json").write_text("{")
    _found, warnings = listed(tmp_path, environ)
    assert "tear the lab down, then up again" in " ".join(warnings.split())
