# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole report: what must be in every file, and runs of which parts are missing."""

from __future__ import annotations

import html as html_module
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report import build
from ansible_collections.netbench.cni.tests.unit import synthetic

VOID_TAGS = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = "<img src=x onerror=alert(1)>&\"'`|*_$x^2$"
THREE = {"native": "routed", "flannel": "vxlan", "hostgw": "host_gateway"}


class Page(HTMLParser):
    """Checks nesting and collects what a browser would act upon."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(text: str) -> Page:
    parsed = Page(text)
    assert parsed.open == []
    return parsed


def test_the_page_needs_nothing_else(default: Any) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<script|<link|<iframe|<img", default.html)
    for _tag, attributes in page(default.html).tags:
        assert not {"src", "srcset", "action", "onload", "onerror"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")


def test_links_and_references_lead_somewhere(default: Any) -> None:
    tags = page(default.html).tags
    ids = [attributes["id"] for _tag, attributes in tags if "id" in attributes]
    targets = {attributes["href"] for _tag, attributes in tags if "href" in attributes}
    assert {f"#{section}" for section in ("verdicts", "doubts", "comparison", "scenarios", "path", "trials")} <= targets
    assert not {target for target in targets if (target or "").removeprefix("#") not in ids}
    sections = [identity for identity in ids if identity and not identity.startswith("m")]
    assert len(sections) == len(set(sections))


def test_verdicts_come_first_and_in_words(default: Any) -> None:
    text = page(default.html).text
    assert text.index("is 0.") < text.index("Contents")
    assert re.search(r"flannel is 0\.\d\d % slower than native \(−0\.\d\d … −0\.\d\d %, p < 0\.001, \d pairs\)", text)
    assert "physics predicts −0.56 % for VXLAN's 50 bytes" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_file_says_that_a_lab_is_a_shared_machine(make: Any, language: str) -> None:
    rendered = make(synthetic.Spec(blocks=2), language, series=False)
    words = {"en": "shared machine", "zh": "共用一台机器"}[language]
    assert words in rendered.html
    assert words in rendered.markdown
    assert words in rendered.table
    assert 'shared_machine="true"' in rendered.openmetrics


def test_no_lab_no_banner(make: Any) -> None:
    def elsewhere(found: dict[str, Any]) -> None:
        found["run"]["shared_machine"] = False

    rendered = make(synthetic.Spec(blocks=2), series=False, change=elsewhere)
    assert not any("shared machine" in text.lower() for text in (rendered.html, rendered.markdown, rendered.table))
    assert 'shared_machine="false"' in rendered.openmetrics


def test_failed_and_void_trials_are_listed_with_their_reasons(default: Any) -> None:
    bad = [trial for trial in default.results["trials"] if trial["status"] != "ok"]
    assert {trial["status"] for trial in bad} == {"failed", "void"}
    text = page(default.html).text
    for trial in bad:
        for told in (text, html_module.unescape(default.markdown).replace("\\", "")):
            assert trial["id"] in told
            assert trial["reason"] in told
    assert "112 trials: 109 ok, 1 failed, 2 void" in text
    assert "112 trials: 109 ok, 1 failed, 2 void" in default.table


def test_hostile_names_stay_text(make: Any) -> None:
    def rename(found: dict[str, Any]) -> None:
        found["run"]["where"] = HOSTILE
        found["run"]["conditions"] = {HOSTILE: HOSTILE}
        for trial in found["trials"]:
            trial["reason"] = HOSTILE
            trial["status"] = "failed" if trial["block"] == 1 else trial["status"]
            trial["endpoints"] = dict.fromkeys(trial["endpoints"], HOSTILE)
            if trial["path_trace"]:
                trial["path_trace"] |= dict.fromkeys(("load_balancer", "ingress_node", "serving_pod"), HOSTILE)

    spec = synthetic.Spec(datapaths={"native": "routed", HOSTILE: "vxlan"}, blocks=3, limits=())
    rendered = make(spec, change=rename)
    parsed = page(rendered.html)
    assert not [tag for tag, _attributes in parsed.tags if tag in ("img", "script")]
    assert not [name for _tag, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in parsed.text
    assert not re.search(r"<(?!/?details|/?summary|!)", rendered.markdown)


MISSING = {
    "no_udp_and_no_external_path": synthetic.Spec(blocks=3, scenarios=("node_to_node_tcp", "pod_to_pod_tcp")),
    "no_iftop": synthetic.Spec(blocks=3, scenarios=("pod_to_pod_udp_over", "external_tcp_local"), limits=()),
    "three_clusters": synthetic.Spec(blocks=6, datapaths=THREE),
    "one_cluster": synthetic.Spec(blocks=3, datapaths={"native": "routed"}, limits=()),
    "one_block": synthetic.Spec(blocks=1),
    "one_trial": synthetic.Spec(
        blocks=1, datapaths={"native": "routed"}, scenarios=("pod_to_pod_udp_over",), limits=()
    ),
    "all_failed": synthetic.Spec(blocks=2, failed=28),
    "all_void": synthetic.Spec(blocks=2, void=28),
    "one_scenario_all_failed": synthetic.Spec(blocks=4, scenarios=("pod_to_pod_tcp",), failed=8),
}
EXPECTED = {
    "no_udp_and_no_external_path": ["TCP, pod → pod on another node"],
    "no_iftop": ["UDP at 2 Gbit/s"],
    "three_clusters": ["flannel, hostgw against native", "hostgw and native", "flannel is"],
    "one_cluster": ["One cluster was measured", "throughput 1.9"],
    "one_block": ["in 1 pair; an interval needs two or more"],
    "one_trial": ["1 trial, so no interval"],
    "all_failed": ["trials on native that count: none of 2 (iperf3 on the client: the server has terminated)"],
    "all_void": ["28 void", "steal on bench was 7.1 %"],
    "one_scenario_all_failed": ["no verdict: trials on native that count: none of 4", "8 failed"],
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_left_out_or_said(make: Any, case: str, language: str) -> None:
    rendered = make(MISSING[case], language, series=language == "en")
    text = page(rendered.html).text
    for told in (text, rendered.markdown, rendered.table):
        assert not re.search(r"\bNone\b|\bnan\b|\binf\b|Undefined|\{\w*\}", told)
    if language == "en":
        for words in EXPECTED[case]:
            assert words in text
            assert words in html_module.unescape(rendered.markdown)
    assert rendered.openmetrics.endswith("# EOF\n")


def test_sections_without_content_are_not_there(make: Any) -> None:
    rendered = make(MISSING["no_udp_and_no_external_path"], series=False)
    assert 'id="path"' in rendered.html  # the flow share probe was made
    bare = make(
        synthetic.Spec(blocks=2, scenarios=("node_to_node_tcp",), limits=()), series=False, change=_without_evidence
    )
    assert not re.search(r'(id="|href="#)(path|iftop)"', bare.html)
    alone = synthetic.Spec(blocks=2, datapaths={"native": "routed"}, scenarios=("external_tcp_local",), limits=())
    assert not re.search(r'(id="|href="#)comparison"', make(alone, series=False).html)


def _without_evidence(found: dict[str, Any]) -> None:
    found["run"] |= {"evidence": {}, "flow_share": {}}
    found["expected_means"] = []


def test_without_series_the_trials_are_still_drawn(make: Any) -> None:
    text = page(make(synthetic.Spec(blocks=2), series=False).html).text
    assert "Every trial: throughput, Gbit/s" in text
    assert "no samples were kept" in text
    assert "Throughput, Gbit/s" not in text


def test_rendering_again_gives_the_same_bytes(default: Any) -> None:
    again = build.render(default.results, default.run_dir, "en")
    assert list(again.files.values()) == [default.html, default.markdown, default.openmetrics]
    assert again.table == default.table


def test_the_page_is_small(default: Any) -> None:
    assert len(default.html.encode()) < 3_000_000


def test_colours_are_the_pages(default: Any) -> None:
    body = default.html.split("</style>", 1)[1]
    assert not re.search(r"(?<!&)#[0-9a-f]{6}\b", body)
    assert set(re.findall(r"var\((--\w+)\)", body)) <= set(re.findall(r"(--\w+):", default.html))


def test_only_what_is_asked_for_is_rendered(default: Any) -> None:
    assert set(build.render(default.results, default.run_dir, "en", ["openmetrics"]).files) == {"metrics.prom"}
    assert set(build.render(default.results, default.run_dir, "zh", ["markdown"]).files) == {"report.md"}


def test_files_are_written_whole_and_only_when_they_differ(default: Any, tmp_path: Path) -> None:
    report = build.render(default.results, default.run_dir, "en", ["markdown", "openmetrics"])
    assert build.changed_files(report, tmp_path) == ["report.md", "metrics.prom"]
    build.write(report, tmp_path, ["report.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert build.changed_files(report, tmp_path) == ["metrics.prom"]
    (tmp_path / "report.md").write_text("edited")
    assert build.changed_files(report, tmp_path) == ["report.md", "metrics.prom"]


def test_a_place_that_cannot_be_written_is_named(default: Any, tmp_path: Path) -> None:
    report = build.render(default.results, default.run_dir, "en", ["markdown"])
    (tmp_path / "report.md").mkdir()
    with pytest.raises(NetbenchError, match=r"report\.md cannot be written: .*; free or mend the disk"):
        build.write(report, tmp_path, ["report.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_unknown_formats_and_languages_are_refused(default: Any) -> None:
    with pytest.raises(NetbenchError, match="formats has 'htm'; did you mean html"):
        build.render(default.results, default.run_dir, "en", ["htm"])
    with pytest.raises(NetbenchError, match="language is 'fr'; it must be one of en, zh"):
        build.render(default.results, default.run_dir, "fr")


def test_a_long_run_is_downsampled(tmp_path: Path) -> None:
    spec = synthetic.Spec(blocks=2, scenarios=("pod_to_pod_tcp",), limits=())
    run_dir = synthetic.write_run(tmp_path / "run", spec)
    for path in run_dir.glob("raw/*/series.json"):
        path.write_text(_long_series())
    assert len(build.render(results.build(run_dir), run_dir, "en", ["html"]).files["report.html"]) < 200_000


def test_many_trials_are_not_all_listed(make: Any) -> None:
    spec = synthetic.Spec(blocks=600, scenarios=("pod_to_pod_tcp",), failed=3, limits=())
    rendered = make(spec, series=False)
    assert len(rendered.html) < 800_000
    assert "All 1200 trials" in rendered.html
    assert "200 more rows are in results.csv." in rendered.html
    assert all(trial["id"] in rendered.html for trial in rendered.results["trials"] if trial["status"] == "failed")


def _long_series() -> str:
    t = [i / 5 for i in range(18_000)]
    values = ",".join("1e9" for _moment in t)
    return f'{{"window": {{"start": 1, "end": 3600}}, "throughput": {{"t": {t}, "bits_per_second": [{values}]}}}}'
