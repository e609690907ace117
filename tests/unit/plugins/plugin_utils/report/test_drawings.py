# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves over the blocks, panels and the drawing of a route."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.report import charts, html, path_drawing, svg
from ansible_collections.netbench.cni.plugins.plugin_utils.report.external_path import Route, Stop, routes
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts
from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured
from ansible_collections.netbench.cni.plugins.plugin_utils.report.timeseries import curves
from ansible_collections.netbench.cni.plugins.plugin_utils.report.verdicts import Interval
from ansible_collections.netbench.cni.tests.unit import synthetic

SPEC = synthetic.Spec(blocks=3, scenarios=("pod_to_pod_tcp",), limits=())


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured(results.build(synthetic.write_run(tmp_path / "run", SPEC)), Texts("en"))


def overwrite(tmp_path: Path, series: dict[str, dict[str, Any]]) -> Path:
    for trial, content in series.items():
        (tmp_path / "run" / "raw" / trial / "series.json").write_text(json.dumps(content))
    return tmp_path / "run"


def flat(value: float, end: float = 2.0) -> dict[str, Any]:
    t = [i / 10 for i in range(int(10 * end) + 1)]
    sweeps = [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    node = {"role": "server_node", "t": sweeps, "cpu_cores": {"busy": [0.0, *[value] * 5]}, "nics": {}}
    return {
        "window": {"start": 1.0, "end": 2.0},
        "throughput": {"t": t, "bits_per_second": [value] * len(t)},
        "nodes": {"w": node},
    }


def ids(measured: Measured, cluster: str) -> list[str]:
    return [trial["id"] for trial in measured.trials_of("pod_to_pod_tcp", cluster, "ok")]


def test_a_curve_is_mean_and_range_over_the_blocks(measured: Measured, tmp_path: Path) -> None:
    values = dict(zip(ids(measured, "native"), (1e9, 2e9, 6e9), strict=True))
    run_dir = overwrite(tmp_path, {trial: flat(value) for trial, value in values.items()})
    found = curves(measured, run_dir, "pod_to_pod_tcp", "native")
    assert found is not None
    band = found.flow["throughput"]
    assert (found.warmup, found.end) == (1.0, 2.0)
    assert (band.t[0], band.t[-1]) == (0.0, 2.0)
    assert np.allclose(band.mean, 3e9)
    assert np.allclose(band.low, 1e9)
    assert np.allclose(band.high, 6e9)
    assert found.cpu["server_node", "busy"].mean.max() == pytest.approx(3e9)


def test_where_no_block_has_samples_there_is_no_curve(measured: Measured, tmp_path: Path) -> None:
    run_dir = overwrite(tmp_path, {trial: flat(1e9, end=1.5) for trial in ids(measured, "native")})
    found = curves(measured, run_dir, "pod_to_pod_tcp", "native")
    assert found is not None
    assert found.flow["throughput"].t[-1] <= 1.5
    for path in run_dir.glob("raw/*/series.json"):
        path.unlink()
    assert curves(measured, run_dir, "pod_to_pod_tcp", "native") is None


def test_a_damaged_series_is_named(measured: Measured, tmp_path: Path) -> None:
    trial = ids(measured, "flannel")[0]
    (tmp_path / "run" / "raw" / trial / "series.json").write_text('{"window"')
    with pytest.raises(NetbenchError, match=rf"{trial}/series\.json is damaged .*; remove it"):
        curves(measured, tmp_path / "run", "pod_to_pod_tcp", "flannel")


def test_the_panels_of_a_scenario(measured: Measured, tmp_path: Path) -> None:
    drawn = charts.scenario_charts(measured, tmp_path / "run", measured.scenarios[0])
    titles = [panel.title for panel in drawn.panels]
    assert titles == [
        "Every trial: throughput, Gbit/s",
        "Every trial: CPU cores per Gbit/s",
        "Throughput, Gbit/s",
        "CPU of the client node, cores",
        "CPU of the server node by kind, native, cores",
        "CPU of the server node by kind, flannel, cores",
        "NICs, native, Gbit/s",
        "NICs, flannel, Gbit/s",
    ]
    assert not drawn.memory
    overlaid = drawn.panels[2].keys
    assert [key.label for key in overlaid] == ["native", "flannel"]
    assert len({key.colour for key in overlaid}) == len({key.dash for key in overlaid}) == 2


def test_memory_is_drawn_where_it_was_measured(measured: Measured, tmp_path: Path) -> None:
    content = flat(1e9)
    content["nodes"]["w"]["memory_bytes"] = [4e9] * 6
    drawn = charts.scenario_charts(
        measured, overwrite(tmp_path, dict.fromkeys(ids(measured, "native"), content)), measured.scenarios[0]
    )
    assert drawn.memory
    assert "Memory in use, server node, GB" in [panel.title for panel in drawn.panels]


def test_idle_nics_are_named_and_not_drawn(measured: Measured, tmp_path: Path) -> None:
    content = flat(1e9)
    rates = {"rx_bits_per_second": [1e9] * 6, "tx_bits_per_second": [1e6] * 6}
    idle = {"rx_bits_per_second": [100.0] * 6, "tx_bits_per_second": [0.0] * 6}
    content["nodes"]["w"]["nics"] = {"ens5": rates, "ens3": idle}
    run_dir = overwrite(tmp_path, dict.fromkeys(ids(measured, "native"), content))
    panel = next(
        p
        for p in charts.scenario_charts(measured, run_dir, measured.scenarios[0]).panels
        if p.title == "NICs, native, Gbit/s"
    )
    assert [key.label for key in panel.keys] == ["server node ens5 in"]
    assert panel.note == "Idle: server node ens3."


def test_panels_are_cut_apart_with_text_as_text() -> None:
    def line(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=svg.CLUSTER_COLOURS[0])

    def words(axes: Axes) -> None:
        axes.set_xticks([0], labels=["集群 <b> $x^2$"], parse_math=False)

    first, second = svg.draw_panels([line, words])
    for panel in (first, second):
        ElementTree.fromstring(panel)
    assert "var(--c0)" in first
    assert "var(--c0)" not in second
    assert "集群 &lt;b&gt; $x^2$" in second
    assert first.startswith(f'<svg viewBox="0 0 {svg.WIDTH} {svg.HEIGHT}"')
    assert second.startswith(f'<svg viewBox="0 {svg.HEIGHT} {svg.WIDTH} {svg.HEIGHT}"')


def route(*, crossed: bool) -> Route:
    client, balancer = Stop("client", "test-vm"), Stop("load_balancer", "nlb<1>")
    if not crossed:
        serving = Stop("ingress_and_serving_node", "w0", (("ens3", "in"),), "pod-0")
        return Route("native", "local", (client, balancer, serving), None, 8, 8, "")
    ingress = Stop("ingress_node", "w0", (("ens3", "in"), ("ens3", "out")))
    serving = Stop("serving_node", "w1", (("ens5", "in"),), "a-pod-with-a-very-long-name-8vvm9")
    return Route("native", "forwarded", (client, balancer, ingress, serving), 2, 8, 8, "")


@pytest.mark.parametrize("draw", [path_drawing.lying, path_drawing.standing])
def test_the_pod_networks_hop_is_marked_and_only_it(draw: Any) -> None:
    drawing = draw(route(crossed=True), Texts("en"))
    root = ElementTree.fromstring(drawing)
    hops = [group.get("class") for group in root.iter("g")]
    between = hops[:3] if draw is path_drawing.lying else hops
    assert [hop for hop in hops if hop == "hop crossed"] == ["hop crossed"]
    assert between[2] == "hop crossed"
    words = [text.text or "" for text in root.iter("text")] + [title.tail or "" for title in root.iter("title")]
    assert words.count("ens3") == 2
    assert words.count("ens5") == 1
    assert "nlb<1>" in words
    assert "pod network" in words
    assert any(word.endswith("-8vvm9") and "…" in word for word in words)
    assert "hop crossed" not in draw(route(crossed=False), Texts("en"))


def test_routes_come_from_the_traces(tmp_path: Path) -> None:
    spec = synthetic.Spec(blocks=3, scenarios=("external_tcp_forwarded", "external_tcp_local"), limits=())
    found = results.build(synthetic.write_run(tmp_path / "run", spec, series=False))
    odd = next(t for t in found["trials"] if t["cluster"] == "flannel" and t["scenario"] == "external_tcp_forwarded")
    odd["path_trace"]["serving_pod"] = "flannel-server-2"
    native, flannel, *local = routes(Measured(found, Texts("en")))
    assert [stop.name for stop in native.stops] == ["test-vm", "nlb-native", "native-w0", "native-w1"]
    assert native.stops[-1].nics == (("ens5", "in"),)
    assert (native.cni_hop, native.count, native.total) == (2, 3, 3)
    assert (flannel.stops[-1].pod, flannel.count, flannel.total) == ("flannel-server-1", 2, 3)
    assert re.match(
        r"99\d Mbit/s arrived; the ingress node's NICs carried .* in and .* out", native.rates.replace("\xa0", " ")
    )
    assert [(r.cni_hop, len(r.stops)) for r in local] == [(None, 3), (None, 3)]


def test_strips_share_a_scale_on_which_the_margin_is_fixed() -> None:
    found = html.strip(Interval(-0.01, -0.02, 0.04, 0.02, 0.0), widest=10.0)
    assert (found.value, found.low, found.prediction) == (-25.0, -50.0, 0.0)
    assert 50 < found.high < 100
    assert not found.cut_low
    beyond = html.strip(Interval(1.0, -5.0, 9.0, 0.02, None), widest=10.0)
    assert (beyond.low, beyond.high, beyond.cut_low, beyond.cut_high) == (-100.0, 100.0, True, True)
