# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix's list of scenarios: what was written ↔ `Scenario`, with defaults, expansion of lists and share rates."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ansible_collections.netbench.cni.plugins.plugin_utils import fields, units
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import metric
from ansible_collections.netbench.cni.plugins.plugin_utils.model import (
    PATHS,
    SERVICE_PATHS,
    Cluster,
    Direction,
    Forwarding,
    NetbenchError,
    Protocol,
    Scenario,
    Traffic,
)

_TRAFFIC_KEYS = (
    "protocol",
    "rate",
    "length",
    "socket_buffer",
    "mss",
    "streams",
    "direction",
    "family",
    "congestion_control",
)
_TIME_KEYS = ("warmup", "window", "interval")
_SCENARIO_KEYS = ("name", "path", "forwarding", "primary", "watch", *_TIME_KEYS, *_TRAFFIC_KEYS)
_TCP_ONLY_KEYS = ("mss", "congestion_control")
_EXPANDED_KEYS = ("streams", "direction", "length")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CONGESTION_CONTROL = re.compile(r"[a-z][a-z0-9_-]*")

_UDP_ONLY_METRICS = frozenset({"loss_ratio", "jitter_seconds", "packets_per_second"})
_TCP_ONLY_METRICS = frozenset({"rtt_seconds", "retransmits"})

DATAGRAM_BYTES = 1400
"""The default datagram: it fits every usual path, and being fixed it is the same in every cluster."""
MAX_DATAGRAM_BYTES = 65507  # 65535 − 20 (IPv4) − 8 (UDP); RFC 768, RFC 791
MIN_DATAGRAM_BYTES = 16  # iperf3's own header in a datagram: 32-bit seconds, microseconds and a 64-bit counter
MAX_TCP_LENGTH_BYTES = 2**20  # MAX_BLOCKSIZE of iperf3
MAX_SOCKET_BUFFER_BYTES = 2**29  # MAX_TCP_BUFFER of iperf3
MAX_MSS_BYTES = 9 * 1024  # MAX_MSS of iperf3
MAX_RATE = 1e12
MIN_RATE = 1e3
MIN_WARMUP_SECONDS = 1.0
MIN_WINDOW_SECONDS = 0.5
MIN_INTERVALS = 5
DAY_SECONDS = 86400  # MAX_TIME of iperf3


@dataclass(frozen=True)
class Parsed:
    """A scenario with what only the engine needs of it: iperf3's reporting interval, and whether it is for watching."""

    scenario: Scenario
    interval_seconds: float
    watch: bool


def parse_scenarios(matrix: Mapping[str, Any], clusters: Sequence[Cluster]) -> list[Parsed]:
    """All scenarios of a matrix in plain types; a rate in per cent is of the smallest line rate of `clusters`.

    A list under `streams`, `direction` or `length` makes a scenario of every combination, named
    `<name>_streams_<n>`, `<name>_<direction>`, `<name>_length_<bytes>`. Raises NetbenchError.
    """
    defaults = fields.mapping(matrix.get("defaults"), "matrix.defaults", _TRAFFIC_KEYS)
    rows = fields.items(matrix.get("scenarios"), "matrix.scenarios")
    found: list[Parsed] = []
    for index, row in enumerate(rows):
        where = f"matrix.scenarios[{index}]"
        data = fields.mapping(row, where, _SCENARIO_KEYS)
        name = fields.text(data.get("name"), f"{where}.name")
        times = {key: matrix[key] for key in _TIME_KEYS if matrix.get(key) is not None}
        expanded = _expanded({**times, **_fitting(defaults, data), **data}, name)
        found += [_scenario(each, clusters) for each in expanded]
    if not found:
        raise NetbenchError("matrix.scenarios is empty; describe at least one scenario")
    names = [each.scenario.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise NetbenchError(f"matrix.scenarios has the name {name!r} twice; give every scenario a name of its own")
    return found


def as_plain(parsed: Parsed) -> dict[str, Any]:
    """A scenario as it could have been written, everything decided; keys without a value are left out."""
    scenario, traffic = parsed.scenario, parsed.scenario.traffic
    plain = {
        "name": scenario.name,
        "path": scenario.path,
        "forwarding": scenario.forwarding,
        "primary": scenario.primary,
        "warmup": scenario.warmup_seconds,
        "window": scenario.window_seconds,
        "interval": parsed.interval_seconds,
        "watch": parsed.watch,
        "protocol": traffic.protocol,
        "rate": traffic.rate_bits_per_second,
        "length": traffic.length_bytes,
        "socket_buffer": traffic.socket_buffer_bytes,
        "mss": traffic.mss_bytes,
        "streams": traffic.streams,
        "direction": traffic.direction,
        "family": traffic.family,
        "congestion_control": traffic.congestion_control,
    }
    return {key: value for key, value in plain.items() if value is not None}


def line_rate(clusters: Sequence[Cluster]) -> float | None:
    """The smallest line rate of the clusters in bit/s, so that all are offered the same; None if one has none."""
    rates = [c.line_rate_bits_per_second for c in clusters if c.line_rate_bits_per_second is not None]
    return min(rates) if rates and len(rates) == len(clusters) else None


def rate_for(value: Any, field: str, clusters: Sequence[Cluster]) -> float:
    """A rate such as `900M` or `92.5%` (of the clusters' smallest line rate) in bits per second."""
    smallest = line_rate(clusters)
    if isinstance(value, str) and value.strip().endswith("%"):
        share = units.parse_share(value, field)
        if smallest is None:
            nameless = next(c.name for c in clusters if c.line_rate_bits_per_second is None)
            raise NetbenchError(
                f"{field} is {str(value)!r}, but cluster {nameless} has no line_rate_bits_per_second; "
                "set it, or give an absolute rate"
            )
        rate = share * smallest
    else:
        rate = units.parse_rate(value, field)
    if smallest is not None and rate > 2 * smallest:
        raise NetbenchError(
            f"{field} is {fields.shown(value)}, more than twice the line rate of {smallest:g} bit/s; "
            f"at most {2 * smallest:g} bit/s makes sense"
        )
    if not MIN_RATE <= rate <= MAX_RATE:
        raise NetbenchError(f"{field} is {fields.shown(value)}; it must be 1 kbit/s to 1 Tbit/s")
    return rate


def _fitting(defaults: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults without those that mean nothing to the scenario's protocol."""
    protocol = data.get("protocol", defaults.get("protocol"))
    return {key: value for key, value in defaults.items() if protocol != "udp" or key not in _TCP_ONLY_KEYS}


def _expanded(data: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    suffix = {"streams": "_streams_{}", "direction": "_{}", "length": "_length_{}"}
    lists = {key: data[key] for key in _EXPANDED_KEYS if isinstance(data.get(key), list)}
    for key, values in lists.items():
        if not values:
            raise NetbenchError(f"{key} of scenario {name} is an empty list; give at least one value")
    if "length" in lists:
        lists["length"] = [_size(value, f"length of scenario {name}", 1, 2**20) for value in lists["length"]]
    for values in itertools.product(*lists.values()):
        one = dict(zip(lists, values, strict=True))
        yield {**data, **one, "name": name + "".join(suffix[key].format(value) for key, value in one.items())}


def _scenario(data: Mapping[str, Any], clusters: Sequence[Cluster]) -> Parsed:
    name = str(data["name"])
    where = f"scenario {name}"
    if not _NAME.fullmatch(name):
        raise NetbenchError(
            f"{where} has a name that is no file name; use up to 100 letters, digits, '_', '-' and '.', "
            "a letter or digit first"
        )
    path = fields.choice(data.get("path"), f"path of {where}", PATHS)
    forwarding = data.get("forwarding")
    if forwarding is not None:
        forwarding = fields.choice(forwarding, f"forwarding of {where}", get_args(Forwarding))
        if path not in SERVICE_PATHS:
            raise NetbenchError(
                f"forwarding of {where} is {forwarding!r}, but no service is on the path {path}; "
                f"leave it out or take one of {', '.join(SERVICE_PATHS)}"
            )
    traffic = _traffic(data, where, clusters)
    warmup, window, interval = _times(data, where)
    primary = data.get("primary")
    scenario = Scenario(
        name=name,
        path=path,
        traffic=traffic,
        primary=_usual_primary(traffic, clusters) if primary is None else fields.text(primary, f"primary of {where}"),
        forwarding=forwarding,
        warmup_seconds=warmup,
        window_seconds=window,
    )
    check_produced(scenario.primary, scenario, f"primary of {where}")
    return Parsed(scenario, interval, fields.boolean(data.get("watch", False), f"watch of {where}"))


def _traffic(data: Mapping[str, Any], where: str, clusters: Sequence[Cluster]) -> Traffic:
    given = {key: value for key, value in data.items() if value is not None}
    protocol = fields.choice(given.get("protocol", "tcp"), f"protocol of {where}", get_args(Protocol))
    if protocol == "udp":
        for key in _TCP_ONLY_KEYS:
            if key in given:
                raise NetbenchError(f"{key} of {where} means nothing to UDP; leave it out")
        if "rate" not in given:
            raise NetbenchError(f"rate of {where} is missing; UDP needs one, such as 92.5% (of the line rate) or 900M")

    def size(key: str, low: int, high: int) -> int | None:
        return _size(given[key], f"{key} of {where}", low, high) if key in given else None

    udp = protocol == "udp"
    length = size("length", *((MIN_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES) if udp else (1, MAX_TCP_LENGTH_BYTES)))
    algorithm = given.get("congestion_control")
    if algorithm is not None and not _CONGESTION_CONTROL.fullmatch(str(algorithm)):
        raise NetbenchError(
            f"congestion_control of {where} is {fields.shown(algorithm)}; it must be the kernel's name for one, "
            "such as cubic"
        )
    return Traffic(
        protocol=protocol,
        rate_bits_per_second=rate_for(given["rate"], f"rate of {where}", clusters) if "rate" in given else None,
        length_bytes=DATAGRAM_BYTES if udp and length is None else length,
        socket_buffer_bytes=size("socket_buffer", 1024, MAX_SOCKET_BUFFER_BYTES),
        mss_bytes=size("mss", 88, MAX_MSS_BYTES),
        streams=fields.integer(given.get("streams", 1), f"streams of {where}", 1, 128),
        direction=fields.choice(given.get("direction", "forward"), f"direction of {where}", get_args(Direction)),
        family=fields.choice(given.get("family", 4), f"family of {where}", (4, 6)),
        congestion_control=algorithm,
    )


def _times(data: Mapping[str, Any], where: str) -> tuple[float, float, float]:
    """Warm-up, window and iperf3's reporting interval in seconds."""
    warmup = units.parse_duration(data.get("warmup", Scenario.warmup_seconds), f"warmup of {where}")
    window = units.parse_duration(data.get("window", Scenario.window_seconds), f"window of {where}")
    interval = units.parse_duration(data.get("interval", 0.1), f"interval of {where}")
    if warmup < MIN_WARMUP_SECONDS:
        raise NetbenchError(f"warmup of {where} is {warmup:g} s; it must be 1 s or more")
    if not 0.1 <= interval <= 60:
        raise NetbenchError(f"interval of {where} is {interval:g} s; iperf3 reports every 0.1 s to 60 s")
    shortest = max(MIN_WINDOW_SECONDS, MIN_INTERVALS * interval)
    if window < shortest - 1e-9:
        raise NetbenchError(
            f"window of {where} is {window:g} s; with an interval of {interval:g} s it must be {shortest:g} s or more"
        )
    if warmup + window > DAY_SECONDS - 1:
        raise NetbenchError(f"window of {where} is {window:g} s; warm-up and window together must stay below a day")
    return warmup, window, interval


def _usual_primary(traffic: Traffic, clusters: Sequence[Cluster]) -> str:
    """The metric that such traffic can discriminate."""
    rate, smallest = traffic.rate_bits_per_second, line_rate(clusters)
    if traffic.protocol == "tcp":
        return "throughput_bits_per_second" if rate is None else "cpu_cores_per_gbit"
    if rate is not None and smallest is not None and rate >= smallest:
        return "throughput_bits_per_second"
    return "loss_ratio"


def check_produced(name: str, scenario: Scenario, field: str) -> None:
    """Raise NetbenchError if there is no metric of that name or if such a scenario never produces it."""
    metric(name)
    traffic = scenario.traffic
    if name in _UDP_ONLY_METRICS and traffic.protocol != "udp":
        why = "only UDP produces"
    elif name in _TCP_ONLY_METRICS and traffic.protocol != "tcp":
        why = "only TCP produces"
    elif name.startswith("reverse_") and traffic.direction != "bidirectional":
        why = "only bidirectional traffic produces"
    elif name.startswith("ingress_") and scenario.path not in SERVICE_PATHS:
        why = "only a path through a service produces"
    else:
        return
    raise NetbenchError(f"{field} is {name!r}, which {why}; choose another metric for scenario {scenario.name}")


def _size(value: Any, field: str, low: int, high: int) -> int:
    size = units.parse_size(value, field)
    if not low <= size <= high:
        raise NetbenchError(f"{field} is {fields.shown(value)}; it must be {low} to {high} bytes")
    return int(size)
