# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.json: what a run measured, on what, with what; written anew, atomically, whenever something is learnt."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import matrix as matrices
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint, NetbenchError

SCHEMA = "netbench.cni/run/v1"


class Manifest:
    """The manifest of one run directory; `update` merges and writes."""

    def __init__(self, run_dir: Path, content: dict[str, Any]) -> None:
        self._path = run_dir / "run.json"
        self._content = content

    def has(self, key: str) -> bool:
        return bool(self._content.get(key))

    def update(self, **values: Any) -> None:
        """Sets top-level keys (a mapping is merged into the one that is there) and writes the file."""
        for key, value in values.items():
            if isinstance(value, Mapping) and isinstance(self._content.get(key), dict):
                self._content[key].update(value)
            else:
                self._content[key] = value
        self._write()

    def finish(self) -> None:
        self.update(finished=_now())

    def _write(self) -> None:
        fresh = self._path.with_suffix(".json.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            fresh.replace(self._path)
        except OSError as exc:
            raise NetbenchError(
                f"{self._path} cannot be written: {exc.strerror}; make room or choose another directory"
            ) from exc


def read(run_dir: Path) -> dict[str, Any]:
    """The manifest of an earlier run; raises NetbenchError where there is none or it is damaged."""
    path = run_dir / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise NetbenchError(f"{path} cannot be read ({exc.strerror}); name the directory of an earlier run") from exc
    except ValueError as exc:
        raise NetbenchError(f"{path} is damaged ({exc}); such a run cannot be resumed or reported") from exc
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise NetbenchError(f"{path} is not a manifest of schema {SCHEMA}")
    return content


def describe(
    matrix: Matrix,
    clusters: Mapping[str, Cluster],
    externals: Mapping[str, Endpoint],
    *,
    run_id: str,
    provider: str,
    shared_machine: bool,
    conditions: Mapping[str, Any],
    versions: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of a run that is about to begin."""
    return {
        "schema": SCHEMA,
        "id": run_id,
        "started": _now(),
        "finished": None,
        "provider": provider,
        "shared_machine": shared_machine,
        "where": _where(),
        "baseline": matrix.baseline,
        "candidates": list(matrix.candidates),
        "matrix": matrices.as_plain(matrix),
        "matrix_digest": matrices.digest(matrix),
        "seed": matrix.seed,
        "clusters": [_cluster(clusters[name]) for name in matrix.clusters],
        "external": [{"name": e.name, "address": e.address} for e in externals.values()],
        "versions": {"python": platform.python_version(), **versions},
        "conditions": dict(conditions),
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "cni": cluster.cni,
        "datapath": cluster.facts.get("datapath"),
        "line_rate_bits_per_second": cluster.line_rate_bits_per_second,
        "line_rate_shared": cluster.line_rate_shared,
        "pod_mtu": cluster.pod_mtu,
        "node_mtu": cluster.node_mtu,
        "pod_nic": cluster.pod_nic,
        "nodes": [
            {"name": e.name, "address": e.address, "machine": e.machine, "cpus": list(e.cpus)}
            for e in cluster.of_role("node")
        ],
        "pods": [
            {"name": e.name, "role": e.role, "address": e.address, "node": e.node}
            for e in (*cluster.of_role("client"), *cluster.of_role("server"))
        ],
        "services": [
            {
                "name": s.name,
                "cluster_ip": s.cluster_ip,
                "port": s.port,
                "node_port": s.node_port,
                "load_balancer_address": s.load_balancer_address,
                "load_balancer_name": s.load_balancer_name,
                "backends": list(s.backends),
                "affinity": s.affinity,
            }
            for s in cluster.services
        ],
        "facts": cluster.facts,
    }


def _where() -> str:
    """The controller's host name, CPU model, number of CPUs and kernel, in one line."""
    model = "unknown CPU"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{platform.node()}, {model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
