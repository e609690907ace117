# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies between the nodes: the fabric with its two subnets, the test VM and the load balancers."""

from __future__ import annotations

from ansible_collections.netbench.cni.plugins.module_utils.lab.datapath import plan_node, plan_pod
from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import Link, NamespacePlan, Route, default, mac_of
from ansible_collections.netbench.cni.plugins.module_utils.lab.services import balancer_rules, kube_proxy_rules
from ansible_collections.netbench.cni.plugins.module_utils.lab.shaping import line_commands
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import (
    GATEWAYS,
    LB_GATEWAY,
    LB_SUBNET,
    MTU,
    NODE_SUBNET,
    NODE_SUBNET6,
    SUBNETS,
    ClusterLayout,
    Layout,
)

NODE_BRIDGE, LB_BRIDGE = "nodes", "balancers"
EXTERNAL_RATE = 2  # times a worker's: the reference's test VM has twice a worker's OCPUs, and bandwidth goes with them


def plan_lab(layout: Layout, line_rate: int) -> list[NamespacePlan]:
    """The plans of all namespaces in the order in which they can be carried out; `line_rate` in bits per second."""
    spec = layout.spec
    plans = [_plan_fabric(layout), _plan_external(layout, line_rate)]
    for cluster in layout.clusters:
        plans.append(_plan_balancer(cluster))
        rate = cluster.spec.line_rate(line_rate)
        for worker in cluster.workers:
            node = plan_node(cluster, worker)
            node.iptables = kube_proxy_rules(cluster, worker)
            _add_line(node, layout, rate)
            local = [node, *(plan_pod(cluster, worker, pod) for pod in worker.pods)]
            for plan in local:
                plan.receive_cpus = worker.cpus
                plan.offloads = _offloads(cluster, plan)
            plans += local
    for plan in plans:
        plan.congestion_control = spec.congestion_control
        plan.sysctls.update({"ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/default/disable_ipv6": "0"})
        plan.sysctls.update({"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0"})
        plan.sysctls.update({f"ipv6/conf/{link.name}/accept_dad": "0" for link in plan.links})
    return plans


def _add_line(plan: NamespacePlan, layout: Layout, rate: int) -> None:
    spec = layout.spec
    nics = [link.name for link in plan.links if link.kind == "peer"]
    links, commands = line_commands(nics, rate, spec.line_rate_shared, spec.burst_bytes, spec.queue_seconds)
    plan.links += links
    plan.tc += commands


def _offloads(cluster: ClusterLayout, plan: NamespacePlan) -> dict[str, dict[str, bool]]:
    wanted = cluster.spec.offloads
    features = {"tso": wanted.tso, "gso": wanted.gso, "gro": wanted.gro}
    return {link.name: features for link in plan.links if link.kind in ("peer", "veth")}


def _plan_fabric(layout: Layout) -> NamespacePlan:
    plan = NamespacePlan(layout.fabric, links=[Link(NODE_BRIDGE, "bridge", MTU), Link(LB_BRIDGE, "bridge", MTU)])
    for gateway, subnet in zip(GATEWAYS, SUBNETS, strict=True):
        plan.add_address(NODE_BRIDGE, gateway, subnet.prefixlen)
    plan.add_address(LB_BRIDGE, LB_GATEWAY, LB_SUBNET.prefixlen)
    plan.sysctls.update({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
    plan.optional_sysctls = {f"bridge/bridge-nf-call-{table}": "0" for table in ("iptables", "ip6tables", "arptables")}
    ports = [(NODE_BRIDGE, "ens3", layout.external.name, MTU)]
    for cluster in layout.clusters:
        ports.append((LB_BRIDGE, "ens3", cluster.balancer, MTU))
        for worker in cluster.workers:
            ports += [(NODE_BRIDGE, nic, worker.name, cluster.spec.mtu) for nic in cluster.node_nics]
    for number, (bridge, nic, endpoint, mtu) in enumerate(ports):
        plan.links.append(Link(f"port{number}", "veth", mtu, bridge=bridge, peer=(nic, endpoint)))
    return plan


def _plan_external(layout: Layout, line_rate: int) -> NamespacePlan:
    vm = layout.external
    plan = NamespacePlan(vm.name, links=[Link("ens3", "peer", MTU, mac=mac_of(vm.address))])
    for address in (vm.address, *vm.source_addresses):
        plan.add_address("ens3", address, NODE_SUBNET.prefixlen)
    plan.add_address("ens3", vm.address6, NODE_SUBNET6.prefixlen)
    plan.routes += [Route(default(gateway.version), "ens3", gateway) for gateway in GATEWAYS]
    _add_line(plan, layout, EXTERNAL_RATE * line_rate)
    return plan


def _plan_balancer(cluster: ClusterLayout) -> NamespacePlan:
    plan = NamespacePlan(cluster.balancer, links=[Link("ens3", "peer", MTU, mac=mac_of(cluster.balancer_address))])
    plan.add_address("ens3", cluster.balancer_address, LB_SUBNET.prefixlen)
    plan.routes.append(Route(default(4), "ens3", LB_GATEWAY))
    plan.sysctls["ipv4/ip_forward"] = "1"
    plan.nft = balancer_rules(cluster)
    return plan


def hosts_file(layout: Layout) -> str:
    """The test VM's /etc/hosts with a name `nlb-<cluster>` for every load balancer."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"{layout.external.address} {layout.external.name}"]
    for cluster in layout.clusters:
        names = dict.fromkeys((f"nlb-{cluster.spec.name}", cluster.balancer))
        lines.append(f"{cluster.balancer_address} {' '.join(names)}")
    return "\n".join(lines) + "\n"
