# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's wires carry, and how much: captures and iperf3."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

LINE_RATE = 500_000_000


def capture(lab: Any, node: str, nic: str, traffic: Any) -> str:
    """What tcpdump sees on a NIC while `traffic()` runs."""
    argv = ["tcpdump", "-l", "-nn", "-i", nic, "-c", "400", "-T", "vxlan", "udp port 8472 or tcp port 5201"]
    with lab.start(node, argv) as process:
        try:
            assert process.stdout
            while "listening on" not in process.stdout.readline():
                assert process.poll() is None
            traffic()
            process.send_signal(signal.SIGINT)
            text, _nothing = process.communicate(timeout=20)
        finally:
            process.kill()
    return str(text)


def received(report: dict[str, Any]) -> float:
    return float(report["end"]["sum_received"]["bits_per_second"])


def test_flannel_encapsulates_on_the_wire(lab: Any) -> None:
    client, server = lab.address("flannel-client"), lab.address("flannel-server-1")
    seen = capture(
        lab, "flannel-w1", "ens3", lambda: lab.iperf3("flannel-client", "flannel-server-1", server, "-b", "5M")
    )
    outer = [line for line in seen.splitlines() if f"IP {lab.address('flannel-w0')}." in line and "VXLAN" in line]
    assert outer
    assert all(f" > {lab.address('flannel-w1')}.8472: VXLAN, flags [I] (0x08), vni 1" in line for line in outer)
    assert any(line.startswith(f"IP {client}.") and f"> {server}.5201" in line for line in seen.splitlines())
    assert not [line for line in seen.splitlines() if line[:1].isdigit() and f"IP {client}." in line]


def test_native_does_not_and_uses_the_pods_nic_alone(lab: Any) -> None:
    client, server = lab.address("native-client"), lab.address("native-server-1")

    def traffic() -> None:
        lab.iperf3("native-client", "native-server-1", server, "-b", "5M")

    seen = capture(lab, "native-w1", "ens5", traffic)
    assert "VXLAN" not in seen
    assert any(f"IP {client}." in line and f"> {server}.5201" in line for line in seen.splitlines())
    assert "IP " not in capture(lab, "native-w1", "ens3", traffic)


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_a_flow_gets_the_line_rate_and_no_more(lab: Any, cluster: str) -> None:
    server = f"{cluster}-server-1"
    rate = received(lab.iperf3(f"{cluster}-client", server, lab.address(server), "-C", "cubic", "-O", "1"))
    assert 0.80 * LINE_RATE < rate < 1.02 * LINE_RATE


@pytest.mark.parametrize("cluster", ["native", "flannel"])
def test_a_shared_line_rate_halves_the_forwarded_flow(lab: Any, cluster: str) -> None:
    local, forwarded = external_rates(lab, cluster)
    assert 0.80 * LINE_RATE < local < 1.02 * LINE_RATE
    assert 0.40 < forwarded / local < 0.60


def test_a_line_rate_for_each_direction_does_not(make_lab: Any) -> None:
    each_way = make_lab(clusters=[{"name": "c", "datapath": "host_gateway", "workers": 2}], line_rate_shared=False)
    each_way.up()
    local, forwarded = external_rates(each_way, "c", "small-")
    assert 0.85 < forwarded / local < 1.15


def external_rates(lab: Any, cluster: str, prefix: str = "") -> tuple[float, float]:
    """iperf3 from the test VM by the load balancer: pod on the ingress node, and pod on another node."""
    rates = {}
    for worker in range(2):
        entry = next(s for s in lab.state["clusters"][cluster]["services"] if s["name"] == f"iperf-{worker}")
        node = f"{prefix}{cluster}-w{worker}"
        for ingress in (f"{prefix}{cluster}-w0", f"{prefix}{cluster}-w1"):
            if (forwarded := ingress != node) not in rates:
                options = ["-p", str(entry["node_port"]), "-C", "cubic", "-O", "1"]
                report = lab.iperf3(f"{prefix}test-vm", entry["backends"][0], lab.address(ingress), *options)
                rates[forwarded] = received(report)
    return rates[False], rates[True]


def test_one_of_two_clusters_may_have_a_slower_line_and_other_offloads(make_lab: Any) -> None:
    clusters = [
        {"name": "a", "datapath": "host_gateway", "workers": 2, "mtu": 1500, "offloads": {"tso": False, "gso": False}},
        {"name": "b", "datapath": "host_gateway", "workers": 2, "line_rate": "50%"},
    ]
    two = make_lab(clusters=clusters, line_rate="200Mbit")
    two.up()
    offloads = two.state["settings"]["offloads"]
    assert offloads["a"] == {key: {"tso": False, "gso": False, "gro": False} for key in ("node", "pod")}
    assert offloads["b"]["pod"] == {"tso": True, "gso": True, "gro": False}
    assert two.state["clusters"]["a"]["pod_mtu"] == 1500
    assert two.state["clusters"]["b"]["line_rate_bits_per_second"] == 100_000_000
    target = two.address("small-b-server-1")
    rate = received(two.iperf3("small-b-client", "small-b-server-1", target, "-C", "cubic", "-O", "1"))
    assert 0.75e8 < rate < 1.05e8


def test_a_calibrated_rate_is_measured_once_and_kept(make_lab: Any) -> None:
    small = make_lab(line_rate="auto")
    started = time.monotonic()
    small.up()
    evidence = small.state["calibration"]
    rate = small.state["line_rate_bits_per_second"]
    assert time.monotonic() - started < 30
    assert evidence["line_rate_bits_per_second"] == rate
    assert 100_000_000 <= rate <= 10_000_000_000
    assert [measured["received_bits_per_second"] > 1e6 for measured in evidence["rounds"]] == [True] * 3
    (bucket,) = json.loads(small.run("small-c-w0", ["tc", "-j", "qdisc", "show", "dev", "line"]))
    assert bucket["options"]["rate"] == rate / 8
    assert not small.up().changed
    small.run("small-c-w0", ["ip", "link", "delete", "flannel.1"])
    assert small.up().changed
    assert small.state["calibration"] == evidence
