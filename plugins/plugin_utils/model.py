# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain data that the core's modules hand to one another.

Rates are bits per second, sizes bytes, times seconds; every other unit is for humans only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

PathName = Literal[
    "node_to_node",
    "pod_to_pod_same_node",
    "pod_to_pod",
    "pod_to_service",
    "external_to_load_balancer",
]
Forwarding = Literal["forwarded", "local"]
Protocol = Literal["tcp", "udp"]
Direction = Literal["forward", "reverse", "bidirectional"]
EndpointRole = Literal["client", "server", "node", "external"]
Status = Literal["ok", "failed", "void"]

PATHS: tuple[PathName, ...] = (
    "node_to_node",
    "pod_to_pod_same_node",
    "pod_to_pod",
    "pod_to_service",
    "external_to_load_balancer",
)
TAIL_SECONDS = 0.2
SERVICE_PATHS: tuple[PathName, ...] = ("pod_to_service", "external_to_load_balancer")


class NetbenchError(Exception):
    """A condition that one sentence explains to the user: field, value and what would be right."""


@dataclass(frozen=True)
class Traffic:
    """What is sent. `rate_bits_per_second` is the sum over all streams, None means as fast as it goes (TCP only)."""

    protocol: Protocol = "tcp"
    rate_bits_per_second: float | None = None
    length_bytes: int | None = None
    socket_buffer_bytes: int | None = None
    mss_bytes: int | None = None
    streams: int = 1
    direction: Direction = "forward"
    family: Literal[4, 6] = 4
    congestion_control: str | None = None


@dataclass(frozen=True)
class Scenario:
    """Path plus traffic, with the metric on which a comparison of it is decided."""

    name: str
    path: PathName
    traffic: Traffic
    primary: str
    forwarding: Forwarding | None = None
    warmup_seconds: float = 1.0
    window_seconds: float = 1.8

    @property
    def traffic_seconds(self) -> int:
        """How long iperf3 sends: warm-up, window and a tail, so that a sample follows the window while traffic runs.

        Whole seconds, because that is all that iperf3's `--time` takes.
        """
        return math.ceil(self.warmup_seconds + self.window_seconds + TAIL_SECONDS)


@dataclass(frozen=True)
class Endpoint:
    """An inventory host that can send or receive.

    `node` is the inventory host of the node it runs on (a node or a VM: itself), `machine` names the physical machine
    whose CPUs and clock it shares, `cpus` are the CPUs that serve this endpoint's node alone (empty: not bound, so
    that no CPU figure can be given for the node), `netns` is how the machine's sampler reaches its NICs (None: the
    sampler's own namespace).
    """

    name: str
    role: EndpointRole
    cluster: str | None
    node: str
    machine: str
    address: str
    address6: str | None = None
    source_addresses: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    netns: str | None = None


@dataclass(frozen=True)
class Service:
    """A Service of one cluster: its addresses and the server endpoints that may answer.

    `affinity` says whether one client stays with one backend; without it iperf3's two connections may land on
    different pods.
    """

    name: str
    cluster_ip: str
    port: int
    backends: tuple[str, ...]
    affinity: bool
    node_port: int | None = None
    load_balancer_address: str | None = None
    load_balancer_name: str | None = None


@dataclass(frozen=True)
class Cluster:
    """One system under test. `facts` is what is reported of it and never computed with."""

    name: str
    cni: str
    endpoints: tuple[Endpoint, ...]
    services: tuple[Service, ...] = ()
    line_rate_bits_per_second: float | None = None
    line_rate_shared: bool = False
    pod_mtu: int | None = None
    node_mtu: int | None = None
    pod_nic: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def of_role(self, role: EndpointRole) -> tuple[Endpoint, ...]:
        return tuple(e for e in self.endpoints if e.role == role)


@dataclass(frozen=True)
class Trial:
    """One scenario on one cluster, once; `order` is its place in the run."""

    id: str
    block: int
    order: int
    cluster: str
    scenario: Scenario


@dataclass
class FinishedTrial:
    """What the journal keeps of a trial: one JSON object a line, the field names are the keys."""

    id: str
    block: int
    order: int
    cluster: str
    scenario: str
    status: Status
    reason: str
    started: str
    elapsed_seconds: float
    attempts: int
    window: dict[str, float] = field(default_factory=dict)
    endpoints: dict[str, str | None] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    machines: dict[str, dict[str, float]] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    path_trace: dict[str, Any] = field(default_factory=dict)
