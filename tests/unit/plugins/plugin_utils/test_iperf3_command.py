# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_command import (
    check_versions,
    client_argv,
    parse_version,
    server_argv,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Traffic


def client(traffic: Traffic, **options: object) -> str:
    defaults: dict[str, object] = {"host": "10.0.10.12", "port": 5201, "seconds": 3}
    return " ".join(client_argv(traffic, **(defaults | options)))  # type: ignore[arg-type] # what a test varies


def test_unlimited_tcp() -> None:
    assert client(Traffic()) == (
        "iperf3 --client 10.0.10.12 --port 5201 --json --version4 --time 3 --interval 0.1 --parallel 1"
    )


def test_whole_seconds_are_all_that_iperf3_takes() -> None:
    assert "--time 3 " in client(Traffic(), seconds=2.7)
    assert "--time 3 " in client(Traffic(), seconds=3.0)


def test_the_rate_is_the_sum_of_all_streams() -> None:
    argv = client(Traffic(protocol="udp", rate_bits_per_second=1e9, streams=4, length_bytes=8192))
    assert "--parallel 4 --udp -b 250000000 --length 8192" in argv


def test_every_field_of_the_traffic_reaches_the_command() -> None:
    traffic = Traffic(
        rate_bits_per_second=5e8,
        length_bytes=65536,
        socket_buffer_bytes=2097152,
        mss_bytes=1400,
        family=6,
        congestion_control="cubic",
    )
    argv = client(traffic, host="fd00::2", bind_address="fd00::1", interval_seconds=1.0)
    assert argv == (
        "iperf3 --client fd00::2 --port 5201 --json --version6 --time 3 --interval 1 --parallel 1 -b 500000000"
        " --length 65536 --window 2097152 --set-mss 1400 -C cubic --bind fd00::1"
    )


def test_directions() -> None:
    assert client(Traffic(direction="reverse")).endswith(" --reverse")
    assert client(Traffic(direction="bidirectional")).endswith(" --bidir")


def test_udp_needs_a_rate() -> None:
    with pytest.raises(NetbenchError, match=r"^rate is empty; UDP traffic needs one"):
        client(Traffic(protocol="udp"))


def test_a_server_serves_one_test_and_takes_both_families() -> None:
    assert " ".join(server_argv(5201)) == "iperf3 --server --one-off --port 5201 --json --interval 0.1"
    argv = " ".join(server_argv(5201, bind_address="::1", family=6, interval_seconds=1.0))
    assert argv.endswith("--interval 1 --version6 --bind ::1")


def test_this_machines_iperf3_takes_what_we_write() -> None:
    """iperf3 looks at its whole command line before it connects; port 1 refuses."""
    traffic = Traffic("udp", 1e6, length_bytes=1000, socket_buffer_bytes=65536, streams=2, direction="bidirectional")
    for each in (traffic, Traffic(congestion_control="reno", mss_bytes=1000, direction="reverse")):
        argv = client_argv(each, host="127.0.0.1", port=1, seconds=1, bind_address="127.0.0.1")
        said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        assert "unable to connect to server" in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("iperf 3.12 (cJSON 1.7.15)\nLinux lab 6.1.0\nOptional features available: CPU affinity setting", (3, 12)),
        ("iperf 3.1.3\nLinux", (3, 1, 3)),
        ("iperf 3.17.1+ (cJSON 1.7.15)", (3, 17, 1)),
        ("warning: something\niperf 3.9 (cJSON 1.7.13)", (3, 9)),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "iperf version 2.1.8 (12 August 2022)", "sh: iperf3: not found", "iperf 3"])
def test_what_is_no_version_of_iperf3_is_refused(text: str) -> None:
    with pytest.raises(NetbenchError, match=r"^iperf3 --version prints .*; it must print a version of iperf 3"):
        parse_version(text)


def test_two_versions_are_refused_unless_allowed() -> None:
    versions = {"a": (3, 12), "b": (3, 16)}
    with pytest.raises(NetbenchError, match=r"a has 3\.12, b has 3\.16.*allow_version_mismatch: true"):
        check_versions(Traffic(), versions, allow_mismatch=False)
    check_versions(Traffic(), versions, allow_mismatch=True)
    check_versions(Traffic(), {"a": (3, 12), "b": (3, 12)}, allow_mismatch=False)


def test_too_old_for_the_traffic() -> None:
    both = Traffic(direction="bidirectional")
    with pytest.raises(NetbenchError, match=r"^iperf3 of endpoint b is 3\.6; bidirectional traffic needs 3\.7"):
        check_versions(both, {"a": (3, 7), "b": (3, 6)}, allow_mismatch=True)
    check_versions(both, {"a": (3, 7), "b": (3, 10)}, allow_mismatch=True)
    with pytest.raises(NetbenchError, match=r"^iperf3 of endpoint a is 3\.0\.11; it must be 3\.1 or newer"):
        check_versions(Traffic(), {"a": (3, 0, 11)}, allow_mismatch=True)
    with pytest.raises(NetbenchError, match=r"^iperf3 of the client for 10\.0\.10\.12 is 3\.6"):
        client(both, version=(3, 6))
    with pytest.raises(NetbenchError, match=r"^iperf3 of the server on port 5201 is 3\.0"):
        server_argv(5201, version=(3, 0))
