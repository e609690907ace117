# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk that holds the results fills up while measuring: one sentence, and no harm to what is there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scene import Scene

RUN = "faults-full"


@pytest.fixture
def disk(lab: Scene) -> Iterator[Path]:
    """A small file system of its own for the results."""
    lab.results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(lab.results)], check=True)
    try:
        yield lab.results
    finally:
        subprocess.run(["umount", "--lazy", str(lab.results)], check=True)


def test_no_room_for_raw_data(lab: Scene, disk: Path) -> None:
    play = lab.measure(RUN, matrix={})
    lab.wait_for_trial(RUN, 1)
    _fill(disk)
    assert play.wait(20) != 0
    assert play.complaint == (
        f"the run directory {disk / RUN} cannot be written (No space left on device); make room or mend the disk, then "
        "go on with resume: true"
    )
    _make_room_and_finish(lab, disk, trials=4)


def test_no_room_for_the_journal(lab: Scene, disk: Path, tmp_path: Path) -> None:
    """The raw data lie on another disk: so it is the journal that finds its own full."""
    (disk / RUN).mkdir()
    (tmp_path / "raw").mkdir()
    (disk / RUN / "raw").symlink_to(tmp_path / "raw")
    play = lab.measure(RUN, matrix={"blocks": 4})
    lab.wait_for_trial(RUN, 1)
    _fill(disk)
    assert play.wait(30) != 0
    assert play.complaint == (
        f"the journal {disk / RUN / 'trials.jsonl'} cannot be written (No space left on device); free or mend the "
        "disk, then resume: what was journalled before is safe"
    )
    _make_room_and_finish(lab, disk, trials=8)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return


def _make_room_and_finish(lab: Scene, disk: Path, trials: int) -> None:
    lab.wait_until_calm()
    measured = [trial.id for trial in lab.journal_of(RUN)]
    assert measured
    (disk / "filler").unlink()
    resumed = lab.measure(RUN, resume=True, matrix={"blocks": trials // 2})
    assert resumed.wait() == 0, resumed.output
    finished = lab.journal_of(RUN)
    assert [trial.id for trial in finished][: len(measured)] == measured
    assert [trial.status for trial in finished] == ["ok"] * trials
