# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Scenario, Traffic, Trial
from ansible_collections.netbench.cni.plugins.plugin_utils.plan import next_startable, plan, remaining, seconds


def scenario(name: str, window: float = 1.8) -> Scenario:
    return Scenario(name, "pod_to_pod", Traffic(), "throughput_bits_per_second", window_seconds=window)


def matrix(clusters: int = 2, scenarios: int = 3, blocks: int = 8, seed: int = 1, watch: int = 0) -> Matrix:
    names = tuple(f"c{number}" for number in range(clusters))
    return Matrix(
        baseline=names[0],
        clusters=names,
        scenarios=tuple(scenario(f"s{number}") for number in range(scenarios)),
        seed=seed,
        blocks=blocks,
        watch=frozenset(f"s{number}" for number in range(watch)),
    )


def orders(made: Matrix, name: str) -> list[tuple[str, ...]]:
    """The clusters' order of one scenario, block by block."""
    found: dict[int, list[str]] = {}
    for trial in plan(made):
        if trial.scenario.name == name:
            found.setdefault(trial.block, []).append(trial.cluster)
    return [tuple(found[block]) for block in sorted(found)]


matrices = st.builds(
    matrix, st.integers(1, 5), st.integers(1, 6), st.integers(1, 13), st.integers(0, 2**63 - 1), st.integers(0, 2)
)


@given(matrices)
def test_every_cluster_and_scenario_once_a_block(made: Matrix) -> None:
    trials = plan(made)
    assert len({trial.id for trial in trials}) == len(trials)
    assert [trial.order for trial in trials] == list(range(len(trials)))
    assert [trial.block for trial in trials] == sorted(trial.block for trial in trials)
    found = Counter((trial.block, trial.scenario.name, trial.cluster) for trial in trials)
    expected = {
        (block, each.name, cluster)
        for block in range(1, made.blocks + 1)
        for each in made.scenarios
        for cluster in made.clusters
        if block == 1 or each.name not in made.watch
    }
    assert set(found) == expected
    assert set(found.values()) <= {1}


@given(matrices)
def test_a_scenarios_trials_are_adjacent(made: Matrix) -> None:
    grouped = itertools.groupby(plan(made), key=lambda trial: (trial.block, trial.scenario.name))
    groups = [key for key, _trials in grouped]
    assert len(groups) == len(set(groups))


@given(matrices)
def test_the_order_of_every_pair_is_counterbalanced(made: Matrix) -> None:
    for each in made.scenarios:
        found = orders(made, each.name)
        for first, second in itertools.combinations(made.clusters, 2):
            ahead = sum(order.index(first) < order.index(second) for order in found)
            assert abs(ahead - (len(found) - ahead)) == len(found) % 2


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_every_cluster_comes_in_every_place_equally_often(clusters: int) -> None:
    found = orders(matrix(clusters, blocks=2 * clusters), "s0")
    places = Counter((place, cluster) for order in found for place, cluster in enumerate(order))
    assert set(places.values()) == {2}
    assert len(places) == clusters**2


def test_the_seed_alone_decides() -> None:
    assert plan(matrix(seed=7)) == plan(matrix(seed=7))
    assert plan(matrix(seed=7)) != plan(matrix(seed=8))


def test_the_order_varies() -> None:
    by_seed = [plan(matrix(2, 3, 8, seed)) for seed in range(40)]
    first_scenarios = Counter(trials[0].scenario.name for trials in by_seed)
    first_clusters = Counter(trials[0].cluster for trials in by_seed)
    assert set(first_scenarios) == {"s0", "s1", "s2"}
    assert set(first_clusters) == {"c0", "c1"}
    for trials in by_seed:
        blocks = {tuple(t.scenario.name for t in trials if t.block == b and t.cluster == "c0") for b in range(1, 9)}
        assert len(blocks) > 1, "every block has an order of its own"


def test_a_known_plan_stays_as_it_is() -> None:
    """A run may be resumed with another Python or a later version of this collection: the order must not change."""
    ids = [trial.id for trial in plan(matrix(2, 2, 2, seed=20230818))]
    pairs = ["b01-s1-c0", "b01-s1-c1", "b01-s0-c0", "b01-s0-c1", "b02-s1-c1", "b02-s1-c0", "b02-s0-c1", "b02-s0-c0"]
    assert ids == pairs


def test_ids_are_safe_and_distinct_file_names() -> None:
    made = Matrix(
        baseline="arn:aws/x",
        clusters=("arn:aws/x", "arn:aws_x", "a", "b-a", "CLUSTER"),
        scenarios=(scenario("s"), scenario("s-b"), scenario("S")),
        seed=1,
        blocks=120,
    )
    ids = {trial.id for trial in plan(made)}
    assert len({each.lower() for each in ids}) == 120 * 3 * 5
    assert all(re.fullmatch(r"b\d{3}-[A-Za-z0-9._-]+", each) for each in ids)
    assert "b001-s-CLUSTER" not in ids, "alike where file names have no case"
    assert plan(matrix())[0].id.startswith("b01-s")


def test_watching_happens_once() -> None:
    trials = plan(matrix(2, 2, 4, watch=1))
    assert [trial.block for trial in trials if trial.scenario.name == "s0"] == [1, 1]
    assert sum(trial.scenario.name == "s1" for trial in trials) == 8


def test_remaining_keeps_the_order() -> None:
    trials = plan(matrix())
    done = {trial.id for trial in trials[::3]}
    assert remaining(trials, done) == tuple(trial for trial in trials if trial.id not in done)
    assert remaining(trials, {trial.id for trial in trials}) == ()


def test_the_estimate_counts_lanes() -> None:
    trials = plan(matrix(2, 2, 2))
    assert seconds(trials, overhead=0.5) == pytest.approx(8 * 3.5)
    apart = seconds(trials, 0.5, lambda trial: frozenset({trial.cluster}))
    assert apart == pytest.approx(4 * 3.5), "two clusters on disjoint machines take half"
    assert seconds(trials, 0.5, lambda _: frozenset({"one"})) == pytest.approx(8 * 3.5)
    assert seconds(()) == 0


def simulate(
    trials: tuple[Trial, ...], machines: dict[str, frozenset[str]]
) -> tuple[dict[str, tuple[float, float]], float]:
    """Run the trials as an engine would, asking `next_startable` whenever one has ended; times by trial and in all."""
    pending, running, times, now = list(trials), [], {}, 0.0
    while pending or running:
        busy = {machine for _end, _order, trial in running for machine in machines[trial.id]}
        for trial in next_startable(pending, busy, lambda trial: machines[trial.id]):
            assert busy.isdisjoint(machines[trial.id])
            busy |= machines[trial.id]
            pending.remove(trial)
            end = now + trial.scenario.traffic_seconds
            heapq.heappush(running, (end, trial.order, trial))
            times[trial.id] = (now, end)
        assert running, "something can always start"
        now, _order, _trial = heapq.heappop(running)
    return times, now


@given(st.data())
def test_lanes(data: st.DataObject) -> None:
    sets = st.frozensets(st.sampled_from("abcd"), min_size=1, max_size=3)
    chosen = data.draw(st.lists(st.tuples(sets, st.integers(1, 9)), max_size=14))
    trials = tuple(
        Trial(f"t{order}", 1, order, "c", scenario("s", window=length)) for order, (_need, length) in enumerate(chosen)
    )
    machines = {trial.id: need for trial, (need, _length) in zip(trials, chosen, strict=True)}
    times, wall = simulate(trials, machines)
    assert set(times) == set(machines), "all run"
    for one, other in itertools.combinations(trials, 2):
        if machines[one.id] & machines[other.id]:
            assert times[one.id][1] <= times[other.id][0], "who shares a machine runs one after the other, in order"
    assert wall == pytest.approx(seconds(trials, 0, lambda trial: machines[trial.id]))


def test_a_trial_does_not_overtake_an_earlier_one_that_it_shares_a_machine_with() -> None:
    names = ("wide", "narrow", "free")
    wide, narrow, free = (Trial(name, 1, order, "c", scenario("s")) for order, name in enumerate(names))
    machines = {"wide": frozenset("ab"), "narrow": frozenset("b"), "free": frozenset("c")}
    assert next_startable([wide, narrow, free], {"a"}, lambda trial: machines[trial.id]) == [free]
    assert next_startable([wide, narrow, free], set(), lambda trial: machines[trial.id]) == [wide, free]
    assert next_startable([], set(), lambda trial: machines[trial.id]) == []
