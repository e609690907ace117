# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wanted state of one network namespace as plain data, and the parts of it that all nodes have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import Address, Network

MAIN_TABLE = 254


@dataclass(frozen=True)
class Link:
    """A device. Kind `peer` exists already: the other end of a veth that another namespace makes.

    `peer` is (device, endpoint) of a veth's other end. Through a port with `hairpin` a bridge sends frames back, which
    a pod needs to reach itself by a Service. `attributes` go to the kernel as pyroute2 names them, with `link` naming
    the underlying device.
    """

    name: str
    kind: str
    mtu: int
    mac: str | None = None
    bridge: str | None = None
    hairpin: bool = False
    peer: tuple[str, str] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceAddress:
    """An address with its prefix; without `prefix_route` the kernel adds no route for it."""

    device: str
    interface: IPv4Interface | IPv6Interface
    prefix_route: bool = True


@dataclass(frozen=True)
class Route:
    """A route; `onlink` says that the gateway is there although no connected prefix holds its address."""

    destination: Network
    device: str
    gateway: Address | None = None
    table: int = MAIN_TABLE
    onlink: bool = False


@dataclass(frozen=True)
class Rule:
    """A policy rule by source or destination."""

    priority: int
    table: int
    source: Network | None = None
    destination: Network | None = None


@dataclass(frozen=True)
class Neighbour:
    """A permanent neighbour or, without MAC, an address that is answered for (proxy)."""

    device: str
    address: Address
    mac: str | None = None


@dataclass(frozen=True)
class Forward:
    """A static FDB entry of a VXLAN device: frames to `mac` go to the host `destination`."""

    device: str
    mac: str
    destination: IPv4Address


@dataclass
class NamespacePlan:
    """Everything one namespace is to hold.

    `sysctls` are paths below /proc/sys/net (`optional_sysctls`: where the kernel has them), `offloads` are ethtool's
    features.
    """

    endpoint: str
    links: list[Link] = field(default_factory=list)
    addresses: list[DeviceAddress] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    neighbours: list[Neighbour] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    optional_sysctls: dict[str, str] = field(default_factory=dict)
    iptables: str = ""
    nft: str = ""
    tc: list[str] = field(default_factory=list)
    offloads: dict[str, dict[str, bool]] = field(default_factory=dict)
    congestion_control: str = ""
    receive_cpus: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for tests and for people who want to see the plan."""
        return asdict(self)

    def add_address(self, device: str, address: Address, length: int, prefix_route: bool = True) -> None:
        """Put `address`/`length` on `device`."""
        kind = IPv4Interface if address.version == 4 else IPv6Interface
        self.addresses.append(DeviceAddress(device, kind(f"{address}/{length}"), prefix_route))


def host(address: Address) -> Network:
    """The network with that one address."""
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)


def default(version: int) -> Network:
    """0.0.0.0/0 or ::/0."""
    return IPv4Network("0.0.0.0/0") if version == 4 else IPv6Network("::/0")


def mac_of(address: Address, prefix: int = 0x02) -> str:
    """A locally administered MAC address that ends in the address, as CNI's bridge plugin makes them."""
    return ":".join(f"{octet:02x}" for octet in (prefix, 0, *address.packed[-4:]))
