# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_metrics import metrics_of
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_result import Connection, IperfResult, parse
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "iperf3"
NAMES = sorted(path.name for path in FIXTURES.glob("*.json"))
FAILED = ("busy", "client_killed", "client_term", "refused", "server_killed", "stream_cut")


def output(name: str) -> str:
    return (FIXTURES / f"{name}.json").read_text(encoding="utf-8")


def result(name: str) -> IperfResult:
    return parse(output(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_fixture_is_read_for_what_it_is(name: str) -> None:
    version, what, end, _json = name.replace("-", ".", 2).rsplit(".", 3)
    found = parse((FIXTURES / name).read_text(encoding="utf-8"))
    assert (found.error is not None) == any(word in what for word in FAILED)
    assert ".".join(map(str, found.version or ())).startswith(version)
    if found.connected:
        assert found.role == end
        assert found.protocol == ("udp" if "udp" in what else "tcp")
        directions = {"reverse": "reverse", "bidir": "bidirectional"}
        assert found.direction == next((directions[word] for word in directions if word in what), "forward")
        assert found.streams == len(found.connected) / (2 if "bidir" in what and version == "3.12" else 1)


@pytest.mark.parametrize("name", [name for name in NAMES if "end_only" not in name])
def test_the_intervals_add_up_to_the_total(name: str) -> None:
    found = parse((FIXTURES / name).read_text(encoding="utf-8"))
    for total in found.totals:
        intervals = [i for i in found.intervals if i.flow == total.flow and i.sender == total.sender and not i.omitted]
        if intervals and found.error is None:
            assert sum(interval.bytes for interval in intervals) == pytest.approx(total.bytes, rel=0.01)
            assert intervals[-1].end == pytest.approx(total.end, abs=0.01)


def test_a_client_of_3_12() -> None:
    found = result("3.12-tcp.client")
    assert found.version == (3, 12)
    assert found.connected == (Connection("127.0.0.1", 47862, "127.0.0.1", 5999),)
    assert found.parameters["target_bitrate"] == 500_000_000
    assert found.system_info == "Linux lab 6.1.0 x86_64"
    assert found.congestion_control == {"sender": "bbr", "receiver": "bbr"}
    assert found.cpu_percent["remote_total"] == pytest.approx(1.59, abs=0.01)
    assert found.started_at is None  # whole seconds are no start of a window
    assert len(found.intervals) == 20
    first = found.intervals[0]
    assert (first.flow, first.sender, first.start, first.end) == ("forward", True, 0, 0.10012)
    assert (first.bytes, first.retransmits, first.rtt_seconds) == (6291456, 0, 29e-6)
    assert (first.jitter_seconds, first.lost_packets, first.packets) == (None, None, None)
    assert first.bits_per_second == pytest.approx(502_713_221, rel=1e-6)


def test_the_start_is_taken_where_it_is_precise() -> None:
    assert result("3.20-stream_full.client").started_at == 1700000000.125


def test_a_server_is_not_asked_what_it_was_never_told() -> None:
    assert {(total.flow, total.sender) for total in result("3.12-tcp.server").totals} == {("forward", False)}
    assert {(total.flow, total.sender) for total in result("3.12-udp_bidir.server").totals} == {
        ("forward", False),
        ("reverse", True),
    }
    assert len(result("3.12-tcp_bidir.client").totals) == 4


def test_a_receiver_of_udp_counts_what_it_should_have_got() -> None:
    first = result("3.12-udp_lossy.server").intervals[0]
    assert (first.packets, first.lost_packets, first.bytes) == (3011, 960, 67207168)
    assert first.packets is not None
    assert first.lost_packets is not None
    assert (first.packets - first.lost_packets) * 32768 == first.bytes
    assert first.jitter_seconds == pytest.approx(25.07e-6, rel=1e-3)


def test_streams_are_added_up_and_their_round_trip_times_averaged() -> None:
    first = result("3.16-tcp_streams.client").intervals[0]
    assert (first.bytes, first.retransmits) == (100_000_000, 4)
    assert first.rtt_seconds == pytest.approx(115e-6)


def test_both_flows_of_a_bidirectional_test_with_one_old_sender_key() -> None:
    found = result("3.7-tcp_bidir.client")
    assert [(i.flow, i.sender, i.bytes, i.retransmits) for i in found.intervals[:2]] == [
        ("forward", True, 50_000_000, 1),
        ("reverse", False, 40_000_000, None),
    ]


def test_the_only_udp_sum_of_old_versions_is_split_into_both_ends() -> None:
    sent, received = result("3.1-udp.client").totals
    assert (sent.sender, sent.bytes, sent.lost_packets) == (True, 30_000 * 8192, None)
    assert (received.sender, received.bytes, received.lost_packets) == (False, 29_700 * 8192, 300)
    (only,) = result("3.1-udp.server").totals
    assert (only.sender, only.bytes) == (False, 19_700 * 8192)


def test_omitted_intervals_are_marked_and_wrong_losses_left_out() -> None:
    found = result("3.12-tcp_omit.client")
    assert [interval.omitted for interval in found.intervals] == [True] * 10 + [False] * 10
    document = json.loads(output("3.12-udp.client"))
    document["start"]["test_start"]["omit"] = 1
    assert [total.lost_packets for total in parse(document).totals] == [None, None]
    document["start"]["version"] = "iperf 3.14"
    assert [total.lost_packets for total in parse(document).totals] == [None, 11]


def test_the_server_output_that_the_client_asked_for() -> None:
    peer = result("3.12-udp_get_server.client").peer
    assert peer is not None
    assert (peer.role, len(peer.intervals), peer.intervals[0].sender) == ("server", 10, False)


def test_an_ipv4_address_mapped_into_ipv6_is_shown_as_ipv4() -> None:
    document = json.loads(output("3.12-tcp.server"))
    document["start"]["connected"][0]["remote_host"] = "::ffff:10.244.1.1"
    assert parse(document).connected[0].remote_host == "10.244.1.1"
    assert result("3.12-tcp_ipv6.server").connected[0].remote_host == "::1"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("3.12-refused.client", "unable to connect to server: Connection refused"),
        ("3.1-refused.client", "unable to connect to server: Connection refused"),
        ("3.12-busy.client", "the server is busy running a test. try again later"),
        ("3.12-server_killed.client", "control socket has closed unexpectedly"),
        ("3.12-client_killed.server", "the client has unexpectedly closed the connection"),
        ("3.12-client_term.client", "interrupt - the client has terminated"),
        ("3.17-stream_cut.client", "it ended without a result"),
    ],
)
def test_errors(name: str, error: str) -> None:
    assert result(name).error == error


def test_what_was_measured_before_an_error_is_kept() -> None:
    assert len(result("3.12-client_killed.server").intervals) == 9
    assert len(result("3.17-stream_cut.client").intervals) == 3
    # The server told this client nothing, so its zeros are no totals.
    assert [total.sender for total in result("3.12-client_term.client").totals] == [True]


def test_errors_that_iperf3_prints_without_json() -> None:
    said = "iperf3: parameter error - socket buffer size too large (maximum = 536870912 bytes)\n\nUsage: iperf3 ..."
    assert parse(said).error == "socket buffer size too large (maximum = 536870912 bytes)"
    assert parse("iperf3: error - unable to connect to server: No route to host").error == (
        "unable to connect to server: No route to host"
    )


def test_the_stream_is_read_as_the_document() -> None:
    document = result("3.17-stream.client")
    assert len(document.intervals) == 3
    assert document.totals[1].bytes == 372_000_000
    full = result("3.20-stream_full.client")
    assert (full.intervals, full.totals) == (document.intervals, document.totals)


def test_lines_around_the_document_are_skipped() -> None:
    text = output("3.12-tcp.client")
    around = f"warning: this system does not seem to support IPv6\n{text}\niperf3: interrupt\n"
    assert parse(around) == parse(f"  {text}") == parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("end", 1.0),
        ("end", math.nan),
        ("end", math.inf),
        ("bytes", 10**400),
        ("bytes", -1),
        ("start", "0"),
        ("end", True),
    ],
)
def test_an_interval_that_cannot_be_computed_with_is_none(key: str, value: object) -> None:
    document = json.loads(output("3.1-tcp.client"))
    document["intervals"][1]["sum"][key] = value
    assert [interval.start for interval in parse(document).intervals] == [0, 2]


def test_the_round_trip_time_is_that_of_the_streams_that_this_end_sends() -> None:
    document = json.loads(output("3.7-tcp_bidir.client"))
    document["intervals"][0]["streams"][1]["rtt"] = 900
    assert parse(document).intervals[0].rtt_seconds == pytest.approx(300e-6)


def test_the_last_of_several_documents_counts() -> None:
    assert parse(output("3.12-tcp.client") + output("3.12-udp.client")).protocol == "udp"


def test_a_document_that_a_playbook_has_loaded_already() -> None:
    text = output("3.12-tcp.client")
    assert parse(json.loads(text)) == parse(text)
    assert parse(json.dumps(json.loads(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("hello", "is no JSON"),
        ("[]", "is no JSON"),
        ("{}", "is cut off or damaged"),
        ('{"a": 1}', "is cut off or damaged"),
        (output("3.12-tcp.client")[:-4], "is cut off or damaged"),
        ('{"start": ' + '{"a":' * 100_000, "is cut off or damaged"),
        ('{"start": ' + "9" * 10_000 + "}", "is cut off or damaged"),
    ],
)
def test_what_is_no_document_is_refused(text: str, what: str) -> None:
    with pytest.raises(NetbenchError, match=rf"^iperf3's output {what}; it must be the whole document"):
        parse(text)


def test_values_of_other_types_are_refused() -> None:
    for value in (None, 3, b"{}", ["{}"]):
        with pytest.raises(NetbenchError, match=r"^iperf3's output is of the type"):
            parse(value)  # type: ignore[arg-type] # what a playbook may hand over


def read_or_refuse(value: Any) -> None:
    """Nothing but NetbenchError, with a sentence in it, may come out of any input."""
    try:
        found = parse(value)
    except NetbenchError as exc:
        assert str(exc)  # noqa: PT017 - it may be raised or not
        return
    assert all(interval.bits_per_second >= 0 for interval in (*found.intervals, *found.totals))
    try:
        values = metrics_of(value)
    except NetbenchError:
        return
    assert values
    assert all(0 <= number < 1e40 for number in values.values())


@given(st.text())
def test_any_text(text: str) -> None:
    read_or_refuse(text)


@pytest.mark.parametrize("name", ["3.12-udp_bidir.client", "3.12-tcp.server", "3.1-udp.client", "3.17-stream.client"])
def test_cut_anywhere(name: str) -> None:
    text = output(name)
    for position in range(0, len(text), 37):
        read_or_refuse(text[:position])
        read_or_refuse(text[position:])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a document are, the document itself first."""
    if isinstance(document, list):
        document = dict(enumerate(document))
    inner = document.items() if isinstance(document, dict) else ()
    return [path, *(deeper for key, value in inner for deeper in paths(value, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_documents_with_a_value_replaced(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["3.12-udp_streams.server", "3.7-tcp_bidir.client", "3.12-udp_get_server.client"]))
    document = json.loads(output(name))
    for _row in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(paths(document)[1:]))
        place = document
        for key in path:
            place = place[key]
        place[last] = data.draw(_JSON)
    read_or_refuse(document)
    read_or_refuse(json.dumps(document))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_text_with_characters_replaced(data: st.DataObject) -> None:
    text = output(data.draw(st.sampled_from(["3.12-udp.server", "3.17-stream.client"])))
    for _row in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    read_or_refuse(text)
