# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML or variables → the validated matrix: what is measured, how often, and what must hold of the result.

`as_plain` gives the matrix back in the form in which it is written, with everything decided: reading that again gives
the same matrix. docs/matrix.md explains every key.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import endpoints, fields, query, scenarios, units
from ansible_collections.netbench.cni.plugins.plugin_utils.limits import Limit, limit_as_plain, parse_limits
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint, NetbenchError, Scenario

_KEYS = (
    "baseline",
    "clusters",
    "blocks",
    "warmup",
    "window",
    "interval",
    "margin",
    "seed",
    "retries",
    "allow_version_mismatch",
    "void",
    "evidence",
    "defaults",
    "scenarios",
    "limits",
    "select",
)


@dataclass(frozen=True)
class VoidRules:
    """When a trial that ran does not count; all are ratios of 1.

    A sender that offered less than `offered_below` of its rate, a machine from which more than `steal_above` of its CPU
    time was stolen, or whose speed probe ran at less than `speed_below` of its speed when the run began.
    """

    offered_below: float = 0.98
    steal_above: float = 0.05
    speed_below: float = 0.70


@dataclass(frozen=True)
class Evidence:
    """What is looked at beside the scored trials: iftop on every node for `iftop_seconds` in each of `iftop_scenarios`,
    and where `flow_share_flows` flows go (0: no probe)."""

    iftop_scenarios: tuple[str, ...] = ()
    iftop_seconds: float = 3.0
    flow_share_flows: int = 0


@dataclass(frozen=True)
class Matrix:
    """What a run does. `clusters` has the baseline first; `scenarios` are the selected ones, `left_out` the others.

    `intervals` is how often iperf3 reports, in seconds, by scenario; scenarios in `watch` run in the first block only.
    `margin` is the ratio up to which a difference counts as equivalent, `retries` how often a broken trial is repeated.
    """

    baseline: str
    clusters: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    seed: int
    left_out: tuple[Scenario, ...] = ()
    watch: frozenset[str] = frozenset()
    intervals: Mapping[str, float] = field(default_factory=dict)
    blocks: int = 8
    margin: float = 0.02
    retries: int = 2
    allow_version_mismatch: bool = False
    void: VoidRules = VoidRules()
    evidence: Evidence = Evidence()
    limits: tuple[Limit, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.clusters[1:]

    def scenario(self, name: str) -> Scenario:
        """The scenario of that name, selected or left out."""
        for scenario in (*self.scenarios, *self.left_out):
            if scenario.name == name:
                return scenario
        known = [s.name for s in (*self.scenarios, *self.left_out)]
        raise NetbenchError(f"there is no scenario {name}; {fields.nearest(name, known)}")


def parse(
    data: Mapping[str, Any],
    clusters: Mapping[str, Cluster],
    externals: Mapping[str, Endpoint],
    seed: int | None = None,
) -> Matrix:
    """The matrix that `data` (the variable `netbench_matrix`) describes for these clusters.

    `seed` is used where `data` names none: a resumed run passes the one in its run.json; without either one is drawn.
    Raises NetbenchError for everything that could not be measured as written.
    """
    keys = fields.mapping(fields.plain(data, "matrix"), "matrix", _KEYS)
    measured = _clusters(keys, clusters)
    found = scenarios.parse_scenarios(keys, [clusters[name] for name in measured])
    names = [each.scenario.name for each in found]
    chosen = _selected(keys.get("select"), found)
    selected = tuple(each.scenario for each in found if each.scenario.name in chosen)
    for scenario in selected:
        for name in measured:
            endpoints.check(clusters[name], externals, scenario)
    evidence = _evidence(keys.get("evidence"), names, chosen)
    if evidence.flow_share_flows:
        if not externals:
            raise NetbenchError("matrix.evidence.flow_share needs an endpoint with netbench_role external; add one")
        for name in measured:
            endpoints.spread_service(clusters[name])
    drawn = random.SystemRandom().randrange(2**31) if seed is None else seed
    return Matrix(
        baseline=measured[0],
        clusters=measured,
        scenarios=selected,
        left_out=tuple(each.scenario for each in found if each.scenario.name not in chosen),
        watch=frozenset(each.scenario.name for each in found if each.watch),
        intervals={each.scenario.name: each.interval_seconds for each in found},
        seed=fields.integer(drawn if keys.get("seed") is None else keys["seed"], "matrix.seed", 0, 2**63 - 1),
        blocks=fields.integer(keys.get("blocks", Matrix.blocks), "matrix.blocks", 1, 100_000),
        margin=_share(keys.get("margin", Matrix.margin), "matrix.margin"),
        retries=fields.integer(keys.get("retries", Matrix.retries), "matrix.retries", 0, 20),
        allow_version_mismatch=fields.boolean(
            keys.get("allow_version_mismatch", False), "matrix.allow_version_mismatch"
        ),
        void=_void(keys.get("void")),
        evidence=evidence,
        limits=parse_limits(keys.get("limits"), [each.scenario for each in found], measured),
    )


def digest(matrix: Matrix) -> str:
    """SHA-256, in hex, of all that decides the trials and whether they count; not of limits, margin and evidence."""
    decisive = {
        "clusters": matrix.clusters,
        "scenarios": [_scenario_as_plain(matrix, scenario) for scenario in matrix.scenarios],
        "seed": matrix.seed,
        "blocks": matrix.blocks,
        "allow_version_mismatch": matrix.allow_version_mismatch,
        "void": asdict(matrix.void),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def as_plain(matrix: Matrix) -> dict[str, Any]:
    """The matrix as it could have been written: built-in types; bits per second, bytes, seconds, ratios as numbers."""
    return {
        "baseline": matrix.baseline,
        "clusters": list(matrix.clusters),
        "blocks": matrix.blocks,
        "seed": matrix.seed,
        "margin": matrix.margin,
        "retries": matrix.retries,
        "allow_version_mismatch": matrix.allow_version_mismatch,
        "void": asdict(matrix.void),
        "evidence": {
            "iftop": {
                "scenarios": list(matrix.evidence.iftop_scenarios),
                "seconds": matrix.evidence.iftop_seconds,
            },
            "flow_share": {"flows": matrix.evidence.flow_share_flows},
        },
        "scenarios": [_scenario_as_plain(matrix, s) for s in (*matrix.scenarios, *matrix.left_out)],
        "select": [scenario.name for scenario in matrix.scenarios],
        "limits": [limit_as_plain(limit) for limit in matrix.limits],
    }


def _scenario_as_plain(matrix: Matrix, scenario: Scenario) -> dict[str, Any]:
    return scenarios.as_plain(
        scenarios.Parsed(scenario, matrix.intervals[scenario.name], scenario.name in matrix.watch)
    )


def _clusters(keys: Mapping[str, Any], clusters: Mapping[str, Cluster]) -> tuple[str, ...]:
    """The names of the clusters to measure, baseline first."""
    if not clusters:
        raise NetbenchError("netbench_clusters is empty; define at least one cluster")
    names = fields.texts(keys.get("clusters"), "matrix.clusters") or tuple(clusters)
    for name in names:
        if name not in clusters:
            raise NetbenchError(f"matrix.clusters names {name!r}, but there is none; {fields.nearest(name, clusters)}")
        if names.count(name) > 1:
            raise NetbenchError(f"matrix.clusters names {name!r} twice; name every cluster once")
    baseline = names[0] if keys.get("baseline") is None else fields.text(keys["baseline"], "matrix.baseline")
    if baseline not in names:
        raise NetbenchError(
            f"matrix.baseline is {baseline!r}, which is not among the clusters measured; "
            f"{fields.nearest(baseline, names)}"
        )
    return (baseline, *(name for name in names if name != baseline))


def _selected(select: Any, found: list[scenarios.Parsed]) -> set[str]:
    """The names of the scenarios to run; those for watching only when a list names them."""
    usual = [each for each in found if not each.watch]
    if select is None:
        names = {each.scenario.name for each in usual}
    elif isinstance(select, str):
        names = _matching(select, [scenarios.as_plain(each) for each in usual])
    else:
        names = set(fields.texts(select, "matrix.select"))
    known = [each.scenario.name for each in found]
    for name in sorted(names):
        if name not in known:
            raise NetbenchError(f"matrix.select names {name!r}, which is no scenario; {fields.nearest(name, known)}")
    if not names:
        raise NetbenchError("matrix.select leaves no scenario to run; select at least one")
    return names


def _matching(expression: str, normalised: list[dict[str, Any]]) -> set[str]:
    result = query.search(expression, normalised, "matrix.select")
    if isinstance(result, Mapping):
        result = [result]
    names = result or []
    if isinstance(names, list):
        names = [item.get("name") if isinstance(item, Mapping) else item for item in names]
        if all(isinstance(name, str) for name in names):
            return set(map(str, names))
    raise NetbenchError(
        f"matrix.select gives {fields.shown(result)}; the expression must give a list of scenarios or of their names"
    )


def _evidence(value: Any, known: list[str], chosen: set[str]) -> Evidence:
    data = fields.mapping(value, "matrix.evidence", ("iftop", "flow_share"))
    iftop = fields.mapping(data.get("iftop"), "matrix.evidence.iftop", ("scenarios", "seconds"))
    share = fields.mapping(data.get("flow_share"), "matrix.evidence.flow_share", ("flows",))
    names = fields.texts(iftop.get("scenarios"), "matrix.evidence.iftop.scenarios")
    for name in names:
        if name not in known:
            raise NetbenchError(
                f"matrix.evidence.iftop.scenarios names {name!r}, which is no scenario; {fields.nearest(name, known)}"
            )
    seconds = units.parse_duration(iftop.get("seconds", Evidence.iftop_seconds), "matrix.evidence.iftop.seconds")
    if not 1 <= seconds <= 3600:
        raise NetbenchError(f"matrix.evidence.iftop.seconds is {seconds:g} s; it must be 1 s to 3600 s")
    flows = fields.integer(share.get("flows", 0), "matrix.evidence.flow_share.flows", 0, 10_000)
    if 0 < flows < 200:
        raise NetbenchError(f"matrix.evidence.flow_share.flows is {flows}; it must be 200 or more, or 0 for no probe")
    return Evidence(tuple(name for name in names if name in chosen), seconds, flows)


def _void(value: Any) -> VoidRules:
    data = fields.mapping(value, "matrix.void", ("offered_below", "steal_above", "speed_below"))
    return VoidRules(**{key: _share(item, f"matrix.void.{key}") for key, item in data.items()})


def _share(value: Any, field_name: str) -> float:
    share = units.parse_share(value, field_name)
    if not 0 <= share <= 1:
        raise NetbenchError(f"{field_name} is {fields.shown(value)}; it must be from 0 % to 100 %")
    return share
