# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of a run under way: progress events → lines of text, knowing nothing of terminals or pipes."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.units import human_seconds

RECENT = 5
LONGEST_BAR = 40


@dataclass(frozen=True)
class Symbols:
    """What a terminal can show."""

    filled: str
    empty: str
    running: str
    note: str
    by_status: dict[str, str]


UNICODE = Symbols("━", "─", "▶", "·", {"ok": "✔", "failed": "✘", "void": "∅"})
ASCII = Symbols("#", "-", ">", "-", {"ok": "+", "failed": "!", "void": "0"})


@dataclass(frozen=True)
class _Running:
    label: str
    since: float


class Board:
    """The state of a run as its events tell it. Times are seconds since the epoch."""

    def __init__(self, symbols: Symbols = UNICODE) -> None:
        self._symbols = symbols
        self._forget()

    def _forget(self) -> None:
        self._running: dict[str, _Running] = {}
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._statuses: Counter[str] = Counter()
        self._done = self._left = 0
        self._ends: float | None = None
        self._note = ""
        self.active = False

    def apply(self, event: dict[str, Any], now: float) -> str | None:
        """Take in one event and return the line that a log wants of it, if any; an unknown event is ignored."""
        kind = event.get("event")
        if kind == "plan":
            return self._plan(int(event["trials"]), float(event["seconds"]), now)
        if kind == "start":
            label = f"{event['scenario']} on {event['cluster']}, block {event['block']}"
            self._running[str(event["trial"])] = _Running(clean(label), now)
            self._note, self.active = "", True
        elif kind == "finish":
            return self._finish(event, now)
        elif kind == "note":
            self._note, self.active = clean(str(event["text"])), True
            return self._note
        elif kind == "end":
            return self._end()
        return None

    def _plan(self, trials: int, seconds: float, now: float) -> str:
        self._forget()
        self._left, self._ends, self.active = trials, now + seconds, True
        return f"trials to run: {trials}, about {human_seconds(seconds)}, until {_clock(self._ends)}"

    def _finish(self, event: dict[str, Any], now: float) -> str:
        trial, status = str(event["trial"]), str(event["status"])
        running = self._running.pop(trial, None)
        self._done, self._left, self.active = int(event["done"]), int(event["left"]), True
        self._ends = now + float(event["eta_seconds"])
        self._statuses[status] += 1
        result = str(event["headline"]) if status == "ok" else f"{status}: {event['reason']}"
        text = f"{running.label if running else trial}: {result}"
        self._recent.append(clean(f"{self._symbols.by_status.get(status, ' ')} {text}"))
        return clean(f"[{self._done}/{self._done + self._left}] {text} (until {_clock(self._ends)})")

    def _end(self) -> str | None:
        counted = ", ".join(f"{number} {status}" for status, number in sorted(self._statuses.items()))
        line = f"trials done: {counted}" if counted else None
        self._forget()
        return line

    def block(self, now: float, width: int, height: int) -> list[str]:
        """Return the status block as lines of at most `width` columns; the newest survive when `height` is scarce."""
        if not self.active:
            return []
        running = [
            f"{self._symbols.running} {trial.label}: {max(0, now - trial.since):.0f} s"
            for trial in self._running.values()
        ]
        notes = [f"{self._symbols.note} {self._note}"] if self._note else []
        lines = [*self._recent, *running, *notes][-max(1, height - 1) :]
        return [cut(line, width) for line in [self._summary(now, width), *lines]]

    def _summary(self, now: float, width: int) -> str:
        total = self._done + self._left
        text = f"{self._done} of {total} done, {self._left} left"
        if self._ends is not None and self._left:
            text += f", until {_clock(self._ends)} ({human_seconds(max(1, round(self._ends - now)))})"
        room = min(LONGEST_BAR, width - len(text) - 2)
        if room < 5 or not total:
            return text
        filled = room * self._done // total
        return f"{self._symbols.filled * filled}{self._symbols.empty * (room - filled)}  {text}"


def clean(text: str) -> str:
    """One line without control characters: what a target printed must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def columns(text: str) -> int:
    """How many columns a terminal uses for the text (Unicode Standard Annex 11: wide and full-width take two)."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """As much of the text as fits into `width` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:index]
    return text


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
