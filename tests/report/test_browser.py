# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser, on a desk, on a phone, in the dark and on paper: nothing is loaded, nothing spills."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import tempfile
import zlib
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.report import build
from ansible_collections.netbench.cni.tests.unit import synthetic

CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
CSP = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
DARK = "@media screen and (prefers-color-scheme: dark)"
# What spills over the right edge, unless it is inside something that scrolls by itself.
PROBE = """
<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const spilled = [...document.body.querySelectorAll("*")].filter((element) =>
    element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll") && !element.closest("svg"));
  const answer = {
    width,
    scrollWidth: document.documentElement.scrollWidth,
    spilled: spilled.map((element) => element.outerHTML.slice(0, 80)),
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    colour: getComputedStyle(document.body).backgroundColor,
    charts: [...document.querySelectorAll(".chart > svg")].map((svg) => Math.round(svg.getBoundingClientRect().width)),
    smallest: Math.min(...[...document.querySelectorAll(".chart > svg text")].map(
      (text) => text.getBoundingClientRect().height)),
    lying: getComputedStyle(document.querySelector(".lying")).display,
    standing: getComputedStyle(document.querySelector(".standing")).display,
  };
  parent.postMessage(JSON.stringify(answer), "*");
});
</script>
"""
# A window cannot be narrower than 500 pixels; a frame can.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><pre id="probe"></pre>
<script>addEventListener("message", (event) => {{ document.querySelector("pre").textContent = event.data; }});</script>
<iframe src="{name}" width="{width}" height="900" style="border: 0"></iframe>
"""


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = synthetic.write_run(tmp_path_factory.mktemp("browser") / "run", synthetic.Spec(failed=1, void=1))
    report = build.render(results.build(run_dir), run_dir, request.param, ["html"])
    build.write(report, run_dir, ["report.html"])
    return run_dir / "report.html"


def chromium(page: Path, width: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(
            [*CHROMIUM, f"--user-data-dir={profile}", f"--window-size={width},900", *arguments, page.as_uri()],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )


def probed(page: Path, width: int, text: str) -> dict[str, Any]:
    """What the page says of itself when it is laid out at a width; the copy allows the script that asks."""
    copy = page.with_name(f"probe-{width}.html")
    copy.write_text(CSP.sub("", text).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(name=copy.name, width=width), encoding="utf-8")
    dumped = chromium(frame, 1400, "--dump-dom", "--virtual-time-budget=2000").stdout
    found = re.search(r'<pre id="probe">(.+?)</pre>', dumped, re.DOTALL)
    assert found, "the page's script did not run"
    answer: dict[str, Any] = json.loads(unescape(found.group(1)))
    return answer


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("unfolded", [False, True])
def test_nothing_spills_and_nothing_is_loaded(page: Path, width: int, unfolded: bool) -> None:
    text = page.read_text(encoding="utf-8")
    answer = probed(page, width, text.replace("<details>", "<details open>") if unfolded else text)
    assert answer["width"] == width
    assert answer["scrollWidth"] <= width
    assert answer["spilled"] == []
    assert answer["requests"] == []
    assert len(answer["charts"]) > 40
    assert min(answer["charts"]) > 300
    assert answer["smallest"] >= 9
    narrow = width < 700
    assert (answer["lying"] == "none", answer["standing"] == "none") == (narrow, not narrow)


def test_dark_mode_is_dark(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert DARK in text
    assert probed(page, 1280, text)["colour"] == "rgb(255, 255, 255)"
    dark = probed(page, 1280, text.replace(DARK, "@media screen"))["colour"]
    assert max(map(int, re.findall(r"\d+", dark))) < 48


@pytest.mark.parametrize("width", [390, 1280])
def test_it_shows_something_and_complains_of_nothing(page: Path, width: int) -> None:
    picture = page.with_name(f"{width}.png")
    shot = chromium(page, width, f"--screenshot={picture}")
    assert "CONSOLE" not in shot.stderr
    shape, shades = _picture(picture)
    assert shape == (width, 900)
    assert shades > 20


def test_it_prints(page: Path) -> None:
    paper = page.with_name("report.pdf")
    assert "CONSOLE" not in chromium(page, 1280, f"--print-to-pdf={paper}", "--no-pdf-header-footer").stderr
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 8 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 60


def _picture(path: Path) -> tuple[tuple[int, int], int]:
    """Width and height of a PNG, and how many different bytes its pixels have."""
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    place, packed = 8, b""
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind == b"IDAT":
            packed += content[place + 8 : place + 8 + length]
        place += length + 12
    return (width, height), len(set(zlib.decompress(packed)))
