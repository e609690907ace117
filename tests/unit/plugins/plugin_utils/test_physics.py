# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictions from header sizes, against arithmetic done by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import physics
from ansible_collections.netbench.cni.tests.unit import synthetic

THROUGHPUT = "throughput_bits_per_second"


def cluster(name: str, datapath: str | None, mtu: int = 9000, **changes: Any) -> dict[str, Any]:
    pod_mtu = mtu - 50 if datapath == "vxlan" else mtu
    described = {
        "name": name,
        "datapath": datapath,
        "pod_mtu": pod_mtu,
        "node_mtu": mtu,
        "line_rate_bits_per_second": 8e9,
        "line_rate_shared": False,
    }
    return described | changes


def scenario(name: str, **traffic: Any) -> dict[str, Any]:
    described = synthetic.scenario(name)
    return described | {"traffic": described["traffic"] | traffic}


def predict(
    name: str, mtu: int = 9000, changes: dict[str, Any] | None = None, **traffic: Any
) -> dict[str, dict[str, Any]]:
    clusters = cluster("native", "routed", mtu, **(changes or {})), cluster("flannel", "vxlan", mtu, **(changes or {}))
    return {row["metric"]: row for row in physics.predict(scenario(name, **traffic), *clusters)}


@pytest.mark.parametrize(("mtu", "percent"), [(9000, -0.56), (1500, -3.45)])
def test_tcp_through_vxlan_loses_fifty_bytes_a_packet(mtu: int, percent: float) -> None:
    (row,) = predict("pod_to_pod_tcp", mtu).values()
    assert row["relative"] == pytest.approx((mtu - 50 - 52) / (mtu - 52) - 1)
    assert 100 * row["relative"] == pytest.approx(percent, abs=0.005)
    assert (row["scenario"], row["baseline"], row["candidate"]) == ("pod_to_pod_tcp", "native", "flannel")
    assert row["difference"] == row["candidate_value"] - row["baseline_value"]


def test_the_reference_measured_what_headers_cost() -> None:
    """7.92 against 7.96 Gbit/s on NICs of 8 Gbit/s."""
    (row,) = predict("pod_to_pod_tcp").values()
    assert row["baseline_value"] == pytest.approx(7.94e9, rel=0.005)
    assert row["relative"] == pytest.approx(7.92 / 7.96 - 1, abs=0.001)


def test_formula_shows_the_bytes_and_gives_the_number() -> None:
    (row,) = predict("pod_to_pod_tcp").values()
    assert row["formula"] == "(8e+09 · 8898/9014) / (8e+09 · 8948/9014) − 1"
    assert eval(row["formula"].replace("·", "*").replace("−", "-")) == pytest.approx(row["relative"])


def test_udp_over_the_line_rate_loses_what_headers_take() -> None:
    rows = predict("pod_to_pod_udp_over", rate_bits_per_second=8e9)
    native, flannel = 8192 / (8192 + 14 + 20 + 8), 8192 / (8192 + 14 + 20 + 8 + 50)
    assert rows[THROUGHPUT]["baseline_value"] == pytest.approx(8e9 * native)
    assert rows[THROUGHPUT]["relative"] == pytest.approx(flannel / native - 1)
    loss = rows["loss_ratio"]
    assert (loss["baseline_value"], loss["candidate_value"]) == (pytest.approx(1 - native), pytest.approx(1 - flannel))
    assert loss["difference"] == pytest.approx(0.00600, abs=1e-5)
    assert loss["relative"] is None


def test_large_datagrams_are_fragmented_where_the_mtu_is_small() -> None:
    rows = predict("pod_to_pod_udp_over", mtu=1500, rate_bits_per_second=8e9)
    # 8200 bytes in fragments of 1480: 6; through VXLAN, where 1450 leave 1424 in multiples of eight: 6
    native = 8192 / (8200 + 6 * (14 + 20))
    flannel = 8192 / (8200 + 6 * (14 + 20 + 50))
    assert rows["loss_ratio"]["baseline_value"] == pytest.approx(1 - native)
    assert rows["loss_ratio"]["candidate_value"] == pytest.approx(1 - flannel)


def test_a_datagram_that_just_fits_is_not_fragmented() -> None:
    load = physics.load(scenario("pod_to_pod_udp_over", length_bytes=1472), cluster("n", "routed", 1500))
    assert load == physics.Load(1472, 1514)
    load = physics.load(scenario("pod_to_pod_udp_over", length_bytes=1473), cluster("n", "routed", 1500))
    assert load == physics.Load(1473, 1481 + 2 * 34)
    load = physics.load(scenario("pod_to_pod_udp_over", length_bytes=1453, family=6), cluster("n", "routed", 1500))
    assert load == physics.Load(1453, 1461 + 2 * (14 + 40 + 8))


def test_udp_below_the_line_rate_loses_nothing() -> None:
    rows = predict("pod_to_pod_udp_sustainable", rate_bits_per_second=0.925 * 8e9)
    assert rows["loss_ratio"]["difference"] == 0
    assert rows[THROUGHPUT]["relative"] == 0
    assert rows[THROUGHPUT]["candidate_value"] == 0.925 * 8e9


def test_a_shared_line_rate_halves_forwarded_traffic() -> None:
    (far,) = predict("external_tcp_forwarded", changes={"line_rate_shared": True}).values()
    (near,) = predict("external_tcp_local", changes={"line_rate_shared": True}).values()
    assert far["baseline_value"] == pytest.approx(near["baseline_value"] / 2)
    # in as the load balancer sent it, out with VXLAN's header
    assert far["candidate_value"] == pytest.approx(8e9 * 8898 / (8964 + 9014))
    (apart,) = predict("external_tcp_forwarded").values()
    assert apart["baseline_value"] == pytest.approx(near["baseline_value"])


def test_nothing_differs_where_the_pod_network_is_not_crossed() -> None:
    (row,) = predict("node_to_node_tcp").values()
    assert row["relative"] == 0
    (row,) = physics.predict(scenario("pod_to_pod_tcp"), cluster("native", "routed"), cluster("hostgw", "host_gateway"))
    assert row["relative"] == 0


def test_local_traffic_pays_for_the_smaller_mtu_only() -> None:
    (row,) = predict("external_tcp_local").values()
    assert row["relative"] == pytest.approx((8898 / 8964) / (8948 / 9014) - 1)


def test_a_fixed_rate_is_what_both_deliver() -> None:
    (row,) = predict("pod_to_pod_tcp_fixed", rate_bits_per_second=4e9).values()
    assert (row["baseline_value"], row["relative"]) == (4e9, 0)


def test_a_smaller_segment_counts() -> None:
    load = physics.load(scenario("pod_to_pod_tcp", mss_bytes=1000), cluster("flannel", "vxlan"))
    assert load == physics.Load(988, 14 + 20 + 20 + 1000 + 50)
    load = physics.load(scenario("pod_to_pod_tcp", family=6), cluster("native", "routed"))
    assert load == physics.Load(9000 - 72, 9014)


def test_without_a_line_rate_only_the_ratio_of_unlimited_tcp_is_known() -> None:
    unknown = {"line_rate_bits_per_second": None}
    (row,) = predict("pod_to_pod_tcp", changes=unknown).values()
    assert row["relative"] == pytest.approx(8898 / 8948 - 1)
    assert (row["baseline_value"], row["candidate_value"], row["difference"]) == (None, None, None)
    assert predict("pod_to_pod_udp_over", changes=unknown) == {}


@pytest.mark.parametrize(
    "changes",
    [{"datapath": None}, {"datapath": "geneve"}, {"pod_mtu": None}, {"line_rate_bits_per_second": None}],
)
def test_nothing_is_predicted_of_what_is_not_known(changes: dict[str, Any]) -> None:
    candidate = cluster("other", "vxlan") | changes
    assert physics.predict(scenario("pod_to_pod_tcp"), cluster("native", "routed"), candidate) == []


@pytest.mark.parametrize(
    "changes", [{"path": "pod_to_pod_same_node"}, {"path": "pod_to_service"}, {"path": "external_to_load_balancer"}]
)
def test_nothing_is_predicted_where_the_way_is_not_fixed(changes: dict[str, Any]) -> None:
    described = scenario("pod_to_pod_tcp") | changes
    assert physics.predict(described, cluster("native", "routed"), cluster("flannel", "vxlan")) == []


def test_nothing_is_predicted_for_both_directions_at_once() -> None:
    assert predict("pod_to_pod_tcp", direction="bidirectional") == {}
