# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of iperf3's ends → the traffic metrics of a window. What the data lacks is absent, never 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_result import Flow, Interval, IperfResult, parse
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError, Traffic

# iperf3's timers fire late by some milliseconds on a busy machine; an interval that sticks out no further is inside.
EDGE_SECONDS = 0.005


def window(result: IperfResult, start: float, end: float, flow: Flow) -> Interval | None:
    """This end's intervals of a flow that lie within start … end (seconds since its test began) as one, or None.

    Counters are added up, jitter and round trip time averaged. A result without intervals has its total, and that only
    if the window covers it.
    """
    readings = result.intervals or result.totals
    return _as_one(
        reading
        for reading in readings
        if reading.flow == flow and result.is_own(flow, reading.sender) and _inside(reading, start, end)
    )


def metrics(traffic: Traffic, client: IperfResult, server: IperfResult, start: float, end: float) -> dict[str, float]:
    """The metrics of one trial in start … end, seconds since the test began.

    Throughput, loss, jitter and packets are the receiver's, the offered rate, retransmits and round trip time the
    sender's. Of bidirectional traffic they are those of client → server, and the other flow has its throughput.
    """
    return _metrics(traffic, (client, server), start, end)


def metrics_of(
    output: str | Mapping[str, Any],
    server_output: str | Mapping[str, Any] | None = None,
    *,
    start: float = 0.0,
    end: float = math.inf,
) -> dict[str, float]:
    """The metrics in the raw output of one end, or of both: of the whole test unless `start` and `end` cut it.

    One end alone knows the other only by the totals that it was told, so those are given for the whole test only.
    Raises NetbenchError for what is no iperf3 JSON, for a test that failed, and when nothing can be said of the window.
    """
    results = [_without_error(output)]
    if server_output is not None:
        results.append(_without_error(server_output))
    elif results[0].peer is not None:
        results.append(results[0].peer)
    found = _metrics(Traffic(direction=results[0].direction), results, start, end)
    if not found:
        raise NetbenchError(
            f"iperf3's output has nothing that lies between {start:g} s and {end:g} s; it must have intervals there, or"
            " the totals of a whole test that is asked for"
        )
    return found


def _without_error(output: str | Mapping[str, Any]) -> IperfResult:
    result = parse(output)
    if result.error:
        raise NetbenchError(f"iperf3's output is of a failed test ({result.error}); it must be of one that ended well")
    return result


def _metrics(traffic: Traffic, results: Sequence[IperfResult], start: float, end: float) -> dict[str, float]:
    flow: Flow = "reverse" if traffic.direction == "reverse" else "forward"
    sent = _seen(results, flow, sender=True, start=start, end=end)
    received = _seen(results, flow, sender=False, start=start, end=end)
    found: dict[str, float | None] = {}
    if received is not None:
        found |= _received(received)
    if sent is not None:
        found["offered_bits_per_second"] = sent.bits_per_second
        found["retransmits"] = sent.retransmits
        found["rtt_seconds"] = sent.rtt_seconds
    if traffic.direction == "bidirectional":
        back = _seen(results, "reverse", sender=False, start=start, end=end)
        found["reverse_throughput_bits_per_second"] = None if back is None else back.bits_per_second
    return {name: float(value) for name, value in found.items() if value is not None}


def _received(received: Interval) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "throughput_bits_per_second": received.bits_per_second,
        "jitter_seconds": received.jitter_seconds,
    }
    if received.lost_packets is not None and received.packets is not None:
        lost = max(0, received.lost_packets)
        found["packets_per_second"] = max(0, received.packets - lost) / received.seconds
        found["loss_ratio"] = min(1.0, lost / received.packets) if received.packets else None
    return found


def _seen(results: Sequence[IperfResult], flow: Flow, *, sender: bool, start: float, end: float) -> Interval | None:
    """One side of a flow as that side saw it, else as its peer was told."""
    for result in results:
        if result.is_own(flow, sender):
            return window(result, start, end, flow)
    told = [t for result in results for t in result.totals if t.flow == flow and t.sender == sender]
    return next((total for total in told if _inside(total, start, end)), None)


def _inside(interval: Interval, start: float, end: float) -> bool:
    return not interval.omitted and interval.start >= start - EDGE_SECONDS and interval.end <= end + EDGE_SECONDS


def _as_one(intervals: Iterable[Interval]) -> Interval | None:
    found = list(intervals)
    if not found:
        return None
    # Jitter is an estimate that stands still while nothing arrives.
    alive = [interval for interval in found if interval.bytes]
    return Interval(
        flow=found[0].flow,
        sender=found[0].sender,
        start=min(interval.start for interval in found),
        end=max(interval.end for interval in found),
        bytes=sum(interval.bytes for interval in found),
        retransmits=_sum(interval.retransmits for interval in found),
        rtt_seconds=_mean(interval.rtt_seconds for interval in found),
        jitter_seconds=_mean(interval.jitter_seconds for interval in alive),
        lost_packets=_sum(interval.lost_packets for interval in found),
        packets=_sum(interval.packets for interval in found),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
