# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real iperf3 on loopback, in a network namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import iperf3_command
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_session import (
    Broken,
    Servers,
    listening_test,
    run_client,
    stop_server,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint
from tests.unit.process_executor import ProcessExecutor

HOST = "pod"
SERVER = Endpoint(name=HOST, role="server", cluster="c", node="n", machine="m", address="127.0.0.1")


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    """Commands run in a fresh network namespace whose loopback is up."""
    script = "ip link set lo up && echo ready && exec sleep 600"
    pause = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert pause.stdout is not None
    assert pause.stdout.readline() == "ready\n"
    yield ProcessExecutor(HOST, ["nsenter", "--target", str(pause.pid), "--net", "--"])
    pause.kill()
    pause.wait()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


def servers(executor: ProcessExecutor, pool: ThreadPoolExecutor, argv: list[str] | None = None) -> Servers:
    wanted = argv or iperf3_command.server_argv(5201)
    return Servers([SERVER], {HOST: executor}, pool, argv=lambda _server: wanted, seconds=2)


def listens(executor: ProcessExecutor) -> bool:
    return executor.run(["sh", "-c", listening_test(5201)], deadline_seconds=5).rc == 0


def test_a_trial_gives_both_ends_and_leaves_nothing(executor: ProcessExecutor, pool: ThreadPoolExecutor) -> None:
    with servers(executor, pool) as running:
        assert listens(executor)
        before = time.time()
        run = run_client(executor, ["iperf3", "-c", "127.0.0.1", "-t", "1", "--json"], seconds=1)
        outputs = running.finished()
    assert run.rc == 0
    assert before <= run.started < run.ended <= time.time()
    assert run.ended - run.started >= 1
    assert "@netbench" not in run.stderr
    assert json.loads(run.stdout)["end"]["sum_received"]["bytes"] > 0
    assert json.loads(outputs[HOST].stdout)["end"]["sum_received"]["bytes"] > 0
    assert not listens(executor)


def test_a_server_that_no_client_reached_is_stopped(executor: ProcessExecutor, pool: ThreadPoolExecutor) -> None:
    began = time.monotonic()
    with servers(executor, pool):
        pass
    assert time.monotonic() - began < 5
    assert not listens(executor)


def test_a_taken_port_is_told_with_iperf3s_own_words(executor: ProcessExecutor, pool: ThreadPoolExecutor) -> None:
    # Bound but not listening, so that only iperf3's own bind can find out.
    script = "import socket, time; s = socket.socket(); s.bind(('', 5201)); print('bound', flush=True); time.sleep(60)"
    taker = subprocess.Popen([*executor.prefix, "python3", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "bound\n"
        with pytest.raises(Broken, match=r"iperf3 server on pod ended before its test: .*Address already in use"):
            servers(executor, pool).__enter__()
    finally:
        taker.kill()
        taker.wait()


def test_a_client_without_a_server_still_ends_with_its_message(executor: ProcessExecutor) -> None:
    run = run_client(executor, ["iperf3", "-c", "127.0.0.1", "-t", "1", "--json"], seconds=1)
    # iperf3 3.12 exits with 0 here: only the JSON's error tells.
    assert "unable to connect" in json.loads(run.stdout)["error"]


def test_a_client_that_hangs_is_broken_off(executor: ProcessExecutor) -> None:
    with pytest.raises(Broken, match="did not end"):
        run_client(executor, ["sleep", "60"], seconds=0.2, grace_seconds=0.1)


def test_only_our_server_in_this_namespace_is_stopped(executor: ProcessExecutor, pool: ThreadPoolExecutor) -> None:
    theirs = subprocess.Popen(["unshare", "--net", *iperf3_command.server_argv(5201)])
    other = subprocess.Popen([*executor.prefix, "iperf3", "-s", "-p", "5202"], stdout=subprocess.DEVNULL)
    try:
        with servers(executor, pool):
            stop_server(executor)
            wait_until(lambda: not listens(executor))
        assert (theirs.poll(), other.poll()) == (None, None)
    finally:
        for process in (theirs, other):
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stopping_where_nothing_runs_is_fine(executor: ProcessExecutor) -> None:
    stop_server(executor)
