# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's connection tracking table as plain data: which address and port each flow was translated to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

# Both families; the tool, unlike the file, lists one family at a time and does not pass a failure on as empty text.
READ_COMMAND = (
    "if [ -r /proc/net/nf_conntrack ]; then cat /proc/net/nf_conntrack;"
    " else conntrack -L -o extended && conntrack -L -f ipv6 -o extended; fi"
)
_ENTRY = re.compile(
    r"(?:ipv[46]\s+\d+\s+)?(?P<protocol>\S+)\s+\d+\s+(?:(?P<timeout>\d+)\s+)?(?:(?P<state>[A-Z]\w*)\s+)?"
    r"src=(?P<src>\S+)\s+dst=(?P<dst>\S+)\s(?P<rest>.*)",
    re.ASCII,
)
_PORTS = r"sport=(\d{1,5}) dport=(\d{1,5})\b"
_TUPLES = re.compile(rf"{_PORTS}.*? src=(\S+) dst=(\S+) {_PORTS}(?:.*? mark=(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Tuple:
    """Addresses and ports of one direction, addresses in their canonical text form."""

    src: str
    dst: str
    sport: int
    dport: int


@dataclass(frozen=True)
class Flow:
    """One tracked flow: `original` as the opener sent it, `reply` as the answer comes back.

    `reply.src` is therefore who really serves, `reply.dst` whom it believes to talk to. `state` is None where the
    protocol has none (UDP); `timeout_seconds` is what remains until the entry is dropped.
    """

    protocol: str
    original: Tuple
    reply: Tuple
    state: str | None = None
    mark: int | None = None
    timeout_seconds: int | None = None


def parse(text: str) -> list[Flow]:
    """Read the text of /proc/net/nf_conntrack or of `conntrack -L`, with or without `-o extended`.

    Flows of protocols without ports (ICMP, GRE, …) are left out. Raises NetbenchError for a line that is neither.
    """
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("conntrack v"))
    return [flow for flow in map(_flow, lines) if flow is not None]


def _flow(line: str) -> Flow | None:
    entry = _ENTRY.match(line.strip())
    try:
        if entry is None:
            raise ValueError("not an entry")
        tuples = _TUPLES.match(entry["rest"])
        if tuples is None:
            if entry["rest"].startswith("sport="):
                raise ValueError("ports without a reply")
            return None
        sport, dport, reply_src, reply_dst, reply_sport, reply_dport, mark = tuples.groups()
        return Flow(
            protocol=entry["protocol"],
            original=_tuple(entry["src"], entry["dst"], sport, dport),
            reply=_tuple(reply_src, reply_dst, reply_sport, reply_dport),
            state=entry["state"],
            mark=None if mark is None else int(mark),
            timeout_seconds=None if entry["timeout"] is None else int(entry["timeout"]),
        )
    except ValueError as exc:
        raise NetbenchError(
            f"{line[:120]!r} is no line of a connection tracking table; give the text of nf_conntrack or conntrack -L"
        ) from exc


def _tuple(src: str, dst: str, sport: str, dport: str) -> Tuple:
    return Tuple(str(ip_address(src)), str(ip_address(dst)), int(sport), int(dport))
