# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Markdown for a pull request, OpenMetrics for Prometheus, the table for a terminal."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ansible_collections.netbench.cni.plugins.plugin_utils.report import markdown, table
from ansible_collections.netbench.cni.tests.unit import synthetic

THREE = {"native": "routed", "flannel": "vxlan", "hostgw": "host_gateway"}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_row_of_a_markdown_table_has_all_its_cells(default: Any) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", default.markdown, re.MULTILINE)
    assert len(blocks) > 15
    for block in blocks:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block


def test_markdown_says_what_the_page_says(default: Any) -> None:
    assert "\n## Verdicts\n" in default.markdown
    assert "flannel is 0." in default.markdown
    assert "⇒ **flannel-w1** (ens3) → flannel-server-1" in default.markdown
    assert default.markdown.count("<details>") == default.markdown.count("</details>") > 5
    assert not re.search(r"\n{3}", default.markdown)


def test_markdown_has_no_markup_from_outside() -> None:
    assert markdown.escape("a|b *c* `d` [e](f) <g> &amp; ~h~\n# i") == (
        r"a\|b \*c\* \`d\` \[e\](f) &lt;g&gt; &amp;amp; \~h\~ # i"
    )
    assert markdown.escape("pod_to_pod") == "pod_to_pod"
    assert markdown.escape("_x_ y") == r"\_x\_ y"


def test_openmetrics_parses_and_has_the_values(default: Any) -> None:
    assert default.openmetrics.endswith("# EOF\n")
    found = samples(default.openmetrics)
    summary = next(s for s in default.results["summaries"] if s["metric"] == "throughput_bits_per_second")
    labels = {"cluster": summary["cluster"], "scenario": summary["scenario"], "stat": "ci_low"}
    assert found["netbench_throughput_bits_per_second", frozenset(labels.items())] == summary["ci_low"]
    assert all(name.startswith("netbench_") for name, _labels in found)
    counts = [
        value for (name, labels), value in found.items() if name == "netbench_trials" and ("status", "ok") in labels
    ]
    assert sum(counts) == sum(trial["status"] == "ok" for trial in default.results["trials"])


def test_openmetrics_tells_one_verdict_for_each_primary(default: Any) -> None:
    found = samples(default.openmetrics)
    told = {labels for (name, labels), value in found.items() if name == "netbench_verdict" and value == 1}
    primaries = [c for c in default.results["comparisons"] if c["primary"]]
    assert len(told) == len(primaries)
    for comparison in primaries:
        keys = ("baseline", "candidate", "scenario", "metric", "verdict")
        assert frozenset((key, comparison[key]) for key in keys) in told


def test_undefined_numbers_are_left_out_of_openmetrics(make: Any) -> None:
    found = samples(make(synthetic.Spec(blocks=1), series=False).openmetrics)
    assert found
    assert all(not math.isnan(value) for value in found.values())


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("datapaths", [THREE, {"native": "routed"}, {"a" * 60: "routed", "集群乙": "vxlan"}])
def test_the_table_is_aligned_and_fits(make: Any, datapaths: dict[str, str], language: str) -> None:
    text = make(synthetic.Spec(blocks=3, datapaths=datapaths, limits=()), language, series=False).table
    lines = text.splitlines()
    assert max(map(table.width, lines)) <= table.WIDTH
    rules = [place for place, line in enumerate(lines) if set(line) == {"-"}]
    assert len(rules) == max(1, len(datapaths) - 1)
    for rule in rules:
        rows = [lines[rule - 1], *lines[rule + 1 : rule + 8]]
        second = {_start_of_second_column(row) for row in rows}
        assert len(second) == 1, rows


def _start_of_second_column(row: str) -> int:
    found = re.match(r"(.*?\S)\s{2,}", row)
    assert found
    return table.width(found.group())


def test_the_table_is_plain_text(make: Any) -> None:
    evil = "\x1b[31mred\x07\u202e"
    text = make(synthetic.Spec(blocks=2, datapaths={"native": "routed", evil: "vxlan"}, limits=()), series=False).table
    assert "red" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


def test_wide_letters_count_twice() -> None:
    assert table.width("a集群e\u0301") == 6
    assert table.cut("集群甲乙", 5) == "集群…"
    assert table.cut("abc", 3) == "abc"
