# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a lab and under which address: the reference's VCN, computed from a LabSpec without touching anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import ClusterSpec, LabSpec

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

NODE_SUBNET = IPv4Network("10.0.10.0/24")
NODE_SUBNET6 = IPv6Network("fd00:10:0:10::/64")
LB_SUBNET = IPv4Network("10.0.20.0/24")
POD_NETWORK = IPv4Network("10.244.0.0/16")
POD_NETWORK6 = IPv6Network("fd00:10:244::/48")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
GATEWAY = NODE_SUBNET[1]
GATEWAY6 = NODE_SUBNET6[1]
LB_GATEWAY = LB_SUBNET[1]
SUBNETS: tuple[Network, Network] = (NODE_SUBNET, NODE_SUBNET6)
GATEWAYS: tuple[Address, Address] = (GATEWAY, GATEWAY6)
MTU = 9000
VXLAN_OVERHEAD = 50
VXLAN_PORT = 8472
IPERF_PORT = 5201
SPREAD_PORT = 5300


@dataclass(frozen=True)
class Pod:
    """A pod; `role` is client or server."""

    name: str
    role: str
    address: IPv4Address
    address6: IPv6Address

    @property
    def addresses(self) -> tuple[Address, Address]:
        return self.address, self.address6


@dataclass(frozen=True)
class Worker:
    """A node with its pods.

    Pairs are of IPv4 and IPv6. `pod_nic_addresses` is the pair of `ens5` (routed only, else empty), `pod_cidrs` that of
    its shares of the pod networks (not routed, else empty).
    """

    name: str
    index: int
    address: IPv4Address
    address6: IPv6Address
    cpus: tuple[int, ...]
    pods: tuple[Pod, ...]
    pod_nic_addresses: tuple[Address, ...] = ()
    pod_cidrs: tuple[Network, ...] = ()

    @property
    def addresses(self) -> tuple[Address, Address]:
        return self.address, self.address6


@dataclass(frozen=True)
class Service:
    """A Service, TCP and UDP on the same port; its pods listen on port 5201."""

    name: str
    cluster_ip: IPv4Address
    port: int
    node_port: int
    backends: tuple[Pod, ...]
    affinity: bool


@dataclass(frozen=True)
class ClusterLayout:
    """A cluster with its workers, services and load balancer."""

    spec: ClusterSpec
    workers: tuple[Worker, ...]
    services: tuple[Service, ...]
    balancer: str
    balancer_address: IPv4Address

    @property
    def pod_mtu(self) -> int:
        return self.spec.mtu - VXLAN_OVERHEAD if self.spec.datapath == "vxlan" else self.spec.mtu

    @property
    def pod_nic(self) -> str:
        return "ens5" if self.spec.datapath == "routed" else "ens3"

    @property
    def node_nics(self) -> tuple[str, ...]:
        return ("ens3", "ens5") if self.spec.datapath == "routed" else ("ens3",)


@dataclass(frozen=True)
class External:
    """The test VM: one address to be reached under and further ones to send from."""

    name: str
    address: IPv4Address
    address6: IPv6Address
    source_addresses: tuple[IPv4Address, ...]


@dataclass(frozen=True)
class Layout:
    """The whole lab; `fabric` is the name of the namespace with the bridges and the gateways."""

    spec: LabSpec
    fabric: str
    external: External
    clusters: tuple[ClusterLayout, ...]

    def names(self) -> list[str]:
        """Every endpoint, infrastructure first."""
        names = [self.fabric, self.external.name]
        for cluster in self.clusters:
            names += [cluster.balancer, *(worker.name for worker in cluster.workers)]
            names += [pod.name for worker in cluster.workers for pod in worker.pods]
        return names


def in_node_subnet6(address: IPv4Address) -> IPv6Address:
    """The IPv6 address with the same host number, written in decimal as people write it."""
    return NODE_SUBNET6[int(str(int(address) - int(NODE_SUBNET[0])), 16)]


def _pod_names(prefix: str, cluster: ClusterSpec, index: int) -> list[tuple[str, str]]:
    names = [(f"{prefix}{cluster.name}-server-{index}", "server")]
    return [*names, (f"{prefix}{cluster.name}-client", "client")] if index == 0 else names


def _overlay_worker(
    name: str, index: int, address: IPv4Address, cpus: tuple[int, ...], names: list[tuple[str, str]]
) -> Worker:
    cidr = list(POD_NETWORK.subnets(new_prefix=25))[index]
    cidr6 = IPv6Network((int(POD_NETWORK6[0]) + (index << 64), 64))
    pods = tuple(Pod(pod, role, cidr[2 + n], cidr6[2 + n]) for n, (pod, role) in enumerate(names))
    return Worker(name, index, address, in_node_subnet6(address), cpus, pods, pod_cidrs=(cidr, cidr6))


def _routed_worker(
    name: str,
    index: int,
    address: IPv4Address,
    cpus: tuple[int, ...],
    names: list[tuple[str, str]],
    free: Iterator[IPv4Address],
) -> Worker:
    nic = next(free)
    pods = []
    for pod, role in names:
        pod_address = next(free)
        pods.append(Pod(pod, role, pod_address, in_node_subnet6(pod_address)))
    return Worker(
        name,
        index,
        address,
        in_node_subnet6(address),
        cpus,
        tuple(pods),
        pod_nic_addresses=(nic, in_node_subnet6(nic)),
    )


def _services(workers: tuple[Worker, ...]) -> tuple[Service, ...]:
    servers = tuple(pod for worker in workers for pod in worker.pods if pod.role == "server")
    wanted = [("iperf", IPERF_PORT, servers, True)]
    wanted += [(f"iperf-{n}", 5210 + n, (server,), True) for n, server in enumerate(servers)]
    wanted += [("iperf-spread", SPREAD_PORT, servers, False)]
    return tuple(
        Service(name, SERVICE_NETWORK[10 + n], port, 25000 + port, backends, affinity)
        for n, (name, port, backends, affinity) in enumerate(wanted)
    )


def lay_out(spec: LabSpec, machine_cpus: tuple[int, ...]) -> Layout:
    """Names and addresses of everything. `machine_cpus` serve clusters that name none; () binds nobody.

    Raises LabError where the node subnet is too small or two endpoints would have one name.
    """
    prefix = "" if spec.name == "lab" else f"{spec.name}-"
    free = iter(list(NODE_SUBNET)[2:-1])
    try:
        vm = next(free)
        sources = tuple(next(free) for _number in range(spec.external_source_addresses))
        clusters = tuple(
            _cluster(prefix, cluster, LB_SUBNET[10 + n], machine_cpus, free) for n, cluster in enumerate(spec.clusters)
        )
    except (StopIteration, RuntimeError, IndexError) as error:
        raise LabError(
            f"clusters has too many workers: the node subnet {NODE_SUBNET} has 253 addresses for nodes, the test VM "
            "and routed pods; ask for fewer workers or clusters."
        ) from error
    layout = Layout(spec, f"{prefix}fabric", External(f"{prefix}test-vm", vm, in_node_subnet6(vm), sources), clusters)
    names = layout.names()
    for name in names:
        if names.count(name) > 1:
            raise LabError(f"clusters gives two endpoints the name {name!r}; rename one of the clusters.")
    return layout


def _cluster(
    prefix: str, spec: ClusterSpec, balancer: IPv4Address, machine_cpus: tuple[int, ...], free: Iterator[IPv4Address]
) -> ClusterLayout:
    cpus = (spec.cpus or machine_cpus) if machine_cpus else ()
    workers = []
    for index in range(spec.workers):
        own = (cpus[index % len(cpus)],) if cpus else ()
        names = _pod_names(prefix, spec, index)
        name, address = f"{prefix}{spec.name}-w{index}", next(free)
        if spec.datapath == "routed":
            workers.append(_routed_worker(name, index, address, own, names, free))
        else:
            workers.append(_overlay_worker(name, index, address, own, names))
    layout = tuple(workers)
    return ClusterLayout(spec, layout, _services(layout), f"{prefix}nlb-{spec.name}", balancer)
