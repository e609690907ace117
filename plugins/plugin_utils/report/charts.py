# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of one scenario: the trials one by one, and over time what flowed and what it cost, by cluster."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report import svg
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import scale
from ansible_collections.netbench.cni.plugins.plugin_utils.report.timeseries import ROLES, Band, Curves, curves

with suppress(ImportError):
    import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("", "6 3", "2 2", "8 2 2 2")
_MARKERS = ("o", "D", "s", "^")
_STACK = ("softirq", "system", "user")
_IDLE_SHARE = 0.02


@dataclass(frozen=True)
class Key:
    """An entry of a panel's legend: a line, an area or a dot in a CSS variable's colour."""

    label: str
    colour: str
    shape: str = "line"
    dash: str = ""
    width: float = 2.0


@dataclass(frozen=True)
class Panel:
    title: str
    svg: Markup
    keys: tuple[Key, ...]
    note: str
    first: bool


@dataclass
class _Planned:
    title: str
    draw: svg.Draw
    keys: list[Key] = field(default_factory=list)
    note: str = ""


# Panels that belong side by side.
_Row = list[_Planned]


@dataclass(frozen=True)
class Charts:
    """`notes` says what is not there to be drawn, `memory` whether any node's memory is."""

    panels: tuple[Panel, ...]
    notes: tuple[str, ...]
    memory: bool


def scenario_charts(measured: Measured, run_dir: Path, scenario: Record) -> Charts:
    """All panels of a scenario."""
    texts = measured.texts
    found = {c["name"]: curves(measured, run_dir, scenario["name"], c["name"]) for c in measured.clusters}
    kept = {name: each for name, each in found.items() if each is not None}
    second = "cpu_cores_per_gbit" if scenario["primary"] != "cpu_cores_per_gbit" else "throughput_bits_per_second"
    rows: list[_Row] = [[p for m in (scenario["primary"], second) for p in _distribution(measured, scenario, m)]]
    flow, cpu, memory = _flow(measured, kept), _cpu(measured, kept), _memory(measured, kept)
    rows += [flow[:1] + cpu, flow[1:], memory, _server_cpu(measured, kept), _nics(measured, kept)]
    notes = []
    if kept and not cpu:
        notes.append(texts("chart.no_cpu"))
    if not kept and measured.metrics_of(scenario["name"]):
        notes.append(texts("chart.no_series"))
    planned = [each for row in rows for each in row]
    firsts = {id(row[0]) for row in rows if row}
    drawings = svg.draw_panels([each.draw for each in planned])
    panels = (
        Panel(each.title, Markup(drawing), tuple(each.keys), each.note, id(each) in firsts)
        for each, drawing in zip(planned, drawings, strict=True)
    )
    return Charts(tuple(panels), tuple(notes), bool(memory))


def _distribution(measured: Measured, scenario: Record, name: str) -> _Row:
    """Every trial's value of a metric as a dot, those of one block joined."""
    metric = METRICS[name]
    values = {
        cluster["name"]: {
            trial["block"]: trial["metrics"][metric.name]
            for trial in measured.trials_of(scenario["name"], cluster["name"], "ok")
            if metric.name in trial["metrics"]
        }
        for cluster in measured.clusters
    }
    every = [value for blocks in values.values() for value in blocks.values()]
    if not every:
        return []
    factor, unit = scale(max(every), metric.unit)
    summaries = [measured.summary(cluster, scenario["name"], name) for cluster in values]
    low, high = _zoom([value / factor for value in every], [bound / factor for bound in _bounds(summaries)])

    def draw(axes: Axes) -> None:
        columns = list(values.values())
        for place, (left, right) in enumerate(pairwise(columns)):
            blocks = [block for block in left if block in right]
            # One line with gaps is drawn much faster than a line for each pair.
            across = [x for _block in blocks for x in (place, place + 1, np.nan)]
            along = [y for block in blocks for y in (left[block] / factor, right[block] / factor, np.nan)]
            axes.plot(across, along, color=svg.MUTED, alpha=0.35, linewidth=1, clip_on=False)
        for place, (column, summary) in enumerate(zip(columns, summaries, strict=True)):
            colour, marker = svg.CLUSTER_COLOURS[place % 4], _MARKERS[place % 4]
            dots = [value / factor for value in column.values()]
            axes.plot([place] * len(dots), dots, marker, color=colour, markersize=5, alpha=0.75, clip_on=False)
            if summary and summary["ci_low"] is not None:
                bounds = np.clip([summary["ci_low"] / factor, summary["ci_high"] / factor], low, high)
                axes.plot([place + 0.18] * 2, bounds, color=colour, linewidth=2, clip_on=False)
                mean = summary["mean"] / factor
                axes.plot([place + 0.12, place + 0.24], [mean, mean], color=colour, linewidth=2, clip_on=False)
        svg.set_scale(axes, low, high)
        axes.set_xlim(-0.5, len(columns) - 0.3)
        axes.set_xticks(range(len(columns)), labels=list(values), parse_math=False)

    title = measured.texts("chart.distribution", metric=measured.texts(f"metric.{metric.name}"), unit=unit)
    return [_Planned(title.rstrip(", "), draw)]


def _bounds(summaries: Iterable[Record | None]) -> list[float]:
    known = (s[key] for s in summaries if s for key in ("ci_low", "ci_high"))
    return [value for value in known if value is not None]


def _zoom(values: list[float], bounds: list[float]) -> tuple[float, float]:
    """An axis for all values and, where it costs no more than two thirds of it, their intervals.

    It covers one per cent of the values at least, so that what is alike looks alike.
    """
    low, high = min(values), max(values)
    span = max(high - low, 0.01 * abs(high)) or 1.0
    low = max(min(low, *bounds), low - span) if bounds else low
    high = min(max(high, *bounds), high + span) if bounds else high
    pad = max(0.08 * (high - low), (span - (high - low)) / 2)
    bottom = low - pad if low - pad >= 0 or min(values) < 0 else -0.02 * (high + pad)
    return bottom, high + pad


def _flow(measured: Measured, kept: dict[str, Curves]) -> _Row:
    planned = []
    for name, unit in (("throughput", "bits_per_second"), ("loss", "ratio"), ("jitter", "seconds")):
        bands = {cluster: each.flow[name] for cluster, each in kept.items() if name in each.flow}
        if bands:
            planned.append(_compared(measured, kept, bands, f"chart.{name}", unit))
    return planned


def _cpu(measured: Measured, kept: dict[str, Curves]) -> _Row:
    planned = []
    for role in ("client_node", "ingress_node"):
        bands = {c: each.cpu[role, "busy"] for c, each in kept.items() if (role, "busy") in each.cpu}
        if bands:
            planned.append(_compared(measured, kept, bands, f"chart.{role.removesuffix('_node')}_cpu", "cores"))
    return planned


def _server_cpu(measured: Measured, kept: dict[str, Curves]) -> _Row:
    served = {c: each for c, each in kept.items() if ("server_node", "busy") in each.cpu}
    top = max((_highest(each.cpu["server_node", "busy"]) for each in served.values()), default=0.0)
    return [_stacked(measured, cluster, each, top) for cluster, each in served.items()]


def _memory(measured: Measured, kept: dict[str, Curves]) -> _Row:
    planned = []
    for role in ROLES:
        bands = {c: each.memory[role] for c, each in kept.items() if role in each.memory}
        if bands:
            name = measured.texts(f"role.{role}")
            planned.append(_compared(measured, kept, bands, "chart.memory", "bytes", role=name))
    return planned


def _compared(
    measured: Measured, kept: dict[str, Curves], bands: dict[str, Band], title: str, unit: str, **values: str
) -> _Planned:
    """The clusters' curves in one panel, from zero."""
    top = max(_highest(band) for band in bands.values())
    factor, name = scale(top, unit)
    order = [cluster["name"] for cluster in measured.clusters]

    def draw(axes: Axes) -> None:
        first = kept[next(iter(bands))]
        _window(axes, first)
        for cluster, band in bands.items():
            place = order.index(cluster) % 4
            colour = svg.CLUSTER_COLOURS[place]
            axes.fill_between(
                band.t, band.low / factor, band.high / factor, color=colour, alpha=0.18, linewidth=0, clip_on=False
            )
            axes.plot(
                band.t, band.mean / factor, color=colour, linewidth=1.7, clip_on=False, linestyle=_style(_DASHES[place])
            )
        svg.set_scale(axes, 0.0, 1.08 * top / factor or 1.0)
        svg.set_seconds(axes, first.end)

    places = {cluster: order.index(cluster) % 4 for cluster in bands}
    keys = [Key(c, svg.css_variable(svg.CLUSTER_COLOURS[i]), dash=_DASHES[i]) for c, i in places.items()]
    return _Planned(measured.texts(title, unit=name, **values), draw, keys)


def _stacked(measured: Measured, cluster: str, found: Curves, top: float) -> _Planned:
    """The server node's CPU by kind, with the busy line above."""
    busy = found.cpu["server_node", "busy"]
    kinds = [kind for kind in _STACK if ("server_node", kind) in found.cpu]

    def draw(axes: Axes) -> None:
        _window(axes, found)
        base = np.zeros_like(busy.t)
        for place, kind in enumerate(kinds):
            band = found.cpu["server_node", kind]
            upper = base + np.interp(busy.t, band.t, band.mean)
            axes.fill_between(
                busy.t, base, upper, color=svg.SERIES_COLOURS[place], alpha=0.8, linewidth=0, clip_on=False
            )
            base = upper
        axes.plot(busy.t, busy.mean, color=svg.INK, linewidth=1.7, clip_on=False)
        svg.set_scale(axes, 0.0, 1.08 * max(top, float(base.max())) or 1.0)
        svg.set_seconds(axes, found.end)

    texts = measured.texts
    keys = [Key(texts("chart.busy"), svg.css_variable(svg.INK))]
    for place, kind in reversed(list(enumerate(kinds))):
        keys.append(Key(texts(f"chart.{kind}"), svg.css_variable(svg.SERIES_COLOURS[place]), "area"))
    return _Planned(texts("chart.server_cpu", cluster=cluster), draw, keys)


def _nics(measured: Measured, kept: dict[str, Curves]) -> _Row:
    top = max((_highest(band) for each in kept.values() for band in each.nics.values()), default=0.0)
    return [_nic_panel(measured, cluster, each, top) for cluster, each in kept.items() if each.nics]


def _nic_panel(measured: Measured, cluster: str, found: Curves, top: float) -> _Planned:
    """Rates of the NICs that carry traffic; those that do not are named below."""
    texts = measured.texts
    factor, unit = scale(top, "bits_per_second")
    busy = {key: band for key, band in found.nics.items() if float(band.mean.mean()) > _IDLE_SHARE * top}
    ports = sorted({key[:2] for key in busy}, key=lambda port: (ROLES.index(port[0]), port[1]))
    ordered = sorted(busy, key=lambda key: (ports.index(key[:2]), key[2]))
    # Wide lines below narrow ones: what one node sends and the next receives lies on one another.
    widths = {key: 3.6 - 2.4 * place / max(1, len(ordered) - 1) for place, key in enumerate(ordered)}
    colours = {key: svg.SERIES_COLOURS[ports.index(key[:2]) % 6] for key in ordered}
    dashes = {key: "" if key[2] == "rx" else _DASHES[1] for key in ordered}

    def draw(axes: Axes) -> None:
        _window(axes, found)
        for key in ordered:
            style, rates = _style(dashes[key], widths[key]), busy[key].mean / factor
            axes.plot(busy[key].t, rates, color=colours[key], linewidth=widths[key], linestyle=style, clip_on=False)
        svg.set_scale(axes, 0.0, 1.08 * top / factor or 1.0)
        svg.set_seconds(axes, found.end)

    keys = []
    for key in ordered:
        role, nic, direction = key
        label = texts("chart.nic_in" if direction == "rx" else "chart.nic_out", role=texts(f"role.{role}"), nic=nic)
        keys.append(Key(label, svg.css_variable(colours[key]), dash=dashes[key], width=widths[key]))
    idle = sorted({f"{texts(f'role.{role}')} {nic}" for role, nic, _way in found.nics if (role, nic) not in ports})
    note = texts("chart.nics_idle", nics=texts("list.comma").join(idle)) if idle else ""
    return _Planned(texts("chart.nics", cluster=cluster, unit=unit), draw, keys, note)


def _window(axes: Axes, found: Curves) -> None:
    if found.warmup > 0:
        axes.axvspan(0, found.warmup, color=svg.SHADE, linewidth=0, zorder=0)


def _style(dash: str, width: float = 1.7) -> str | tuple[int, tuple[float, ...]]:
    """matplotlib's line style for an SVG dash pattern; it multiplies dashes by the width."""
    return (0, tuple(float(step) / width for step in dash.split())) if dash else "solid"


def _highest(band: Band) -> float:
    return float(band.high.max())
