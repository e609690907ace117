# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import subprocess
import time

import ansible_runner
import pexpect
import pytest

from ansible_collections.netbench.cni.plugins.callback.progress import choose_mode
from tests.unit import play
from tests.unit.screen import Screen

EMIT = """
import os, signal, time
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, Scenario, Traffic, Trial
from ansible_collections.netbench.cni.plugins.plugin_utils.progress import Progress

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        says = Progress(Display().display)
        says.plan(3, 4)
        for number in range(3):
            scenario = Scenario(f"s{number}", "pod_to_pod", Traffic(), "loss_ratio")
            trial = Trial(f"t{number}", 1, number, "对照", scenario)
            says.start(trial)
            time.sleep(float(self._task.args.get("seconds", 0.4)))
            if number == 1:
                Display().display("a line of another plugin")  # comes by another way than events
                time.sleep(0.2)
                if self._task.args.get("dies"):
                    os.kill(os.getpid(), signal.SIGKILL)
            done = FinishedTrial(trial.id, 1, number, "", "", "failed" if number else "ok", "busy", "", 1, 1)
            done.metrics["throughput_bits_per_second"] = 1.94e9
            says.finish(trial, done, 2 - number)
        says.end()
        return {"changed": True}
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - debug: {msg: before}
    - emit: {seconds: "{{ seconds | default(0.4) }}", dies: "{{ dies | default(false) }}"}
    - debug: {msg: after}
"""
LINES = [
    "trials to run: 3, about 4 s, until",
    "[1/3] s0 on 对照, block 1: 1.94 Gbit/s (until",
    "[2/3] s1 on 对照, block 1: failed: busy (until",
    "[3/3] s2 on 对照, block 1: failed: busy (until",
    "trials done: 2 failed, 1 ok",
]


@pytest.fixture
def environ(tmp_path):
    prepared = play.prepare(tmp_path, play_yml=PLAY, action_plugins__emit_py=EMIT)
    return {**prepared, "ANSIBLE_NOCOLOR": "1", "TERM": "xterm"}


def on_terminal(directory, environ, *arguments, columns=80):
    """A playbook on a pseudo terminal."""
    return pexpect.spawn(
        play.program("ansible-playbook"),
        ["play.yml", *arguments],
        cwd=directory,
        env=environ,
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=60,
    )


def screen_of(child, columns=80):
    screen = Screen(columns)
    screen.feed(child.before)
    return screen.text


@pytest.mark.parametrize(
    ("wanted", "terminal", "environ", "mode"),
    [
        ("auto", True, {"TERM": "xterm"}, "bar"),
        ("auto", False, {"TERM": "xterm"}, "lines"),
        ("auto", True, {"TERM": "dumb"}, "lines"),
        ("auto", True, {}, "lines"),
        ("auto", True, {"TERM": "xterm", "CI": "true"}, "lines"),
        ("auto", True, {"TERM": "xterm", "AWX_ISOLATED_DATA_DIR": "/x"}, "lines"),
        ("bar", False, {"CI": "true"}, "bar"),
        ("lines", True, {"TERM": "xterm"}, "lines"),
        ("off", True, {"TERM": "xterm"}, "off"),
    ],
)
def test_the_mode(wanted, terminal, environ, mode):
    assert choose_mode(wanted, terminal, environ) == mode


def test_a_log_gets_plain_lines_in_order_with_ansibles_own(tmp_path, environ):
    done = play.run(tmp_path, environ, "ansible-playbook", "play.yml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    wanted = ["TASK [emit]", *LINES[:2], "a line of another plugin", *LINES[2:], "changed: [localhost]", "TASK [debug]"]
    places = [done.stdout.find(line) for line in wanted[:-1]] + [done.stdout.rfind(wanted[-1])]
    assert -1 not in places
    assert places == sorted(places)
    assert all(done.stdout.count(line) == 1 for line in LINES)


def test_a_line_is_there_as_soon_as_its_trial_ends(tmp_path, environ):
    argv = [play.program("ansible-playbook"), "play.yml", "-e", "seconds=1"]
    with subprocess.Popen(
        argv, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        arrived = {line[:5]: time.monotonic() for line in child.stdout}
    assert arrived["[2/3]"] - arrived["[1/3]"] > 0.5
    assert arrived["[3/3]"] - arrived["[2/3]"] > 0.5


def test_nothing_when_off(tmp_path, environ):
    done = play.run(tmp_path, {**environ, "NETBENCH_PROGRESS": "off"}, "ansible-playbook", "play.yml")
    assert done.returncode == 0
    assert "trials" not in done.stdout
    assert "[1/3]" not in done.stdout


@pytest.mark.parametrize("columns", [80, 30])
def test_a_terminal_gets_a_block_that_is_redrawn_and_taken_away(tmp_path, environ, columns):
    child = on_terminal(tmp_path, environ, "-e", "seconds=1.2", columns=columns)
    child.expect("▶ s2 on .*▶ s2 on ")
    seen = Screen(columns)
    seen.feed(child.before + child.after)
    if columns == 80:
        assert re.search(r"━+─+  2 of 3 done, 1 left, until \d\d:\d\d:\d\d \(1\.?\d* s\)", seen.text)
    assert "\n✔ s0 on 对照, block 1:" in seen.text
    assert "\n✘ s1 on 对照, block 1:" in seen.text
    before = child.before + child.after
    child.expect(pexpect.EOF)
    screen = Screen(columns)
    screen.feed(before + child.before)
    child.close()
    assert child.exitstatus == 0
    assert not re.search("[▶✔✘━]", screen.text)
    places = [
        screen.text.find(text) for text in ("before", "a line of another plugin", LINES[-1], "changed: [", "after")
    ]
    assert -1 not in places
    assert places == sorted(places)
    assert screen.text.count("TASK [") == 3
    assert screen.text.count("[1/3]") == 0


def test_the_elapsed_time_of_a_trial_goes_on(tmp_path, environ):
    child = on_terminal(tmp_path, environ, "-e", "seconds=20")
    for second in range(3):
        child.expect(f"▶ s0 on 对照, block 1: {second} s")
    child.sendintr()
    child.expect(pexpect.EOF)


def test_a_terminal_in_ci_gets_lines(tmp_path, environ):
    child = on_terminal(tmp_path, {**environ, "CI": "1"})
    child.expect(pexpect.EOF)
    assert "\x1b[" not in child.before
    assert all(line in screen_of(child) for line in LINES)


def test_a_terminal_that_is_not_unicode_gets_ascii(tmp_path, environ):
    child = on_terminal(tmp_path, {**environ, "PYTHONIOENCODING": "ascii"})
    child.expect(pexpect.EOF)
    assert "> s0 on ??, block 1: 0 s" in child.before
    assert "UnicodeEncodeError" not in child.before
    assert "trials done" in screen_of(child)


def test_an_engine_that_is_killed_leaves_no_block_behind(tmp_path, environ):
    child = on_terminal(tmp_path, environ, "-e", "dies=true")
    child.expect(pexpect.EOF)
    assert "▶ s1" in child.before
    assert not re.search("[▶✔✘━]", screen_of(child))


def test_an_interrupt_leaves_no_block_behind(tmp_path, environ):
    child = on_terminal(tmp_path, environ, "-e", "seconds=20")
    child.expect("▶ s0 on 对照, block 1: 1 s")
    screen = Screen(80)
    screen.feed(child.before + child.after)
    assert "▶" in screen.text
    child.sendintr()
    child.expect(pexpect.EOF)
    screen.feed(child.before)
    assert "▶" not in screen.text


def test_under_ansible_runner_lines_are_events(tmp_path, environ):
    run = ansible_runner.run(
        private_data_dir=str(tmp_path),
        project_dir=str(tmp_path),
        playbook="play.yml",
        envvars=environ,
        quiet=True,
        settings={"job_timeout": 60},
    )
    assert run.status == "successful", run.stdout.read()
    outputs = [event["stdout"] for event in run.events]
    assert all(any(line in text for text in outputs) for line in LINES)
