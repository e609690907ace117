# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import sampling, series
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_result import Interval, IperfResult
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Scenario, Traffic
from ansible_collections.netbench.cni.plugins.plugin_utils.observation import MachineView, NodeView
from ansible_collections.netbench.cni.tests.unit.spools import BOOT, every, net_dev, spool_lines, stat

BEGAN = BOOT + 101.0
TIMES = every(0.2, 100.0, 104.4)


def sweep(time: float) -> dict[str, Any]:
    """8 Gbit/s into w0's ens3 once the traffic has begun, and out of it to w1's; CPU 0 half busy, CPU 1 idle."""
    moved = 1e9 * max(0.0, time - 101.0)
    return {
        "stat": stat({0: {"system": 0.5, "idle": 0.5}, 1: {"idle": 1.0}}, time),
        "mem": {"MemTotal": 1000, "MemAvailable": 400},
        "net": {
            "w0": net_dev({"lo": {}, "ens3": {"rx_bytes": moved, "tx_bytes": moved}}),
            "w1": net_dev(
                {"lo": {}, "ens3": {"rx_bytes": moved}} | ({"ens5": {"rx_bytes": 5}} if time > 102.1 else {})
            ),
        },
        "snmp": {"w0": "", "w1": ""},
    }


SPOOL = sampling.parse_spool(spool_lines(TIMES, sweep))
MACHINE = MachineView(SPOOL, BEGAN + 1.0, BEGAN + 2.8, BEGAN, BEGAN + 3.0)


def node(name: str = "w0", **changes: Any) -> NodeView:
    plain: dict[str, Any] = {"part": "server_node", "machine": "m", "label": name, "cpus": (0,), "nics": ("ens3",)}
    return NodeView(node=name, **plain | changes)


def scenario(**traffic: Any) -> Scenario:
    return Scenario("s", "pod_to_pod", Traffic(**traffic), "throughput_bits_per_second")


def end(role: str, *intervals: Interval) -> IperfResult:
    return IperfResult(role=role, intervals=intervals)  # type: ignore[arg-type]  # the text is one of two


def seen(start: float, sent: int, **changes: Any) -> Interval:
    plain: dict[str, Any] = {"flow": "forward", "sender": False, "start": start, "end": start + 0.1, "bytes": sent}
    return Interval(**plain | changes)


def build(scene: Scenario, client: IperfResult, server: IperfResult, *views: NodeView) -> dict[str, Any]:
    built = series.build(scene, client, server, views, {"m": MACHINE}, BEGAN)
    assert json.loads(json.dumps(built)) == built
    return built


def test_throughput_is_what_the_receiver_got_at_the_middle_of_each_interval() -> None:
    client = end("client", seen(0.0, 999, sender=True))
    server = end("server", seen(0.0, 1000), seen(0.1, 2000), seen(0.2, 1, omitted=True), seen(0.2, 0, end=0.2))
    built = build(scenario(), client, server)
    assert built["throughput"] == {"t": [0.05, 0.15], "bits_per_second": [80000, 160000]}
    assert "loss" not in built
    assert built["window"] == {"start": 1.0, "end": pytest.approx(2.8)}
    assert built["began"] == BEGAN


def test_in_reverse_the_client_receives() -> None:
    client = end("client", seen(0.0, 1000, flow="reverse"))
    server = end("server", seen(0.0, 7, flow="reverse", sender=True))
    assert build(scenario(direction="reverse"), client, server)["throughput"]["bits_per_second"] == [80000]


def test_both_ways_shows_the_way_to_the_server() -> None:
    client = end("client", seen(0.0, 5, sender=True), seen(0.0, 7, flow="reverse"))
    server = end("server", seen(0.0, 1000), seen(0.0, 9, flow="reverse", sender=True))
    assert build(scenario(direction="bidirectional"), client, server)["throughput"]["bits_per_second"] == [80000]


def test_udp_has_loss_and_jitter_where_they_are_known() -> None:
    server = end(
        "server",
        seen(0.0, 1000, packets=10, lost_packets=1, jitter_seconds=0.001),
        seen(0.1, 0, packets=0, lost_packets=0),
        seen(0.2, 1000, packets=10, lost_packets=-2, jitter_seconds=0.002),
    )
    built = build(scenario(protocol="udp", rate_bits_per_second=1e6), end("client"), server)
    assert built["loss"] == {"t": [0.05, 0.25], "ratio": [0.1, 0.0]}
    assert built["jitter"] == {"t": [0.05, 0.25], "seconds": [0.001, 0.002]}
    assert built["throughput"]["t"] == [0.05, 0.15, 0.25]


def test_a_node_is_shown_between_its_samples_on_the_traffics_clock() -> None:
    shown = build(scenario(), end("client"), end("server"), node())["nodes"]["w0"]
    assert shown["role"] == "server_node"
    assert shown["t"][0] == pytest.approx(-0.9)
    assert shown["t"][-1] == pytest.approx(3.3)
    assert len(shown["t"]) == len(TIMES) - 1
    before = [t < 0 for t in shown["t"]]
    for way in ("rx", "tx"):
        rates = shown["nics"]["ens3"][f"{way}_bits_per_second"]
        assert rates == pytest.approx([0 if early else 8e9 for early in before], rel=1e-6)
    assert shown["cpu_cores"]["busy"] == pytest.approx([0.5] * len(before), abs=0.1)
    assert shown["cpu_cores"]["system"] == pytest.approx([0.5] * len(before), abs=0.1)
    assert set(shown["cpu_cores"]) == {"busy", "user", "system", "softirq", "steal"}
    assert shown["memory_bytes"] == [600 * 1024] * len(before)


def test_what_is_not_the_nodes_own_is_left_out() -> None:
    nodes = build(scenario(), end("client"), end("server"), node(cpus=()), node("w1", part="other", cpus=None))["nodes"]
    assert "cpu_cores" not in nodes["w0"]
    assert "cpu_cores" in nodes["w1"]
    assert "memory_bytes" not in nodes["w0"]
    assert "memory_bytes" not in nodes["w1"]
    assert nodes["w1"]["role"] == "other"


def test_without_known_nics_all_are_shown_also_one_that_came_later() -> None:
    nics = build(scenario(), end("client"), end("server"), node("w1", nics=()))["nodes"]["w1"]["nics"]
    assert set(nics) == {"lo", "ens3", "ens5"}
    assert nics["ens5"]["rx_bits_per_second"][0] == 0
    assert max(nics["ens5"]["rx_bits_per_second"]) == pytest.approx(200)


def test_what_was_written_is_what_was_built(tmp_path: Path) -> None:
    built = build(scenario(), end("client"), end("server", seen(0.0, 1000)), node())
    series.write(tmp_path / "series.json", built)
    assert json.loads((tmp_path / "series.json").read_text()) == built
