# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of metrics: everything that is known of a metric beyond its value.

To add a metric, add a row here and fill it in `trial_runner`; statistics, comparison and report follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansible_collections.netbench.cni.plugins.plugin_utils.fields import nearest
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

Unit = Literal["bits_per_second", "ratio", "seconds", "count", "cores", "cores_per_gbit", "bytes", "packets_per_second"]


@dataclass(frozen=True)
class Metric:
    """`higher_is_better` is None where neither is. `relative` ones are compared as log ratios, others as differences.

    `absolute_margin` is up to which difference, in the metric's unit, a comparison by differences says equivalent; with
    None that is no difference at all.
    """

    name: str
    unit: Unit
    higher_is_better: bool | None
    relative: bool
    absolute_margin: float | None = None


_ALL = (
    Metric("throughput_bits_per_second", "bits_per_second", True, True),
    Metric("reverse_throughput_bits_per_second", "bits_per_second", True, True),
    Metric("offered_bits_per_second", "bits_per_second", None, True),
    Metric("packets_per_second", "packets_per_second", True, True),
    Metric("loss_ratio", "ratio", False, False, absolute_margin=0.001),
    Metric("jitter_seconds", "seconds", False, True),
    Metric("rtt_seconds", "seconds", False, True),
    Metric("retransmits", "count", False, False),
    Metric("cpu_cores_per_gbit", "cores_per_gbit", False, True),
    Metric("path_cpu_cores", "cores", False, True),
    Metric("client_node_cpu_cores", "cores", False, True),
    Metric("client_node_softirq_cores", "cores", False, False),
    Metric("server_node_cpu_cores", "cores", False, True),
    Metric("server_node_softirq_cores", "cores", False, False),
    Metric("ingress_node_cpu_cores", "cores", False, True),
    Metric("ingress_node_softirq_cores", "cores", False, False),
    Metric("client_node_memory_bytes", "bytes", False, True),
    Metric("server_node_memory_bytes", "bytes", False, True),
    Metric("ingress_node_memory_bytes", "bytes", False, True),
    Metric("ingress_node_rx_bits_per_second", "bits_per_second", None, True),
    Metric("ingress_node_tx_bits_per_second", "bits_per_second", None, True),
)

METRICS: dict[str, Metric] = {row.name: row for row in _ALL}


def metric(name: str) -> Metric:
    """The metric of that name. Raises NetbenchError for a name that the registry lacks."""
    try:
        return METRICS[name]
    except KeyError:
        raise NetbenchError(f"metric {name} is not known; {nearest(name, METRICS)}") from None
