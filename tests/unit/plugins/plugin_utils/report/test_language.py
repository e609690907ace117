# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two languages, one report: the same keys, the same places, nothing missing and nothing unused."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.model import PATHS, NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report import language, published

ROOM = Path(language.__file__).parent
SOURCE = "\n".join(path.read_text() for path in [*ROOM.glob("*.py"), *ROOM.glob("templates/*.j2")])
# Names and units that are the same in every language.
SAME = {"zh-CN", "Cluster IP", "Node IP", "Node MTU", "Pod MTU", "OCPU ±", "Pod → Service → Pod", "conntrack"}


def places(text: str) -> set[str]:
    return {name for _text, name, _spec, _conversion in Formatter().parse(text) if name is not None}


def test_both_have_the_same_keys_and_places() -> None:
    english, chinese = (language.load(name) for name in language.LANGUAGES)
    assert english.keys() == chinese.keys()
    assert {key for key in english if places(english[key]) != places(chinese[key])} == set()


def test_the_chinese_is_chinese() -> None:
    told = {key: re.sub(r"\{\w+\}", "", text) for key, text in language.load("zh").items() if text not in SAME}
    words = {key: text for key, text in told.items() if re.search(r"[A-Za-z]{3}", text)}
    left = {key for key, text in words.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert left <= {key for key in left if words[key] in ("Node", "Pod", "Service", "CNI", "CPU")}


@pytest.mark.parametrize("name", language.LANGUAGES)
def test_everything_that_can_be_named_has_a_name(name: str) -> None:
    texts = language.load(name)
    assert {f"metric.{metric}" for metric in METRICS} <= texts.keys()
    assert {f"path.{path}" for path in PATHS} | {f"about.{path}" for path in PATHS} <= texts.keys()
    assert {f"published.{row.key}{end}" for row in published.PUBLISHED for end in ("", "_conclusion")} <= texts.keys()


def test_every_text_that_is_named_exists() -> None:
    texts = language.load("en")
    groups = {key.partition(".")[0] for key in texts}
    named = set(re.findall(r"""["'](\w+\.\w+)["']""", SOURCE))
    assert {key for key in named if key.partition(".")[0] in groups} - texts.keys() - {
        "report.html",
        "path.simplify",
        "path.simplify_threshold",
    } == set()


def test_no_text_is_left_over() -> None:
    """A text is used by its whole key, by its name in a list of names, or by a group that is looked up whole."""
    looked_up = {"metric", "path", "about", "word", "verdict", "role", "status", "drops", "evidence", "published"}
    left = {
        key
        for key in language.load("en")
        if key.partition(".")[0] not in looked_up
        and not re.search(rf"""["']({re.escape(key)}|{key.partition(".")[2]})["']""", SOURCE)
        and not re.search(rf"""["']{key.partition(".")[0]}\.(\w*_)?\{{""", SOURCE)
    }
    assert left == set()


def test_a_text_can_have_a_fallback() -> None:
    texts = language.Texts("en")
    assert texts.known("status_word.ok", "other") == "ok"
    assert texts.known("status_word.lost", "other") == "other"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(NetbenchError, match="language is 'de'; it must be one of en, zh"):
        language.Texts("de")
