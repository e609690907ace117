# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lab.json says of a lab: its endpoints, its clusters and the settings as they were read back."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.devices import read_sysctl, run_program
from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import call_inside
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import (
    LB_SUBNET,
    NODE_SUBNET,
    VXLAN_PORT,
    ClusterLayout,
    Layout,
    Pod,
    Worker,
)

FEATURES = {"tcp-segmentation-offload": "tso", "generic-segmentation-offload": "gso", "generic-receive-offload": "gro"}
GLOBAL_SETTINGS = ("core/rmem_max", "core/wmem_max", "core/netdev_max_backlog")
NAMESPACE_SETTINGS = ("ipv4/tcp_congestion_control", "ipv4/tcp_rmem", "ipv4/tcp_wmem")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe_endpoints(layout: Layout, pids: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Inventory host → what lab.json keeps of it."""
    vm = layout.external
    machines = _machines(layout)
    found: dict[str, dict[str, Any]] = {layout.fabric: {"role": "fabric"}}
    found[vm.name] = {
        "role": "external",
        "address": str(vm.address),
        "address6": str(vm.address6),
        "source_addresses": [str(address) for address in vm.source_addresses],
    }
    for cluster in layout.clusters:
        own = {"cluster": cluster.spec.name, "machine": machines[cluster.spec.name]}
        found[cluster.balancer] = {**own, "role": "load_balancer", "address": str(cluster.balancer_address)}
        for worker in cluster.workers:
            common = {**own, "node": worker.name, "cpus": list(worker.cpus)}
            found[worker.name] = {**common, **_node(cluster, worker)}
            for pod in worker.pods:
                found[pod.name] = {**common, **_pod(pod)}
    default = {"cluster": None, "machine": socket.gethostname(), "address": None, "address6": None}
    for name, endpoint in found.items():
        path = f"/proc/{pids[name]}/ns/net"
        process = {"pid": pids[name], "netns": path, "netns_inode": os.stat(path).st_ino, "node": name}
        found[name] = {**process, **default, "source_addresses": [], "cpus": [], **endpoint}
    return found


def _node(cluster: ClusterLayout, worker: Worker) -> dict[str, Any]:
    addresses = {"ens3": str(worker.address)}
    if worker.pod_nic_addresses:
        addresses["ens5"] = str(worker.pod_nic_addresses[0])
    return {"role": "node", "address": str(worker.address), "address6": str(worker.address6), "nics": addresses}


def _pod(pod: Pod) -> dict[str, Any]:
    return {"role": pod.role, "address": str(pod.address), "address6": str(pod.address6)}


def _machines(layout: Layout) -> dict[str, str]:
    """Cluster → machine: one for all, unless every cluster names CPUs and no two name the same."""
    host = socket.gethostname()
    owned = {c.spec.name: c.spec.cpus for c in layout.clusters if c.spec.cpus and c.workers[0].cpus}
    all_cpus = [cpu for cpus in owned.values() for cpu in cpus]
    if len(owned) == len(layout.clusters) and len(all_cpus) == len(set(all_cpus)):
        return {name: f"{host}/cpu{','.join(map(str, sorted(cpus)))}" for name, cpus in owned.items()}
    return {cluster.spec.name: host for cluster in layout.clusters}


def describe_cluster(cluster: ClusterLayout, line_rate: int, shared: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """One entry of `netbench_clusters`."""
    datapath = cluster.spec.datapath
    facts: dict[str, Any] = {
        "node_subnet": str(NODE_SUBNET),
        "load_balancer_subnet": str(LB_SUBNET),
        "load_balancer_policy": "two-tuple hash; five-tuple for iperf-spread",
        "service_proxy": "iptables",
        "offloads": settings["offloads"][cluster.spec.name],
        "node_nics": {worker.name: list(cluster.node_nics) for worker in cluster.workers},
        "node_addresses": {worker.name: _all_addresses(worker) for worker in cluster.workers},
    }
    if datapath != "routed":
        facts["pod_cidrs"] = {worker.name: str(worker.pod_cidrs[0]) for worker in cluster.workers if worker.pod_cidrs}
    if datapath == "vxlan":
        facts["vxlan"] = {"vni": 1, "port": VXLAN_PORT, "device": "flannel.1", "overhead_bytes": 50}
    return {
        "cni": cluster.spec.cni,
        "datapath": datapath,
        "line_rate_bits_per_second": cluster.spec.line_rate(line_rate),
        "line_rate_shared": shared,
        "pod_mtu": cluster.pod_mtu,
        "node_mtu": cluster.spec.mtu,
        "pod_nic": cluster.pod_nic,
        "services": [
            {
                "name": service.name,
                "cluster_ip": str(service.cluster_ip),
                "port": service.port,
                "node_port": service.node_port,
                "load_balancer_address": str(cluster.balancer_address),
                "load_balancer_name": cluster.balancer,
                "backends": [pod.name for pod in service.backends],
                "affinity": service.affinity,
            }
            for service in cluster.services
        ],
        "facts": facts,
    }


def _all_addresses(worker: Worker) -> list[str]:
    """Every address that packets of this node may carry: its NICs', its tunnel device's and its bridge's."""
    own = [*worker.addresses, *worker.pod_nic_addresses]
    for cidr in worker.pod_cidrs:
        own += [cidr[0], cidr[1]]
    return [str(address) for address in own]


def read_settings(layout: Layout, pids: dict[str, int]) -> dict[str, Any]:
    """Read back what was set, and what no namespace may set: both are conditions of a measurement."""
    first = layout.clusters[0].workers[0]
    spec = layout.spec
    settings: dict[str, Any] = {
        "congestion_control_wanted": spec.congestion_control,
        "burst_bytes": spec.burst_bytes,
        "queue_seconds": spec.queue_seconds,
        "line_rate_shared": spec.line_rate_shared,
        "governor": GOVERNOR.read_text(encoding="ascii").strip() if GOVERNOR.exists() else None,
        "qdisc": call_inside(pids[first.name], _queueing),
        "offloads": {},
    }
    settings.update({path.rpartition("/")[2]: read_sysctl(path) for path in GLOBAL_SETTINGS})
    settings.update(call_inside(pids[first.pods[0].name], _namespace_settings))
    for cluster in layout.clusters:
        worker = cluster.workers[0]
        settings["offloads"][cluster.spec.name] = {
            "node": call_inside(pids[worker.name], read_offloads, "ens3"),
            "pod": call_inside(pids[worker.pods[0].name], read_offloads, "eth0"),
        }
    return settings


def _namespace_settings() -> dict[str, str]:
    return {path.rpartition("/")[2]: read_sysctl(path) for path in NAMESPACE_SETTINGS}


def _queueing() -> list[str]:
    lines = run_program(["tc", "qdisc", "show"]).splitlines()
    return [line.strip() for line in lines if "noqueue" not in line]


def read_offloads(device: str) -> dict[str, bool]:
    """tso, gso and gro of a device of this namespace, as ethtool reports them."""
    found = {}
    for line in run_program(["ethtool", "-k", device]).splitlines():
        name, _colon, value = line.strip().partition(": ")
        if name in FEATURES:
            found[FEATURES[name]] = value.startswith("on")
    return found
