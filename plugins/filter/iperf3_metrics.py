# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter netbench.cni.iperf3_metrics; its documentation is iperf3_metrics.yml."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.netbench.cni.plugins.plugin_utils import units
from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_metrics import metrics_of
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError


def iperf3_metrics(
    output: str | Mapping[str, Any],
    server_output: str | Mapping[str, Any] | None = None,
    *,
    start: Any = 0,
    end: Any = None,
) -> dict[str, float]:
    try:
        return metrics_of(
            output,
            server_output,
            start=units.parse_duration(start, "start"),
            end=math.inf if end is None else units.parse_duration(end, "end"),
        )
    except NetbenchError as exc:
        raise AnsibleFilterError(f"netbench.cni.iperf3_metrics: {exc}") from exc


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"iperf3_metrics": iperf3_metrics}
