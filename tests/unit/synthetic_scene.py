# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a made-up run that are not trials: clusters, iftop evidence and the series of one trial."""

from __future__ import annotations

from typing import Any

import numpy as np

INTERVAL = 0.2


def cluster(name: str, index: int, datapath: str, line_rate: float) -> dict[str, Any]:
    routed = datapath != "vxlan"
    nodes = [
        {"name": f"{name}-w{i}", "address": f"10.0.10.{10 + 10 * index + i}", "machine": "bench", "cpus": [i % 2]}
        for i in range(3)
    ]
    subnet = "10.0.10." if datapath == "routed" else f"10.{244 + index}.0."
    pods = [
        {
            "name": f"{name}-server-{i}",
            "role": "server",
            "address": f"{subnet}{100 + 10 * index + i}",
            "node": f"{name}-w{i}",
        }
        for i in range(3)
    ]
    pods.append(
        {"name": f"{name}-client", "role": "client", "address": f"{subnet}{103 + 10 * index}", "node": f"{name}-w0"}
    )
    services = [
        {
            "name": "iperf",
            "cluster_ip": f"10.96.{index}.10",
            "port": 5201,
            "node_port": 30195,
            "load_balancer_address": f"10.0.20.{10 + index}",
            "load_balancer_name": f"nlb-{name}",
            "backends": [pod["name"] for pod in pods[:3]],
            "affinity": True,
        }
    ]
    return {
        "name": name,
        "cni": {"vxlan": "flannel (lab: vxlan)", "routed": "vcn-native (lab: routed)"}.get(
            datapath, "flannel (lab: host-gw)"
        ),
        "datapath": datapath,
        "line_rate_bits_per_second": line_rate,
        "line_rate_shared": True,
        "pod_mtu": 9000 if routed else 8950,
        "node_mtu": 9000,
        "pod_nic": "ens5" if datapath == "routed" else "ens3",
        "nodes": nodes,
        "pods": pods,
        "services": services,
        "facts": {"pod_cidrs": {node["name"]: f"{subnet}0/24" for node in nodes}},
    }


def iftop(cluster: dict[str, Any]) -> dict[str, Any]:
    """What iftop shows on the client's node: the nodes' addresses where packets are encapsulated, else the pods'."""
    ends = cluster["nodes"] if cluster["datapath"] == "vxlan" else [cluster["pods"][3], cluster["pods"][1]]
    flow = {
        "source": ends[0]["address"],
        "destination": ends[1]["address"],
        "sent_bits_per_second": 1.98e9,
        "received_bits_per_second": 6.1e6,
    }
    return {
        "cluster": cluster["name"],
        "scenario": "pod_to_pod_tcp",
        "node": f"{cluster['name']}-w0",
        "nic": cluster["pod_nic"],
        "flows": [flow],
        "total_sent_bits_per_second": 1.98e9,
        "total_received_bits_per_second": 6.1e6,
    }


def _noisy(rng: np.random.Generator, level: float, t: np.ndarray, active: np.ndarray) -> list[float]:
    values = np.where(active, level, 0.01 * level) * (1 + 0.04 * rng.standard_normal(len(t)))
    return [round(float(value), 5) for value in values]


def _node(entry: dict[str, Any], role: str, nic: str, t: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    window = entry["window"]["end"] - entry["window"]["start"]
    active = (t > 0) & (t < 1.0 + window)
    rate = entry["metrics"]["throughput_bits_per_second"]
    rx, tx = {"client_node": (0.004, 1.01), "server_node": (1.01, 0.004), "ingress_node": (1.01, 1.02)}.get(
        role, (1e-5, 1e-5)
    )
    node: dict[str, Any] = {
        "role": role,
        "t": [round(float(x), 3) for x in t],
        "nics": {
            nic: {
                "rx_bits_per_second": _noisy(rng, rate * rx, t, active),
                "tx_bits_per_second": _noisy(rng, rate * tx, t, active),
            }
        },
    }
    busy = entry["metrics"].get(f"{role}_cpu_cores")
    if busy is not None:
        kinds = {"busy": 1.0, "user": 0.05, "system": 0.5, "softirq": 0.45, "steal": 0.002}
        node["cpu_cores"] = {kind: _noisy(rng, busy * share, t, active) for kind, share in kinds.items()}
    return node


def series(entry: dict[str, Any], pod_nic: str, rng: np.random.Generator) -> dict[str, Any]:
    """series.json of a trial that has metrics: all `t` are seconds since its traffic began."""
    window = entry["window"]["end"] - entry["window"]["start"]
    metrics, ends = entry["metrics"], entry["endpoints"]
    intervals = np.arange(INTERVAL / 2, 1.0 + window, INTERVAL / 2)
    ramp = np.minimum(1.0, intervals / 0.3)
    rates = metrics["throughput_bits_per_second"] * ramp * (1 + 0.01 * rng.standard_normal(len(intervals)))
    t = [round(float(x), 3) for x in intervals]
    result: dict[str, Any] = {
        "window": {"start": 1.0, "end": round(1.0 + window, 3)},
        "throughput": {"t": t, "bits_per_second": [round(float(rate), 1) for rate in rates]},
    }
    if "loss_ratio" in metrics:
        loss = np.clip(metrics["loss_ratio"] * (1 + 0.1 * rng.standard_normal(len(t))), 0, 1)
        jitter = metrics["jitter_seconds"] * (1 + 0.2 * rng.random(len(t)))
        result["loss"] = {"t": t, "ratio": [round(float(x), 6) for x in loss]}
        result["jitter"] = {"t": t, "seconds": [round(float(x), 8) for x in jitter]}
    sweeps = np.arange(-0.4, 1.0 + window + 0.3, INTERVAL)
    nic = "ens3" if entry["path_trace"] or entry["scenario"].startswith("node_to_node") else pod_nic
    roles = {ends[role]: role for role in ("client_node", "server_node", "ingress_node") if ends.get(role)}
    roles.setdefault(f"{entry['cluster']}-w2", "other")
    result["nodes"] = {node: _node(entry, role, nic, sweeps, rng) for node, role in roles.items() if node}
    return result
