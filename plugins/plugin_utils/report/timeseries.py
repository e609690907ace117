# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw/<trial>/series.json of all trials → one curve over the blocks for each scenario, cluster and thing measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured

with suppress(ImportError):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Points = tuple[Values, Values]

ROLES = ("client_node", "ingress_node", "server_node")
CPU_KINDS = ("busy", "user", "system", "softirq")
_MOST_POINTS = 120


@dataclass(frozen=True)
class Band:
    """Mean, smallest and largest value over the blocks at the times `t`, seconds since the traffic began."""

    t: Values
    mean: Values
    low: Values
    high: Values


@dataclass
class Curves:
    """The curves of one cluster in one scenario.

    `flow` by throughput, loss and jitter, `cpu` by role and kind, `memory` by role, `nics` by role, NIC and rx or tx.
    The window is from `warmup` to `end`, in seconds since the traffic began.
    """

    warmup: float = 0.0
    end: float = 0.0
    flow: dict[str, Band] = field(default_factory=dict)
    cpu: dict[tuple[str, str], Band] = field(default_factory=dict)
    memory: dict[str, Band] = field(default_factory=dict)
    nics: dict[tuple[str, str, str], Band] = field(default_factory=dict)


def curves(measured: Measured, run_dir: Path, scenario: str, cluster: str) -> Curves | None:
    """The curves over all trials that count; None where no series were kept.

    Raises NetbenchError when a series file is damaged.
    """
    series = [s for s in (_read(run_dir, t["id"]) for t in measured.trials_of(scenario, cluster, "ok")) if s]
    if not series:
        return None
    window = series[0]["window"]
    result = Curves(warmup=float(window["start"]), end=float(window["end"]))
    collected: dict[tuple[str, ...], list[Points]] = {}
    for one in series:
        for key, points in _points(one):
            collected.setdefault(key, []).append(points)
    for key, found in collected.items():
        band = _band(found, result.end)
        if band is None:
            continue
        if key[0] == "flow":
            result.flow[key[1]] = band
        elif key[0] == "cpu":
            result.cpu[key[1], key[2]] = band
        elif key[0] == "memory":
            result.memory[key[1]] = band
        else:
            result.nics[key[1], key[2], key[3]] = band
    return result


def _read(run_dir: Path, trial: str) -> dict[str, Any] | None:
    path = run_dir / "raw" / trial / "series.json"
    try:
        series: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise NetbenchError(f"{path} is damaged ({exc}); remove it and the report is drawn without it") from exc
    return series


def _points(series: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Points]]:
    """Everything in one trial's series under the key of its curve."""
    for name, unit in (("throughput", "bits_per_second"), ("loss", "ratio"), ("jitter", "seconds")):
        if name in series:
            yield ("flow", name), _pair(series[name]["t"], series[name][unit])
    for node in series.get("nodes", {}).values():
        role, t = node["role"], node["t"]
        if role not in ROLES:
            continue
        for kind in CPU_KINDS:
            if kind in node.get("cpu_cores", {}):
                yield ("cpu", role, kind), _pair(t, node["cpu_cores"][kind])
        if "memory_bytes" in node:
            yield ("memory", role), _pair(t, node["memory_bytes"])
        for nic, counters in node.get("nics", {}).items():
            for direction in ("rx", "tx"):
                yield ("nic", role, nic, direction), _pair(t, counters[f"{direction}_bits_per_second"])


def _pair(t: Iterable[float], values: Iterable[float | None]) -> Points:
    return np.asarray(t, dtype=np.float64), np.asarray(values, dtype=np.float64)


def _band(found: list[Points], end: float) -> Band | None:
    """All blocks on one grid from the traffic's beginning to its end, as fine as the first block's own."""
    usable = [(t, values) for t, values in found if len(t) > 1 and len(t) == len(values)]
    if not usable or end <= 0:
        return None
    step = float(np.median(np.diff(usable[0][0])))
    grid = np.linspace(0.0, end, int(np.clip(end / step + 1 if step > 0 else 2, 2, _MOST_POINTS)))
    rows = np.array([np.interp(grid, t, values, left=np.nan, right=np.nan) for t, values in usable])
    covered = ~np.isnan(rows).all(axis=0)
    if covered.sum() < 2:
        return None
    rows = rows[:, covered]
    return Band(grid[covered], np.nanmean(rows, axis=0), np.nanmin(rows, axis=0), np.nanmax(rows, axis=0))
