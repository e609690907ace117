# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a trial takes beyond iperf3's own `--time`: servers up, client's connection and end, samples, trace, files.

A real run of the default profile's scenarios in a lab of its own with a fixed line rate. Most of it is the starting of
programs (each enters an endpoint's namespaces first), so another load on this machine shows in it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

import numpy as np

from ansible_collections.netbench.cni.plugins.plugin_utils.scenarios import parse_scenarios
from ansible_collections.netbench.cni.tests.benchmarks import _lab

BLOCKS = 3
MEDIAN_BOUND = 0.1


def main() -> None:
    with _lab.site("overhead", lab_line_rate="1Gbit") as site, _lab.told("run"):
        run = site.measure({"blocks": BLOCKS, "evidence": {}, "void": _lab.NEVER_VOID})
    scenarios = [each.scenario for each in parse_scenarios({"scenarios": run.manifest["matrix"]["scenarios"]}, [])]
    iperf3 = {scenario.name: scenario.traffic_seconds for scenario in scenarios}
    beyond = defaultdict(list)
    for trial in run.trials:
        if trial["status"] == "ok":
            beyond[trial["scenario"]].append(trial["elapsed_seconds"] - iperf3[trial["scenario"]])
    every = [seconds for found in beyond.values() for seconds in found]
    for scenario, found in sorted(beyond.items()):
        _lab.line(f"trial_overhead_median_{scenario}", statistics.median(found), "s")
    _lab.line("trial_overhead_trials", len(every), "trials")
    _lab.line("trial_overhead_repeated", sum(trial["attempts"] > 1 for trial in run.trials), "trials")
    _lab.line("trial_overhead_p95", float(np.percentile(every, 95)), "s")
    _lab.line("trial_overhead_median", statistics.median(every), "s", MEDIAN_BOUND)


if __name__ == "__main__":
    main()
