# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's runs that several test files look at.

The first measures both clusters, the second selects the remaining scenarios for one of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.sampling import NicRate
from ansible_collections.netbench.cni.tests.benchmarks import _lab

LINE_RATE = 500e6
EXTERNAL, SERVICE = "external_to_load_balancer", "pod_to_service"
BOTH = [
    {"name": "nodes", "path": "node_to_node"},
    {"name": "pods", "path": "pod_to_pod"},
    {"name": "udp", "path": "pod_to_pod", "protocol": "udp", "rate": "92.5%", "length": 8192, "primary": "loss_ratio"},
    {"name": "service_forwarded", "path": SERVICE, "forwarding": "forwarded"},
    {"name": "external_forwarded", "path": EXTERNAL, "forwarding": "forwarded"},
    {"name": "external_local", "path": EXTERNAL, "forwarding": "local"},
]
ALONE = [
    {"name": "same_node", "path": "pod_to_pod_same_node"},
    {"name": "reverse", "path": "pod_to_pod", "direction": "reverse"},
    {"name": "bidirectional", "path": "pod_to_pod", "direction": "bidirectional"},
    {"name": "streams", "path": "pod_to_pod", "streams": 4},
    {"name": "ipv6", "path": "pod_to_pod", "family": 6},
    {"name": "service_local", "path": SERVICE, "forwarding": "local"},
    {"name": "service_any", "path": SERVICE},
    {"name": "external_any", "path": EXTERNAL},
]
PATHS = {each["name"]: each["path"] for each in BOTH + ALONE}
MATRIX = {
    "blocks": 1,
    "window": "0.8s",
    "retries": 1,
    "void": _lab.NEVER_VOID,
    "evidence": {"iftop": {"scenarios": ["pods"], "seconds": "1s"}, "flow_share": {"flows": 200}},
    "defaults": {"protocol": "tcp", "socket_buffer": "400K"},
    "scenarios": [*BOTH, *ALONE],
    "select": [each["name"] for each in BOTH],
}


@dataclass(frozen=True)
class Runs:
    """Both runs, and where the link `latest` led after each."""

    first: _lab.Measured
    second: _lab.Measured
    latest: tuple[str, str]

    @property
    def trials(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every trial with its run's directory."""
        return [(run.directory, trial) for run in (self.first, self.second) for trial in run.trials]

    def of(self, scenario: str, cluster: str = "flannel") -> dict[str, Any]:
        run = self.first if scenario in MATRIX["select"] else self.second
        return run.trial(scenario, cluster)

    def raw(self, trial: dict[str, Any]) -> Path:
        (directory,) = [run for run, each in self.trials if each["id"] == trial["id"]]
        return directory / "raw" / str(trial["id"])

    def json(self, trial: dict[str, Any], name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.raw(trial) / name).read_text(encoding="utf-8"))
        return content

    def nic_rates(self, trial: dict[str, Any], node: str) -> dict[str, NicRate]:
        """A node's NICs in the trial's window, read from the raw samples."""
        (samples,) = self.raw(trial).glob("samples-*.jsonl")
        spool = sampling.parse_spool(samples.read_text(encoding="utf-8").splitlines())
        return sampling.nic_rates(spool, trial["window"]["start"], trial["window"]["end"], node)


def measure(site: _lab.Site) -> Runs:
    latest = site.results / "latest"
    first = site.measure(MATRIX)
    after_first = str(latest.readlink())
    chosen = {
        "clusters": ["flannel"],
        "baseline": "flannel",
        "select": [each["name"] for each in ALONE],
        "evidence": {},
    }
    second = site.measure({**MATRIX, **chosen})
    return Runs(first, second, (after_first, str(latest.readlink())))
