# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pwd
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound

from ansible_collections.netbench.cni.plugins.module_utils import lab_inventory
from tests.unit import lab_state, play

NAMESPACES = ("net", "mnt", "uts", "user")
MODULES = """
- hosts: native-w0
  gather_facts: true
  gather_subset: ["!all", "!min", network]
  become: true
  tasks:
    - command: readlink /proc/self/ns/net
      register: inside
    - assert:
        that: inside.stdout == expected
    - copy: {content: "hallo\\n", dest: "{{ playbook_dir }}/copied"}
      check_mode: true
      diff: true
    - copy: {src: play.yml, dest: "{{ playbook_dir }}/second.yml", mode: "0600"}
    - stat: {path: "{{ playbook_dir }}/second.yml"}
      register: second
    - fetch: {src: "{{ playbook_dir }}/second.yml", dest: "{{ playbook_dir }}/third.yml", flat: true}
    - assert:
        that: second.stat.mode == '0600'
"""


@pytest.fixture(params=lab_state.MODES)
def lab(request, tmp_path):
    """The pause's process id, in a lab with a user namespace of its own and, for root, in one without."""
    own = request.param == "user_namespace"
    with lab_state.pause(own) as pid:
        lab_state.write_state(tmp_path, pid, user_namespace=own)
        yield pid


@pytest.fixture
def marker():
    with lab_state.marker() as word:
        yield word


def test_commands_run_in_the_endpoints_namespaces_on_its_cpus_as_root(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    links = " ".join(f"/proc/self/ns/{name}" for name in NAMESPACES)
    rc, out, err = connection.exec_command(f"readlink {links}; id -u; grep Cpus_allowed_list /proc/self/status")
    assert (rc, err) == (0, b"")
    *namespaces, uid, cpus = out.decode().splitlines()
    assert namespaces == [str(Path(f"/proc/{lab}/ns/{name}").readlink()) for name in NAMESPACES]
    assert namespaces[0] != str(Path("/proc/self/ns/net").readlink())
    assert uid == "0"
    assert cpus.split() == ["Cpus_allowed_list:", "0"]


def test_rc_both_outputs_and_stdin_are_handed_over_byte_by_byte(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    data = bytes(range(256)) * 4096
    assert connection.exec_command("cat; printf '\\377' >&2; exit 7", in_data=data) == (7, data, b"\xff")
    assert connection.exec_command("cat") == (0, b"", b"")  # stdin is empty, not the terminal


def test_quotes_and_newlines_reach_the_shell_as_they_are(lab, tmp_path):
    word = "a 'b' \"c\" $d `e` \\ \n*"
    _rc, out, _err = lab_state.connection(tmp_path).exec_command(f"printf %s {shlex.quote(word)}")
    assert out.decode() == word


def test_files_are_copied_into_the_endpoints_own_mounts_and_back(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    source, back, data = tmp_path / "source", tmp_path / "back", os.urandom(3_000_000)
    source.write_bytes(data)
    assert connection.exec_command("mount -t tmpfs none /mnt")[0] == 0
    connection.put_file(str(source), "/mnt/a b'c")
    connection.fetch_file("/mnt/a b'c", str(back))
    assert back.read_bytes() == data
    assert not Path("/mnt/a b'c").exists()


def test_a_copy_that_fails_says_what_and_leaves_nothing(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    with pytest.raises(AnsibleFileNotFound, match="nothing-here"):
        connection.put_file(str(tmp_path / "nothing-here"), "/tmp/never")
    with pytest.raises(AnsibleError, match="cannot write /proc/never"):
        connection.put_file(__file__, "/proc/never")
    with pytest.raises(AnsibleError, match="cannot read /nothing-here"):
        connection.fetch_file("/nothing-here", str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched").exists()


def test_several_threads_work_at_once_each_with_its_own_connection(lab, tmp_path):
    def work(number: int) -> bytes:
        return b"".join(lab_state.connection(tmp_path).exec_command(f"sleep 0.3; echo {number}")[1:])

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [f"{number}\n".encode() for number in range(8)]
    assert time.monotonic() - began < 8 * 0.3


def test_a_command_costs_milliseconds(lab, tmp_path):
    connection = lab_state.connection(tmp_path)

    def cost() -> float:
        began = time.monotonic()
        connection.exec_command("true")
        return time.monotonic() - began

    assert min(cost() for _time in range(20)) < 0.03


@pytest.mark.parametrize(
    "command",
    ["(sleep 600; : {0}) & (sleep 600; : {0}) | sleep 600; : {0}", "trap '' TERM; while sleep 0.2; do : {0}; done"],
    ids=["process group", "ignores the signal"],
)
def test_the_whole_command_dies_with_ansible(lab, tmp_path, marker, command):
    code = f"""
from pathlib import Path
from tests.unit import lab_state
lab_state.connection(Path({str(tmp_path)!r})).exec_command({command.format(marker)!r} + " # {marker}")
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=lab_state.ROOT, env=_import_path()) as ansible:
        assert lab_state.eventually(lambda: len(lab_state.processes_with(marker)) >= 3, 20)
        ansible.kill()
    assert lab_state.eventually(lambda: not lab_state.processes_with(marker))


def test_there_is_no_moment_at_which_a_command_outlives_ansible(tmp_path, marker):
    """Killed while the command is being started: `timeout` alone leaves some 3 % of such commands behind."""
    chance = random.Random(1)
    with lab_state.pause(user_namespace=True) as pid:
        lab_state.write_state(tmp_path, pid, user_namespace=True)
        for _time in range(150):
            connection = lab_state.connection(tmp_path)
            ansible = os.fork()
            if ansible == 0:
                connection.exec_command(f"exec timeout -k 1 60 sh -c 'sleep 60; : {marker}'")
                os._exit(0)
            time.sleep(chance.uniform(0.001, 0.012))
            os.kill(ansible, signal.SIGKILL)
            os.waitpid(ansible, 0)
        assert lab_state.eventually(lambda: not lab_state.processes_with(marker))


def test_a_command_whose_ansible_died_before_it_could_be_told_does_not_start(lab, tmp_path):
    connection = lab_state.connection(tmp_path)._connect()
    guard = sys.modules[type(connection).__module__].GUARD
    argv = [*connection._prefix, "/bin/sh", "-c", guard, f"touch {tmp_path}/ran", "1"]  # 1 adopts orphans
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (143, b"")
    assert not (tmp_path / "ran").exists()


def test_a_time_limit_of_the_task_ends_the_command(lab, tmp_path, marker):
    class TimeIsUpError(Exception):
        pass

    def time_is_up(_signal, _frame):
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, time_is_up)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeIsUpError):
            lab_state.connection(tmp_path).exec_command(f"sleep 600; : {marker}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert lab_state.eventually(lambda: not lab_state.processes_with(marker))


def test_closing_ends_a_command_that_runs_in_another_thread(lab, tmp_path, marker):
    connection = lab_state.connection(tmp_path)
    thread = threading.Thread(target=connection.exec_command, args=(f"sleep 600; : {marker}",))
    thread.start()
    assert lab_state.eventually(lambda: lab_state.processes_with(marker))
    connection.close()
    thread.join(5)
    assert not thread.is_alive()
    assert not lab_state.processes_with(marker)


def test_become_changes_nothing(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    connection.set_become_plugin(object())
    assert connection.become is None


@pytest.mark.parametrize("home", ["own", "another"])
def test_modules_use_the_users_home_wherever_that_is(lab, tmp_path, monkeypatch, home):
    entry = pwd.getpwuid(os.geteuid())
    monkeypatch.setenv("HOME", entry.pw_dir if home == "own" else str(tmp_path))
    connection = lab_state.connection(tmp_path)
    assert connection.default_user == (entry.pw_name if home == "own" else "")
    _rc, out, _err = connection.exec_command(f"echo ~{connection.default_user}")
    assert out.decode().strip() == os.environ["HOME"]


def test_no_lab(tmp_path):
    with pytest.raises(AnsibleConnectionFailure, match=r"^lab 'other' is not up: run ansible-playbook site\.yml$"):
        lab_state.connection(tmp_path, netbench_lab="other").exec_command("true")


@pytest.mark.parametrize("what", ["holder_start", "holder_pid"])
def test_a_lab_whose_holder_is_another_process_by_now_is_not_up(lab, tmp_path, what):
    change = {"holder_start": 1} if what == "holder_start" else {"holder_pid": 2**22 + 1}
    lab_state.write_state(tmp_path, lab, user_namespace=False, **change)
    with pytest.raises(AnsibleConnectionFailure, match="lab 'lab' is not up"):
        lab_state.connection(tmp_path).exec_command("true")


def test_an_endpoint_that_the_lab_lacks(lab, tmp_path):
    with pytest.raises(AnsibleConnectionFailure, match="no endpoint 'x': it has native-w0, nlb-native, test-vm"):
        lab_state.connection(tmp_path, "x").exec_command("true")


def test_the_endpoint_may_be_named_apart_from_the_inventory_host(lab, tmp_path):
    connection = lab_state.connection(tmp_path, "any-name", netbench_lab_endpoint="test-vm")
    assert connection.exec_command("echo here")[1] == b"here\n"


def test_an_endpoint_that_goes_away_is_a_broken_connection_and_not_a_failed_command(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    connection.exec_command("true")
    os.kill(lab, signal.SIGKILL)
    assert lab_state.eventually(lambda: not lab_inventory.is_alive(lab, None))
    with pytest.raises(AnsibleConnectionFailure, match="endpoint 'native-w0' of lab 'lab' is gone"):
        connection.exec_command("true")


def test_an_endpoint_that_goes_away_under_a_command(lab, tmp_path):
    connection = lab_state.connection(tmp_path)
    with pytest.raises(AnsibleConnectionFailure, match="is gone"):
        connection.exec_command(f"kill -9 {lab}; while readlink /proc/{lab}/ns/net; do sleep 0.1; done; exit 1")


def test_modules_work_in_an_endpoint_also_in_check_and_diff_mode(tmp_path):
    environ = play.prepare(tmp_path, play_yml=MODULES)
    with lab_state.pause(user_namespace=True) as pid:
        lab_state.write_state(tmp_path, pid, user_namespace=True)
        expected = Path(f"/proc/{pid}/ns/net").readlink()
        done = play.run(tmp_path, environ, "ansible-playbook", "play.yml", "-e", f"expected={expected}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+hallo" in done.stdout
    assert not (tmp_path / "copied").exists()
    assert (tmp_path / "third.yml").read_text() == (tmp_path / "play.yml").read_text()


def _import_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
