# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import void_rules
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import VoidRules
from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, Scenario, Traffic

FIXED = Scenario("fixed", "pod_to_pod", Traffic("udp", rate_bits_per_second=1e9), "loss_ratio")
FORWARDED = Scenario("fwd", "external_to_load_balancer", Traffic(), "throughput_bits_per_second", "forwarded")


def trial(**changes: object) -> FinishedTrial:
    values: dict = {
        "id": "b01-x", "block": 1, "order": 0, "cluster": "c", "scenario": "x", "status": "failed", "reason": "",
        "started": "", "elapsed_seconds": 0.0, "attempts": 1,
        "metrics": {"offered_bits_per_second": 1e9}, "machines": {"m": {"steal_ratio": 0.0, "probe_seconds": 0.005}},
    }  # fmt: skip
    return FinishedTrial(**{**values, **changes})


@pytest.mark.parametrize(
    ("scenario", "changes", "status", "reason"),
    [
        (FIXED, {}, "ok", ""),
        (FIXED, {"metrics": {"offered_bits_per_second": 0.981e9}}, "ok", ""),
        (FIXED, {"metrics": {"offered_bits_per_second": 0.979e9}}, "void", "offered 97.9% of the rate"),
        (FORWARDED, {"path_trace": {"forwarding": "forwarded"}}, "ok", ""),
        (FORWARDED, {"path_trace": {"forwarding": "local"}}, "void", "wants forwarded traffic, the trace shows local"),
        (FORWARDED, {"path_trace": {"forwarding": None}}, "void", "nothing certain"),
        (FIXED, {"machines": {"m": {"steal_ratio": 0.051}}}, "void", "lost 5.1% of its CPU time to steal"),
        (FIXED, {"machines": {"m": {"steal_ratio": 0.0, "probe_seconds": 0.0073}}}, "void", "at 68% of its speed"),
        (FIXED, {"machines": {"m": {"steal_ratio": 0.0}}}, "ok", ""),
    ],
)
def test_rules(scenario: Scenario, changes: dict, status: str, reason: str) -> None:
    seen = void_rules.judge(scenario, trial(**changes), VoidRules(), {"m": 0.005})
    assert seen[0] == status
    assert reason in seen[1]
