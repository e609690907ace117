# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from ansible_collections.netbench.cni.plugins.module_utils import lab_inventory
from tests.unit import lab_state


@pytest.fixture
def state(tmp_path):
    return lab_state.write_state(tmp_path, os.getpid(), user_namespace=False)


def test_an_endpoints_variables_are_the_inventory_contract(state):
    variables = lab_inventory.host_vars(state)[lab_state.HOST]
    assert {name: value for name, value in variables.items() if name != "ansible_python_interpreter"} == {
        "ansible_connection": "netbench.cni.lab",
        "netbench_lab": "lab",
        "netbench_role": "node",
        "netbench_cluster": "native",
        "netbench_node": lab_state.HOST,
        "netbench_machine": "here",
        "netbench_address": "10.0.10.2",
        "netbench_address6": "fd00::2",
        "netbench_source_addresses": [],
        "netbench_cpus": [0],
        "netbench_netns": f"/proc/{os.getpid()}/ns/net",
    }


def test_what_is_not_known_is_absent(state):
    variables = lab_inventory.host_vars(state)["test-vm"]
    assert variables["netbench_role"] == "external"
    assert {"netbench_cluster", "netbench_address6"}.isdisjoint(variables)


def test_a_load_balancer_can_be_reached_but_is_no_endpoint(state):
    variables = lab_inventory.host_vars(state, "/somewhere")["nlb-native"]
    assert set(variables) == {
        "ansible_connection",
        "ansible_python_interpreter",
        "netbench_lab",
        "netbench_lab_state_dir",
    }
    assert lab_inventory.groups(state) == {
        "netbench_lab_hosts": ["native-w0", "nlb-native", "test-vm"],
        "netbench_endpoints": ["native-w0", "test-vm"],
        "netbench_nodes": ["native-w0"],
        "netbench_external": ["test-vm"],
        "native": ["native-w0"],
    }


@pytest.mark.parametrize(("cluster", "group"), [("oke-native.1", "oke_native_1"), ("3nodes", "_3nodes"), ("甲", "_")])
def test_a_cluster_is_a_valid_group(cluster, group):
    assert lab_inventory.group_name(cluster) == group


def test_no_state_file_is_no_lab(tmp_path):
    assert lab_inventory.read_state(str(tmp_path), "lab") is None
    (tmp_path / "file").touch()
    assert lab_inventory.read_state(str(tmp_path), "file") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}', '{"schema": "netbench.cni/lab/v1"}'])
def test_a_damaged_state_file_is_named_with_a_remedy(tmp_path, text):
    (tmp_path / "lab").mkdir()
    path = tmp_path / "lab" / "lab.json"
    path.write_text(text)
    with pytest.raises(lab_inventory.LabStateError, match=r"lab\.json.*tear the lab down, then up again\.$"):
        lab_inventory.read_state(str(tmp_path), "lab")
    path.write_bytes(b"\xff")
    with pytest.raises(lab_inventory.LabStateError, match="cannot be read"):
        lab_inventory.read_state(str(tmp_path), "lab")


def test_another_users_state_file_is_not_believed(state, tmp_path, monkeypatch):
    if os.geteuid() == 0:
        os.chown(tmp_path / "lab" / "lab.json", 12345, 12345)
        owner = 12345
    else:
        owner = os.geteuid()
        monkeypatch.setattr(lab_inventory.os, "geteuid", lambda: 12345)
    with pytest.raises(lab_inventory.LabStateError, match=f"belongs to uid {owner}: run as the user who made the lab"):
        lab_inventory.read_state(str(tmp_path), "lab")


def test_a_process_is_known_by_its_start():
    with subprocess.Popen(["sleep", "60"]) as process:
        start = lab_inventory.process_start(process.pid)
        ticks = os.sysconf("SC_CLK_TCK")
        assert start == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME) * ticks, abs=10 * ticks)
        assert lab_inventory.is_alive(process.pid, start)
        assert lab_inventory.is_alive(process.pid, None)
        assert not lab_inventory.is_alive(process.pid, start - 1)
        process.kill()
        assert lab_state.eventually(lambda: not lab_inventory.is_alive(process.pid, start))  # a zombie is not alive
    assert lab_inventory.process_start(process.pid) is None


def test_a_lab_is_up_as_long_as_its_holder_is(state):
    assert lab_inventory.is_up(state)
    assert not lab_inventory.is_up({**state, "holder_start": state["holder_start"] + 1})


@pytest.mark.parametrize(
    ("uid", "runtime", "expected"),
    [
        (0, "/run/user/0", "/run/netbench"),
        (1000, "/run/user/1000", "/run/user/1000/netbench"),
        (1000, None, "/tmp/netbench-1000"),
    ],
)
def test_the_default_place_of_state(monkeypatch, uid, runtime, expected):
    monkeypatch.setattr(lab_inventory.os, "geteuid", lambda: uid)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert lab_inventory.default_state_dir() == expected


def test_all_hosts_share_what_is_measured_and_under_which_conditions(state):
    assert lab_inventory.common_vars(state) == {
        "netbench_provider": "lab",
        "netbench_shared_machine": True,
        "netbench_clusters": state["clusters"],
        "netbench_conditions": {
            "qdisc": "tbf",
            "cpu_binding": {"possible": True, "why": ""},
            "line_rate_calibration": {},
        },
    }


def test_host_vars_are_plain_data(state):
    assert json.loads(json.dumps(lab_inventory.host_vars(state))) == lab_inventory.host_vars(state)
