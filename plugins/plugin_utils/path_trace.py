# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a trial's packets really crossed, told by three independent kinds of evidence.

- `server_peer`: whom the serving pod's iperf3 believes to talk to. kube-proxy masquerades what it forwards, so that
  the peer is an address of the ingress node: its tunnel device's when forwarded, its bridge's when local.
- `conntrack`: the node on which a flow to the Service was translated, and the pod it was translated to.
- `nic_counters`: which nodes' NICs carried at least half of the traffic's bytes, in and out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow, Tuple
from ansible_collections.netbench.cni.plugins.plugin_utils.model import (
    Cluster,
    Endpoint,
    Forwarding,
    NetbenchError,
    PathName,
    Service,
)

# Devices that a node makes for its own use; what they carry crosses a NIC too, or never leaves the node.
_INNER_DEVICES = re.compile(
    r"lo$|veth|cni|flannel|vxlan|cali|cilium|lxc|br-|docker|kube-|nodelocaldns|ifb|dummy|tun|wg"
)
_DIRECTIONS = ("in", "out")


@dataclass(frozen=True)
class Translation:
    """A flow that `node` translated from the Service's address to a serving pod's."""

    node: str
    serving_pod: str
    protocol: str
    original: Tuple
    timeout_seconds: int | None


@dataclass(frozen=True)
class Hop:
    """A NIC that carried the traffic, into (`in`) or out of its node."""

    node: str
    nic: str
    direction: str
    bytes: int


@dataclass(frozen=True)
class _Says:
    """What one kind of evidence tells; None where it cannot."""

    ingress_node: str | None = None
    serving_node: str | None = None
    serving_pod: str | None = None

    @property
    def forwarding(self) -> Forwarding | None:
        if self.ingress_node is None or self.serving_node is None:
            return None
        return "local" if self.ingress_node == self.serving_node else "forwarded"

    def as_plain(self) -> dict[str, str]:
        said = {**asdict(self), "forwarding": self.forwarding}
        return {field: value for field, value in said.items() if value is not None}


def trace(
    *,
    cluster: Cluster,
    client: Endpoint,
    service: Service,
    path: PathName,
    server_peers: Mapping[str, Sequence[str]],
    conntrack: Mapping[str, Sequence[Flow] | None],
    nic_bytes: Mapping[str, Mapping[str, tuple[float, float]]],
    traffic_bytes: float,
    client_ports: Collection[int] = (),
) -> dict[str, Any]:
    """Trace one trial of `external_to_load_balancer` or `pod_to_service`; returns a journal entry's `path_trace`.

    `server_peers`: server endpoint → peer addresses its iperf3 saw (nothing for those that were not chosen).
    `conntrack`: node → its flows during or right after the trial (None: could not be read).
    `nic_bytes`: node → NIC → (received, sent) bytes over the same interval as `traffic_bytes`, which counts one
    direction. `client_ports`: the client's local ports, which pick the trial's own flows from older ones where no
    translation changed them.

    `cluster.facts["node_addresses"]` (node → all its addresses, tunnel and bridge devices' included) tells whose
    address a peer is; `cluster.facts["node_nics"]` (node → NICs to the outside), if given, which devices are NICs.

    A field of the result is what most kinds of evidence say; where two stand against one another, conntrack; where
    that does not decide, null. `agreed`, `disagreed` and `missing` list the kinds of evidence.
    """
    nodes = {endpoint.name: endpoint.node for endpoint in cluster.endpoints}
    flows = _of_trial(translations(cluster, service, path, conntrack), client, path, client_ports)
    carried = _carried(cluster, nic_bytes, traffic_bytes)
    client_node_watched = traffic_bytes > 0 and bool(nic_bytes.get(client.node))
    evidence = {
        "server_peer": _by_peer(cluster, client, path, server_peers),
        "conntrack": _by_conntrack(flows, nodes),
        "nic_counters": _by_nics(client, path, carried, client_node_watched),
    }
    serving_node = _vote("serving_node", evidence)
    there = {kind: says for kind, says in evidence.items() if says.serving_node == serving_node}
    result = _Says(_vote("ingress_node", evidence), serving_node, _vote("serving_pod", there))
    verdicts = {kind: _agrees(says, result) for kind, says in evidence.items()}
    return {
        "load_balancer": service.load_balancer_name if path == "external_to_load_balancer" else None,
        "ingress_node": result.ingress_node,
        "serving_pod": result.serving_pod,
        "serving_node": result.serving_node,
        "forwarding": result.forwarding,
        "cni_crossed": None if result.forwarding is None else result.forwarding == "forwarded",
        "hops": _hops(result, carried),
        "evidence": {
            kind: {"says": says.as_plain(), "agrees": bool(verdicts[kind])} for kind, says in evidence.items()
        },
        "agreed": [kind for kind, verdict in verdicts.items() if verdict],
        "disagreed": [kind for kind, verdict in verdicts.items() if verdict is False],
        "missing": [kind for kind, verdict in verdicts.items() if verdict is None],
    }


def translations(
    cluster: Cluster, service: Service, path: PathName, conntrack: Mapping[str, Sequence[Flow] | None]
) -> list[Translation]:
    """All flows that some node's table shows as translated from `service` to one of its backends.

    On the way from outside the Service is its node port at any address of the node, or its port at the load balancer's
    address (which kube-proxy also translates); from a pod, its port at the cluster's address.
    """
    backends = {endpoint.name for endpoint in cluster.endpoints if endpoint.name in service.backends}
    pods = {
        canonical(address): endpoint.name
        for endpoint in cluster.endpoints
        if endpoint.name in backends
        for address in (endpoint.address, endpoint.address6)
        if address is not None
    }
    addresses = node_addresses(cluster)
    outside = path == "external_to_load_balancer"
    front = service.load_balancer_address if outside else service.cluster_ip
    found = []
    for node, flows in conntrack.items():
        own = addresses.get(node, frozenset())
        for flow in flows or ():
            target = flow.original
            to_node_port = outside and target.dport == service.node_port and target.dst in own
            to_front = front is not None and target.dport == service.port and target.dst == canonical(front)
            pod = pods.get(flow.reply.src)
            if pod is not None and (to_node_port or to_front):
                found.append(Translation(node, pod, flow.protocol, target, flow.timeout_seconds))
    return found


def node_addresses(cluster: Cluster) -> dict[str, frozenset[str]]:
    """All addresses of every node, as far as the facts tell them, and at least the inventory's."""
    known = cluster.facts.get("node_addresses", {})
    found = {}
    for node in cluster.of_role("node"):
        given = [*known.get(node.name, ()), node.address, node.address6]
        found[node.name] = frozenset(canonical(str(address).partition("/")[0]) for address in given if address)
    return found


def canonical(address: str) -> str:
    """One spelling for each address; an IPv4 address mapped to IPv6, as dual-stack servers print it, is IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError as exc:
        raise NetbenchError(f"address {address!r} is not an IPv4 or IPv6 address") from exc
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def _of_trial(
    found: list[Translation], client: Endpoint, path: PathName, client_ports: Collection[int]
) -> list[Translation]:
    """The trial's own flows: by the client's ports, else those that were alive last, by the time they have left."""
    if path == "pod_to_service":
        found = [each for each in found if each.original.src in _addresses_of(client)]
    by_port = [each for each in found if each.original.sport in client_ports]
    youngest = max((each.timeout_seconds or 0 for each in found), default=0)
    return by_port or [each for each in found if (each.timeout_seconds or 0) >= youngest - 1]


def _addresses_of(endpoint: Endpoint) -> set[str]:
    given = (endpoint.address, endpoint.address6, *endpoint.source_addresses)
    return {canonical(address) for address in given if address is not None}


def _by_peer(cluster: Cluster, client: Endpoint, path: PathName, server_peers: Mapping[str, Sequence[str]]) -> _Says:
    nodes = {endpoint.name: endpoint.node for endpoint in cluster.endpoints}
    pod = _only(pod for pod, peers in server_peers.items() if peers and pod in nodes)
    if pod is None:
        return _Says()
    peers = {canonical(peer) for peer in server_peers[pod]}
    owners = [{node for node, own in node_addresses(cluster).items() if peer in own} for peer in peers]
    if path == "pod_to_service" and peers <= _addresses_of(client):
        owners = [{client.node}]  # not masqueraded: translated where the client is
    ingress = _only(owners[0]) if all(owner == owners[0] for owner in owners) else None
    return _Says(ingress, nodes[pod], pod)


def _by_conntrack(flows: list[Translation], nodes: Mapping[str, str]) -> _Says:
    pod = _only(flow.serving_pod for flow in flows)
    return _Says(_only(flow.node for flow in flows), None if pod is None else nodes[pod], pod)


def _by_nics(client: Endpoint, path: PathName, carried: Sequence[Hop], client_node_watched: bool) -> _Says:
    """The node that took the bulk of the bytes in and gave it out forwarded it; nothing where it is not so clear."""
    ways = {hop.node: {other.direction for other in carried if other.node == hop.node} for hop in carried}
    if path == "pod_to_service":
        if not client_node_watched or (ways and client.node not in ways):
            return _Says()
        others = set(ways) - {client.node}
        return _Says(client.node, _only(others or {client.node}) if len(others) < 2 else None)
    forwarding = _only(node for node, directions in ways.items() if len(directions) == 2)
    ends = [node for node, directions in ways.items() if len(directions) == 1]
    if len(ends) != 1 or len(ways) > 2:
        return _Says()
    return _Says(forwarding or ends[0], ends[0])


def _carried(
    cluster: Cluster, nic_bytes: Mapping[str, Mapping[str, tuple[float, float]]], traffic_bytes: float
) -> list[Hop]:
    """Every NIC and direction that carried at least half of the traffic."""
    known = cluster.facts.get("node_nics", {})
    found = []
    for node, nics in nic_bytes.items():
        for nic, counted in nics.items():
            outer = nic in known[node] if node in known else not _INNER_DEVICES.match(nic)
            for direction, count in zip(_DIRECTIONS, counted, strict=True):
                if outer and count >= traffic_bytes / 2 > 0:
                    found.append(Hop(node, nic, direction, round(count)))
    return found


def _hops(result: _Says, carried: Sequence[Hop]) -> list[dict[str, Any]]:
    """The NICs in the order in which the bulk of the bytes crossed them."""
    ends = [result.ingress_node, result.serving_node]
    if {hop.direction for hop in carried if hop.node == result.serving_node} == {"out"}:
        ends.reverse()  # the pod sends
    order = [*dict.fromkeys(ends), *(hop.node for hop in carried)]
    ranked = sorted(carried, key=lambda hop: (order.index(hop.node), _DIRECTIONS.index(hop.direction)))
    return [asdict(hop) for hop in ranked]


def _vote(field: str, evidence: Mapping[str, _Says]) -> str | None:
    said = {kind: getattr(says, field) for kind, says in evidence.items() if getattr(says, field) is not None}
    counts = Counter(said.values())
    most = [value for value, count in counts.items() if count == max(counts.values())]
    return most[0] if len(most) == 1 else said.get("conntrack") if len(said) == 2 else None


def _agrees(says: _Says, result: _Says) -> bool | None:
    """None when it says nothing."""
    said = {field: value for field, value in asdict(says).items() if value is not None}
    return all(getattr(result, field) == value for field, value in said.items()) if said else None


def _only(values: Iterable[str]) -> str | None:
    """The one value that all are, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
