# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils import journal
from ansible_collections.netbench.cni.plugins.plugin_utils.journal import Journal
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, NetbenchError

DIGEST = "d" * 64


def trial(number: int, **changes: object) -> FinishedTrial:
    values: dict = {
        "id": f"b{number:02d}-pod_to_pod_tcp-native",
        "block": number,
        "order": number,
        "cluster": "native",
        "scenario": "pod_to_pod_tcp",
        "status": "ok",
        "reason": "",
        "started": "2026-01-05T09:00:00+00:00",
        "elapsed_seconds": 3.05,
        "attempts": 1,
        "window": {"start": 1.0, "end": 2.8},
        "metrics": {"throughput_bits_per_second": 1.94e9 + number, "retransmits": 3.0},
        "path_trace": {"hops": [{"node": "native-w0", "nic": "ens5", "direction": "out", "bytes": 10**9}]},
    }
    return FinishedTrial(**values | changes)


def written(path: Path, count: int) -> list[FinishedTrial]:
    trials = [trial(number) for number in range(count)]
    with Journal.open(path, DIGEST, resume=False) as opened:
        for each in trials:
            opened.append(each)
    return trials


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "trials.jsonl"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond `size`: a disk that is full, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_appended_is_read(path: Path) -> None:
    trials = written(path, 3)
    assert journal.read(path, DIGEST) == ({"schema": journal.SCHEMA, "matrix_digest": DIGEST}, trials)
    assert list(journal.stream(path)) == trials


def test_a_resumed_journal_knows_what_it_has_and_goes_on(path: Path) -> None:
    trials = written(path, 2)
    with Journal.open(path, DIGEST, resume=True) as opened:
        assert opened.trials == trials
        assert opened.done == {each.id for each in trials}
        assert opened.dropped_bytes == 0
        opened.append(trial(2, status="failed", reason="server 'gone' ☹"))
        assert opened.trials[-1].reason == "server 'gone' ☹"
    assert [each.block for each in journal.read(path)[1]] == [0, 1, 2]


def test_every_append_is_one_line_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("pwrite", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(journal.os, name, lambda *args, real=real, name=name: (calls.append(name), real(*args))[1])
    with Journal.open(path, DIGEST, resume=False) as opened:
        assert calls[-3:] == ["pwrite", "fsync", "fsync"], "header, file and directory"
        calls.clear()
        opened.append(trial(1))
        assert calls == ["pwrite", "fsync"]
        assert path.read_bytes().count(b"\n") == 2


def test_resume_is_asked_for(path: Path) -> None:
    written(path, 1)
    with pytest.raises(NetbenchError, match="holds an earlier run; resume it, or choose another run directory"):
        Journal.open(path, DIGEST, resume=False)


def test_resume_without_a_journal_begins_one(path: Path) -> None:
    Journal.open(path, DIGEST, resume=True).close()
    assert journal.read(path, DIGEST)[1] == []


def test_another_matrix_is_named_by_both_digests(path: Path) -> None:
    written(path, 1)
    before = path.read_bytes()
    with pytest.raises(NetbenchError, match="belongs to another matrix \\(dddddddddddd, not eeeeeeeeeeee\\)"):
        Journal.open(path, "e" * 64, resume=True)
    assert path.read_bytes() == before
    with pytest.raises(NetbenchError, match="another matrix"):
        journal.read(path, "e" * 64)


def test_a_trial_is_journalled_once(path: Path) -> None:
    with Journal.open(path, DIGEST, resume=False) as opened:
        opened.append(trial(1))
        with pytest.raises(NetbenchError, match=r"trial b01-pod_to_pod_tcp-native is in .* already"):
            opened.append(trial(1))
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(NetbenchError, match="damaged in line 3: it repeats trial b01"):
        journal.read(path)


def test_a_file_cut_anywhere_gives_its_whole_trials(path: Path) -> None:
    trials = written(path, 3)
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends)
        if whole == 0:
            with pytest.raises(NetbenchError, match="does not begin with the header"):
                journal.read(path)
        else:
            assert journal.read(path, DIGEST)[1] == trials[: whole - 1]
        if cut % 7 and cut not in ends:
            continue  # opening syncs to disk: not at every byte
        with Journal.open(path, DIGEST, resume=True) as opened:
            assert opened.trials == trials[: max(0, whole - 1)]
            assert opened.dropped_bytes == (cut - ends[whole - 1] if whole else cut)
            for each in trials[len(opened.trials) :]:
                opened.append(each)
        assert path.read_bytes() == content


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_byte_changed_gives_an_error_or_a_trial_of_the_right_form(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("run") / "trials.jsonl"
    lines = [json.dumps({"schema": journal.SCHEMA, "matrix_digest": DIGEST})]
    content = bytearray("\n".join([*lines, *(json.dumps(asdict(trial(n))) for n in range(2)), ""]).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        _header, trials = journal.read(path)
    except NetbenchError:
        return
    assert len(trials) <= 2
    assert all(isinstance(each.metrics, dict) and each.status in ("ok", "failed", "void") for each in trials)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "it is no JSON"),
        ("{", "it is no JSON"),
        ("[1]", "it is no JSON object"),
        ('{"id": "b01"}', "its fields are not those of a finished trial"),
        (json.dumps(asdict(trial(9)) | {"colour": "red"}), "its fields are not those of a finished trial"),
        (json.dumps(asdict(trial(9)) | {"status": "fine"}), "wrong type or status"),
        (json.dumps(asdict(trial(9)) | {"metrics": []}), "wrong type or status"),
        (json.dumps(asdict(trial(9)) | {"block": "1"}), "wrong type or status"),
    ],
)
def test_other_damage_is_an_error_with_its_line(path: Path, line: str, why: str) -> None:
    written(path, 2)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], line + "\n", lines[2]]))
    for reader in (journal.read, lambda p: Journal.open(p, DIGEST, resume=True), lambda p: list(journal.stream(p))):
        with pytest.raises(NetbenchError, match=f"damaged in line 3: .*{why}"):
            reader(path)


def test_a_file_that_is_no_journal(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"schema": "something/else"}\n')
    with pytest.raises(NetbenchError, match="does not begin with the header of a journal"):
        journal.read(path)
    with pytest.raises(NetbenchError, match=r"cannot be read \(No such file or directory\)"):
        journal.read(path.parent / "nothing.jsonl")


def test_one_engine_a_run_directory(path: Path) -> None:
    busy = f"in use by process {os.getpid()};"
    with Journal.open(path, DIGEST, resume=False), pytest.raises(NetbenchError, match=busy):
        Journal.open(path, DIGEST, resume=True)
    Journal.open(path, DIGEST, resume=True).close()


def test_a_failed_open_lets_go_of_the_lock(path: Path) -> None:
    written(path, 1)
    with pytest.raises(NetbenchError, match="another matrix"):
        Journal.open(path, "e" * 64, resume=True)
    Journal.open(path, DIGEST, resume=True).close()


def test_a_killed_holder_leaves_no_lock(path: Path) -> None:
    code = (
        "import sys; from ansible_collections.netbench.cni.plugins.plugin_utils.journal import Journal\n"
        f"j = Journal.open(sys.argv[1], '{DIGEST}', False); print('open', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(NetbenchError, match=f"in use by process {holder.pid};"):
            Journal.open(path, DIGEST, resume=True)
        holder.kill()
        holder.wait()
    Journal.open(path, DIGEST, resume=True).close()


def test_a_full_disk_loses_no_trial_and_the_next_append_is_safe(path: Path) -> None:
    with Journal.open(path, DIGEST, resume=False) as opened:
        opened.append(trial(1))
        before = path.read_bytes()
        for room in (0, 1, 50):
            full = pytest.raises(NetbenchError, match=r"trials.jsonl cannot be written \(.*\); free or mend the disk")
            with file_size_limit(len(before) + room), full:
                opened.append(trial(2))
            assert path.read_bytes() == before
        opened.append(trial(2))
        opened.append(trial(3))
    assert [each.block for each in journal.read(path)[1]] == [1, 2, 3]


def test_what_could_not_be_cut_off_goes_with_the_next_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal.open(path, DIGEST, resume=False) as opened:
        opened.append(trial(1))
        before = path.stat().st_size
        with monkeypatch.context() as patched:

            def fsync(_handle: int) -> None:
                patched.setattr(journal.os, "ftruncate", refuse)
                refuse()

            patched.setattr(journal.os, "fsync", fsync)
            with pytest.raises(NetbenchError, match=r"cannot be written \(Input/output error\)"):
                opened.append(trial(2, reason="long " * 100))
        assert path.stat().st_size > before
        opened.append(trial(3))
    assert [each.block for each in journal.read(path)[1]] == [1, 3]


def test_a_journal_that_cannot_begin(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NetbenchError, match="cannot be written"):
        Journal.open(tmp_path / "file" / "trials.jsonl", DIGEST, resume=False)
    with file_size_limit(20), pytest.raises(NetbenchError, match="cannot be written"):
        Journal.open(tmp_path / "run" / "trials.jsonl", DIGEST, resume=False)
    Journal.open(tmp_path / "run" / "trials.jsonl", DIGEST, resume=False).close()


def test_numbers_that_json_lacks_are_refused(path: Path) -> None:
    with Journal.open(path, DIGEST, resume=False) as opened:
        with pytest.raises(NetbenchError, match="trial b01-pod_to_pod_tcp-native cannot be journalled as JSON"):
            opened.append(trial(1, metrics={"rtt_seconds": float("nan")}))
        opened.append(trial(1))


def test_ten_thousand_trials_are_read_well_under_a_second(path: Path) -> None:
    path.parent.mkdir()
    with path.open("w") as handle:
        handle.write(json.dumps({"schema": journal.SCHEMA, "matrix_digest": DIGEST}) + "\n")
        for number in range(10_000):
            handle.write(json.dumps(asdict(trial(number))) + "\n")
    start = time.process_time()
    assert len(journal.read(path)[1]) == 10_000
    assert time.process_time() - start < 1
