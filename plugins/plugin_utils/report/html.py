# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Document and charts → one HTML file that needs nothing else: no script, no font, no image, no request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ansible_collections.netbench.cni.plugins.plugin_utils.report import charts, path_drawing
from ansible_collections.netbench.cni.plugins.plugin_utils.report.document import Document
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import Interval, Verdict

GLYPHS = {"higher": "▲", "lower": "▼", "equivalent": "=", "inconclusive": "?", "none": "–"}
_LIMIT_GLYPHS = {"held": "✓", "broken": "✗", "undecided": "?"}
_TEMPLATES = Path(__file__).parent / "templates"
_LAYOUTS = (path_drawing.lying, path_drawing.standing)
_STRIP_HALF, _MARGIN_PLACE = 100.0, 50.0
# Beyond so many margins an interval is cut off and ends in an arrow.
_MOST_MARGINS = 60.0


@cache
def environment() -> Environment:
    """Templates with everything escaped; a name that a template misspells is an error."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True)
class Strip:
    """An interval on the verdicts' common scale of −100 … 100: linear within ± margin, logarithmic beyond."""

    value: float
    low: float
    high: float
    prediction: float | None
    cut_low: bool
    cut_high: bool


def render(document: Document, run_dir: Path) -> str:
    """The whole page; series.json of the trials under `run_dir` are read for the charts."""
    measured = document.measured
    widest = _widest(document.verdicts)
    strips = {v.key: strip(v.interval, widest) for v in document.verdicts if v.interval}
    drawn = {s["name"]: charts.scenario_charts(measured, run_dir, s) for s in measured.scenarios}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            doc=document,
            t=measured.texts,
            style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
            glyphs=GLYPHS | _LIMIT_GLYPHS,
            sections=_sections(document),
            strips=strips,
            any_prediction=any(each.prediction is not None for each in strips.values()),
            charts=drawn,
            reading=_reading(measured, any(each.memory for each in drawn.values())),
            drawings=[(r, [Markup(draw(r, measured.texts)) for draw in _LAYOUTS]) for r in document.routes],
        )
    )


def _reading(measured: Measured, memory: bool) -> list[str]:
    """How to read the charts, said once for all scenarios."""
    names = ["distribution_note", "band_note", "server_cpu_note"]
    if not memory:
        names.append("no_memory" if measured.shared_machine else "no_memory_cloud")
    return [measured.texts(f"chart.{name}") for name in names]


def _sections(document: Document) -> list[tuple[str, str]]:
    """Ids and titles of the sections that the page has, in its order."""
    present = {
        "comparison": bool(document.comparison),
        "path": bool(document.routes or document.share),
        "iftop": bool(document.iftop),
    }
    names = (
        "verdicts", "doubts", "comparison", "scenarios", "path", "iftop", "topology", "method", "published", "trials"
    )  # fmt: skip
    return [(name, document.measured.texts(f"page.{name}")) for name in names if present.get(name, True)]


def _widest(verdicts: tuple[Verdict, ...]) -> float:
    """The half-width of the common scale, in margins."""
    reaches = (max(abs(v.interval.low), abs(v.interval.high)) / v.interval.margin for v in verdicts if v.interval)
    return min(max(1.25 * max(reaches, default=0.0), 3.0), _MOST_MARGINS)


def strip(interval: Interval, widest: float) -> Strip:
    def place(value: float) -> float:
        margins = min(abs(value) / interval.margin, widest)
        beyond = math.log(margins) / math.log(widest) if margins > 1 else 0.0
        position = _MARGIN_PLACE * min(margins, 1.0) + (_STRIP_HALF - _MARGIN_PLACE) * beyond
        return round(math.copysign(position, value), 1)

    return Strip(
        value=place(interval.value),
        low=place(interval.low),
        high=place(interval.high),
        prediction=None if interval.prediction is None else place(interval.prediction),
        cut_low=interval.low < -widest * interval.margin,
        cut_high=interval.high > widest * interval.margin,
    )
