# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Document → GitHub-flavoured Markdown, for a pull request."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.netbench.cni.plugins.plugin_utils.report.document import Document
from ansible_collections.netbench.cni.plugins.plugin_utils.report.external_path import Route
from ansible_collections.netbench.cni.plugins.plugin_utils.report.html import GLYPHS
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Table

_TEMPLATES = Path(__file__).parent / "templates"
_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def render(document: Document) -> str:
    """The whole report without its charts."""
    text = _environment().get_template("report.md.j2").render(doc=document, t=document.measured.texts, glyphs=GLYPHS)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape(text: str) -> str:
    """Text that Markdown and HTML leave alone: nothing in it is markup, and it stays on its line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\g<0>", text)


def table(tab: Table) -> str:
    """A pipe table."""
    rules = ["---:" if column.kind == "num" else "---" for column in tab.columns]
    rows = [[column.title for column in tab.columns], *tab.rows]
    lines = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join(rules) + " |", *lines[1:]])


def route(found: Route) -> str:
    """A route in one line, the pod network's hop as a double arrow."""
    parts = []
    for place, stop in enumerate(found.stops):
        nics = ", ".join(dict.fromkeys(nic for nic, _direction in stop.nics))
        name = f"**{escape(stop.name)}**" + (f" ({escape(nics)})" if nics else "")
        if place:
            parts.append("⇒" if found.cni_hop == place - 1 else "→")
        parts.append(name)
        if stop.pod:
            parts += ["→", escape(stop.pod)]
    return " ".join(parts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(md=escape, table=table, route=route)
    return environment
