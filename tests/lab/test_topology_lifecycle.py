# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made, checked, repaired, removed: also after crashes, twice side by side, and by an ordinary user."""

from __future__ import annotations

import json
import multiprocessing
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyroute2
import pytest

from ansible_collections.netbench.cni.plugins.module_utils.lab import lifecycle
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
INTERPRETERS = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
AS_USER = """
import json, os, sys
from ansible_collections.netbench.cni.plugins.module_utils.lab import lifecycle, spec, state
wanted = {"clusters": [{"name": "c", "datapath": "vxlan", "workers": 2}], "line_rate": "200Mbit"}
lab = spec.parse(wanted, frozenset(os.sched_getaffinity(0)))
directory = state.StateDir(sys.argv[1], "lab")
outcomes = [lifecycle.present(lab, directory, False) for _ in range(2)]
print(json.dumps({"changed": [o.changed for o in outcomes], "state": outcomes[1].state}), flush=True)
sys.stdin.read()
lifecycle.absent(directory, False)
"""


def snapshot_of_host() -> dict[str, str]:
    """What a lab must never touch."""
    commands = {
        "links": ["ip", "-o", "link"],
        "addresses": ["ip", "-o", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "rules": ["ip", "rule"],
        "firewall": ["nft", "-s", "list", "ruleset"],
        "mounts": ["cat", "/proc/self/mounts"],
        "hosts": ["cat", "/etc/hosts"],
        "name": ["hostname"],
    }
    return {name: subprocess.check_output(argv, text=True) for name, argv in commands.items()}


def network_namespaces() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((process / "ns" / "net").readlink()))
        except OSError:
            continue
    return found


def test_the_hosts_network_is_not_touched_and_nothing_is_left(make_lab: Any) -> None:
    before = snapshot_of_host()
    lab = make_lab()
    lab.up()
    assert snapshot_of_host() == before
    namespaces = {str(Path(endpoint["netns"]).readlink()) for endpoint in lab.state["endpoints"].values()}
    assert len(namespaces) == len(lab.state["endpoints"])
    assert lab.down().changed
    assert not lab.processes()
    assert not namespaces & network_namespaces()
    assert not lab.directory.root.exists()
    assert snapshot_of_host() == before
    assert not lab.down().changed


def test_a_second_run_changes_nothing_and_check_mode_neither(make_lab: Any) -> None:
    lab = make_lab()
    planned = lifecycle.present(lab.spec, lab.directory, check_mode=True)
    assert planned.changed
    assert (planned.before, planned.after["state"]) == ({"state": "absent"}, "present")
    assert not lab.directory.root.exists()
    assert not lab.processes()

    assert lab.up().changed
    processes, state = lab.processes(), (lab.directory.path / "lab.json").read_bytes()
    assert not lab.up().changed
    assert not lifecycle.present(lab.spec, lab.directory, check_mode=True).changed
    assert lifecycle.absent(lab.directory, check_mode=True).changed
    assert (lab.processes(), (lab.directory.path / "lab.json").read_bytes()) == (processes, state)


def test_a_changed_specification_is_shown_and_built(make_lab: Any) -> None:
    lab = make_lab()
    lab.up()
    other = make_lab(clusters=[{"name": "c", "datapath": "vxlan", "workers": 3}])
    planned = lifecycle.present(other.spec, other.directory, check_mode=True)
    assert planned.changed
    assert not planned.damage
    assert (planned.before["clusters"][0]["workers"], planned.after["clusters"][0]["workers"]) == (2, 3)
    assert "small-c-w2" not in lab.state["endpoints"]
    assert other.up().changed
    assert "small-c-w2" in other.state["endpoints"]


DRIFT = (
    ("small-c-w1", "links", "ip link delete flannel.1"),
    ("small-c-w0", "links", "ip link set ens3 mtu 1500"),
    ("small-c-w0", "firewall", "iptables -t nat -F KUBE-SERVICES"),
    ("small-nlb-c", "firewall", "nft flush ruleset"),
    ("small-c-w1", "queueing", "tc qdisc del dev line root"),
    ("small-c-client", "routes", "ip route delete default"),
    ("small-c-w0", "neighbours", "ip neighbour flush dev flannel.1 nud permanent"),
    ("small-test-vm", "addresses", "ip address delete 10.0.10.3/24 dev ens3"),
    ("small-c-w0", "rules", "ip rule add from 10.0.0.1 table main"),
    ("small-c-w0", "receive_cpus", "sh -c 'echo 0 > /sys/class/net/ens3/queues/rx-0/rps_cpus'"),
)


def test_drift_is_seen_and_repaired(make_lab: Any) -> None:
    lab = make_lab()
    lab.up()
    for where, _section, command in DRIFT:
        lab.run(where, shlex.split(command))
    seen = lifecycle.present(lab.spec, lab.directory, check_mode=True).damage
    assert {f"{where}: {section} changed" for where, section, _command in DRIFT} <= set(seen)
    assert {entry.partition(":")[0] for entry in seen} == {where for where, _section, _command in DRIFT}
    outcome = lab.up()
    assert (outcome.changed, outcome.damage) == (True, seen)
    assert not lab.up().changed


@pytest.mark.parametrize("victim", ["holder", "pause"])
def test_a_killed_process_is_seen_and_repaired(make_lab: Any, victim: str) -> None:
    lab = make_lab()
    lab.up()
    old = lab.endpoint("small-c-w1")["pid"]
    os.kill(lab.state["holder_pid"] if victim == "holder" else old, signal.SIGKILL)
    outcome = lab.up()
    assert outcome.changed
    expected = "holder" if victim == "holder" else "small-c-w1"
    assert f"{expected}: its process is gone" in outcome.damage
    assert lab.endpoint("small-c-w1")["pid"] != old
    assert len(lab.processes()) == len(lab.state["endpoints"]) + 1


def test_everything_inside_ends_with_the_lab_even_after_its_own_processes_died(make_lab: Any) -> None:
    lab = make_lab()
    lab.up()
    guests = [lab.start(name, ["sleep", "100"]) for name in ("small-c-w0", "small-c-client")]
    bystander = subprocess.Popen(["unshare", "--net", "sleep", "100"])
    try:
        os.kill(lab.state["holder_pid"], signal.SIGKILL)
        deadline = time.monotonic() + 5
        while lab.processes() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not lab.processes()
        assert all(guest.poll() is None for guest in guests)
        assert lab.down().changed
        assert [guest.wait(timeout=5) for guest in guests] == [-signal.SIGKILL] * 2
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        for guest in guests:
            guest.kill()
            guest.communicate()


@pytest.mark.parametrize("moment", [0.02, 0.06, 0.12, 0.25, 0.45])
def test_a_builder_killed_half_way_leaves_nothing_that_absent_does_not_find(make_lab: Any, moment: float) -> None:
    lab = make_lab(clusters=[{"name": "c", "datapath": "routed", "workers": 4}])
    builder = multiprocessing.get_context("fork").Process(target=lab.up)
    builder.start()
    time.sleep(moment)
    assert builder.pid
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    left = {str(Path(f"/proc/{pid}/ns/net").readlink()) for pid in lab.processes()}
    lab.down()
    assert not lab.processes()
    assert not lab.directory.path.exists()
    assert not left - {str(Path("/proc/self/ns/net").readlink())} & network_namespaces()
    assert lab.up().changed


def test_a_build_that_fails_removes_what_it_made(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise LabError("The kernel refused.")

    lab = make_lab()
    monkeypatch.setattr(lifecycle, "read_settings", refuse)
    with pytest.raises(LabError, match="The kernel refused"):
        lab.up()
    assert not lab.processes()
    assert not lab.directory.root.exists()


def test_two_labs_side_by_side_know_nothing_of_one_another(make_lab: Any) -> None:
    one, two = make_lab("one"), make_lab("two", clusters=[{"name": "d", "datapath": "routed", "workers": 2}])
    one.up()
    two.up()
    assert one.address("one-test-vm") == two.address("two-test-vm")
    assert not one.up().changed
    assert one.down().changed
    assert not two.up().changed
    assert two.run("two-d-client", ["hostname"]).strip() == "two-d-client"


def test_clusters_with_cpus_of_their_own_count_as_machines_of_their_own(make_lab: Any) -> None:
    host = os.uname().nodename
    cpus = sorted(os.sched_getaffinity(0))[:2]
    clusters = [{"name": f"c{cpu}", "datapath": "vxlan", "workers": 1, "cpus": [cpu]} for cpu in cpus]
    lab = make_lab(clusters=clusters)
    lab.up()
    assert [lab.endpoint(f"small-c{cpu}-w0")["machine"] for cpu in cpus] == [f"{host}/cpu{cpu}" for cpu in cpus]
    assert lab.endpoint("small-test-vm")["machine"] == host
    assert lab.run(f"small-c{cpus[-1]}-server-0", ["nproc"]).strip() == "1"


@pytest.fixture
def public_copy(tmp_path: Path) -> Path:
    """The lab's code and its library where an ordinary user may read them."""
    code = tmp_path / "code"
    utils = Path("ansible_collections/netbench/cni/plugins/module_utils")
    shutil.copytree(ROOT / "plugins" / "module_utils", code / utils, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(pyroute2.__file__).parent, code / "pyroute2", ignore=shutil.ignore_patterns("__pycache__"))
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o055)
    return code


def test_an_ordinary_user_has_a_lab_too(tmp_path: Path, public_copy: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    usable = [p for p in INTERPRETERS if subprocess.run([*as_user, "test", "-x", p], check=False).returncode == 0]
    assert usable, f"no Python that the user nobody may run among {INTERPRETERS}"
    argv = [
        *as_user,
        "env",
        "-i",
        f"HOME={home}",
        f"PYTHONPATH={public_copy}",
        "PATH=/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE=1",
    ]
    argv += [usable[0], "-c", AS_USER, str(home / "labs")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home) as user:
        assert user.stdout
        report = json.loads(user.stdout.readline())
        state = report["state"]
        assert report["changed"] == [True, False]
        assert state["user_namespace"]
        assert not state["cpu_binding"]["possible"]
        assert state["endpoints"]["c-w0"]["cpus"] == []
        inside = [
            "nsenter",
            "-t",
            str(state["endpoints"]["c-client"]["pid"]),
            "-U",
            "--preserve-credentials",
            "-m",
            "-n",
            "-u",
        ]
        argv = [*as_user, *inside, "sh", "-c", "hostname; id -u; ip -o address show eth0"]
        name, uid, addresses = subprocess.check_output(argv, text=True).split("\n", 2)
        assert (name, uid) == ("c-client", "0")
        assert "10.244.0.3/25" in addresses
        user.communicate("")
    assert user.returncode == 0
    assert not (home / "labs").exists()
