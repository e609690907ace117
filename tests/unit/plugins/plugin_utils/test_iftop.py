# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.iftop import parse
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "iftop"
MEGA, KILO = 1024**2, 1024


def output(name: str) -> str:
    return (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")


def test_a_screen_with_addresses() -> None:
    screen = parse(output("addresses"))
    assert screen.interface == "v0"
    assert [(flow.source, flow.destination) for flow in screen.flows] == [
        ("10.99.0.1", "10.99.0.2"),
        ("fd99::1", "fd99::2"),
    ]
    tcp, udp = screen.flows
    assert tcp.sent_bits_per_second == pytest.approx(95.6 * MEGA)
    assert tcp.sent_10s_bits_per_second == tcp.sent_40s_bits_per_second == pytest.approx(89.4 * MEGA)
    assert tcp.received_bits_per_second == pytest.approx(77.6 * KILO)
    assert tcp.received_10s_bits_per_second == pytest.approx(73.8 * KILO)
    assert tcp.sent_bytes == pytest.approx(44.7 * MEGA)
    assert tcp.received_bytes == pytest.approx(36.9 * KILO)
    assert (udp.received_bits_per_second, udp.received_bytes) == (0, 0)
    assert screen.total_sent_bits_per_second == pytest.approx(101 * MEGA)
    assert screen.total_received_bits_per_second == pytest.approx(77.6 * KILO)
    assert (screen.sent_bytes, screen.received_bytes) == (pytest.approx(47 * MEGA), pytest.approx(36.9 * KILO))


def test_the_units_are_those_of_what_was_sent() -> None:
    """100 Mbit/s and 5 Mbit/s of payload, to which come headers of a few per cent; powers of 1000 would fall short."""
    tcp, udp = parse(output("addresses")).flows
    assert 1.00e8 < tcp.sent_bits_per_second < 1.02e8
    assert 5.2e6 < udp.sent_bits_per_second < 5.4e6


def test_ports() -> None:
    flows = parse(output("ports")).flows
    assert (flows[0].source, flows[0].destination) == ("10.99.0.1:50012", "10.99.0.2:5301")
    assert (flows[1].source, flows[1].destination) == ("[fd99::1]:57315", "[fd99::2]:5302")


def test_bytes_are_shown_as_bits_and_unlisted_flows_count_in_the_total() -> None:
    screen = parse(output("bytes"))
    assert len(screen.flows) == 1
    assert screen.flows[0].received_bits_per_second == pytest.approx(12 * MEGA * 8)
    assert screen.flows[0].received_bytes == pytest.approx(44.8 * MEGA)
    assert screen.total_received_bits_per_second == pytest.approx(12.6 * MEGA * 8)


def test_the_last_of_several_screens_counts() -> None:
    text = output("screens")
    assert text.count("# Host name") == 3
    assert parse(text).flows[0].received_bits_per_second == pytest.approx(19.0 * MEGA)
    assert parse(text).flows[0].received_10s_bits_per_second == pytest.approx(15.9 * MEGA)
    assert parse(text).flows[1].source == "::"


def test_a_screen_that_is_cut_off_does_not_count() -> None:
    text = output("screens")
    cut = text[: text.rindex("Total send rate")]
    assert parse(cut).flows[0].received_10s_bits_per_second == pytest.approx(14.3 * MEGA)


def test_an_idle_nic() -> None:
    screen = parse(output("idle"))
    assert (screen.flows, screen.total_sent_bits_per_second, screen.total_received_bits_per_second) == ([], 0, 0)


@pytest.mark.parametrize("text", ["", "Listening on v0\n", output("addresses")[:900], "=" * 92, "hello"])
def test_what_has_no_whole_screen_is_refused(text: str) -> None:
    with pytest.raises(NetbenchError, match=r"^iftop's output has no whole screen; it must be what iftop -t prints"):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("95.6Mb", "95.6Mp", "has the columns '95.6Mp"),  # packets, which newer ones can show
        ("95.6Mb", "", "has the columns"),
        ("Total send rate:", "Sum:", r"lacks totals \(send\)"),
        ("Cumulative", "All", r"lacks totals \(cumulative\)"),
    ],
)
def test_what_cannot_be_read_is_refused(old: str, new: str, what: str) -> None:
    with pytest.raises(NetbenchError, match=rf"^iftop's output {what}"):
        parse(output("addresses").replace(old, new))


def read_or_refuse(text: str) -> None:
    try:
        screen = parse(text)
    except NetbenchError as exc:
        assert str(exc)  # noqa: PT017 - it may be raised or not
        return
    assert screen.total_sent_bits_per_second >= 0
    assert all(flow.source and flow.destination for flow in screen.flows)


def test_cut_anywhere() -> None:
    text = output("screens")
    for position in range(0, len(text), 11):
        read_or_refuse(text[:position])
        read_or_refuse(text[position:])


@given(st.text())
def test_any_text(text: str) -> None:
    read_or_refuse(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_text_with_characters_replaced(data: st.DataObject) -> None:
    text = output(data.draw(st.sampled_from(["addresses", "bytes", "screens"])))
    for _row in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    read_or_refuse(text)
