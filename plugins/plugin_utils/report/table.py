# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison as a plain text table for a terminal, at most 100 columns wide."""

from __future__ import annotations

import unicodedata

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.report.findings import health_sentence
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import MINUS, NONE, SPACE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import shown_effect

WIDTH = 100
_GAP = "  "


def render(measured: Measured) -> str:
    """Scenario by scenario what decides it: the means, the difference with its interval, the verdict."""
    texts = measured.texts
    heads = {name: texts(f"table_text.{name}") for name in ("scenario", "difference", "interval", "verdict")}
    lines = []
    for candidate in measured.candidates:
        titles = [heads["scenario"], f"{measured.baseline} → {candidate}"]
        titles += [heads[name] for name in ("difference", "interval", "verdict")]
        lines += _ruled([titles, *(_compared(measured, scenario, candidate) for scenario in measured.scenarios)])
    if not lines:
        titles = [heads["scenario"], measured.baseline, heads["interval"]]
        lines = _ruled([titles, *(_alone(measured, scenario) for scenario in measured.scenarios)])
    lines.append(cut(health_sentence(measured), WIDTH))
    if measured.shared_machine:
        lines.append(cut(texts("table_text.lab"), WIDTH))
    return "\n".join(lines)


def _compared(measured: Measured, scenario: Record, candidate: str) -> list[str]:
    comparison = measured.comparison(candidate, scenario["name"], scenario["primary"])
    pair = [measured.mean(cluster, scenario["name"], scenario["primary"]) for cluster in (measured.baseline, candidate)]
    values = _values(measured, pair, METRICS[scenario["primary"]].unit, " → ")
    if comparison is None:
        return [scenario["name"], values, NONE, NONE, measured.texts("word.none")]
    difference, interval = shown_effect(comparison, measured.short)
    unit = difference.lstrip(f"+{MINUS}0123456789.") if interval != NONE else ""
    word = measured.texts(f"word.{comparison['verdict'] if comparison['ci_low'] is not None else 'none'}")
    return [scenario["name"], values, difference, interval.removesuffix(unit), word]


def _alone(measured: Measured, scenario: Record) -> list[str]:
    unit = METRICS[scenario["primary"]].unit
    summary = measured.summary(measured.baseline, scenario["name"], scenario["primary"])
    if summary is None:
        return [scenario["name"], NONE, NONE]
    mean = _values(measured, [summary["mean"]], unit, "")
    return [scenario["name"], mean, _values(measured, [summary["ci_low"], summary["ci_high"]], unit, " … ")]


def _values(measured: Measured, values: list[float | None], unit: str, between: str) -> str:
    text = measured.short.together(values, unit, between)
    per_gbit = unit == "cores_per_gbit" and text != NONE
    return f"{text} {measured.texts('table_text.cores_per_gbit')}" if per_gbit else text


def width(text: str) -> int:
    """Columns that a terminal uses: two for wide letters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, columns: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows of equal length as lines; the first columns give way when the line would be too long."""
    cells = [[cell.replace(SPACE, " ") for cell in row] for row in rows]
    widths = [max(width(cell) for cell in column) for column in zip(*cells, strict=True)]
    for column in (0, 1):
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
        if excess > 0:
            widths[column] = max(8, widths[column] - excess)
    lines = []
    for row in cells:
        fitted = (cut(cell, columns) for cell, columns in zip(row, widths, strict=True))
        padded = (cell + " " * (columns - width(cell)) for cell, columns in zip(fitted, widths, strict=True))
        lines.append(cut(_GAP.join(padded).rstrip(), WIDTH))
    return lines


def _ruled(rows: list[list[str]]) -> list[str]:
    """The first row is a head with a rule below it, as wide as the rest."""
    head, *lines = _aligned(rows)
    return [head, "-" * max(map(width, [head, *lines])), *lines]
