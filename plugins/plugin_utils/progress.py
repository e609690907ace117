# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's side of the progress display: events to the callback `netbench.cni.progress`, or lines without it.

The engine runs in a forked worker that has no terminal. The callback makes a pipe before workers fork; one event is
one JSON line of at most PIPE_BUF bytes, which pipe(7) writes in one piece.
"""

from __future__ import annotations

import json
import os
import select
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.netbench.cni.plugins.plugin_utils import units
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.progress_board import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, Scenario, Trial

FD_VARIABLE = "NETBENCH_PROGRESS_FD"
LONGEST_TEXT = 200  # characters; four texts of it fit in PIPE_BUF (4096 bytes) however many bytes a character takes


def announce_pipe(write_end: int, environ: dict[str, str] | os._Environ[str]) -> None:
    """Tell forked workers where events go: the descriptor, and the pipe's inode by which to know it again."""
    environ[FD_VARIABLE] = f"{write_end}:{os.fstat(write_end).st_ino}"


def find_pipe(environ: Mapping[str, str]) -> int | None:
    """Return the announced descriptor if it still is that pipe; a process started anew only inherits the variable."""
    descriptor, _colon, inode = environ.get(FD_VARIABLE, "").partition(":")
    try:
        status = os.fstat(int(descriptor))
    except (ValueError, OSError):
        return None
    return int(descriptor) if stat.S_ISFIFO(status.st_mode) and str(status.st_ino) == inode else None


class Progress:
    """Says what the engine does. Every method may be called from any thread, never blocks and never raises.

    Without the callback's pipe each event that deserves a line is handed to `display`.
    """

    def __init__(self, display: Callable[[str], Any] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._display = display
        self._pipe = find_pipe(os.environ if environ is None else environ)
        self._board = Board()
        self._lock = threading.Lock()
        self._first_start: float | None = None
        self._done = 0

    def plan(self, trials: int, seconds: float) -> None:
        """So many trials are to be run; they will take about that long."""
        self._done, self._first_start = 0, None
        self._send({"event": "plan", "trials": trials, "seconds": round(seconds, 1)})

    def start(self, trial: Trial) -> None:
        """A trial begins."""
        if self._first_start is None:
            self._first_start = time.monotonic()
        self._send(
            {
                "event": "start",
                "trial": trial.id,
                "cluster": trial.cluster,
                "scenario": trial.scenario.name,
                "block": trial.block,
            }
        )

    def finish(self, trial: Trial, finished: FinishedTrial, left: int) -> None:
        """A trial has ended and is in the journal; `left` are still to be finished."""
        self._done += 1
        elapsed = time.monotonic() - (self._first_start or time.monotonic())
        self._send(
            {
                "event": "finish",
                "trial": trial.id,
                "status": finished.status,
                "reason": finished.reason,
                "headline": headline(trial.scenario, finished.metrics),
                "done": self._done,
                "left": left,
                "eta_seconds": round(elapsed / self._done * left, 1),
            }
        )

    def note(self, text: str) -> None:
        """Anything else that takes a while."""
        self._send({"event": "note", "text": text})

    def end(self) -> None:
        """Nothing more will come."""
        self._send({"event": "end"})

    def _send(self, event: dict[str, Any]) -> None:
        event = {key: value[:LONGEST_TEXT] if isinstance(value, str) else value for key, value in event.items()}
        try:
            if self._pipe is not None:
                _write(self._pipe, event)
            elif self._display is not None:
                with self._lock:
                    line = self._board.apply(event, time.time())
                    if line:
                        self._display(line)
        except Exception:  # noqa: BLE001 - a display that fails must not end a measurement
            self._display = None


def _write(pipe: int, event: dict[str, Any]) -> None:
    """Write one event in one piece, or not at all when the pipe is full: trials do not wait for a display."""
    data = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(data) <= select.PIPE_BUF:
        with suppress(BlockingIOError):
            os.write(pipe, data)


def headline(scenario: Scenario, metrics: Mapping[str, float]) -> str:
    """A trial in a few words: its throughput, and its primary metric where that is another one."""
    parts = []
    if "throughput_bits_per_second" in metrics:
        parts.append(units.human_rate(metrics["throughput_bits_per_second"]))
    value = metrics.get(scenario.primary)
    if value is not None and scenario.primary != "throughput_bits_per_second":
        parts.append(_in_words(scenario.primary, value))
    return ", ".join(parts)


def _in_words(name: str, value: float) -> str:
    if name == "loss_ratio":
        return f"{units.human_ratio(value)} lost"
    if name == "cpu_cores_per_gbit":
        return f"{value:.2f} cores per Gbit/s"
    human: dict[str, Callable[[float], str]] = {
        "bits_per_second": units.human_rate,
        "seconds": units.human_seconds,
        "bytes": units.human_bytes,
        "ratio": units.human_ratio,
    }
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{name} {human[unit](value) if unit in human else f'{value:.4g}'}"
