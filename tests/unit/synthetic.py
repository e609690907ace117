# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up run that looks like a measured one: the default matrix of the lab, deterministic by seed.

spec = Spec(blocks=8, effects={("flannel", "pod_to_pod_tcp", "throughput_bits_per_second"): 0.95}, failed=1, void=1)
write_run(tmp_path / "run", spec)        # run.json, trials.jsonl, raw/<trial>/series.json
trials(spec); manifest(spec)             # the same without files
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.netbench.cni.tests.unit import synthetic_scene as scene

LINE_RATE = 2e9
EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
WARMUP, WINDOW = 1.0, 1.8

# path, forwarding, protocol, share of the line rate (None: unlimited), primary metric
_SCENARIOS: dict[str, tuple[str, str | None, str, float | None, str]] = {
    "node_to_node_tcp": ("node_to_node", None, "tcp", None, "throughput_bits_per_second"),
    "pod_to_pod_tcp": ("pod_to_pod", None, "tcp", None, "throughput_bits_per_second"),
    "pod_to_pod_tcp_fixed": ("pod_to_pod", None, "tcp", 0.5, "cpu_cores_per_gbit"),
    "pod_to_pod_udp_over": ("pod_to_pod", None, "udp", 1.0, "throughput_bits_per_second"),
    "pod_to_pod_udp_sustainable": ("pod_to_pod", None, "udp", 0.925, "loss_ratio"),
    "external_tcp_forwarded": ("external_to_load_balancer", "forwarded", "tcp", None, "throughput_bits_per_second"),
    "external_tcp_local": ("external_to_load_balancer", "local", "tcp", None, "throughput_bits_per_second"),
}
PRIMARIES = {name: row[4] for name, row in _SCENARIOS.items()}
SCENARIOS = tuple(_SCENARIOS)


@dataclass(frozen=True)
class Spec:
    """`datapaths` maps a cluster to its datapath, the first is the baseline; `effects` multiplies a metric of one
    (cluster, scenario); `noise` is the coefficient of variation of a trial, `drift` that of the machine's speed, which
    both clusters of a block share; `failed` and `void` trials are spread over the run."""

    seed: int = 20230818
    datapaths: Mapping[str, str] = field(default_factory=lambda: {"native": "routed", "flannel": "vxlan"})
    scenarios: tuple[str, ...] = SCENARIOS
    blocks: int = 8
    noise: float = 0.01
    drift: float = 0.02
    effects: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    failed: int = 0
    void: int = 0
    limits: tuple[dict[str, Any], ...] = (
        {
            "name": "flannel keeps 90 % of native",
            "scenario": "pod_to_pod_tcp",
            "metric": "throughput_bits_per_second",
            "candidate": "flannel",
            "not_lower_than": -0.1,
        },
        {"name": "nothing failed", "jmespath": "length(trials[?status=='failed']) == `0`"},
    )

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(self.datapaths)


def traffic(name: str) -> dict[str, Any]:
    _path, _forwarding, protocol, share, _primary = _SCENARIOS[name]
    return {
        "protocol": protocol,
        "rate_bits_per_second": None if share is None else share * LINE_RATE,
        "length_bytes": 8192 if protocol == "udp" else None,
        "socket_buffer_bytes": 2_000_000,
        "mss_bytes": None,
        "streams": 1,
        "direction": "forward",
        "family": 4,
        "congestion_control": "cubic" if protocol == "tcp" else None,
    }


def scenario(name: str) -> dict[str, Any]:
    path, forwarding, _protocol, _share, primary = _SCENARIOS[name]
    return {
        "name": name,
        "path": path,
        "forwarding": forwarding,
        "primary": primary,
        "warmup_seconds": WARMUP,
        "window_seconds": WINDOW,
        "traffic": traffic(name),
    }


def _written(name: str) -> dict[str, Any]:
    """A scenario as the normalised matrix has it."""
    plain = scenario(name)
    sent = plain.pop("traffic")
    plain |= {
        "warmup": plain.pop("warmup_seconds"),
        "window": plain.pop("window_seconds"),
        "interval": 0.1,
        "watch": False,
    }
    plain |= {key.removesuffix("_bits_per_second").removesuffix("_bytes"): value for key, value in sent.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _matrix(spec: Spec) -> dict[str, Any]:
    return {
        "baseline": spec.clusters[0],
        "clusters": list(spec.clusters),
        "blocks": spec.blocks,
        "seed": spec.seed,
        "margin": 0.02,
        "retries": 2,
        "allow_version_mismatch": False,
        "void": {"offered_below": 0.98, "steal_above": 0.05, "speed_below": 0.7},
        "evidence": {"iftop": {"scenarios": ["pod_to_pod_tcp"], "seconds": 3.0}, "flow_share": {"flows": 240}},
        "scenarios": [_written(name) for name in spec.scenarios],
        "limits": [dict(limit) for limit in spec.limits],
    }


def manifest(spec: Spec) -> dict[str, Any]:
    matrix = _matrix(spec)
    clusters = [
        scene.cluster(name, i, datapath, LINE_RATE) for i, (name, datapath) in enumerate(spec.datapaths.items())
    ]
    flows = {"path": "external_to_load_balancer", "flows": 240, "forwarded": 161, "local": 79}
    hosts = [node["name"] for cluster in clusters for node in cluster["nodes"]]
    seconds = len(clusters) * len(spec.scenarios) * spec.blocks * (WARMUP + WINDOW)
    return {
        "schema": "netbench.cni/run/v1",
        "id": f"20260105T090000Z-{spec.seed}",
        "started": EPOCH.isoformat(),
        "finished": (EPOCH + timedelta(seconds=seconds)).isoformat(),
        "provider": "lab",
        "shared_machine": True,
        "where": "bench, Example CPU, 2 CPUs, Linux 6.1.0",
        "baseline": spec.clusters[0],
        "candidates": list(spec.clusters[1:]),
        "matrix": matrix,
        "matrix_digest": digest(matrix),
        "seed": spec.seed,
        "clusters": clusters,
        "external": [{"name": "test-vm", "address": "10.0.10.200"}],
        "versions": {
            "iperf3": dict.fromkeys(hosts, "3.12"),
            "ansible": "2.19.14",
            "python": "3.11.7",
            "netbench.cni": "1.0.0",
        },
        "conditions": {"congestion_control": "cubic", "qdisc": "tbf", "cpu_binding": "process affinity and rps_cpus"},
        "clock_offsets": {"bench": {"offset_seconds": 0.0, "uncertainty_seconds": 0.0}},
        "planned_seconds": seconds,
        "flow_share": {
            cluster["name"]: {
                **flows,
                "by_ingress_node": dict(zip((n["name"] for n in cluster["nodes"]), (82, 79, 79), strict=True)),
                "by_serving_pod": dict(zip((p["name"] for p in cluster["pods"][:3]), (77, 85, 78), strict=True)),
            }
            for cluster in clusters
        },
        "evidence": {"iftop": [scene.iftop(cluster) for cluster in clusters if "pod_to_pod_tcp" in spec.scenarios]},
        "sampler": {"bench": {"cpu_seconds": round(seconds * 0.008, 3), "seconds": seconds}},
    }


def digest(matrix: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(matrix, sort_keys=True).encode()).hexdigest()


def _nominal(name: str, datapath: str) -> dict[str, float]:
    """What a noiseless trial would show: header arithmetic for rates, plausible constants for the rest."""
    path, forwarding, protocol, share, _primary = _SCENARIOS[name]
    extra = 50 if datapath == "vxlan" and path != "node_to_node" and forwarding != "local" else 0
    load = 1.08 if extra else 1.0
    half = 0.5 if forwarding == "forwarded" else 1.0
    if protocol == "tcp":
        rate = LINE_RATE * half * (9000 - extra - 52) / 9014 if share is None else LINE_RATE * share
        metrics = {"throughput_bits_per_second": rate, "rtt_seconds": 0.0011 * load, "retransmits": 3.0}
    else:
        offered = LINE_RATE * (share or 1.0)
        rate = min(offered, LINE_RATE * 8192 / (8192 + 42 + extra))
        metrics = {
            "throughput_bits_per_second": rate,
            "offered_bits_per_second": offered,
            "packets_per_second": rate / 8 / 8192,
            "loss_ratio": 1 - rate / offered,
            "jitter_seconds": 2.4e-5,
        }
    cores = 0.22 * load * rate / 1e9
    if path == "external_to_load_balancer":
        metrics |= {"path_cpu_cores": 2.2 * cores, "cpu_cores_per_gbit": 2.2 * cores / rate * 1e9}
        metrics |= {
            "ingress_node_rx_bits_per_second": rate * 1.007,
            "ingress_node_tx_bits_per_second": rate * 1.012 * (half < 1) + 4e6,
        }
        return metrics
    return metrics | {
        "client_node_cpu_cores": cores,
        "client_node_softirq_cores": 0.3 * cores,
        "server_node_cpu_cores": 1.2 * cores,
        "server_node_softirq_cores": 0.5 * cores,
        "path_cpu_cores": 2.2 * cores,
        "cpu_cores_per_gbit": 2.2 * cores / rate * 1e9,
    }


def _measured(spec: Spec, rng: np.random.Generator, cluster: str, name: str, drift: float) -> dict[str, float]:
    metrics = {}
    for metric, nominal in _nominal(name, spec.datapaths[cluster]).items():
        value = nominal * spec.effects.get((cluster, name, metric), 1.0)
        if metric == "retransmits":
            metrics[metric] = float(rng.poisson(value))
        elif metric == "loss_ratio":
            base = value * (1 + spec.noise * rng.standard_normal())
            metrics[metric] = max(0.0, base) if value else float(rng.choice((0.0, 0.0, 0.0, 2e-5)))
        else:
            # throughput sits at the line rate and hardly moves; CPU follows the machine's speed
            scale = 1.0 if "cpu" in metric or "softirq" in metric else 0.2
            metrics[metric] = float(value * np.exp(scale * (drift + spec.noise * rng.standard_normal())))
    return metrics


def _endpoints(cluster: str, name: str) -> dict[str, str | None]:
    path, forwarding, *_others = _SCENARIOS[name]
    if path == "external_to_load_balancer":
        serving = 1 if forwarding == "forwarded" else 0
        return {
            "client": "test-vm", "client_node": "test-vm", "ingress_node": f"{cluster}-w0",
            "server": f"{cluster}-server-{serving}", "server_node": f"{cluster}-w{serving}",
        }  # fmt: skip
    nodes: dict[str, str | None] = {
        "client_node": f"{cluster}-w0",
        "server_node": f"{cluster}-w1",
        "ingress_node": None,
    }
    if path == "node_to_node":
        return {"client": f"{cluster}-w0", "server": f"{cluster}-w1", **nodes}
    return {"client": f"{cluster}-client", "server": f"{cluster}-server-1", **nodes}


def _path_trace(spec: Spec, cluster: str, name: str, ends: dict[str, str | None]) -> dict[str, Any]:
    forwarding = _SCENARIOS[name][1]
    if forwarding is None:
        return {}
    ingress, serving, count = ends["ingress_node"], ends["server_node"], 410_000_000
    hops = [{"node": ingress, "nic": "ens3", "direction": "in", "bytes": count}]
    if forwarding == "forwarded":
        nic = "ens5" if spec.datapaths[cluster] == "routed" else "ens3"
        hops += [{"node": ingress, "nic": "ens3", "direction": "out", "bytes": count}]
        hops += [{"node": serving, "nic": nic, "direction": "in", "bytes": count}]
    says = {"ingress_node": ingress, "serving_pod": ends["server"]}
    return {
        "load_balancer": f"nlb-{cluster}",
        "ingress_node": ingress,
        "serving_pod": ends["server"],
        "serving_node": serving,
        "forwarding": forwarding,
        "cni_crossed": forwarding == "forwarded",
        "hops": hops,
        "evidence": {kind: {"says": says, "agrees": True} for kind in ("server_peer", "conntrack", "nic_counters")},
        "agreed": ["server_peer", "conntrack", "nic_counters"],
        "disagreed": [],
        "missing": [],
    }


def iter_trials(spec: Spec) -> Iterator[dict[str, Any]]:
    """Journal entries in the order they were run."""
    rng = np.random.default_rng(spec.seed)
    total = len(spec.clusters) * len(spec.scenarios) * spec.blocks
    bad = rng.permutation(total)[: spec.failed + spec.void]
    failed, void = set(bad[: spec.failed].tolist()), set(bad[spec.failed :].tolist())
    order, drift = 0, 0.0
    for block in range(1, spec.blocks + 1):
        for name in (spec.scenarios[i] for i in rng.permutation(len(spec.scenarios))):
            drift = 0.8 * drift + 0.6 * spec.drift * rng.standard_normal()
            for cluster in spec.clusters if block % 2 else reversed(spec.clusters):
                started = EPOCH + timedelta(seconds=order * (WARMUP + WINDOW + 0.1))
                metrics = _measured(spec, rng, cluster, name, drift)
                ends = _endpoints(cluster, name)
                status, reason = "ok", ""
                if order in failed:
                    status, reason, metrics = "failed", "iperf3 on the client: the server has terminated", {}
                elif order in void:
                    status, reason = "void", "steal on bench was 7.1 %, above the limit of 5 %"
                yield {
                    "id": f"b{block:02d}-{name}-{cluster}",
                    "block": block,
                    "order": order,
                    "cluster": cluster,
                    "scenario": name,
                    "status": status,
                    "reason": reason,
                    "started": started.isoformat(),
                    "elapsed_seconds": WARMUP + WINDOW + 0.08,
                    "attempts": 3 if status == "failed" else 1,
                    "window": {}
                    if status == "failed"
                    else {"start": 1000.0 + order * 2.8, "end": 1001.7 + order * 2.8},
                    "endpoints": ends,
                    "metrics": metrics,
                    "machines": {
                        "bench": {"steal_ratio": 0.071 if status == "void" else 0.002, "probe_seconds": 0.0051}
                    },
                    "drops": {"nic_rx": 0, "nic_tx": 0, "socket_buffer": 0, "backlog": 0, "qdisc": int(rng.poisson(2))},
                    "path_trace": {} if status == "failed" else _path_trace(spec, cluster, name, ends),
                }
                order += 1


def trials(spec: Spec) -> list[dict[str, Any]]:
    return list(iter_trials(spec))


def write_run(directory: Path, spec: Spec, *, series: bool = True) -> Path:
    """Write the run directory and return it; it has no results.json and no report."""
    run = manifest(spec)
    nics = {cluster["name"]: cluster["pod_nic"] for cluster in run["clusters"]}
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    rng = np.random.default_rng(spec.seed + 1)
    with (directory / "trials.jsonl").open("w") as journal:
        header = {"schema": "netbench.cni/journal/v1", "matrix_digest": run["matrix_digest"]}
        journal.write(json.dumps(header) + "\n")
        for entry in iter_trials(spec):
            journal.write(json.dumps(entry) + "\n")
            if series and entry["metrics"]:
                raw = directory / "raw" / entry["id"]
                raw.mkdir(parents=True)
                (raw / "series.json").write_text(json.dumps(scene.series(entry, nics[entry["cluster"]], rng)))
    return directory
