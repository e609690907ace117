# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Matrix → ordered trials, and which of them may run at the same time.

The order depends on the seed alone. `random.Random` guarantees the sequence of `random()` for a seed across Python
versions, but not that of `shuffle`; so everything is ordered by drawn keys, and a resumed run meets the same plan.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Scenario, Trial

T = TypeVar("T")
MachinesOf = Callable[[Trial], frozenset[str]]


def plan(matrix: Matrix) -> tuple[Trial, ...]:
    """All trials in the order in which they start.

    In each block the scenarios come in random order and the clusters' trials of one scenario are adjacent. Over the
    blocks the order of any two clusters is counterbalanced: with an even number of blocks A comes before B as often as
    B before A, in every scenario; with an odd number once more or less. Scenarios for watching run in the first block
    only. Ids are `b01-<scenario>-<cluster>`, safe as file names.
    """
    stems = _stems(matrix)
    orders = {s.name: _cluster_orders(matrix, s.name) for s in matrix.scenarios}
    width = max(2, len(str(matrix.blocks)))
    trials: list[Trial] = []
    for block in range(1, matrix.blocks + 1):
        for scenario in _scenario_order(matrix, block):
            for cluster in orders[scenario.name][block - 1]:
                id_ = f"b{block:0{width}d}-{stems[scenario.name, cluster]}"
                trials.append(Trial(id=id_, block=block, order=len(trials), cluster=cluster, scenario=scenario))
    return tuple(trials)


def remaining(trials: Iterable[Trial], done_ids: Collection[str]) -> tuple[Trial, ...]:
    """The trials that the journal lacks, in their order; a failed or void trial is journalled and counts as done."""
    return tuple(trial for trial in trials if trial.id not in done_ids)


def seconds(trials: Iterable[Trial], overhead: float = 0.1, machines_of: MachinesOf | None = None) -> float:
    """What the trials will take, each with `overhead` seconds beyond iperf3's own time.

    With `machines_of` the lanes are counted: a trial starts when every earlier one that shares a machine with it has
    ended, which is just what `next_startable` does.
    """
    free: dict[str, float] = {}
    for trial in trials:
        machines = machines_of(trial) if machines_of else frozenset({""})
        start = max((free.get(machine, 0.0) for machine in machines), default=0.0)
        free.update(dict.fromkeys(machines, start + trial.scenario.traffic_seconds + overhead))
    return max(free.values(), default=0.0)


def next_startable(pending: Sequence[Trial], running_machines: Collection[str], machines_of: MachinesOf) -> list[Trial]:
    """The pending trials that may start now, in their order.

    A trial may start when its machines are disjoint from `running_machines` (those of all running trials) and from the
    machines of every earlier pending trial, so that no trial overtakes one that it shares a machine with.
    """
    taken = set(running_machines)
    startable = []
    for trial in pending:
        machines = machines_of(trial)
        if taken.isdisjoint(machines):
            startable.append(trial)
        taken |= machines
    return startable


def _scenario_order(matrix: Matrix, block: int) -> list[Scenario]:
    scenarios = [s for s in matrix.scenarios if block == 1 or s.name not in matrix.watch]
    return _shuffled(scenarios, random.Random(f"{matrix.seed}/block/{block}"))


def _cluster_orders(matrix: Matrix, scenario: str) -> list[tuple[str, ...]]:
    """One order of the clusters for each block.

    The rows of a cyclic Latin square (every cluster once in every place), each followed by its reverse (every pair once
    in either order), in random order over the blocks.
    """
    rng = random.Random(f"{matrix.seed}/clusters/{scenario}")
    first = _shuffled(matrix.clusters, rng)
    orders: list[tuple[str, ...]] = []
    while len(orders) < matrix.blocks:
        turn = (len(orders) // 2) % len(first)
        row = (*first[turn:], *first[:turn])
        orders += [row, row[::-1]]
    return _shuffled(orders[: matrix.blocks], rng)


def _shuffled(values: Iterable[T], rng: random.Random) -> list[T]:
    drawn = [(rng.random(), place, value) for place, value in enumerate(values)]
    return [value for _draw, _place, value in sorted(drawn)]


def _stems(matrix: Matrix) -> dict[tuple[str, str], str]:
    """A file name for every scenario and cluster; those that would be alike get a piece of their hash."""
    pairs = [(scenario.name, cluster) for scenario in matrix.scenarios for cluster in matrix.clusters]
    safe = {pair: re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(pair))[:180] for pair in pairs}
    used = [stem.lower() for stem in safe.values()]
    return {
        pair: stem if used.count(stem.lower()) == 1 else f"{stem}-{hashlib.sha256(repr(pair).encode()).hexdigest()[:8]}"
        for pair, stem in safe.items()
    }
