# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters summarize, compare and compare_runs; their documentation stands in the YAML files of the same names.

They import the statistics when they are used: using one filter of a collection loads all its filter files, and SciPy
takes two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import NoneType
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.netbench.cni.plugins.plugin_utils import fields, units
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

_KEYS = ("id", "block", "cluster", "scenario", "status", "metrics")


def summarize(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    from ansible_collections.netbench.cni.plugins.plugin_utils import statistics

    try:
        return [asdict(summary) for summary in statistics.summarize(_checked(trials))]
    except NetbenchError as exc:
        raise AnsibleFilterError(f"netbench.cni.summarize: {exc}") from exc


def compare(
    trials: Sequence[Mapping[str, Any]],
    baseline: str,
    *,
    primaries: Mapping[str, str] | None = None,
    candidates: Sequence[str] | None = None,
    margin: Any = 0.02,
) -> list[dict[str, Any]]:
    from ansible_collections.netbench.cni.plugins.plugin_utils import comparison

    try:
        share = units.parse_share(margin, "margin")
        if share <= 0:
            raise NetbenchError(f"margin is {fields.shown(margin)}; it must be above zero, such as 2%")
        found = comparison.compare(
            _checked(trials),
            baseline=fields.text(baseline, "baseline"),
            primaries=fields.mapping(primaries, "primaries"),
            candidates=None if candidates is None else fields.texts(candidates, "candidates"),
            margin=share,
        )
    except NetbenchError as exc:
        raise AnsibleFilterError(f"netbench.cni.compare: {exc}") from exc
    return [asdict(each) for each in found]


def compare_runs(before: Mapping[str, Any], after: Mapping[str, Any], *, margin: Any = 0.02) -> dict[str, Any]:
    from ansible_collections.netbench.cni.plugins.plugin_utils import comparison, results

    try:
        for name, content in (("the input", before), ("after", after)):
            if not isinstance(content, Mapping) or content.get("schema") != results.SCHEMA:
                raise NetbenchError(
                    f"{name} is not the content of a results.json; it must have schema {results.SCHEMA}"
                )
        compared = comparison.compare_runs(before, after, units.parse_share(margin, "margin"))
    except NetbenchError as exc:
        raise AnsibleFilterError(f"netbench.cni.compare_runs: {exc}") from exc
    return {
        **compared,
        "sentences": [results.run_sentence(each) for each in compared["comparisons"] if each["primary"]],
    }


def _checked(trials: Any) -> list[dict[str, Any]]:
    checked = []
    for index, trial in enumerate(fields.items(trials, "the input")):
        entry = fields.mapping(trial, f"trial {index}")
        missing = [key for key in _KEYS if key not in entry]
        if missing:
            raise NetbenchError(f"trial {index} lacks {', '.join(missing)}; it must be an entry of trials.jsonl")
        metrics = fields.mapping(entry["metrics"], f"trial {index}.metrics")
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float, NoneType)):
                raise NetbenchError(f"trial {index}.metrics.{name} is {fields.shown(value)}; it must be a number")
        checked.append({**entry, "metrics": metrics})
    return checked


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"summarize": summarize, "compare": compare, "compare_runs": compare_runs}
