# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.play_context import PlayContext

from ansible_collections.netbench.cni.plugins.plugin_utils import executor as under_test
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import (
    ConnectionExecutor,
    DeadlineExceeded,
    ExecutorError,
    executors,
)
from tests.unit import lab_state, play

ACTION = SimpleNamespace(_play_context=PlayContext(), _task=SimpleNamespace(_uuid="task"))


def executor_of(**variables):
    (made,) = executors(["host"], ACTION, {"hostvars": {"host": {"inventory_hostname": "host", **variables}}}).values()
    return made


@pytest.fixture(params=["lab", "local"])
def executor(request, tmp_path):
    """An executor over the real connection plugin, of a lab endpoint and of this machine."""
    with lab_state.pause(user_namespace=True) as pid:
        lab_state.write_state(tmp_path, pid, user_namespace=True)
        made = executor_of(
            ansible_connection=request.param,
            netbench_lab_state_dir=str(tmp_path),
            netbench_lab_endpoint=lab_state.HOST,
        )
        yield made
        made.close()


@pytest.fixture
def marker():
    with lab_state.marker() as word:
        yield word


class Fake:
    """A connection whose command does what the test wants."""

    transport = "fake"
    become = None

    def __init__(self, command):
        self.exec_command = command
        self.closed = threading.Event()

    def close(self):
        self.closed.set()
        raise OSError("a close that fails must not hide what happened")


def faking(command):
    made = []

    def connect():
        made.append(Fake(command))
        return made[-1]

    return ConnectionExecutor("host", connect), made


def test_a_command_is_run_as_it_is_given(executor):
    argv = ["printf", "%s|", "a b", "'", '"', "$HOME", "*", "\\", "", "网"]
    done = executor.run(argv, deadline_seconds=5)
    assert (done.rc, done.stdout, done.stderr) == (0, "a b|'|\"|$HOME|*|\\||网|", "")


def test_rc_stderr_and_stdin(executor):
    done = executor.run(["sh", "-c", "cat; echo oops >&2; exit 3"], deadline_seconds=5, stdin=b"in")
    assert (done.rc, done.stdout, done.stderr) == (3, "in", "oops\n")
    assert executor.run(["cat"], deadline_seconds=5).stdout == ""


def test_a_command_that_is_not_there_is_the_commands_failure(executor):
    assert executor.run(["/no-such-command"], deadline_seconds=5).rc == 127


def test_much_output_and_bytes_that_are_no_text(executor):
    done = executor.run(["head", "-c", "10000000", "/dev/zero"], deadline_seconds=30)
    assert len(done.stdout) == 10_000_000
    assert executor.run(["printf", "a\\377b"], deadline_seconds=5).stdout == "a\ufffdb"


def test_a_command_is_killed_at_its_deadline_with_all_it_started(executor, marker):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"^host: sh did not end within 1 s and was killed\.$"):
        executor.run(["sh", "-c", f"(sleep 60; : {marker}) & sleep 60; : {marker}"], deadline_seconds=0.9)
    assert 0.9 < time.monotonic() - began < 5
    assert lab_state.eventually(lambda: not lab_state.processes_with(marker))


def test_a_command_that_ignores_the_signal_is_killed_all_the_same(executor):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        executor.run(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], deadline_seconds=1)
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("rc", [124, 137])
def test_a_return_code_like_timeouts_is_no_deadline(executor, rc):
    assert executor.run(["sh", "-c", f"exit {rc}"], deadline_seconds=5).rc == rc


def test_commands_run_at_once_on_one_host_and_connections_are_kept(executor):
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda n: executor.run(["sh", "-c", f"sleep 0.5; echo {n}"], deadline_seconds=9), range(8))
        )
    assert time.monotonic() - began < 8 * 0.5
    assert [done.stdout for done in found] == [f"{n}\n" for n in range(8)]
    kept = list(executor._idle)
    assert len(kept) <= 8
    executor.run(["true"], deadline_seconds=5)
    assert {id(c) for c in executor._idle} == {id(c) for c in kept}


def test_a_file_is_put(executor, tmp_path):
    (tmp_path / "source").write_bytes(b"\x00\xff" * 1000)
    executor.put(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == b"\x00\xff" * 1000
    with pytest.raises(ExecutorError, match=r"^host: the copy to /x failed because the connection did \(.*absent"):
        executor.put(str(tmp_path / "absent"), "/x")


def test_a_closed_executor_refuses(executor):
    executor.run(["true"], deadline_seconds=5)
    executor.close()
    with pytest.raises(ExecutorError, match="host: the connection was closed because the run ends"):
        executor.run(["true"], deadline_seconds=5)


def test_a_command_dies_with_the_controller(executor, tmp_path, marker):
    code = f"""
from tests.unit.plugins.plugin_utils.test_executor import executor_of
variables = {{"ansible_connection": {executor._connect().transport.rpartition(".")[2]!r}}}
variables |= {{"netbench_lab_state_dir": {str(tmp_path)!r}, "netbench_lab_endpoint": {lab_state.HOST!r}}}
executor_of(**variables).run(["sh", "-c", "sleep 60; : {marker}"], deadline_seconds=60)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=lab_state.ROOT, env=environ) as controller:
        assert lab_state.eventually(lambda: len(lab_state.processes_with(marker)) >= 3, 20)
        controller.kill()
    assert lab_state.eventually(lambda: not lab_state.processes_with(marker))


def test_closing_ends_commands_under_way(tmp_path, marker):
    with lab_state.pause(user_namespace=True) as pid, ThreadPoolExecutor(1) as pool:
        lab_state.write_state(tmp_path, pid, user_namespace=True)
        executor = executor_of(
            ansible_connection="lab", netbench_lab_state_dir=str(tmp_path), netbench_lab_endpoint=lab_state.HOST
        )
        running = pool.submit(executor.run, ["sh", "-c", f"sleep 60; : {marker}"], deadline_seconds=60)
        assert lab_state.eventually(lambda: lab_state.processes_with(marker))
        executor.close()
        running.exception(5)
        assert not lab_state.processes_with(marker)


def test_a_lab_that_is_down_is_told_in_one_sentence(tmp_path):
    executor = executor_of(ansible_connection="lab", netbench_lab_state_dir=str(tmp_path))
    with pytest.raises(ExecutorError, match=r"^host: true failed because .* \(lab 'lab' is not up: run .*\); try"):
        executor.run(["true"], deadline_seconds=5)


def test_a_connection_that_hangs_is_dropped(monkeypatch):
    monkeypatch.setattr(under_test, "GRACE_SECONDS", 0.2)
    hanging = threading.Event()
    executor, made = faking(lambda *_args, **_options: hanging.wait(30))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="host: true did not end within 1 s; connection dropped"):
        executor.run(["true"], deadline_seconds=1)
    assert time.monotonic() - began < 5
    assert made[0].closed.is_set()
    hanging.set()


@pytest.mark.parametrize("trouble", [AnsibleConnectionFailure("no\nroute"), OSError("no route"), TypeError("no route")])
def test_whatever_a_plugin_raises_is_one_sentence_and_the_connection_is_not_used_again(trouble):
    def command(*_args, **_options):
        raise trouble

    executor, made = faking(command)
    for _time in range(2):
        with pytest.raises(ExecutorError, match=r"^host: true failed because the connection did \(no route\); try"):
            executor.run(["true"], deadline_seconds=1)
    assert len(made) == 2
    assert all(connection.closed.is_set() for connection in made)


def test_a_connection_that_breaks_because_the_command_was_killed_is_a_deadline():
    def command(*_args, **_options):
        time.sleep(1.1)
        raise AnsibleConnectionFailure("rc 255")

    executor, _made = faking(command)
    with pytest.raises(DeadlineExceeded, match=r"host: true did not end within 1 s and was killed\."):
        executor.run(["true"], deadline_seconds=1)


@pytest.mark.parametrize("text", [b"sh: 1: exec: timeout: not found", b"/bin/sh: timeout: command not found"])
def test_a_host_without_timeout_is_told(text):
    executor, _made = faking(lambda *_args, **_options: (127, b"", text))
    with pytest.raises(ExecutorError, match="there is no command `timeout`"):
        executor.run(["iperf3"], deadline_seconds=1)


def test_a_host_that_the_inventory_lacks():
    with pytest.raises(ExecutorError, match="nowhere: there is no such host in the inventory"):
        executors(["nowhere"], ACTION, {"hostvars": {}})


def test_a_connection_plugin_that_is_not_there():
    with pytest.raises(ExecutorError, match="host: its connection cannot be set up"):
        executor_of(ansible_connection="no_such_plugin")


REACH = """
from ansible.plugins.action import ActionBase
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import executors

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        reached = executors(self._task.args["hosts"], self, task_vars)
        argv = ["sh", "-c", "echo $RAISED; readlink /proc/self/ns/net"]
        found = {host: one.run(argv, deadline_seconds=9).stdout.splitlines() for host, one in reached.items()}
        for one in reached.values():
            one.close()
        return {"found": found}
"""
RAISE = '''
DOCUMENTATION = """
name: raise
short_description: Marks what was raised
description: Marks what was raised.
options:
  become_user: {description: user, vars: [{name: ansible_become_user}]}
  become_pass: {description: password, vars: [{name: ansible_become_password}]}
"""
from ansible.plugins.become import BecomeBase

class BecomeModule(BecomeBase):
    name = "raise"

    def build_become_command(self, cmd, shell):
        super().build_become_command(cmd, shell)
        user = self.get_option("become_user")
        return f"RAISED={user} {self._build_success_command(cmd, shell)}"
'''


def test_in_a_play_every_host_is_reached_as_its_own_variables_say(tmp_path):
    with lab_state.pause(user_namespace=True) as pid:
        lab_state.write_state(tmp_path, pid, user_namespace=True)
        environ = play.prepare(
            tmp_path,
            play_yml="""
- hosts: localhost
  gather_facts: false
  tasks:
    - add_host: {name: near, ansible_connection: "{{ wanted }}", wanted: local}
    - add_host: {name: raised, ansible_connection: local, ansible_become: true, ansible_become_method: raise,
                 ansible_become_user: "{{ who }}"}
    - reach: {hosts: [native-w0, near, raised, localhost]}
      register: reached
    - copy: {content: "{{ reached.found | to_json }}", dest: "{{ playbook_dir }}/found.json"}
""",
            action_plugins__reach_py=REACH,
            become_plugins__raise_py=RAISE,
        )
        environ["ANSIBLE_BECOME_PLUGINS"] = str(tmp_path / "become_plugins")
        done = play.run(tmp_path, environ, "ansible-playbook", "play.yml", "-e", "wanted=local who=somebody")
        assert done.returncode == 0, done.stdout + done.stderr
        here, there = (str(Path(f"/proc/{name}/ns/net").readlink()) for name in ("self", pid))
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "native-w0": ["", there],
        "near": ["", here],
        "raised": ["somebody", here],
        "localhost": ["", here],
    }
