# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_metrics import metrics, metrics_of, window
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_result import Interval, IperfResult, parse
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Direction, NetbenchError, Traffic

FIXTURES = Path(__file__).parents[2] / "fixtures" / "iperf3"


def output(name: str) -> str:
    return (FIXTURES / f"{name}.json").read_text(encoding="utf-8")


def of(name: str, start: float, end: float, direction: Direction = "forward") -> dict[str, float]:
    client, server = parse(output(f"{name}.client")), parse(output(f"{name}.server"))
    return metrics(Traffic(direction=direction), client, server, start, end)


def tenths(values: list[int], *, late: float = 0.0) -> IperfResult:
    """A server that received so many bytes in each tenth of a second, its timer `late`."""
    intervals = [
        Interval("forward", sender=False, start=i / 10 + late, end=(i + 1) / 10 + late, bytes=value)
        for i, value in enumerate(values)
    ]
    return IperfResult(role="server", intervals=tuple(intervals))


def test_a_window_is_made_of_the_intervals_inside_it() -> None:
    found = window(tenths([9, 1, 2, 3, 9]), 0.1, 0.4, "forward")
    assert found is not None
    assert (found.bytes, found.start, found.end) == (6, 0.1, 0.4)
    assert found.bits_per_second == pytest.approx(6 * 8 / 0.3)


def test_timers_that_are_late_by_a_few_milliseconds_do_not_cost_an_interval() -> None:
    late = window(tenths([9, 1, 2, 3, 9], late=0.004), 0.1, 0.4, "forward")
    assert late is not None
    assert late.bytes == 6
    later = window(tenths([9, 1, 2, 3, 9], late=0.02), 0.1, 0.4, "forward")
    assert later is not None
    assert (later.bytes, later.seconds) == (3, pytest.approx(0.2))


def test_an_empty_window_is_nothing_and_not_zero() -> None:
    assert window(tenths([1, 2, 3]), 5, 6, "forward") is None
    assert window(tenths([1, 2, 3]), 0, 1, "reverse") is None


def test_tcp_in_a_window() -> None:
    found = of("3.12-tcp", 1.0, 1.8)
    assert set(found) == {"throughput_bits_per_second", "offered_bits_per_second", "retransmits", "rtt_seconds"}
    server = json.loads(output("3.12-tcp.server"))["intervals"][10:18]
    received = sum(interval["sum"]["bytes"] for interval in server)
    lasted = server[-1]["sum"]["end"] - server[0]["sum"]["start"]
    assert found["throughput_bits_per_second"] == pytest.approx(received * 8 / lasted)
    assert found["offered_bits_per_second"] == pytest.approx(5e8, rel=0.01)
    rtts = [interval["streams"][0]["rtt"] for interval in json.loads(output("3.12-tcp.client"))["intervals"][10:18]]
    assert found["rtt_seconds"] == pytest.approx(sum(rtts) / len(rtts) / 1e6)
    assert found["retransmits"] == 0


def test_udp_is_what_was_received() -> None:
    found = of("3.12-udp_lossy", 0.2, 0.8)
    sums = [interval["sum"] for interval in json.loads(output("3.12-udp_lossy.server"))["intervals"][2:8]]
    lost, packets = sum(s["lost_packets"] for s in sums), sum(s["packets"] for s in sums)
    assert found["loss_ratio"] == pytest.approx(lost / packets)
    assert found["loss_ratio"] > 0.2
    assert found["packets_per_second"] == pytest.approx((packets - lost) / 0.6, rel=0.001)
    assert found["jitter_seconds"] == pytest.approx(sum(s["jitter_ms"] for s in sums) / len(sums) / 1000)
    assert found["throughput_bits_per_second"] == pytest.approx(found["packets_per_second"] * 32768 * 8)
    assert found["throughput_bits_per_second"] < 0.8 * found["offered_bits_per_second"]
    assert "rtt_seconds" not in found
    assert "retransmits" not in found


def test_in_reverse_the_client_receives() -> None:
    tcp = of("3.12-tcp_reverse", 0.5, 1.5, "reverse")
    client = json.loads(output("3.12-tcp_reverse.client"))["intervals"][5:15]
    received = sum(interval["sum"]["bytes"] for interval in client)
    assert tcp["throughput_bits_per_second"] == pytest.approx(received * 8, rel=0.001)
    assert tcp["rtt_seconds"] == pytest.approx(48e-6, rel=0.5)
    udp = of("3.12-udp_reverse", 0.2, 0.8, "reverse")
    assert udp["loss_ratio"] == 0
    assert udp["jitter_seconds"] > 0


def test_both_flows_of_a_bidirectional_test() -> None:
    found = of("3.12-udp_bidir", 0.2, 0.8, "bidirectional")
    assert found["throughput_bits_per_second"] == pytest.approx(2e8, rel=0.01)
    assert found["reverse_throughput_bits_per_second"] == pytest.approx(2e8, rel=0.01)
    assert found["loss_ratio"] == 0
    tcp = metrics_of(output("3.7-tcp_bidir.client"))
    assert tcp["throughput_bits_per_second"] == pytest.approx(149e6 * 8 / 3)
    assert tcp["reverse_throughput_bits_per_second"] == pytest.approx(40e6 * 8)
    assert tcp["offered_bits_per_second"] == pytest.approx(50e6 * 8)


def test_a_late_datagram_takes_back_a_loss_but_makes_no_gain() -> None:
    server, client = output("3.18-udp.server"), output("3.18-udp.client")
    assert metrics_of(client, server, start=0, end=2)["loss_ratio"] == pytest.approx(75 / 16000)
    alone = metrics_of(client, server, start=1, end=2)
    assert alone["loss_ratio"] == 0
    assert alone["packets_per_second"] == 8000


def test_jitter_is_not_taken_from_intervals_in_which_nothing_came() -> None:
    found = metrics_of(output("3.1-udp.server"))
    assert found["jitter_seconds"] == pytest.approx((0.01e-3 + 0.03e-3) / 2)
    assert found["loss_ratio"] == pytest.approx(300 / 20000)


def test_nothing_received_is_a_throughput_of_zero_and_no_loss_ratio() -> None:
    silent = Interval("forward", sender=False, start=0, end=1, bytes=0, jitter_seconds=0.0, lost_packets=0, packets=0)
    found = metrics(Traffic(), IperfResult(), IperfResult(role="server", intervals=(silent,)), 0, 1)
    assert found == {"throughput_bits_per_second": 0, "packets_per_second": 0}


@pytest.mark.parametrize(
    ("name", "throughput", "offered"),
    [
        ("3.1-tcp.client", 374e6 * 8 / 3, 1e9),
        ("3.1-udp.client", 29_700 * 8192 * 8 / 3, 10_000 * 8192 * 8),
        ("3.5-tcp_reverse.client", 8e8, 303e6 * 8 / 3),
        ("3.16-tcp_streams.client", 296e6 * 8 / 3, 8e8),
        ("3.17-stream.client", 372e6 * 8 / 3, 1e9),
        ("3.18-udp.client", 23_925 * 1448 * 8 / 3, 8000 * 1448 * 8),
        ("3.19-end_only.client", 372e6 * 8 / 3, 1e9),
        ("3.20-stream_full.client", 372e6 * 8 / 3, 1e9),
    ],
)
def test_a_client_alone_knows_both_ends_of_the_whole_test(name: str, throughput: float, offered: float) -> None:
    found = metrics_of(output(name))
    assert found["throughput_bits_per_second"] == pytest.approx(throughput)
    assert found["offered_bits_per_second"] == pytest.approx(offered)
    assert set(found) <= set(METRICS)


def test_a_server_alone_knows_what_it_received() -> None:
    assert metrics_of(output("3.19-end_only.server")) == {"throughput_bits_per_second": pytest.approx(372e6 * 8 / 3)}
    assert "offered_bits_per_second" not in metrics_of(output("3.12-tcp.server"))


def test_one_end_alone_does_not_know_the_others_window() -> None:
    found = metrics_of(output("3.12-udp.client"), start=0.5, end=1.5)
    assert set(found) == {"offered_bits_per_second"}
    both = metrics_of(output("3.12-udp_get_server.client"), start=0.2, end=0.8)
    assert both["throughput_bits_per_second"] == pytest.approx(2e8, rel=0.01)
    assert both["loss_ratio"] == 0


def test_the_two_outputs_may_come_in_any_order() -> None:
    client, server = output("3.12-udp.client"), output("3.12-udp.server")
    assert metrics_of(client, server, start=0.5, end=1.5) == metrics_of(server, client, start=0.5, end=1.5)


def test_iperf3s_own_warm_up_does_not_count() -> None:
    found = metrics_of(output("3.12-tcp_omit.client"), output("3.12-tcp_omit.server"))
    assert found["throughput_bits_per_second"] == pytest.approx(5e8, rel=0.01)


def test_a_failed_test_has_no_metrics() -> None:
    for name in ("3.12-refused.client", "3.12-client_killed.server", "3.17-stream_cut.client"):
        with pytest.raises(NetbenchError, match=r"^iperf3's output is of a failed test \("):
            metrics_of(output(name))


def test_a_window_outside_of_the_test_is_refused() -> None:
    with pytest.raises(NetbenchError, match=r"nothing that lies between 5 s and 6 s"):
        metrics_of(output("3.12-tcp.client"), start=5, end=6)
