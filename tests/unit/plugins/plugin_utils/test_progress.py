# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import select
import threading

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import progress
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, Scenario, Traffic, Trial


def trial(name="t1", primary="throughput_bits_per_second", scenario="pod_to_pod_tcp"):
    return Trial(name, 1, 0, "native", Scenario(scenario, "pod_to_pod", Traffic(), primary))


def finished(name="t1", status="ok", reason="", **metrics):
    return FinishedTrial(name, 1, 0, "native", "pod_to_pod_tcp", status, reason, "", 2.7, 1, metrics=metrics)


@pytest.fixture
def pipe():
    """The callback's end of a pipe and an environment that announces the other."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    environ: dict[str, str] = {}
    progress.announce_pipe(writer, environ)
    yield reader, writer, environ
    for end in (reader, writer):
        os.close(end)


def events(reader):
    os.set_blocking(reader, False)
    data = b""
    while select.select([reader], [], [], 0)[0]:
        data += os.read(reader, 1 << 20)
    return [json.loads(line) for line in data.splitlines()]


def test_every_call_is_one_event(pipe):
    reader, _writer, environ = pipe
    says = progress.Progress(environ=environ)
    says.plan(2, 5.43)
    says.start(trial())
    says.finish(trial(), finished(throughput_bits_per_second=1.94e9), left=1)
    says.note("text")
    says.end()
    plan, begin, end, note, over = events(reader)
    assert plan == {"event": "plan", "trials": 2, "seconds": 5.4}
    assert begin == {
        "event": "start",
        "trial": "t1",
        "cluster": "native",
        "scenario": "pod_to_pod_tcp",
        "block": 1,
    }
    assert end.pop("eta_seconds") == pytest.approx(0, abs=0.5)
    assert end == {
        "event": "finish",
        "trial": "t1",
        "status": "ok",
        "reason": "",
        "headline": "1.94 Gbit/s",
        "done": 1,
        "left": 1,
    }
    assert (note, over) == ({"event": "note", "text": "text"}, {"event": "end"})


def test_the_end_is_reckoned_from_the_pace_so_far(pipe, monkeypatch):
    reader, _writer, environ = pipe
    says = progress.Progress(environ=environ)
    moments = iter((100.0, 103.0, 106.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    says.start(trial())
    says.finish(trial(), finished(), left=9)
    says.finish(trial(), finished(), left=8)
    assert [event["eta_seconds"] for event in events(reader)[1:]] == [27.0, 24.0]


@pytest.mark.parametrize("text", ["x", "网", "\U0001f600", "\ud800", '"', "\x00"])
def test_an_event_is_one_line_of_at_most_pipe_buf_however_long_the_texts(pipe, text):
    reader, _writer, environ = pipe
    says = progress.Progress(environ=environ)
    long = text * 5000
    says.start(trial(long, scenario=long))
    says.finish(trial(long), finished(long, "failed", long), left=0)
    os.set_blocking(reader, False)
    lines = os.read(reader, 1 << 20).splitlines()
    assert len(lines) == 2
    assert all(len(line) < select.PIPE_BUF for line in lines)
    assert json.loads(lines[1])["status"] == "failed"


def test_a_full_pipe_neither_blocks_nor_raises_nor_tears_a_line(pipe):
    reader, _writer, environ = pipe
    says = progress.Progress(environ=environ)
    for _time in range(2000):
        says.note("x" * 100)
    assert {event["text"] for event in events(reader)} == {"x" * 100}
    says.end()
    assert events(reader) == [{"event": "end"}]


def test_a_pipe_without_reader_is_no_error():
    reader, writer = os.pipe()
    environ: dict[str, str] = {}
    progress.announce_pipe(writer, environ)
    os.close(reader)
    says = progress.Progress(environ=environ)
    says.note("text")
    os.close(writer)
    says.note("text")


def test_threads_do_not_mix_their_lines(pipe):
    reader, _writer, environ = pipe
    says = progress.Progress(environ=environ)
    threads = [threading.Thread(target=lambda: [says.note("x" * 150) for _time in range(40)]) for _thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(reader)) == 320


@pytest.mark.parametrize("announced", ["", "x", "999:1", "1:1", "0"])
def test_without_a_pipe_lines_are_displayed(announced):
    shown: list[str] = []
    says = progress.Progress(shown.append, environ={progress.FD_VARIABLE: announced})
    says.plan(1, 3)
    says.start(trial())
    says.finish(trial(), finished(throughput_bits_per_second=1e9), left=0)
    says.end()
    assert [line.split(", until")[0].split(" (until")[0] for line in shown] == [
        "trials to run: 1, about 3 s",
        "[1/1] pod_to_pod_tcp on native, block 1: 1 Gbit/s",
        "trials done: 1 ok",
    ]


def test_a_descriptor_that_is_another_file_by_now_is_not_written_to(pipe, tmp_path):
    _reader, writer, environ = pipe
    with (tmp_path / "file").open("wb") as file:
        environ[progress.FD_VARIABLE] = environ[progress.FD_VARIABLE].replace(f"{writer}:", f"{file.fileno()}:")
        assert progress.find_pipe(environ) is None


def test_a_display_that_fails_is_no_error():
    def display(_line):
        raise OSError

    says = progress.Progress(display, environ={})
    says.note("text")
    says.note("text")


@pytest.mark.parametrize(
    ("primary", "metrics", "expected"),
    [
        ("throughput_bits_per_second", {"throughput_bits_per_second": 1.94e9}, "1.94 Gbit/s"),
        ("loss_ratio", {"throughput_bits_per_second": 9e8, "loss_ratio": 0.0031}, "900 Mbit/s, 0.31 % lost"),
        ("cpu_cores_per_gbit", {"cpu_cores_per_gbit": 0.414}, "0.41 cores per Gbit/s"),
        ("rtt_seconds", {"rtt_seconds": 0.000024}, "rtt_seconds 24 µs"),
        ("retransmits", {"retransmits": 12.0}, "retransmits 12"),
        ("loss_ratio", {}, ""),
    ],
)
def test_a_trial_in_a_few_words(primary, metrics, expected):
    assert progress.headline(trial(primary=primary).scenario, metrics) == expected
