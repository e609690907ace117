# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far another machine's clock is from ours, by Cristian's algorithm.

F. Cristian, "Probabilistic clock synchronization", Distributed Computing 3 (1989): the reading with the shortest round
trip bounds the offset by half of that round trip.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Executor
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

_ROUNDS = 5


@dataclass(frozen=True)
class ClockOffset:
    """`offset_seconds` is added to a controller time to get the machine's time; it is right within ± uncertainty."""

    offset_seconds: float
    uncertainty_seconds: float

    def as_plain(self) -> dict[str, float]:
        return asdict(self)


def measure(executor: Executor, *, deadline_seconds: float = 10.0) -> ClockOffset:
    """Reads the target's clock a few times and keeps the reading with the shortest round trip.

    Raises NetbenchError when the target's `date` does not print fractions of a second.
    """
    readings = []
    for _round in range(_ROUNDS):
        before = time.time()
        answer = executor.run(["date", "+%s.%N"], deadline_seconds=deadline_seconds)
        after = time.time()
        try:
            there = float(answer.stdout)
        except ValueError:
            raise NetbenchError(
                f"host {executor.host}: 'date +%s.%N' printed '{answer.stdout.strip()}', but seconds with a fraction"
                " are needed to line its clock up with ours (install GNU coreutils there)"
            ) from None
        readings.append(ClockOffset(there - (before + after) / 2, (after - before) / 2))
    return min(readings, key=lambda reading: reading.uncertainty_seconds)
