# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow, Tuple, parse
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

DNAT = (
    "tcp      6 431999 ESTABLISHED src=10.0.20.5 dst=10.0.10.11 sport=40000 dport=31001"
    " src=10.244.2.2 dst=10.244.1.0 sport=5201 dport=21345 [ASSURED] mark=16384"
)
FLOW = Flow(
    protocol="tcp",
    original=Tuple("10.0.20.5", "10.0.10.11", 40000, 31001),
    reply=Tuple("10.244.2.2", "10.244.1.0", 5201, 21345),
    state="ESTABLISHED",
    mark=16384,
    timeout_seconds=431999,
)


@pytest.mark.parametrize(
    "line",
    [
        f"ipv4     2 {DNAT} zone=0 use=2",
        f"ipv4     2 {DNAT} use=1",
        f"{DNAT} use=1",
        f"{DNAT} secctx=system_u:object_r:unlabeled_t:s0 use=1",
        DNAT.replace("dport=31001", "dport=31001 packets=12 bytes=90210").replace(
            "dport=21345", "dport=21345 packets=1 bytes=1"
        ),
    ],
)
def test_a_translated_flow_is_read_from_every_spelling(line: str) -> None:
    assert parse(line) == [FLOW]


def test_the_tables_of_the_kernel_and_of_the_tool_say_the_same() -> None:
    kernel = """\
ipv4     2 tcp      6 119 TIME_WAIT src=10.77.0.1 dst=10.77.0.2 sport=52274 dport=5201 src=10.77.0.2 dst=10.77.0.1 \
sport=5201 dport=52274 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=10.77.0.1 dst=10.77.0.2 sport=57741 dport=5201 src=10.77.0.2 dst=10.77.0.1 \
sport=5201 dport=57741 mark=7 zone=0 use=2
ipv4     2 tcp      6 119 SYN_SENT src=10.77.0.1 dst=10.77.0.77 sport=54468 dport=80 [UNREPLIED] src=10.77.0.77 \
dst=10.77.0.1 sport=80 dport=54468 mark=0 zone=0 use=3
"""
    tool = """\
tcp      6 119 TIME_WAIT src=10.77.0.1 dst=10.77.0.2 sport=52274 dport=5201 src=10.77.0.2 dst=10.77.0.1 \
sport=5201 dport=52274 [ASSURED] mark=0 use=1
udp      17 29 src=10.77.0.1 dst=10.77.0.2 sport=57741 dport=5201 src=10.77.0.2 dst=10.77.0.1 \
sport=5201 dport=57741 mark=7 use=1
tcp      6 119 SYN_SENT src=10.77.0.1 dst=10.77.0.77 sport=54468 dport=80 [UNREPLIED] src=10.77.0.77 \
dst=10.77.0.1 sport=80 dport=54468 mark=0 use=2
conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.
"""
    flows = parse(kernel)
    assert flows == parse(tool)
    assert [(f.protocol, f.state, f.mark, f.timeout_seconds) for f in flows] == [
        ("tcp", "TIME_WAIT", 0, 119),
        ("udp", None, 7, 29),
        ("tcp", "SYN_SENT", 0, 119),
    ]


def test_ipv6_addresses_have_one_spelling() -> None:
    (flow,) = parse(
        "ipv6     10 udp      17 29 src=fd77:0000:0000:0000:0000:0000:0000:0001 dst=fd77::2 sport=1 dport=2"
        " src=fd77:0:0:0:0:0:0:2 dst=FD77::1 sport=2 dport=1 mark=0 use=2"
    )
    assert flow.original == Tuple("fd77::1", "fd77::2", 1, 2)
    assert flow.reply == Tuple("fd77::2", "fd77::1", 2, 1)


def test_an_offloaded_flow_has_no_timeout() -> None:
    (flow,) = parse(DNAT.replace("431999 ESTABLISHED", "").replace("[ASSURED]", "[OFFLOAD]"))
    assert (flow.timeout_seconds, flow.state, flow.mark) == (None, None, 16384)


@pytest.mark.parametrize(
    "line",
    [
        "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 use=1",
        "ipv4     2 unknown  2 599 src=10.0.0.1 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=10.0.0.1 mark=0 use=1",
        "",
        "   ",
    ],
)
def test_flows_without_ports_are_left_out(line: str) -> None:
    assert parse(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "tcp 6 12 ESTABLISHED",
        DNAT[:90],
        DNAT.replace("10.244.2.2", "10.244.2.256"),
        DNAT.replace("src=10.0.20.5", "src=nlb"),
        "cat: /proc/net/nf_conntrack: Permission denied",
    ],
)
def test_other_text_is_refused(line: str) -> None:
    with pytest.raises(NetbenchError, match="connection tracking table"):
        parse(f"{DNAT}\n{line}\n")


PIECES = [*DNAT.split(), "ipv4", "2", "[UNREPLIED]", "mark=x", "src=", "sport=99999999", "=", "\n"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_any_text_gives_flows_or_one_sentence(text: str) -> None:
    with suppress(NetbenchError):
        parse(text)


@given(
    st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2**32 - 1)
)
def test_what_was_written_is_read(four: object, six: object, first: int, second: int, mark: int) -> None:
    text = (
        f"tcp 6 1 CLOSE src={four} dst={six} sport={first} dport={second}"
        f" src={six} dst={four} sport={second} dport={first} [ASSURED] mark={mark} use=1"
    )
    (flow,) = parse(text)
    assert flow.original == Tuple(str(four), str(six), first, second)
    assert flow.reply == Tuple(str(six), str(four), second, first)
    assert flow.mark == mark
