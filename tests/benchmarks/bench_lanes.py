# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters that share no machine, measured in one run, against one run after the other.

The clusters of this lab own a CPU each, so that the engine takes them for two machines, and their line rate is low
enough for either CPU. Compared is the engine's whole time, with all that it does before the first trial.
"""

from __future__ import annotations

import os
import statistics
from datetime import datetime
from typing import Any

from ansible_collections.netbench.cni.tests.benchmarks import _lab

RATIO_BOUND = 0.6
BLOCKS = 6
SCENARIOS = [
    {"name": "pod_to_pod_tcp", "path": "pod_to_pod", "protocol": "tcp"},
    {"name": "node_to_node_tcp", "path": "node_to_node", "protocol": "tcp"},
]
MATRIX = {
    "blocks": BLOCKS,
    "window": "0.8s",
    "void": _lab.NEVER_VOID,
    "evidence": {},
    "defaults": {},
    "scenarios": SCENARIOS,
}


def clusters() -> list[dict[str, Any]]:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise SystemExit("This benchmark needs two CPUs, one for each cluster.")
    return [
        {"name": name, "datapath": "vxlan", "workers": 2, "cpus": [cpu]}
        for name, cpu in zip(("left", "right"), cpus, strict=False)
    ]


def largest_number_at_once(trials: list[dict[str, Any]]) -> int:
    starts = [datetime.fromisoformat(trial["started"]).timestamp() for trial in trials]
    ends = [start + trial["elapsed_seconds"] for start, trial in zip(starts, trials, strict=True)]
    return max(sum(start <= now < end for start, end in zip(starts, ends, strict=True)) for now in starts)


def main() -> None:
    with _lab.site("lanes", lab_line_rate="200Mbit", lab_clusters=clusters()) as site:
        machines = {each["machine"] for each in site.state["endpoints"].values() if each["role"] == "node"}
        if len(machines) != 2:
            raise SystemExit(
                f"The lab's clusters are on {sorted(machines)}; they must own a CPU each, which takes root."
            )
        seconds = {}
        for name, chosen in {"both": ["left", "right"], "left": ["left"], "right": ["right"]}.items():
            with _lab.told(name):
                run = site.measure({**MATRIX, "clusters": chosen, "baseline": chosen[0]})
            seconds[name] = run.result["elapsed_seconds"]
            _lab.line(f"lanes_{name}_seconds", seconds[name], "s")
            _lab.line(f"lanes_{name}_at_once", largest_number_at_once(run.trials), "trials")
            rates = [trial["metrics"]["throughput_bits_per_second"] for trial in run.trials if trial["status"] == "ok"]
            _lab.line(f"lanes_{name}_throughput", statistics.median(rates) / 1e6, "Mbit/s")
    _lab.line("lanes_ratio", seconds["both"] / (seconds["left"] + seconds["right"]), "x", RATIO_BOUND)


if __name__ == "__main__":
    main()
