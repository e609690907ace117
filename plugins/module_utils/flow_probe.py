# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens many TCP flows, from each source address in turn, sends nothing over them and then closes them all.

Runs on a target as a program of its own; needs Python 3.7 and nothing else.

    flow_probe.py --connect HOST:PORT --flows 240 [--source ADDRESS ...] [--timeout 3]

Prints {"opened": n, "failed": n, "reasons": {why: n}}; a flow that does not come up is counted and no error. No flow is
closed before the last one is up: an iperf3 server whose client leaves shuts its listening socket for a moment, which
would refuse some of the others, while those that wait for it to read from the first are answered by its kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
from collections import Counter
from itertools import cycle, islice

AT_ONCE = 32


async def open_flow(
    host: str, port: int, source: str | None, timeout: float, turn: asyncio.Semaphore
) -> asyncio.StreamWriter | str:
    """Open one flow; returns it, or why it failed."""
    local = None if source is None else (source, 0)
    async with turn:
        try:
            connecting = asyncio.open_connection(host, port, local_addr=local)
            _reader, writer = await asyncio.wait_for(connecting, timeout)
        except asyncio.TimeoutError:  # noqa: UP041 (not the built-in one before Python 3.11)
            return f"no answer within {timeout:g} s"
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        return writer


async def open_flows(host: str, port: int, flows: int, sources: list[str | None], timeout: float) -> dict[str, object]:
    turn = asyncio.Semaphore(AT_ONCE)
    opening = [open_flow(host, port, source, timeout, turn) for source in islice(cycle(sources), flows)]
    results = await asyncio.gather(*opening)
    opened = [result for result in results if not isinstance(result, str)]
    for writer in opened:
        writer.close()
    reasons = Counter(result for result in results if isinstance(result, str))
    return {"opened": len(opened), "failed": flows - len(opened), "reasons": dict(reasons)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connect", required=True, metavar="HOST:PORT")
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--source", action="append", metavar="ADDRESS")
    parser.add_argument("--timeout", type=float, default=3.0)
    options = parser.parse_args(arguments)
    host, _colon, port = options.connect.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--connect {options.connect} must be HOST:PORT")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sources = options.source or [None]
    answer = asyncio.run(open_flows(host.strip("[]"), int(port), options.flows, sources, options.timeout))
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # pylint: disable=ansible-bad-function  # a program of its own, not a module
