# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a made-up inventory with the reference's shape: three workers a cluster, one test VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import clusters_from_vars
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint

WORKERS = 3


def variables(
    *names: str, machine: str = "bench", line_rate: float | None = 2e9
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """`netbench_clusters` and the endpoints' host variables; `{}` in `machine` becomes the cluster's name."""
    clusters: dict[str, Any] = {}
    hosts: dict[str, dict[str, Any]] = {
        "test-vm": {"netbench_role": "external", "netbench_address": "10.0.10.250", "netbench_machine": "vm"}
    }
    for index, name in enumerate(names or ("flannel", "native")):
        place = {"netbench_cluster": name, "netbench_machine": machine.format(name)}
        for worker in range(WORKERS):
            on = {**place, "netbench_node": f"{name}-w{worker}"}
            last = 10 * (index + 1) + worker
            hosts[f"{name}-w{worker}"] = {**on, "netbench_role": "node", "netbench_address": f"10.0.10.{last}"}
            hosts[f"{name}-server-{worker}"] = {
                **on,
                "netbench_role": "server",
                "netbench_address": f"10.{244 + index}.{worker}.2",
                "netbench_address6": f"fd00:{index}:{worker}::2",
            }
        hosts[f"{name}-client"] = {
            **place,
            "netbench_role": "client",
            "netbench_node": f"{name}-w0",
            "netbench_address": f"10.{244 + index}.0.3",
            "netbench_address6": f"fd00:{index}:0::3",
        }
        clusters[name] = {
            "cni": f"{name} (made up)",
            "datapath": "routed",
            "line_rate_bits_per_second": line_rate,
            "line_rate_shared": True,
            "pod_mtu": 9000,
            "node_mtu": 9000,
            "services": services(name, index),
        }
    return clusters, hosts


def services(name: str, index: int) -> list[dict[str, Any]]:
    pods = [f"{name}-server-{worker}" for worker in range(WORKERS)]
    shape = [("iperf", 5201, pods, True), ("iperf-spread", 5300, pods, False)]
    shape += [(f"iperf-{worker}", 5210 + worker, [pods[worker]], True) for worker in range(WORKERS)]
    return [
        {
            "name": service,
            "cluster_ip": f"10.96.{index}.{place + 1}",
            "port": port,
            "backends": backends,
            "affinity": affinity,
            "load_balancer_address": f"10.0.20.{10 + index}",
            "load_balancer_name": f"nlb-{name}",
        }
        for place, (service, port, backends, affinity) in enumerate(shape)
    ]


def topology(
    *names: str, machine: str = "bench", line_rate: float | None = 2e9
) -> tuple[dict[str, Cluster], dict[str, Endpoint]]:
    return clusters_from_vars(*variables(*names, machine=machine, line_rate=line_rate))
