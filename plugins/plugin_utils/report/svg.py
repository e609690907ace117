# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""matplotlib → inline SVG: many small panels drawn as one figure, then cut apart so that each can flow with the page.

Colours are written as sentinels and become CSS variables, text stays text, and nothing but the panels' own groups is
kept: the page decides about fonts, dark mode and paper.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

with suppress(ImportError):
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Draw = Callable[[Axes], None]

WIDTH, HEIGHT = 420, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 8, 22
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_POINTS_PER_INCH = 72

CLUSTER_COLOURS = ("#a1000a", "#a1001a", "#a1002a", "#a1003a")
SERIES_COLOURS = ("#a2000a", "#a2001a", "#a2002a", "#a2003a", "#a2004a", "#a2005a")
INK, MUTED, GRID, SHADE = "#a3000a", "#a3001a", "#a3002a", "#a3003a"
_VARIABLES = {
    **{colour: f"var(--c{i})" for i, colour in enumerate(CLUSTER_COLOURS)},
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES_COLOURS)},
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--rule)",
    SHADE: "var(--shade)",
}
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "netbench",
    "axes.unicode_minus": True,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
    "font.size": 10,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}


def css_variable(colour: str) -> str:
    """The CSS variable that stands for one of the colours above."""
    return _VARIABLES[colour]


def draw_panels(draws: Sequence[Draw]) -> list[str]:
    """One inline <svg> for each drawing, all of WIDTH × HEIGHT user units."""
    if not draws:
        return []
    total = HEIGHT * len(draws)
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        # Names may have letters that the font for measuring lacks; the reader's browser draws them with its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH / _POINTS_PER_INCH, total / _POINTS_PER_INCH))
        for place, draw in enumerate(draws):
            bottom = total - (place + 1) * HEIGHT + _BOTTOM
            width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
            axes = figure.add_axes((_LEFT / WIDTH, bottom / total, width / WIDTH, height / total))
            axes.set_gid(f"panel{place}")
            _plain_axes(axes)
            draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg")
    return _cut(text.getvalue(), len(draws))


def _plain_axes(axes: Axes) -> None:
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=GRID, linewidth=0.8, clip_on=False)
    axes.set_axisbelow(True)


def set_scale(axes: Axes, low: float, high: float) -> None:
    """A vertical axis with a few round steps that holds low … high."""
    ticks = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3).tick_values(low, high)
    step = ticks[1] - ticks[0]
    decimals = next((d for d in range(6) if abs(round(step, d) - step) < step * 1e-6), 6)
    inside = [tick for tick in ticks if low - step * 1e-6 <= tick <= high + step * 1e-6]
    axes.set_ylim(low, high)
    axes.set_yticks(inside, labels=[f"{tick:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for tick in inside])


def set_seconds(axes: Axes, end: float) -> None:
    """A horizontal axis from the traffic's beginning to its end."""
    ticks = [tick for tick in MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(0, end) if 0 <= tick <= end]
    axes.set_xlim(0, end)
    axes.set_xticks(ticks, labels=[f"{tick:g} s" if tick == ticks[-1] else f"{tick:g}" for tick in ticks])


def _cut(svg: str, count: int) -> list[str]:
    """The groups panel0, panel1, … of a figure, each in an <svg> of its own."""
    root = ElementTree.fromstring(svg)
    groups = {element.get("id"): element for element in root.iter(f"{_SVG}g")}
    panels = []
    for place in range(count):
        group = groups[f"panel{place}"]
        _tidy(group)
        inner = ElementTree.tostring(group, encoding="unicode")
        inner = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", inner)
        inner = re.sub("#a[123]00[0-5]a", lambda found: _VARIABLES[found.group()], inner)
        panels.append(f'<svg viewBox="0 {place * HEIGHT} {WIDTH} {HEIGHT}" aria-hidden="true">{inner}</svg>')
    return panels


def _tidy(group: ElementTree.Element) -> None:
    """Drop what the page does not need: namespaces, ids without users, fonts, digits beyond a tenth of a unit."""
    for element in group.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        if element.tag == "g":
            element.attrib.pop("id", None)
        if _HREF in element.attrib:
            element.set("href", element.attrib.pop(_HREF))
        for key in ("d", "x", "y", "transform"):
            if key in element.attrib:
                element.set(key, _rounded(element.attrib[key]))
        if element.tag == "text":
            anchor = re.search(r"text-anchor: (\w+)", element.get("style", ""))
            element.attrib.pop("transform", None)
            element.set("style", f"text-anchor: {anchor.group(1) if anchor else 'start'}")


def _rounded(numbers: str) -> str:
    short = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found.group()):.1f}".removesuffix(".0"), numbers)
    return re.sub(r"\s+", " ", short).strip()
