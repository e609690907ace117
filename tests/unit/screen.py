# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person would see: a terminal that knows just the control sequences which Ansible and we use."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


class Screen:
    """Lines as they stand after all that was fed; those scrolled out of sight are kept."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Take in output of a program."""
        for token in _TOKEN.finditer(text):
            if token[2]:
                self._control(token[2], int(token[1] or 0))
            elif token[0] == "\r":
                self._column = 0
            elif token[0] == "\n":
                self._down()
            else:
                self._put(token[0])

    def _control(self, kind: str, number: int) -> None:
        if kind == "A":
            self._row -= number
            assert self._row >= 0, "the cursor left the screen"
        elif kind == "J":
            self._lines[self._row] = self._lines[self._row][: self._column]
            del self._lines[self._row + 1 :]
        else:
            assert kind == "m", f"unknown control sequence {kind}"

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append("")

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._down()
            self._column = 0
        line = self._lines[self._row].ljust(self._column)
        self._lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1

    @property
    def text(self) -> str:
        """All lines, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self._lines)
