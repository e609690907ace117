# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of a lab: parameters, validated and brought to one normal form.

Rates are bits per second, sizes bytes, times seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError

DATAPATHS = {
    "vxlan": "flannel (lab: vxlan)",
    "routed": "vcn-native (lab: routed)",
    "host_gateway": "flannel (lab: host-gw)",
}
RATE_UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
RATE_LIMITS = (1_000_000, 100_000_000_000)
MTU_LIMITS = (1280, 9000)
WORKER_LIMIT = 64
SOURCE_ADDRESS_LIMIT = 64
NAME = re.compile(r"[a-z][a-z0-9-]{0,24}")
RESERVED_NAMES = ("all", "ungrouped", "localhost")


@dataclass(frozen=True)
class Offloads:
    """Segmentation and receive offloads of every NIC of a cluster's nodes and pods."""

    tso: bool = True
    gso: bool = True
    gro: bool = False


@dataclass(frozen=True)
class ClusterSpec:
    """One cluster. Its line rate is a share of the lab's unless `line_rate_bits_per_second` is given.

    `cpus` are the CPUs its workers are dealt out to in turn; empty means all of the machine's.
    """

    name: str
    datapath: str
    cni: str
    workers: int = 3
    line_rate_bits_per_second: int | None = None
    line_rate_share: float = 1.0
    mtu: int = 9000
    offloads: Offloads = field(default_factory=Offloads)
    cpus: tuple[int, ...] = ()

    def line_rate(self, of_lab: int) -> int:
        """The rate of each worker's line where the lab's is `of_lab`, both in bits per second."""
        return self.line_rate_bits_per_second or round(of_lab * self.line_rate_share)


@dataclass(frozen=True)
class LabSpec:
    """A whole lab. A line rate of None is to be calibrated so that the machine is `calibration_target` busy."""

    name: str
    clusters: tuple[ClusterSpec, ...]
    line_rate_bits_per_second: int | None = None
    line_rate_shared: bool = True
    calibration_target: float = 0.55
    burst_bytes: int = 262144
    queue_seconds: float = 0.025
    external_source_addresses: int = 8
    congestion_control: str = "cubic"
    bind_cpus: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain data, equal for equal labs: what lab.json keeps and a diff shows."""
        plain: dict[str, Any] = asdict(self)
        plain["clusters"] = [{**c, "cpus": list(c["cpus"])} for c in plain["clusters"]]
        return plain


def parse_rate(text: object, what: str) -> int:
    """`2Gbit`, `500 Mbit/s` or a plain number → bits per second; raises LabError outside 1 Mbit/s to 100 Gbit/s."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*?)(?:ps|/s)?\s*", str(text).lower())
    unit = RATE_UNITS.get(match.group(2) or "bit") if match else None
    if match is None or unit is None or isinstance(text, bool):
        raise LabError(f"{what} is {text!r}, but it must be a rate such as 500Mbit or 2Gbit.")
    rate = round(float(match.group(1)) * unit)
    if not RATE_LIMITS[0] <= rate <= RATE_LIMITS[1]:
        raise LabError(f"{what} is {text!r}, but it must lie between 1Mbit and 100Gbit.")
    return rate


def parse_share(text: object, what: str, low: float, high: float) -> float:
    """`98%` → 0.98; raises LabError unless `low` <= share <= `high`."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", str(text))
    share = float(match.group(1)) / 100 if match else -1.0
    if not low <= share <= high:
        raise LabError(f"{what} is {text!r}, but it must be a share between {low:.0%} and {high:.0%}.")
    return round(share, 6)


def _check_keys(given: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise LabError(f"{what} has the unknown key {unknown[0]!r}; it knows {', '.join(sorted(known))}.")


def check_name(name: object, what: str) -> str:
    """The name of a lab or cluster, if it can be one; raises LabError."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise LabError(
            f"{what} is {name!r}, but it must be at most 25 lower-case letters, digits and dashes, begin with a letter "
            f"and be none of {', '.join(RESERVED_NAMES)}."
        )
    return str(name)


def _integer(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise LabError(f"{what} is {value!r}, but it must be a whole number from {low} to {high}.")
    return value


def _boolean(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise LabError(f"{what} is {value!r}, but it must be true or false.")
    return value


def _parse_offloads(given: object, what: str) -> Offloads:
    if not isinstance(given, Mapping):
        raise LabError(f"{what} is {given!r}, but it must be a mapping of tso, gso and gro to true or false.")
    _check_keys(given, {"tso", "gso", "gro"}, what)
    chosen = {key: _boolean(value, f"{what}.{key}") for key, value in given.items() if value is not None}
    return Offloads(**chosen)


def _parse_cpus(given: object, what: str, available: frozenset[int]) -> tuple[int, ...]:
    if not isinstance(given, (list, tuple)):
        raise LabError(f"{what} is {given!r}, but it must be a list of CPU numbers.")
    for cpu in given:
        if isinstance(cpu, bool) or cpu not in available:
            raise LabError(f"{what} names the CPU {cpu!r}, but this machine offers {sorted(available)}.")
    if len(set(given)) != len(given):
        raise LabError(f"{what} is {list(given)!r}, but it must name each CPU once.")
    return tuple(given)


def parse_cluster(given: Mapping[str, Any], available_cpus: frozenset[int]) -> ClusterSpec:
    """One entry of `clusters` → ClusterSpec; raises LabError."""
    known = {"name", "datapath", "cni", "workers", "line_rate", "mtu", "offloads", "cpus"}
    given = {key: value for key, value in given.items() if value is not None}
    name = check_name(given.get("name"), "clusters[].name")
    what = f"clusters[{name}]"
    _check_keys(given, known, what)
    datapath = given.get("datapath")
    if datapath not in DATAPATHS:
        raise LabError(f"{what}.datapath is {datapath!r}, but it must be one of {', '.join(DATAPATHS)}.")
    rate: dict[str, Any] = {}
    if str(given.get("line_rate", "")).strip().endswith("%"):
        rate["line_rate_share"] = parse_share(given["line_rate"], f"{what}.line_rate", 0.01, 10.0)
    elif "line_rate" in given:
        rate["line_rate_bits_per_second"] = parse_rate(given["line_rate"], f"{what}.line_rate")
    return ClusterSpec(
        name=name,
        datapath=str(datapath),
        cni=str(given.get("cni") or DATAPATHS[str(datapath)]),
        workers=_integer(given.get("workers", 3), f"{what}.workers", 1, WORKER_LIMIT),
        mtu=_integer(given.get("mtu", 9000), f"{what}.mtu", *MTU_LIMITS),
        offloads=_parse_offloads(given.get("offloads", {}), f"{what}.offloads"),
        cpus=_parse_cpus(given.get("cpus", []), f"{what}.cpus", available_cpus),
        **rate,
    )


def parse(given: Mapping[str, Any], available_cpus: frozenset[int]) -> LabSpec:
    """The module's parameters (without `state` and `state_dir`) → LabSpec.

    `available_cpus` are the CPUs the caller may run on. Raises LabError, one sentence, at the first fault.
    """
    given = {key: value for key, value in given.items() if value is not None}
    known = {"name", "clusters", "line_rate", "line_rate_shared", "calibration_target", "burst_bytes"}
    known |= {"queue_milliseconds", "external_source_addresses", "congestion_control", "bind_cpus"}
    _check_keys(given, known, "The lab")
    name = check_name(given.get("name", "lab"), "name")
    entries = given.get("clusters")
    if not isinstance(entries, (list, tuple)) or not entries or not all(isinstance(e, Mapping) for e in entries):
        raise LabError(f"clusters is {entries!r}, but it must be a list with at least one cluster.")
    clusters = tuple(parse_cluster(entry, available_cpus) for entry in entries)
    names = [cluster.name for cluster in clusters]
    for cluster in names:
        if names.count(cluster) > 1:
            raise LabError(f"clusters names {cluster!r} twice, but every cluster needs a name of its own.")
    rate = given.get("line_rate", "auto")
    congestion_control = str(given.get("congestion_control", "cubic"))
    if not re.fullmatch(r"[a-z0-9_]{1,15}", congestion_control):
        raise LabError(f"congestion_control is {congestion_control!r}, but it must be an algorithm such as cubic.")
    return LabSpec(
        name=name,
        clusters=clusters,
        line_rate_bits_per_second=None if rate == "auto" else parse_rate(rate, "line_rate"),
        line_rate_shared=_boolean(given.get("line_rate_shared", True), "line_rate_shared"),
        calibration_target=parse_share(given.get("calibration_target", "55%"), "calibration_target", 0.1, 0.9),
        burst_bytes=_integer(given.get("burst_bytes", 262144), "burst_bytes", 65536, 16_777_216),
        queue_seconds=_integer(given.get("queue_milliseconds", 25), "queue_milliseconds", 1, 1000) / 1000,
        external_source_addresses=_integer(
            given.get("external_source_addresses", 8), "external_source_addresses", 0, SOURCE_ADDRESS_LIMIT
        ),
        congestion_control=congestion_control,
        bind_cpus=_boolean(given.get("bind_cpus", True), "bind_cpus"),
    )
