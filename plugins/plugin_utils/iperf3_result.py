# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iperf3's JSON, of either end and of every version since 3.1 → one shape.

The meaning of the keys is that of iperf3's source (iperf_api.c, iperf_udp.c) and was checked against what 3.12 prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import Any, Literal, TypeVar

from ansible_collections.netbench.cni.plugins.plugin_utils.iperf3_command import Version, parse_version
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Direction, NetbenchError

Flow = Literal["forward", "reverse"]
Role = Literal["client", "server"]

_REVERSE_SUFFIX = "_bidir_reverse"
_OMITTED_LOSS_FIXED: Version = (3, 14)
_LINE_WITH_BRACE = re.compile(r"^\{", re.MULTILINE)
# iperf3 3.1 prints nan where it divided by zero.
_NOT_A_NUMBER = re.compile(r'(":\s*)[-+]?(?:nan|inf(?:inity)?)\b', re.IGNORECASE)
_PLAIN_ERROR = re.compile(r"^iperf3: (.+)", re.MULTILINE)
_ERROR_PREFIX = re.compile(r"(?:parameter )?error - ")
_DOCUMENT_KEYS = frozenset(("start", "intervals", "end", "error"))

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """What one end saw of one flow in a stretch of time, all streams together.

    `start` and `end` are seconds since that end's test began; with `omitted` they are seconds of iperf3's own warm-up
    (`--omit`), after which its clock starts again. Flow `forward` is client → server. `sender` says whose figures
    these are. What iperf3 did not say is None. Of a receiver, `packets` counts the datagrams that it should have got:
    those that came and the `lost_packets`; a late datagram lowers the loss of a later interval, even below zero.
    `jitter_seconds` is the mean of the streams' smoothed jitter (RFC 3550, 6.4.1), `rtt_seconds` of their TCP_INFO.
    """

    flow: Flow
    sender: bool
    start: float
    end: float
    bytes: int
    omitted: bool = False
    retransmits: int | None = None
    rtt_seconds: float | None = None
    jitter_seconds: float | None = None
    lost_packets: int | None = None
    packets: int | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def bits_per_second(self) -> float:
        return self.bytes * 8 / self.seconds


@dataclass(frozen=True)
class Connection:
    """One data connection, addresses as text; an IPv4 address mapped into IPv6 is shown as IPv4."""

    local_host: str
    local_port: int
    remote_host: str
    remote_port: int


@dataclass(frozen=True)
class IperfResult:
    """What one end said of one test.

    `error` is iperf3's own, or says that the result is not complete; what came before it is kept. `started_at` is when
    the control connection stood, in seconds since the epoch on that machine's clock; None before 3.20, where iperf3
    names whole seconds only. `intervals` are this end's own, both flows of a bidirectional test. `totals` are its own
    and, on a client, what the server told it. `peer` is the server's result, if `--get-server-output` asked for it.
    """

    role: Role = "client"
    error: str | None = None
    version: Version | None = None
    protocol: str | None = None
    direction: Direction = "forward"
    streams: int = 1
    started_at: float | None = None
    system_info: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    connected: tuple[Connection, ...] = ()
    intervals: tuple[Interval, ...] = ()
    totals: tuple[Interval, ...] = ()
    congestion_control: dict[str, str] = field(default_factory=dict)
    cpu_percent: dict[str, float] = field(default_factory=dict)
    peer: IperfResult | None = None

    def is_own(self, flow: Flow, sender: bool) -> bool:
        """Whether this is the end that sends (or else receives) that flow."""
        return sender == ((flow == "forward") == (self.role == "client"))


def parse(text: str | Mapping[str, Any]) -> IperfResult:
    """The result in what iperf3 printed with `--json` or `--json-stream`, or in a document that was already loaded.

    Lines around the document are skipped; of several documents the last counts. Without one, iperf3's plain error
    message is the result's error. Raises NetbenchError when there is neither, as when the document is cut off.
    """
    if isinstance(text, Mapping):
        return _result(text)
    if not isinstance(text, str):
        raise NetbenchError(f"iperf3's output is of the type {type(text).__name__}; it must be text or a mapping")
    documents = [document for document in _documents(text) if isinstance(document, dict)]
    whole = [document for document in documents if "event" not in document and not _DOCUMENT_KEYS.isdisjoint(document)]
    events = [document for document in documents if "event" in document]
    if whole:
        return _result(whole[-1])
    if events:
        return _result(_joined(events))
    plain = _PLAIN_ERROR.search(text)
    if plain is not None:
        return IperfResult(error=_ERROR_PREFIX.sub("", plain[1].strip()))
    what = "cut off or damaged" if "{" in text else "no JSON" if text.strip() else "empty"
    raise NetbenchError(f"iperf3's output is {what}; it must be the whole document that iperf3 prints with --json")


def _documents(text: str) -> Iterator[Any]:
    text = _NOT_A_NUMBER.sub(r"\1null", text.lstrip())
    decoder = json.JSONDecoder()
    at = 0
    while (match := _LINE_WITH_BRACE.search(text, at)) is not None:
        at = match.end()
        try:
            document, at = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield document


def _joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The lines of `--json-stream` as the document that `--json` would have printed."""
    document: dict[str, Any] = {"intervals": []}
    for event in events:
        kind, data = event["event"], event.get("data")
        if kind == "interval":
            document["intervals"].append(data)
        elif isinstance(kind, str):
            document[kind] = data
    return document


def _result(document: Mapping[str, Any]) -> IperfResult:
    start, end = _mapping(document.get("start")), _mapping(document.get("end"))
    parameters = _mapping(start.get("test_start"))
    intervals = [_mapping(interval) for interval in _list(document.get("intervals"))]
    reverse = bool(_count(parameters, "reverse"))
    role: Role = "server" if "accepted_connection" in start else "client"
    bidirectional = bool(_count(parameters, "bidir")) or any(
        key.endswith(_REVERSE_SUFFIX) for part in (end, *intervals[:1]) for key in part if isinstance(key, str)
    )
    milliseconds = _number(_mapping(start.get("timestamp")), "timemillisecs")
    result = IperfResult(
        role=role,
        error=_error(document, end),
        version=_version(start.get("version")),
        protocol=_lower(parameters.get("protocol")),
        direction="bidirectional" if bidirectional else "reverse" if reverse else "forward",
        streams=_count(parameters, "num_streams") or 1,
        started_at=None if milliseconds is None else milliseconds / 1000,
        system_info=str(start.get("system_info") or "").strip(),
        parameters=dict(parameters),
        connected=tuple(_connections(start)),
        congestion_control=_of_type(end, str, sender="sender_tcp_congestion", receiver="receiver_tcp_congestion"),
        cpu_percent={
            key: float(value)
            for key in _mapping(end.get("cpu_utilization_percent"))
            if (value := _number(end["cpu_utilization_percent"], key)) is not None
        },
    )
    peer = document.get("server_output_json")
    return replace(
        result,
        intervals=tuple(_intervals(result, intervals)),
        totals=tuple(_totals(result, end)),
        peer=_result(peer) if isinstance(peer, Mapping) and "server_output_json" not in peer else None,
    )


def _error(document: Mapping[str, Any], end: Mapping[str, Any]) -> str | None:
    error = document.get("error")
    if error:
        return _ERROR_PREFIX.sub("", str(error).strip(), count=1)
    return None if end else "it ended without a result"


def _version(text: Any) -> Version | None:
    try:
        return parse_version(str(text))
    except NetbenchError:
        return None


def _connections(start: Mapping[str, Any]) -> Iterator[Connection]:
    for each in map(_mapping, _list(start.get("connected"))):
        ports = _count(each, "local_port"), _count(each, "remote_port")
        if ports[0] is not None and ports[1] is not None:
            local, remote = (_address(str(each.get(key, ""))) for key in ("local_host", "remote_host"))
            yield Connection(local, ports[0], remote, ports[1])


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _flows(result: IperfResult) -> tuple[tuple[Flow, str], ...]:
    """The flows of a test, each with the suffix of its keys."""
    if result.direction == "bidirectional":
        return ("forward", ""), ("reverse", _REVERSE_SUFFIX)
    return ((result.direction, ""),)


def _intervals(result: IperfResult, intervals: list[Mapping[str, Any]]) -> Iterator[Interval]:
    for interval in intervals:
        streams = [_mapping(stream) for stream in _list(interval.get("streams"))]
        for flow, suffix in _flows(result):
            sender = result.is_own(flow, sender=True)
            own = [stream for stream in streams if stream.get("sender", sender) is sender]
            yield from _stretch(interval.get("sum" + suffix), flow, sender, rtt_seconds=_mean_rtt(own, "rtt"))


def _totals(result: IperfResult, end: Mapping[str, Any]) -> Iterator[Interval]:
    streams = [_mapping(_mapping(stream).get("sender")) for stream in _list(end.get("streams"))]
    for flow, suffix in _flows(result):
        for sender in (True, False):
            own = result.is_own(flow, sender)
            # A server is not told what the client counted, a client only at the end of a test: they print zeros there.
            if not own and (result.role == "server" or result.error):
                continue
            said = end.get(("sum_sent" if sender else "sum_received") + suffix)
            if said is None:
                said = _from_sum(result, _mapping(end.get("sum" + suffix)), sender)
            rtt = _mean_rtt([each for each in streams if each.get("sender") is True], "mean_rtt") if own else None
            yield from _stretch(_without_wrong_loss(result, said), flow, sender, rtt_seconds=rtt)


def _from_sum(result: IperfResult, data: Mapping[str, Any], sender: bool) -> Mapping[str, Any]:
    """One end's share of the only sum that old versions print for UDP: bytes as sent, jitter and loss as received."""
    if sender:
        return data
    packets, lost, size = _count(data, "packets"), _number(data, "lost_packets"), _count(result.parameters, "blksize")
    if packets is None or lost is None or size is None:
        return {}
    return {**data, "bytes": max(0, packets - int(lost)) * size}


def _without_wrong_loss(result: IperfResult, data: Any) -> Any:
    """A UDP sum counts omitted datagrams as lost before 3.14 (RELNOTES, issue 1489)."""
    omitted = _count(result.parameters, "omit")
    if omitted and result.version is not None and result.version < _OMITTED_LOSS_FIXED:
        return {key: value for key, value in _mapping(data).items() if key not in ("packets", "lost_packets")}
    return data


def _stretch(data: Any, flow: Flow, sender: bool, rtt_seconds: float | None) -> Iterator[Interval]:
    """The interval in a `sum` object; none if it lacks its times or bytes."""
    data = _mapping(data)
    start, end, size = _number(data, "start"), _number(data, "end"), _count(data, "bytes")
    if start is None or end is None or size is None or end - start < 1e-6:
        return
    jitter, lost = _number(data, "jitter_ms"), _number(data, "lost_packets")
    yield Interval(
        flow=flow,
        sender=sender,
        start=float(start),
        end=float(end),
        bytes=size,
        omitted=data.get("omitted") is True,
        retransmits=_count(data, "retransmits") if sender else None,
        rtt_seconds=rtt_seconds if sender else None,
        jitter_seconds=None if sender or jitter is None else jitter / 1000,
        lost_packets=None if sender or lost is None else int(lost),
        packets=_count(data, "packets"),
    )


def _mean_rtt(streams: list[Mapping[str, Any]], key: str) -> float | None:
    """Seconds; iperf3 prints microseconds, and 0 where it knows none."""
    known = [value for stream in streams if (value := _count(stream, key))]
    return sum(known) / len(known) / 1e6 if known else None


def _of_type(source: Mapping[str, Any], kind: type[T], **names: str) -> dict[str, T]:
    return {name: source[key] for name, key in names.items() if isinstance(source.get(key), kind)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _lower(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _number(source: Mapping[str, Any], key: str) -> float | int | None:
    """A number that can be computed with; no NaN, which is in no order with anything."""
    value = source.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18 else None


def _count(source: Mapping[str, Any], key: str) -> int | None:
    value = _number(source, key)
    return int(value) if value is not None and value >= 0 else None
