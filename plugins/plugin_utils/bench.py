# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every trial of a run works with: the matrix, who takes part, and how each of them is reached and watched."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.netbench.cni.plugins.plugin_utils import endpoints
from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import Chosen
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Executor
from ansible_collections.netbench.cni.plugins.plugin_utils.machine_watch import MachineWatch
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import Matrix
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint, Scenario


@dataclass
class Bench:
    """What one run's trials share.

    `ingress` maps a cluster to the node that its load balancer picks for the external endpoint, once that is known;
    `pythons` an endpoint to its Python, `versions` to its iperf3's version; `probe_seconds` a machine to its
    speed probe when the run began. Once `abandoned` is set, no trial begins another attempt.
    """

    matrix: Matrix
    clusters: Mapping[str, Cluster]
    externals: Mapping[str, Endpoint]
    executors: Mapping[str, Executor]
    pool: ThreadPoolExecutor
    run_dir: Path
    pythons: Mapping[str, str]
    watches: dict[str, MachineWatch] = field(default_factory=dict)
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ingress: dict[str, str] = field(default_factory=dict)
    probe_seconds: dict[str, float] = field(default_factory=dict)
    abandoned: threading.Event = field(default_factory=threading.Event)

    def chosen(self, cluster: str, scenario: Scenario) -> Chosen:
        return endpoints.client_and_servers(self.clusters[cluster], self.externals, scenario, self.ingress.get(cluster))

    def nodes(self, cluster: str) -> dict[str, Endpoint]:
        """The cluster's nodes and the external endpoints, which count as nodes of their own."""
        return {node.name: node for node in (*self.clusters[cluster].of_role("node"), *self.externals.values())}

    def raw(self, trial_id: str) -> Path:
        """The directory of a trial's raw data, made if need be."""
        directory = self.run_dir / "raw" / trial_id
        directory.mkdir(parents=True, exist_ok=True)
        return directory
