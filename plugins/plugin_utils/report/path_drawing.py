# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route as a small SVG: what the packets crossed, with NICs as ports and the pod network's hop as the heavy line.

Drawn lying for wide pages and standing for phones; the page shows the one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ansible_collections.netbench.cni.plugins.plugin_utils.report.external_path import Route, Stop
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts

_BOX, _GAP, _HEIGHT = 172, 96, 88
_LINE = 60
_TALL_BOX, _TALL_GAP, _TALL_HEIGHT = 230, 52, 62
_PORT, _PORT_HEIGHT, _PORT_LETTERS = 46, 18, 8
_POD, _POD_HEIGHT = 112, 26
_MARGIN = 2


@dataclass(frozen=True)
class _Point:
    x: float
    y: float


def lying(route: Route, texts: Texts) -> str:
    """Left to right; the width is that of the stops, about 970 for four."""
    parts = []
    for place, stop in enumerate(route.stops):
        x = _MARGIN + place * (_BOX + _GAP)
        middle = _MARGIN + _LINE
        if place:
            start = _Point(x - _GAP + _reach(route.stops[place - 1], "out"), middle)
            crossed = route.cni_hop == place - 1
            parts.append(_arrow(start, _Point(x - _reach(stop, "in"), middle), crossed))
            if crossed:
                parts.append(_text(_Point(x - _GAP / 2, middle - 16), texts("drawing.cni"), "cni", "middle"))
        parts.append(_box(_Point(x, _MARGIN), _BOX, _HEIGHT))
        parts.append(_text(_Point(x + 12, _MARGIN + 18), texts(f"drawing.{stop.kind}"), "kind"))
        parts.append(_text(_Point(x + 12, _MARGIN + 34), _short(stop.name, 22), "name", full=stop.name))
        parts += _port(_Point(x, middle), stop, "in") + _port(_Point(x + _BOX, middle), stop, "out")
        if stop.pod:
            pill = _Point(x + _BOX - _POD - 12, middle - _POD_HEIGHT / 2)
            parts.append(_arrow(_Point(x + _reach(stop, "in"), middle), _Point(pill.x, middle), False))
            parts.append(_pod(pill, stop.pod))
    width = 2 * _MARGIN + len(route.stops) * (_BOX + _GAP) - _GAP
    return _svg("lying", width, _HEIGHT + 2 * _MARGIN, parts, route, texts)


def standing(route: Route, texts: Texts) -> str:
    """Top to bottom, for pages narrower than the lying one."""
    width = 340
    x, middle, y = (width - _TALL_BOX) / 2, width / 2, float(_MARGIN)
    parts = []
    for place, stop in enumerate(route.stops):
        height = _TALL_HEIGHT + (_POD_HEIGHT + 10 if stop.pod else 0) + (8 if stop.nics else 0)
        if place:
            above = route.stops[place - 1]
            half = _PORT_HEIGHT / 2
            start = y - _TALL_GAP + (half if _ports(above, "out") else 0)
            crossed = route.cni_hop == place - 1
            parts.append(
                _arrow(_Point(middle, start), _Point(middle, y - (half if _ports(stop, "in") else 0)), crossed)
            )
            if crossed:
                parts.append(_text(_Point(middle + 34, y - _TALL_GAP / 2 + 4), texts("drawing.cni"), "cni"))
        top = y + (12 if stop.nics else 4)
        parts.append(_box(_Point(x, y), _TALL_BOX, height))
        parts.append(_text(_Point(middle, top + 18), texts(f"drawing.{stop.kind}"), "kind", "middle"))
        parts.append(_text(_Point(middle, top + 36), _short(stop.name, 28), "name", "middle", full=stop.name))
        parts += _port(_Point(middle, y), stop, "in") + _port(_Point(middle, y + height), stop, "out")
        if stop.pod:
            parts.append(_pod(_Point(middle - _POD / 2, top + 46), stop.pod))
        y += height + _TALL_GAP
    return _svg("standing", width, y - _TALL_GAP + _MARGIN, parts, route, texts)


def _svg(kind: str, width: float, height: float, parts: list[str], route: Route, texts: Texts) -> str:
    label = escape(texts("page.route_label", cluster=route.cluster, path=route.title))
    return (
        f'<svg class="route {kind}" viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _ports(stop: Stop, direction: str) -> str:
    """The NICs by which the packets enter or leave a stop; from where the pod is they do not go on."""
    if direction == "out" and stop.pod:
        return ""
    return "/".join(dict.fromkeys(nic for nic, way in stop.nics if way == direction))


def _reach(stop: Stop, direction: str) -> float:
    """How far a port sticks out of its box."""
    return _port_width(_ports(stop, direction)) / 2


def _port_width(name: str) -> float:
    return max(_PORT, 14 + 6.5 * min(len(name), _PORT_LETTERS)) if name else 0


def _port(at: _Point, stop: Stop, direction: str) -> list[str]:
    name = _ports(stop, direction)
    if not name:
        return []
    width = _port_width(name)
    x, y = at.x - width / 2, at.y - _PORT_HEIGHT / 2
    return [
        f'<rect class="port" x="{x:g}" y="{y:g}" width="{width:g}" height="{_PORT_HEIGHT}" rx="3"/>',
        _text(_Point(at.x, at.y + 4), _short(name, _PORT_LETTERS), "nic", "middle", full=name),
    ]


def _pod(at: _Point, name: str) -> str:
    rect = f'<rect class="pod" x="{at.x:g}" y="{at.y:g}" width="{_POD}" height="{_POD_HEIGHT}" rx="13"/>'
    return rect + _text(_Point(at.x + _POD / 2, at.y + 17), _short(name, 18), "nic", "middle", full=name)


def _box(at: _Point, width: float, height: float) -> str:
    return f'<rect class="box" x="{at.x:g}" y="{at.y:g}" width="{width:g}" height="{height:g}" rx="6"/>'


def _arrow(start: _Point, end: _Point, crossed: bool) -> str:
    """A line with its head at the end; both lie on one horizontal or one vertical."""
    size = 9 if crossed else 6
    kind = "hop crossed" if crossed else "hop"
    if start.y == end.y:
        head = f"{end.x:g},{end.y:g} {end.x - size:g},{end.y - size * 0.6:g} {end.x - size:g},{end.y + size * 0.6:g}"
        line_end = _Point(end.x - size, end.y)
    else:
        head = f"{end.x:g},{end.y:g} {end.x - size * 0.6:g},{end.y - size:g} {end.x + size * 0.6:g},{end.y - size:g}"
        line_end = _Point(end.x, end.y - size)
    line = f'<line x1="{start.x:g}" y1="{start.y:g}" x2="{line_end.x:g}" y2="{line_end.y:g}"/>'
    return f'<g class="{kind}">{line}<polygon points="{head}"/></g>'


def _text(at: _Point, text: str, kind: str, anchor: str = "start", full: str = "") -> str:
    title = f"<title>{escape(full)}</title>" if full and full != text else ""
    return f'<text class="{kind}" x="{at.x:g}" y="{at.y:g}" text-anchor="{anchor}">{title}{escape(text)}</text>'


def _short(name: str, most: int) -> str:
    """Cut in the middle: the ends of generated names tell them apart."""
    if len(name) <= most:
        return name
    return f"{name[: most - most // 2 - 1]}…{name[-(most // 2) :]}"
