# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state directory, its lock, and what tells a lab's processes from others."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ansible_collections.netbench.cni.plugins.module_utils.lab import holder, lifecycle
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import find_processes
from ansible_collections.netbench.cni.plugins.module_utils.lab.state import StateDir


def hold(root: str, lab: str, ready: Connection, done: Connection) -> None:
    with StateDir(root, lab).locked():
        ready.send("held")
        done.poll(20)


def test_a_second_builder_is_told_so_and_nothing_is_left_behind(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    processes = multiprocessing.get_context("fork")
    (heard, ready), (done, end) = processes.Pipe(), processes.Pipe()
    builder = processes.Process(target=hold, args=(root, "one", ready, done))
    builder.start()
    assert heard.recv() == "held"
    second = StateDir(root, "one").locked()
    with pytest.raises(LabError, match="Another process is changing the lab one now"):
        second.__enter__()
    with StateDir(root, "two").locked():
        pass
    end.send("end")
    builder.join()
    assert not Path(root).exists()


def test_a_killed_builder_holds_nothing_although_its_child_lives(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    processes = multiprocessing.get_context("fork")
    (heard, ready), (done, end) = processes.Pipe(), processes.Pipe()
    with StateDir(root, "one").locked():
        child = processes.Process(target=hold, args=(root, "two", ready, done))
        child.start()
        assert heard.recv() == "held"
    with StateDir(root, "one").locked():
        pass
    end.send("end")
    child.join()


def test_the_directory_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        pytest.raises(LabError, match=r"state_dir \S+link must be a directory of the user"),
        StateDir(str(tmp_path / "link"), "lab").locked(),
    ):
        raise AssertionError("followed a link")
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(LabError, match=r"state_dir \S+file cannot be made"),
        StateDir(str(tmp_path / "file"), "lab").locked(),
    ):
        raise AssertionError("used a file")


def test_the_state_is_written_whole(tmp_path: Path) -> None:
    directory = StateDir(str(tmp_path), "lab")
    directory.write_hosts("127.0.0.1 localhost\n")
    directory.save({"a": 1})
    directory.save({"a": 2})
    assert json.loads((tmp_path / "lab" / "lab.json").read_text()) == {"a": 2}
    assert sorted(path.name for path in (tmp_path / "lab").iterdir()) == ["hosts", "lab.json"]
    assert directory.remove()
    assert not directory.remove()


def test_a_damaged_state_file_counts_as_none(tmp_path: Path) -> None:
    directory = StateDir(str(tmp_path), "lab")
    directory.write_hosts("")
    (directory.path / "lab.json").write_text('{"schema": "netbench.cni/lab/v1", "endp')
    assert lifecycle.load(directory) is None


@pytest.fixture
def pause(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a pause's argv, but no namespace of its own."""
    identity = ["netbench-lab:some:node", str(tmp_path)]
    code = holder.PAUSE
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code, *identity]) as process:
        while holder.PAUSE.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.001)
        yield process
        process.kill()


def test_processes_are_found_by_lab_and_state_directory(tmp_path: Path, pause: subprocess.Popen[bytes]) -> None:
    assert find_processes("some", str(tmp_path)) == [pause.pid]
    assert find_processes("som", str(tmp_path)) == []
    assert find_processes("some", "/elsewhere") == []


def test_a_process_that_only_mentions_a_lab_is_not_taken_for_one(tmp_path: Path) -> None:
    code = "import time; print(flush=True); time.sleep(60)"
    argv = [sys.executable, "-I", "-S", "-c", code, "netbench-lab:some:node", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        assert find_processes("some", str(tmp_path)) == []
        other.kill()


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SEARCH_PATH", "/nowhere")
    with pytest.raises(LabError, match=r"install tc \(package iproute2\), .*nft \(package nftables\)"):
        lifecycle.check_programs()
