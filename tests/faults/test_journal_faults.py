# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is to be resumed, with a journal that is cut, damaged, of another matrix, or held by somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.scene import Scene

RUN = "faults-journal"
MATRIX = {"blocks": 1, "seed": 1}


@pytest.fixture(scope="module")
def measured(shared_lab: Scene) -> Path:
    """The directory of a finished run of two trials."""
    play = shared_lab.measure(RUN, matrix=MATRIX)
    assert play.wait() == 0, play.output
    return shared_lab.results / RUN


@pytest.fixture
def run(request: pytest.FixtureRequest, measured: Path) -> str:
    """The name of a copy of that run."""
    name = "faults-" + request.node.name.removeprefix("test_").replace("_", "-")
    shutil.copytree(measured, measured.with_name(name))
    return name


def test_last_line_cut_off(shared_lab: Scene, run: str) -> None:
    """A crash's unfinished line: that trial is measured again, and no other."""
    journal = shared_lab.results / run / "trials.jsonl"
    before = journal.read_bytes()
    journal.write_bytes(before[:-100])
    play = shared_lab.measure(run, resume=True, matrix=MATRIX)
    assert play.wait() == 0, play.output
    assert "trials to run: 1," in play.output
    assert journal.read_bytes().splitlines()[:2] == before.splitlines()[:2]
    assert [trial.status for trial in shared_lab.journal_of(run)] == ["ok", "ok"]


def test_line_in_the_middle_cut_off(shared_lab: Scene, run: str) -> None:
    journal = shared_lab.results / run / "trials.jsonl"
    header, first, second = journal.read_bytes().splitlines(keepends=True)
    damaged = header + first[:100] + b"\n" + second
    journal.write_bytes(damaged)
    assert shared_lab.refusal(run, resume=True, matrix=MATRIX) == (
        f"{journal} is damaged in line 2: it is no JSON; restore it, or choose another run directory"
    )
    assert journal.read_bytes() == damaged


def test_another_matrix(shared_lab: Scene, run: str) -> None:
    journal = shared_lab.results / run / "trials.jsonl"
    before = journal.read_bytes()
    complaint = shared_lab.refusal(run, resume=True, matrix={**MATRIX, "blocks": 2})
    assert complaint.startswith(f"{journal} belongs to another matrix (")
    assert complaint.endswith("; resume with the matrix it was begun with, or choose another run directory")
    assert journal.read_bytes() == before


def test_an_earlier_run_is_not_overwritten(shared_lab: Scene, run: str) -> None:
    directory = shared_lab.results / run
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != ".lock"}
    assert shared_lab.refusal(run, matrix=MATRIX) == (
        f"{directory / 'trials.jsonl'} holds an earlier run; resume it, or choose another run directory"
    )
    assert {path: path.read_bytes() for path in before} == before


def test_manifest_cut_off(shared_lab: Scene, run: str) -> None:
    manifest = shared_lab.results / run / "run.json"
    manifest.write_bytes(manifest.read_bytes()[:300])
    complaint = shared_lab.refusal(run, resume=True, matrix=MATRIX)
    assert complaint.startswith(f"{manifest} is damaged (")
    assert complaint.endswith("); such a run cannot be resumed or reported")


def test_run_directory_in_use(shared_lab: Scene) -> None:
    """A second engine waits a while for the first one to end, and then gives up."""
    run = "faults-in-use"
    matrix = {"blocks": 20}
    first = shared_lab.measure(run, matrix=matrix)
    shared_lab.wait_for_trial(run, 0)
    second = shared_lab.measure(run, resume=True, matrix=matrix)
    assert second.wait(60) != 0
    assert first.process.poll() is None, first.output
    holder = int((shared_lab.results / run / ".lock").read_text(encoding="ascii"))
    assert holder in shared_lab.processes()
    directory = shared_lab.results / run
    assert second.complaint == (
        f"the run directory {directory} is in use by process {holder}; wait for it, or choose another one"
    )
    first.process.terminate()
    first.wait()
    shared_lab.wait_until_calm()
    assert {trial.status for trial in shared_lab.journal_of(run)} == {"ok"}
