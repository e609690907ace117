# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up runs, rendered whole: results, page, Markdown, OpenMetrics and table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.report import build
from ansible_collections.netbench.cni.tests.unit import synthetic

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Rendered:
    run_dir: Path
    results: dict[str, Any]
    html: str
    markdown: str
    openmetrics: str
    table: str


Make = Callable[..., Rendered]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """make(spec, language="en", series=True, change=None) renders a synthetic run; `change` edits its results first."""

    def rendered(
        spec: synthetic.Spec, language: str = "en", *, series: bool = True, change: Change | None = None
    ) -> Rendered:
        run_dir = synthetic.write_run(tmp_path_factory.mktemp("report") / "run", spec, series=series)
        found = results.build(run_dir)
        if change:
            change(found)
        report = build.render(found, run_dir, language)
        page, text, metrics = (report.files[build.FILES[name]] for name in build.FORMATS)
        return Rendered(run_dir, found, page, text, metrics, report.table)

    return rendered


@pytest.fixture(scope="session")
def default(make: Make) -> Rendered:
    """The default run of the lab, with one failed and two void trials."""
    return make(synthetic.Spec(failed=1, void=2))
