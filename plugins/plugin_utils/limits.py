# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix's limits: checked when the matrix is read, judged on the results when the run is over.

A limit on a comparison or a summary is judged with its interval: `held` if the whole interval is on the right side,
`broken` if the whole interval is beyond, else `undecided`, since a run that noisy tells nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ansible_collections.netbench.cni.plugins.plugin_utils import fields, query, units
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import Unit, metric
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Scenario
from ansible_collections.netbench.cni.plugins.plugin_utils.scenarios import check_produced

State = Literal["held", "broken", "undecided"]

_COMPARISON_KEYS = ("name", "scenario", "metric", "candidate", "baseline", "not_lower_than", "not_higher_than")
_SUMMARY_KEYS = ("name", "scenario", "metric", "cluster", "at_least", "at_most")
_EXPRESSION_KEYS = ("name", "jmespath", "message")
_NAMES: dict[Unit, str] = {  # units that humans write as plain numbers
    "count": "events",
    "cores": "cores",
    "cores_per_gbit": "cores per Gbit/s",
    "packets_per_second": "packets/s",
}
_PARSERS: dict[Unit, Callable[[Any, str], float]] = {
    "ratio": units.parse_share,
    "bits_per_second": units.parse_rate,
    "seconds": units.parse_duration,
    "bytes": units.parse_size,
}
_HUMAN: dict[Unit, Callable[[float], str]] = {
    "ratio": units.human_ratio,
    "bits_per_second": units.human_rate,
    "seconds": units.human_seconds,
    "bytes": units.human_bytes,
}


@dataclass(frozen=True)
class Limit:
    """One limit of one of three kinds.

    With `candidate`: a comparison's `relative` (or, for metrics compared by difference, `difference`) must stay between
    `low` and `high`. With `cluster`: so must a summary's mean, in the metric's unit. With `jmespath`: the expression
    over results.json must give true; `message` is said when it does not.
    """

    name: str
    scenario: str | None = None
    metric: str | None = None
    candidate: str | None = None
    cluster: str | None = None
    low: float | None = None
    high: float | None = None
    jmespath: str | None = None
    message: str | None = None


def parse_limits(rows: Any, scenarios: Sequence[Scenario], clusters: Sequence[str]) -> tuple[Limit, ...]:
    """The limits of a matrix with these scenarios and clusters, baseline first.

    Raises NetbenchError for unknown scenarios, metrics and clusters, metrics that a scenario does not produce, wrong
    units, limits that limit nothing, and expressions that are no JMESPath.
    """
    limits: list[Limit] = []
    for index, row in enumerate(fields.items(rows, "matrix.limits")):
        where = f"matrix.limits[{index}]"
        data = {key: value for key, value in fields.mapping(row, where).items() if value is not None}
        name = fields.text(data.get("name"), f"{where}.name")
        if any(limit.name == name for limit in limits):
            raise NetbenchError(f"matrix.limits has the name {name!r} twice; give every limit a name of its own")
        if "jmespath" in data:
            limits.append(_expression(fields.mapping(data, where, _EXPRESSION_KEYS), where))
        elif "cluster" in data:
            limits.append(_on_summary(fields.mapping(data, where, _SUMMARY_KEYS), where, scenarios, clusters))
        else:
            limits.append(_on_comparison(fields.mapping(data, where, _COMPARISON_KEYS), where, scenarios, clusters))
    return tuple(limits)


def limit_as_plain(limit: Limit) -> dict[str, Any]:
    """A limit as it could have been written: numbers in the metric's unit, ratios in per cent."""
    low, high = ("at_least", "at_most") if limit.cluster else ("not_lower_than", "not_higher_than")
    plain = {{"low": low, "high": high}.get(key, key): value for key, value in asdict(limit).items()}
    if limit.metric and _unit(limit) == "ratio":
        plain |= {key: f"{100 * plain[key]:.12g}%" for key in (low, high) if plain[key] is not None}
    return {key: value for key, value in plain.items() if value is not None}


def evaluate(limits: Iterable[Limit], results: Mapping[str, Any]) -> list[dict[str, str]]:
    """Judge every limit on results.json's content; one {"name", "state", "message"} each, in order.

    What was not measured or has no interval is undecided; an expression that fails or gives neither true nor false is
    broken, so that a slip of the pen does not open the gate.
    """
    judged = []
    for limit in limits:
        if limit.jmespath:
            state, message = _judge_expression(limit, results)
        else:
            state, message = _judge_interval(limit, results)
        judged.append({"name": limit.name, "state": str(state), "message": message})
    return judged


def _expression(data: Mapping[str, Any], where: str) -> Limit:
    expression = fields.text(data["jmespath"], f"{where}.jmespath")
    query.check(expression, f"{where}.jmespath")
    message = fields.text(data["message"], f"{where}.message") if "message" in data else None
    return Limit(name=str(data["name"]), jmespath=expression, message=message)


def _on_comparison(
    data: Mapping[str, Any], where: str, scenarios: Sequence[Scenario], clusters: Sequence[str]
) -> Limit:
    candidates = clusters[1:]
    if not candidates:
        raise NetbenchError(f"{where} limits a comparison, but only {clusters[0]} is measured; name a cluster instead")
    if "candidate" not in data and len(candidates) == 1:
        candidate = candidates[0]
    else:
        candidate = fields.choice(data.get("candidate"), f"{where}.candidate", candidates)
    if "baseline" in data:
        fields.choice(data["baseline"], f"{where}.baseline", clusters[:1])
    scenario, name = _measured(data, where, scenarios)
    low, high = _bounds(data, where, "not_lower_than", "not_higher_than", _compared_in(name))
    return Limit(name=str(data["name"]), scenario=scenario, metric=name, candidate=candidate, low=low, high=high)


def _on_summary(data: Mapping[str, Any], where: str, scenarios: Sequence[Scenario], clusters: Sequence[str]) -> Limit:
    cluster = fields.choice(data["cluster"], f"{where}.cluster", clusters)
    scenario, name = _measured(data, where, scenarios)
    low, high = _bounds(data, where, "at_least", "at_most", metric(name).unit)
    return Limit(name=str(data["name"]), scenario=scenario, metric=name, cluster=cluster, low=low, high=high)


def _measured(data: Mapping[str, Any], where: str, scenarios: Sequence[Scenario]) -> tuple[str, str]:
    """The names of a limit's scenario and metric."""
    by_name = {scenario.name: scenario for scenario in scenarios}
    scenario = fields.text(data.get("scenario"), f"{where}.scenario")
    if scenario not in by_name:
        raise NetbenchError(f"{where}.scenario is {scenario!r}, but there is none; {fields.nearest(scenario, by_name)}")
    name = fields.text(data.get("metric", by_name[scenario].primary), f"{where}.metric")
    check_produced(name, by_name[scenario], f"{where}.metric")
    return scenario, name


def _compared_in(name: str) -> Unit:
    """The unit in which a comparison of that metric gives its interval."""
    return "ratio" if metric(name).relative else metric(name).unit


def _unit(limit: Limit) -> Unit:
    """The unit of a limit's bounds."""
    return metric(str(limit.metric)).unit if limit.cluster else _compared_in(str(limit.metric))


def _bounds(
    data: Mapping[str, Any], where: str, low_key: str, high_key: str, unit: Unit
) -> tuple[float | None, float | None]:
    low, high = (_number(data[key], f"{where}.{key}", unit) if key in data else None for key in (low_key, high_key))
    if low is None and high is None:
        raise NetbenchError(f"{where} limits nothing; give {low_key}, {high_key}, or both")
    if low is not None and high is not None and low > high:
        raise NetbenchError(f"{where}.{low_key} is {data[low_key]}, above {high_key} {data[high_key]}; no value fits")
    return low, high


def _number(value: Any, field: str, unit: Unit) -> float:
    """What a human wrote for a value of that unit, in that unit."""
    if unit in _PARSERS:
        return float(_PARSERS[unit](value, field))
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise NetbenchError(f"{field} is {fields.shown(value)}; it must be a number of {_NAMES[unit]}")
    return number


def _judge_expression(limit: Limit, results: Mapping[str, Any]) -> tuple[State, str]:
    expression = str(limit.jmespath)
    try:
        answer = query.search(expression, results, "the expression")
    except NetbenchError as error:
        return "broken", str(error)
    if answer is True:
        return "held", "the expression is true"
    if answer is False:
        return "broken", limit.message or f"the expression is false: {expression}"
    return "broken", f"the expression gives {fields.shown(answer)}, neither true nor false: {expression}"


def _judge_interval(limit: Limit, results: Mapping[str, Any]) -> tuple[State, str]:
    name = str(limit.metric)
    wanted: dict[str, str | None] = {"scenario": limit.scenario, "metric": name}
    wanted |= {"cluster": limit.cluster} if limit.cluster else {"candidate": limit.candidate}
    rows = results["summaries"] if limit.cluster else results["comparisons"]
    row = next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)
    if row is None:
        return "undecided", f"{name} of {limit.scenario} was not measured in this run"
    low, high = row["ci_low"], row["ci_high"]
    if low is None or high is None:
        return "undecided", f"{name} of {limit.scenario} has no interval after {row['n']} trial(s); run more blocks"
    if not limit.cluster and metric(name).relative and row["relative"] is None:
        return "undecided", f"{name} of {limit.scenario} was 0 in a trial, so that it has no relative difference"
    return _placed(low, high, limit, _unit(limit))


def _placed(low: float, high: float, limit: Limit, unit: Unit) -> tuple[State, str]:
    """Where the interval low … high lies against the limit's bounds."""
    interval = f"the interval {_shown(low, unit)} … {_shown(high, unit)}"
    checks = []
    if limit.low is not None:
        checks.append((_shown(limit.low, unit), high < limit.low, low >= limit.low))
    if limit.high is not None:
        checks.append((_shown(limit.high, unit), low > limit.high, high <= limit.high))
    for bound, broken, _held in checks:
        if broken:
            return "broken", f"{interval} lies beyond the limit {bound}"
    for bound, _broken, held in checks:
        if not held:
            return "undecided", f"the run was too noisy to judge: {interval} spans the limit {bound}"
    return "held", f"{interval} keeps the limit {' and '.join(bound for bound, _broken, _held in checks)}"


def _shown(value: float, unit: Unit) -> str:
    human = _HUMAN.get(unit)
    return human(value) if human else f"{value:.4g} {_NAMES[unit]}"
