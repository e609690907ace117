# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: Shows a run of trials under way
version_added: 1.0.0
author: The netbench.cni authors (@netbench)
description:
  - While M(netbench.cni.iperf_matrix) measures, shows the trial under way with its elapsed time, the last results, how
    many are left and when the run will end; on a terminal as a block redrawn in place, elsewhere as one line a trial.
  - Works beside any stdout callback.
requirements:
  - C(callbacks_enabled = netbench.cni.progress) in C(ansible.cfg)
options:
  netbench_progress:
    description:
      - V(bar) is the block that is redrawn, V(lines) one plain line a trial, V(off) nothing.
      - V(auto) is V(bar) on a terminal, unless that is C(dumb) or belongs to CI, AWX or ansible-runner; else V(lines).
    type: str
    choices: [auto, bar, lines, "off"]
    default: auto
    ini:
      - section: netbench
        key: progress
    env:
      - name: NETBENCH_PROGRESS
"""

import atexit
import functools
import json
import os
import select
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ansible.plugins.callback import CallbackBase

from ansible_collections.netbench.cni.plugins.plugin_utils.progress import announce_pipe
from ansible_collections.netbench.cni.plugins.plugin_utils.progress_board import ASCII, UNICODE, Board, Symbols, columns

if TYPE_CHECKING:
    from collections.abc import Mapping

# mypy: disallow-untyped-calls=False
# (ansible-core has no type information for most of what is called here)

REDRAW_SECONDS = 0.5
# Set where a terminal, if there is one, is only a log: CI systems, AWX, ansible-runner.
NOT_A_PERSON = ("CI", "JENKINS_URL", "TF_BUILD", "AWX_HOST", "AWX_ISOLATED_DATA_DIR", "RUNNER_OMIT_EVENTS")


def choose_mode(wanted: str, is_terminal: bool, environ: Mapping[str, str]) -> str:
    """Return bar, lines or off."""
    if wanted != "auto":
        return wanted
    person = is_terminal and environ.get("TERM", "dumb") != "dumb"
    return "bar" if person and not any(environ.get(name) for name in NOT_A_PERSON) else "lines"


class CallbackModule(CallbackBase):
    """Reads the engine's events from a pipe and shows them between Ansible's own output.

    All writing is done under Display's own lock. That lock also keeps workers from being forked in the middle of it,
    and ansible-runner holds it while callbacks run, so a second lock would invite a deadlock.
    """

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "netbench.cni.progress"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._mode = choose_mode(self.get_option("netbench_progress"), sys.stdout.isatty(), os.environ)
        self._lock = self._display._lock
        self._board = Board(_symbols())
        self._drawn: list[str] = []
        self._buffer = b""
        self._may_draw = False
        self._pipe, self._write_end = os.pipe()
        for end in (self._pipe, self._write_end):
            os.set_blocking(end, False)
        announce_pipe(self._write_end, os.environ)
        self._over = threading.Event()
        self._print = self._display.display
        self._display.display = self._make_way(self._print)
        threading.Thread(target=self._follow, daemon=True, name="netbench-progress").start()
        atexit.register(self._clear)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        with self._lock:
            self._over.set()
            self._take_in()
            self._clear()
            self._display.display = self._print
            os.close(self._pipe)
            os.close(self._write_end)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._may_draw = False

    def v2_runner_on_ok(self, result: Any) -> None:
        self._may_draw = False

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._may_draw = False

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._may_draw = False

    def _make_way(self, display: Any) -> Any:
        """Return a `display` that first shows what the engine sent earlier and takes the block off the screen."""
        owner = os.getpid()

        @functools.wraps(display)
        def after_block(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() != owner:  # a forked worker; its output comes to the owner by queue
                return display(*args, **kwargs)
            with self._lock:
                self._take_in()
                self._clear()
                return display(*args, **kwargs)

        return after_block

    def _follow(self) -> None:
        """Take in events as they come, and keep the elapsed time going, until the playbook ends."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while not self._over.is_set():
            poll.poll(REDRAW_SECONDS * 1000)
            with self._lock:
                if not self._over.is_set():
                    self._take_in()
                    self._draw()

    def _take_in(self) -> None:
        """Apply all events in the pipe; in a log each may be a line, on a terminal only the last one stays."""
        try:
            while data := os.read(self._pipe, 65536):
                self._buffer += data
        except BlockingIOError:
            pass
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
                text = self._board.apply(event, time.time())
            except (AttributeError, LookupError, TypeError, ValueError):  # not from our engine
                continue
            self._may_draw = self._board.active
            if text and (self._mode == "lines" or (self._mode == "bar" and event["event"] == "end")):
                self._clear()
                self._print(text)
                sys.stdout.flush()

    def _draw(self) -> None:
        if self._mode != "bar" or not self._may_draw:
            return
        size = shutil.get_terminal_size()
        encoding = sys.stdout.encoding
        lines = [
            line.encode(encoding, "replace").decode(encoding)
            for line in self._board.block(time.time(), size.columns - 1, size.lines - 2)
        ]
        sys.stdout.write(self._erase() + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        self._drawn = lines

    def _clear(self) -> None:
        if self._drawn:
            sys.stdout.write(self._erase())
            sys.stdout.flush()
            self._drawn = []

    def _erase(self) -> str:
        """Return what removes the block, whose lines may have been wrapped since by a narrower window."""
        width = max(1, shutil.get_terminal_size().columns)
        rows = sum(max(1, -(-columns(line) // width)) for line in self._drawn)
        return f"\x1b[{rows}A\r\x1b[J" if rows else ""


def _symbols() -> Symbols:
    """Return the symbols that stdout can encode."""
    try:
        "━▶✔✘∅·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
