# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import Numbers


def scenario_titles(scenarios: Sequence[dict[str, Any]], texts: Texts) -> dict[str, str]:
    """Name → title: UDP at 1 Gbit/s (8192-byte datagrams), pod → pod on another node.

    Scenarios that would have the same title have their name behind it.
    """
    titles = {scenario["name"]: _title(scenario, texts) for scenario in scenarios}
    counts = Counter(titles.values())
    return {
        name: title if counts[title] == 1 else texts("traffic.named", title=title, name=name)
        for name, title in titles.items()
    }


def path_title(scenario: dict[str, Any], texts: Texts) -> str:
    path, forwarding = scenario["path"], scenario.get("forwarding")
    usual = texts.known(f"path.{path}", path)
    return texts.known(f"path.{path}_{forwarding}", usual) if forwarding else usual


def _title(scenario: dict[str, Any], texts: Texts) -> str:
    traffic = scenario["traffic"]
    what = str(traffic["protocol"]).upper()
    if traffic.get("rate_bits_per_second"):
        rate = Numbers(texts).setting(traffic["rate_bits_per_second"], "bits_per_second")
        what += " " + texts("traffic.rate", rate=rate)
    extras = []
    if traffic.get("length_bytes"):
        extras.append(texts("traffic.length", bytes=traffic["length_bytes"]))
    if traffic.get("streams", 1) > 1:
        extras.append(texts("traffic.streams", n=traffic["streams"]))
    if traffic.get("direction", "forward") != "forward":
        extras.append(texts(f"traffic.{traffic['direction']}"))
    if traffic.get("family") == 6:
        extras.append("IPv6")
    if extras:
        what += texts("traffic.extras", extras=texts("list.comma").join(extras))
    return texts("traffic.title", traffic=what, path=path_title(scenario, texts))
