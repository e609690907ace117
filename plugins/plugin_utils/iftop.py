# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `iftop -t` prints → flows.

Its columns and units are those of iftop's source (tui.c, ui_common.c) and were checked against 1.0pre4: K, M and G are
powers of 1024, rates are in bits (`b`) or with `-B` in bytes (`B`), cumulative amounts always in bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

_END_OF_SCREEN = re.compile(r"^={20,}\s*$", re.MULTILINE)
_HEADING = "# Host name"
_INTERFACE = re.compile(r"^Listening on (\S+)", re.MULTILINE)
_SENT = re.compile(r"^ *\d+ +(\S.*?) +=> +(.*\S)\s*$", re.ASCII)
_RECEIVED = re.compile(r"^ +(\S.*?) +<= +(.*\S)\s*$")
_TOTAL = re.compile(r"^Total (send|receive) rate: +(.*\S)\s*$")
_CUMULATIVE = re.compile(r"^Cumulative \(sent/received/total\): +(.*\S)\s*$")
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)([bB])")
_EXPONENT = {"": 0, "K": 1, "M": 2, "G": 3}


@dataclass(frozen=True)
class Flow:
    """What two hosts exchanged, `sent` from source to destination: mean rates of the last 2, 10 and 40 s, and the sum.

    A host is an address or a name, with `-P` followed by a colon and its port. Where iftop has run for less than 10 or
    40 s, those means are of the time it ran.
    """

    source: str
    destination: str
    sent_bits_per_second: float
    received_bits_per_second: float
    sent_10s_bits_per_second: float
    received_10s_bits_per_second: float
    sent_40s_bits_per_second: float
    received_40s_bits_per_second: float
    sent_bytes: float
    received_bytes: float


@dataclass(frozen=True)
class Screen:
    """One NIC as iftop shows it; rates are means of the last 2 s, and the totals also count flows it does not list."""

    interface: str | None
    total_sent_bits_per_second: float
    total_received_bits_per_second: float
    sent_bytes: float
    received_bytes: float
    flows: list[Flow] = field(default_factory=list)


def parse(text: str) -> Screen:
    """The last whole screen in what `iftop -t` printed; raises NetbenchError when there is none that can be read.

    Of a NIC without any traffic there may be none: iftop looks at its clock only when a packet arrives, so `-s` does
    not end it there.
    """
    if not isinstance(text, str):
        raise NetbenchError(f"iftop's output is of the type {type(text).__name__}; it must be text")
    *screens, _rest = _END_OF_SCREEN.split(text)
    if not screens or _HEADING not in screens[-1]:
        raise NetbenchError("iftop's output has no whole screen; it must be what iftop -t prints, such as with -s 3")
    screen = screens[-1].rpartition(_HEADING)[2]
    totals: dict[str, list[float]] = {}
    flows: list[Flow] = []
    sender: tuple[str, list[float]] | None = None
    for line in screen.splitlines():
        if match := _SENT.match(line):
            sender = match[1], _amounts(match[2], 4)
        elif (match := _RECEIVED.match(line)) and sender is not None:
            flows.append(_flow(sender[0], match[1], sender[1], _amounts(match[2], 4)))
            sender = None
        elif match := _TOTAL.match(line):
            totals[match[1]] = _amounts(match[2], 3)
        elif match := _CUMULATIVE.match(line):
            totals["cumulative"] = _amounts(match[1], 3)
    missing = {"send", "receive", "cumulative"} - set(totals)
    if missing:
        raise NetbenchError(f"iftop's output lacks totals ({', '.join(sorted(missing))}); it must be a whole screen")
    interface = _INTERFACE.search(text)
    return Screen(
        interface=interface[1] if interface else None,
        total_sent_bits_per_second=totals["send"][0],
        total_received_bits_per_second=totals["receive"][0],
        sent_bytes=totals["cumulative"][0] / 8,
        received_bytes=totals["cumulative"][1] / 8,
        flows=flows,
    )


def _flow(source: str, destination: str, sent: list[float], received: list[float]) -> Flow:
    return Flow(
        source=source,
        destination=destination,
        sent_bits_per_second=sent[0],
        received_bits_per_second=received[0],
        sent_10s_bits_per_second=sent[1],
        received_10s_bits_per_second=received[1],
        sent_40s_bits_per_second=sent[2],
        received_40s_bits_per_second=received[2],
        sent_bytes=sent[3] / 8,
        received_bytes=received[3] / 8,
    )


def _amounts(columns: str, count: int) -> list[float]:
    """The amounts in a line's columns, in bits."""
    amounts = [_AMOUNT.fullmatch(column) for column in columns.split()]
    found = [
        float(match[1]) * 1024.0 ** _EXPONENT[match[2]] * (8 if match[3] == "B" else 1)
        for match in amounts
        if match is not None and len(match[1]) < 20
    ]
    if len(found) != count or len(amounts) != count:
        raise NetbenchError(
            f"iftop's output has the columns {columns[:100]!r}; it must have {count} amounts in bits or bytes, such as"
            " 95.6Mb"
        )
    return found
