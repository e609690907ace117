# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What headers and the line rate alone predict, to be shown beside what was measured.

On a full NIC payload moves at line rate × payload bytes ÷ bytes on the wire, if nothing but the NIC limits it.
Acknowledgements are left out. Sizes: Ethernet header 14; IPv4 20 (RFC 791), IPv6 40, its fragment header 8 (RFC 8200);
TCP 20 and timestamps 12 (RFC 9293, RFC 7323); UDP 8 (RFC 768); VXLAN 50 around each frame: IPv4 20, UDP 8, VXLAN 8, and
the frame's own Ethernet header 14 (RFC 7348).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OVERHEAD_BYTES: Mapping[str, int] = {"vxlan": 50, "routed": 0, "host_gateway": 0}
"""Bytes that a datapath adds to every frame between nodes; of a datapath that is not here nothing is predicted."""

_ETHERNET, _TCP, _TIMESTAMPS, _UDP, _FRAGMENT6 = 14, 20, 12, 8, 8
_IP: Mapping[int, int] = {4: 20, 6: 40}


@dataclass(frozen=True)
class Load:
    """`payload` bytes of one segment or datagram and the bytes they occupy on the busiest NIC of the path."""

    payload: int
    wire: int

    @property
    def share(self) -> float:
        return self.payload / self.wire


def predict(
    scenario: Mapping[str, Any], baseline: Mapping[str, Any], candidate: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What differs between two clusters in a scenario (all as in results.json), as far as headers decide it.

    One {"scenario", "metric", "baseline", "candidate", "baseline_value", "candidate_value", "difference", "relative",
    "formula"} each for throughput and, with UDP, loss: values in the metric's unit and None without a line rate,
    `relative` None for loss. Nothing for paths and datapaths of which nothing is known.
    """
    first, second = load(scenario, baseline), load(scenario, candidate)
    rate = scenario["traffic"]["rate_bits_per_second"]
    lines = [cluster["line_rate_bits_per_second"] for cluster in (baseline, candidate)]
    if first is None or second is None or lines.count(None) == 1 or (None in lines and rate is not None):
        return []
    names = {"scenario": scenario["name"], "baseline": baseline["name"], "candidate": candidate["name"]}
    if None in lines:
        relative = second.share / first.share - 1
        values = {"baseline_value": None, "candidate_value": None, "difference": None}
        formula = f"({_fraction(second)}) / ({_fraction(first)}) − 1"
        return [{**names, "metric": "throughput_bits_per_second", **values, "relative": relative, "formula": formula}]
    sides = list(zip(lines, (first, second), strict=True))
    capacities = [line * each.share for line, each in sides]
    rates = [capacity if rate is None else min(rate, capacity) for capacity in capacities]
    terms = [f"{line:g} · {_fraction(each)}" for line, each in sides]
    if rate is not None:
        terms = [f"min({rate:g}, {term})" for term in terms]
    rows = [
        {
            **names,
            "metric": "throughput_bits_per_second",
            **_values(rates),
            "relative": rates[1] / rates[0] - 1,
            "formula": f"({terms[1]}) / ({terms[0]}) − 1",
        }
    ]
    if scenario["traffic"]["protocol"] == "udp":
        losses = [1 - each / rate for each in rates]
        formula = f"({terms[0]} − {terms[1]}) / {rate:g}"
        rows.append({**names, "metric": "loss_ratio", **_values(losses), "relative": None, "formula": formula})
    return rows


def load(scenario: Mapping[str, Any], cluster: Mapping[str, Any]) -> Load | None:
    """What one segment or datagram of the scenario puts on the busiest NIC; None where that is not known.

    A NIC whose line rate both directions share carries forwarded traffic twice: in from the load balancer as it is, and
    out through the pod network.
    """
    path, forwarding, traffic = scenario["path"], scenario["forwarding"], scenario["traffic"]
    overhead = OVERHEAD_BYTES.get(cluster["datapath"] or "")
    mtu = cluster["node_mtu"] if path == "node_to_node" else cluster["pod_mtu"]
    if overhead is None or not mtu or path == "pod_to_pod_same_node" or traffic["direction"] == "bidirectional":
        return None
    payload, frames, wire = _frames(traffic, mtu)
    tunnelled = wire + frames * overhead
    if path == "node_to_node":
        return Load(payload, wire)
    if path == "pod_to_pod" or (path == "pod_to_service" and forwarding == "forwarded"):
        return Load(payload, tunnelled)
    if path == "external_to_load_balancer" and forwarding == "local":
        return Load(payload, wire)
    if path == "external_to_load_balancer" and forwarding == "forwarded":
        return Load(payload, wire + tunnelled if cluster["line_rate_shared"] else tunnelled)
    return None


def _frames(traffic: Mapping[str, Any], mtu: int) -> tuple[int, int, int]:
    """Payload bytes of one segment or datagram, the frames it takes and the bytes of those frames."""
    ip = _IP[traffic["family"]]
    if traffic["protocol"] == "tcp":
        segment = min(mtu - ip - _TCP, traffic["mss_bytes"] or mtu)
        return segment - _TIMESTAMPS, 1, _ETHERNET + ip + _TCP + segment
    payload = traffic["length_bytes"] or mtu - ip - _UDP
    content = payload + _UDP
    if content <= mtu - ip:
        return payload, 1, _ETHERNET + ip + content
    if traffic["family"] == 6:
        ip += _FRAGMENT6
    frames = math.ceil(content / ((mtu - ip) // 8 * 8))
    return payload, frames, content + frames * (_ETHERNET + ip)


def _fraction(each: Load) -> str:
    return f"{each.payload}/{each.wire}"


def _values(pair: list[float]) -> dict[str, float]:
    return {"baseline_value": pair[0], "candidate_value": pair[1], "difference": pair[1] - pair[0]}
