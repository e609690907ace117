# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""results.json → report.html, report.md and metrics.prom beside it, and the table for a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.fields import nearest
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report import html, markdown, openmetrics, table
from ansible_collections.netbench.cni.plugins.plugin_utils.report.document import build_document
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, printable

FILES = {"html": "report.html", "markdown": "report.md", "openmetrics": "metrics.prom"}
FORMATS = tuple(FILES)


@dataclass(frozen=True)
class Report:
    """`files` maps names in the run directory to their content; `table` is for a terminal."""

    files: Mapping[str, str]
    table: str


def render(results: dict[str, Any], run_dir: Path, language: str = "en", formats: Sequence[str] = FORMATS) -> Report:
    """The report in the given formats; nothing is written, and the same results give the same bytes.

    Raises NetbenchError for an unknown language or format and for a damaged series.json.
    """
    for name in formats:
        if name not in FILES:
            raise NetbenchError(f"formats has {name!r}; {nearest(name, FILES)}")
    results = printable(results)
    measured = Measured(results, Texts(language))
    files: dict[str, str] = {}
    if "html" in formats or "markdown" in formats:
        document = build_document(measured)
        if "html" in formats:
            files[FILES["html"]] = html.render(document, run_dir)
        if "markdown" in formats:
            files[FILES["markdown"]] = markdown.render(document)
    if "openmetrics" in formats:
        files[FILES["openmetrics"]] = openmetrics.render(results)
    return Report(files, table.render(measured))


def changed_files(report: Report, run_dir: Path) -> list[str]:
    """The names of the files that are not yet in the run directory as they are in the report."""
    return [name for name, content in report.files.items() if _content(run_dir / name) != content.encode()]


def write(report: Report, run_dir: Path, names: Sequence[str]) -> None:
    """Write these files of the report, each whole or not at all. Raises NetbenchError when that is not possible."""
    for name in names:
        path = run_dir / name
        draft = path.with_name(f".{name}.{os.getpid()}")
        try:
            draft.write_text(report.files[name], encoding="utf-8")
            draft.replace(path)
        except OSError as exc:
            raise NetbenchError(
                f"{path} cannot be written: {exc.strerror}; free or mend the disk and render again"
            ) from exc
        finally:
            draft.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
