# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic → iperf3's command lines for both ends, and whether the iperf3 of an endpoint can do it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Traffic

Version = tuple[int, ...]

OLDEST: Version = (3, 1)
_BIDIRECTIONAL: Version = (3, 7)
_VERSION = re.compile(r"^iperf (\d+(?:\.\d+)+)", re.MULTILINE | re.ASCII)


def client_argv(
    traffic: Traffic,
    *,
    host: str,
    port: int,
    seconds: float,
    interval_seconds: float = 0.1,
    bind_address: str | None = None,
    version: Version | None = None,
) -> list[str]:
    """The client's command. It prints one JSON document at its end.

    iperf3 reads whole seconds only, so `seconds` is rounded up. Its rate is that of one stream, ours the sum of all.
    `version`, where it is known, is checked for the features that the traffic needs. Raises NetbenchError for that
    and for UDP without a rate, which iperf3 would take as 1 Mbit/s.
    """
    if version is not None:
        _check_version(traffic, version, f"the client for {host}")
    argv = ["iperf3", "--client", host, "--port", str(port), "--json", f"--version{traffic.family}"]
    argv += ["--time", str(math.ceil(seconds)), "--interval", f"{interval_seconds:g}"]
    argv += ["--parallel", str(traffic.streams)]
    if traffic.protocol == "udp":
        if traffic.rate_bits_per_second is None:
            raise NetbenchError("rate is empty; UDP traffic needs one, such as 92.5% or 900M")
        argv.append("--udp")
    if traffic.rate_bits_per_second is not None:
        argv += ["-b", str(max(1, round(traffic.rate_bits_per_second / traffic.streams)))]
    # The short names where the long ones changed: --bandwidth became --bitrate, --linux-congestion --congestion.
    options = {
        "--length": traffic.length_bytes,
        "--window": traffic.socket_buffer_bytes,
        "--set-mss": traffic.mss_bytes,
        "-C": traffic.congestion_control,
        "--bind": bind_address,
    }
    for option, value in options.items():
        if value is not None:
            argv += [option, str(value)]
    return argv + {"forward": [], "reverse": ["--reverse"], "bidirectional": ["--bidir"]}[traffic.direction]


def server_argv(
    port: int,
    *,
    bind_address: str | None = None,
    interval_seconds: float = 0.1,
    family: Literal[4, 6] | None = None,
    version: Version | None = None,
) -> list[str]:
    """The command of a server that serves one test, prints its own JSON document and ends.

    Without a family and an address it takes IPv4 and IPv6. Raises NetbenchError when `version`, where it is known, is
    older than any that we can read.
    """
    if version is not None:
        _check_version(Traffic(), version, f"the server on port {port}")
    argv = ["iperf3", "--server", "--one-off", "--port", str(port), "--json", "--interval", f"{interval_seconds:g}"]
    if family is not None:
        argv.append(f"--version{family}")
    return argv + (["--bind", bind_address] if bind_address is not None else [])


def parse_version(text: str) -> Version:
    """What `iperf3 --version` prints → (3, 12) or (3, 1, 3); raises NetbenchError for all else, iperf 2 included."""
    match = _VERSION.search(text)
    if match is None:
        said = text.strip().partition("\n")[0][:80] or "nothing"
        raise NetbenchError(f"iperf3 --version prints {said!r}; it must print a version of iperf 3, such as iperf 3.16")
    return tuple(int(part[:9]) for part in match[1].split("."))


def check_versions(traffic: Traffic, versions: Mapping[str, Version], *, allow_mismatch: bool) -> None:
    """Raises NetbenchError when an endpoint's iperf3 is too old for the traffic, or when not all are the same."""
    for host, version in versions.items():
        _check_version(traffic, version, f"endpoint {host}")
    if len(set(versions.values())) > 1 and not allow_mismatch:
        found = ", ".join(f"{host} has {_dotted(version)}" for host, version in versions.items())
        raise NetbenchError(
            f"the two ends of a trial have different versions of iperf3 ({found}); install the same on both, or set"
            " allow_version_mismatch: true"
        )


def _check_version(traffic: Traffic, version: Version, who: str) -> None:
    if version < OLDEST:
        raise NetbenchError(f"iperf3 of {who} is {_dotted(version)}; it must be {_dotted(OLDEST)} or newer")
    if traffic.direction == "bidirectional" and version < _BIDIRECTIONAL:
        raise NetbenchError(
            f"iperf3 of {who} is {_dotted(version)}; bidirectional traffic needs {_dotted(_BIDIRECTIONAL)} or newer"
        )


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
