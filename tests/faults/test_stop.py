# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C and SIGTERM: the play ends with an error, in order, and the run can be finished."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.faults.scene import Play, Scene
from tests.unit.lab_state import eventually

RUN = "faults-stopped"
CTRL_C = b"\x03"


def type_ctrl_c(play: Play) -> None:
    os.write(play.terminal, CTRL_C)


def interrupt(play: Play) -> None:
    play.process.send_signal(signal.SIGINT)


def terminate(play: Play) -> None:
    play.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("stop", [type_ctrl_c, interrupt, terminate])
def test_stopped_in_mid_trial(lab: Scene, stop: Callable[[Play], None]) -> None:
    play = lab.measure(RUN, matrix={}, on_terminal=stop is type_ctrl_c)
    lab.wait_for_trial(RUN, 1)
    _stop_and_finish(lab, play, stop, trials=1)
    if stop is not terminate:  # after which Ansible is gone at once
        assert "stopped by SIGINT; what was measured is kept, go on with resume: true" in play.output


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_stopped_before_the_first_trial(lab: Scene, stop: Callable[[Play], None]) -> None:
    play = lab.measure(RUN, matrix={})
    assert eventually(lambda: any("sampler.py" in command for command in lab.processes().values()), 30), play.output
    _stop_and_finish(lab, play, stop, trials=0)


def _stop_and_finish(lab: Scene, play: Play, stop: Callable[[Play], None], trials: int) -> None:
    stop(play)
    assert play.wait(10) != 0
    lab.wait_until_calm()
    assert len(lab.journal_of(RUN)) == trials, play.output
    assert not lab.leftovers()
    resumed = lab.measure(RUN, resume=True, matrix={})
    assert resumed.wait() == 0, resumed.output
    assert [trial.status for trial in lab.journal_of(RUN)] == ["ok"] * 4
