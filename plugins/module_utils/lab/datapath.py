# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three datapaths: how pods hang on a node and how one node reaches the pods of another.

`vxlan` is flannel's VXLAN backend and `host_gateway` its host-gw backend (flannel Documentation/backends.md), `routed`
is a VCN-native network: pods own addresses of the node subnet behind the second NIC.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import (
    MAIN_TABLE,
    Forward,
    Link,
    NamespacePlan,
    Neighbour,
    Route,
    Rule,
    default,
    host,
    mac_of,
)
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import (
    GATEWAYS,
    SUBNETS,
    VXLAN_PORT,
    Address,
    ClusterLayout,
    Pod,
    Worker,
)

TUNNEL = "flannel.1"
BRIDGE = "cni0"
POD_TABLE = 1005
TO_POD_PRIORITY, FROM_POD_PRIORITY = 512, 1536
POD_GATEWAYS: tuple[Address, Address] = (IPv4Address("169.254.1.1"), IPv6Address("fe80::1"))


def plan_node(cluster: ClusterLayout, worker: Worker) -> NamespacePlan:
    """Devices, addresses and routes of a node; its rules for services and its line rate are added by others."""
    plan = NamespacePlan(worker.name)
    for nic in cluster.node_nics:
        plan.links.append(Link(nic, "peer", cluster.spec.mtu, mac=nic_mac(worker, nic)))
    for address, subnet, gateway in zip(worker.addresses, SUBNETS, GATEWAYS, strict=True):
        plan.add_address("ens3", address, subnet.prefixlen)
        plan.routes.append(Route(default(subnet.version), "ens3", gateway))
    plan.sysctls.update(
        {
            "ipv4/ip_forward": "1",
            "ipv6/conf/all/forwarding": "1",
            "ipv4/conf/all/rp_filter": "2",
            "ipv4/conf/all/send_redirects": "0",
            "ipv4/conf/default/send_redirects": "0",
        }
    )
    if cluster.spec.datapath == "routed":
        _plan_routed_pods(plan, cluster, worker)
    else:
        _plan_bridged_pods(plan, cluster, worker)
        _plan_routes_to_pods(plan, cluster, worker)
    return plan


def plan_pod(cluster: ClusterLayout, worker: Worker, pod: Pod) -> NamespacePlan:
    """A pod: `eth0` with a default route to its node."""
    plan = NamespacePlan(pod.name, links=[Link("eth0", "peer", cluster.pod_mtu, mac=mac_of(pod.address, 0x0A))])
    if worker.pod_cidrs:
        for address, cidr in zip(pod.addresses, worker.pod_cidrs, strict=True):
            plan.add_address("eth0", address, cidr.prefixlen)
            plan.routes.append(Route(default(cidr.version), "eth0", cidr[1]))
        return plan
    for address, gateway in zip(pod.addresses, POD_GATEWAYS, strict=True):
        plan.add_address("eth0", address, address.max_prefixlen)
        plan.routes.append(Route(default(address.version), "eth0", gateway, onlink=True))
        plan.neighbours.append(Neighbour("eth0", gateway, mac_of(pod.address, 0x0E)))
    return plan


def nic_mac(worker: Worker, nic: str) -> str:
    """The MAC address of a node's NIC."""
    return mac_of(worker.pod_nic_addresses[0] if nic == "ens5" and worker.pod_nic_addresses else worker.address)


def tunnel_mac(worker: Worker) -> str:
    """The MAC address of a node's VXLAN device."""
    return mac_of(worker.address, 0x0E)


def tunnel_addresses(worker: Worker) -> tuple[Address, Address]:
    """Those of a node's VXLAN device: the first of its pod network, and the last since IPv6 reserves the first."""
    return worker.pod_cidrs[0][0], worker.pod_cidrs[1][-1]


def _plan_bridged_pods(plan: NamespacePlan, cluster: ClusterLayout, worker: Worker) -> None:
    plan.links.append(Link(BRIDGE, "bridge", cluster.pod_mtu, mac=mac_of(worker.pod_cidrs[0][1], 0x0A)))
    for cidr in worker.pod_cidrs:
        plan.add_address(BRIDGE, cidr[1], cidr.prefixlen)
    for number, pod in enumerate(worker.pods):
        peer = ("eth0", pod.name)
        plan.links.append(Link(f"veth{number}", "veth", cluster.pod_mtu, bridge=BRIDGE, hairpin=True, peer=peer))
    # As Kubernetes demands: without it, answers between pods of one node would pass the Service's rules by.
    plan.optional_sysctls["bridge/bridge-nf-call-iptables"] = "1"


def _plan_routes_to_pods(plan: NamespacePlan, cluster: ClusterLayout, worker: Worker) -> None:
    others = [other for other in cluster.workers if other is not worker]
    if cluster.spec.datapath == "vxlan":
        _plan_tunnel(plan, cluster, worker, others)
        return
    for other in others:
        for cidr, gateway in zip(other.pod_cidrs, other.addresses, strict=True):
            plan.routes.append(Route(cidr, "ens3", gateway))


def _plan_tunnel(plan: NamespacePlan, cluster: ClusterLayout, worker: Worker, others: list[Worker]) -> None:
    attributes = {
        "vxlan_id": 1,
        "vxlan_port": VXLAN_PORT,
        "vxlan_local": str(worker.address),
        "vxlan_learning": 0,
        "vxlan_udp_csum": 0,
        "link": "ens3",
    }
    plan.links.append(Link(TUNNEL, "vxlan", cluster.pod_mtu, mac=tunnel_mac(worker), attributes=attributes))
    for address in tunnel_addresses(worker):
        plan.add_address(TUNNEL, address, address.max_prefixlen)
    for other in others:
        plan.forwards.append(Forward(TUNNEL, tunnel_mac(other), other.address))
        for cidr, far in zip(other.pod_cidrs, tunnel_addresses(other), strict=True):
            plan.routes.append(Route(cidr, TUNNEL, far, onlink=True))
            plan.neighbours.append(Neighbour(TUNNEL, far, tunnel_mac(other)))


def _plan_routed_pods(plan: NamespacePlan, cluster: ClusterLayout, worker: Worker) -> None:
    """Traffic of pods goes in and out by ens5; what the node itself sends or forwards for a Service leaves by ens3.

    The node answers on ens5 for the addresses of its pods alone: with `proxy_arp` it would answer for the whole subnet,
    since its own route to it is by ens3.
    """
    for nic_address, subnet in zip(worker.pod_nic_addresses, SUBNETS, strict=True):
        plan.add_address("ens5", nic_address, subnet.prefixlen, prefix_route=False)
    plan.sysctls.update(
        {
            "ipv4/conf/all/arp_ignore": "1",
            "ipv4/conf/all/arp_announce": "2",
            "ipv6/conf/ens5/proxy_ndp": "1",
            "ipv4/neigh/ens5/proxy_delay": "0",
            "ipv6/neigh/ens5/proxy_delay": "0",
        }
    )
    for subnet, gateway in zip(SUBNETS, GATEWAYS, strict=True):
        plan.routes.append(Route(subnet, "ens5", table=POD_TABLE))
        plan.routes.append(Route(default(subnet.version), "ens5", gateway, table=POD_TABLE))
    for number, pod in enumerate(worker.pods):
        device, pod_mac = f"veth{number}", mac_of(pod.address, 0x0A)
        plan.links.append(Link(device, "veth", cluster.pod_mtu, mac=mac_of(pod.address, 0x0E), peer=("eth0", pod.name)))
        for address in pod.addresses:
            plan.routes.append(Route(host(address), device))
            plan.rules.append(Rule(TO_POD_PRIORITY, MAIN_TABLE, destination=host(address)))
            plan.rules.append(Rule(FROM_POD_PRIORITY, POD_TABLE, source=host(address)))
            plan.neighbours += [Neighbour(device, address, pod_mac), Neighbour("ens5", address)]
