# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules, fixed before a run, by which a trial that ran does not count."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import VoidRules
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, Scenario, Status


def judge(
    scenario: Scenario, trial: FinishedTrial, rules: VoidRules, reference_probe: Mapping[str, float]
) -> tuple[Status, str]:
    """("ok", "") or ("void", why) for a trial that ran to its end.

    `reference_probe` is the CPU time of each machine's speed probe when the run began, in seconds.
    """
    wanted = scenario.traffic.rate_bits_per_second
    offered = trial.metrics.get("offered_bits_per_second")
    if wanted and offered is not None and offered < wanted * rules.offered_below:
        return "void", f"the sender offered {offered / wanted:.1%} of the rate, less than {rules.offered_below:.0%}"
    if scenario.forwarding is not None and trial.path_trace.get("forwarding") != scenario.forwarding:
        seen = trial.path_trace.get("forwarding") or "nothing certain"
        return "void", f"the scenario wants {scenario.forwarding} traffic, the trace shows {seen}"
    for machine, health in trial.machines.items():
        if health["steal_ratio"] > rules.steal_above:
            return "void", f"machine {machine} lost {health['steal_ratio']:.1%} of its CPU time to steal"
        reference, probe = reference_probe.get(machine), health.get("probe_seconds")
        if reference and probe and reference / probe < rules.speed_below:
            return "void", f"machine {machine} ran at {reference / probe:.0%} of its speed at the run's beginning"
    return "ok", ""
