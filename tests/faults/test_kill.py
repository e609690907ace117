# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the play: what was measured is kept, nothing goes on measuring, and the run can be finished."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.faults.scene import EXTERNAL, POD_TO_POD, Play, Scene, signal_all
from tests.unit.lab_state import eventually

RUN = "faults-killed"
KILLS = 20
MATRIX = {
    "blocks": 6,
    "scenarios": [POD_TO_POD, EXTERNAL],
    "evidence": {"flow_share": {"flows": 200}, "iftop": {"scenarios": ["pod_to_pod"], "seconds": 1}},
}
TRIALS = 2 * 2 * MATRIX["blocks"]


def test_killed_at_twenty_moments_and_resumed(lab: Scene) -> None:
    moments = random.Random(20231122)
    journal = lab.results / RUN / "trials.jsonl"
    for number in range(KILLS):
        play = lab.measure(RUN, resume=True, matrix=MATRIX)
        if number % 4 == 0:  # any time, also before the engine begins
            time.sleep(moments.uniform(0.2, 3.0))
        else:
            _wait_for_engine(lab, play)
            time.sleep(moments.uniform(0.0, 4.5))
        assert play.process.poll() is None, play.output
        before = _content(journal)
        workers = [] if number % 4 != 3 else list(lab.processes())
        play.kill()
        signal_all(workers, signal.SIGKILL)  # every fourth time nobody is left who could clean up
        lab.wait_until_calm()
        after = _content(journal)
        assert after.startswith(before), "what was journalled stays"
        time.sleep(0.5)
        assert _content(journal) == after, "somebody still journals"
    last = lab.measure(RUN, resume=True, matrix=MATRIX)
    assert last.wait(240) == 0, last.output
    trials = lab.journal_of(RUN)
    assert {Counter(trial.id for trial in trials)[trial.id] for trial in trials} == {1}
    assert Counter((trial.cluster, trial.scenario) for trial in trials) == {
        (cluster, scenario): MATRIX["blocks"]
        for cluster in ("native", "flannel")
        for scenario in ("pod_to_pod", "external")
    }
    assert [(trial.id, trial.reason) for trial in trials if trial.status != "ok"] == []
    assert not lab.leftovers()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _wait_for_engine(lab: Scene, play: Play) -> None:
    """Return when the engine holds the run directory."""
    lock = lab.results / RUN / ".lock"

    def held() -> bool:
        found = _content(lock).decode().split()
        return bool(found) and int(found[0]) in lab.processes()

    assert eventually(held, 30), play.output


def test_killed_before_the_engine_asked_for_word_of_it(lab: Scene) -> None:
    """A worker that is still reading its arguments when the play dies must not go on to measure alone."""
    read = lab.directory / "read"
    slow = {"slow": "{{ lookup('ansible.builtin.pipe', 'echo >> " + str(read) + "; sleep 2') }}"}
    play = lab.measure(RUN, matrix=MATRIX, measurement_conditions=slow)
    assert eventually(lambda: _content(read) == b"\n\n", 30), play.output  # first the role's specification, then ours
    play.kill()
    time.sleep(2)
    lab.wait_until_calm()
    assert not (lab.results / RUN).exists()


def test_killed_while_iftop_looks(lab: Scene) -> None:
    matrix = {"blocks": 1, "evidence": {"iftop": {"scenarios": ["pod_to_pod"], "seconds": 3}}}
    play = lab.measure(RUN, matrix=matrix)
    assert eventually(lambda: "iftop" in {command.split()[0] for command in lab.processes().values()}, 60), play.output
    play.kill()
    lab.wait_until_calm()
    resumed = lab.measure(RUN, resume=True, matrix=matrix)
    assert resumed.wait() == 0, resumed.output
    assert "trials to run: 0," in resumed.output
    manifest = json.loads((lab.results / RUN / "run.json").read_text(encoding="utf-8"))
    assert {look["cluster"] for look in manifest["evidence"]["iftop"]} == {"native", "flannel"}
    assert manifest["finished"]
