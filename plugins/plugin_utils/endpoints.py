# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables → clusters and endpoints; cluster and scenario → the endpoints that a trial uses.

An endpoint is an inventory host with `netbench_role` (client, server, node or external), `netbench_address` and, unless
it is external, `netbench_cluster` and `netbench_node`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ansible_collections.netbench.cni.plugins.plugin_utils import fields
from ansible_collections.netbench.cni.plugins.plugin_utils.model import (
    Cluster,
    Endpoint,
    EndpointRole,
    NetbenchError,
    Scenario,
    Service,
)

TARGET_PORT = 5201
"""Where a server listens; what a Service forwards to."""

_LINE_KEYS = ("line_rate_bits_per_second", "line_rate_shared", "pod_mtu", "node_mtu", "pod_nic")
_CLUSTER_KEYS = ("cni", "datapath", *_LINE_KEYS, "services", "facts")
_BALANCER_KEYS = ("load_balancer_address", "load_balancer_name")
_SERVICE_KEYS = ("name", "cluster_ip", "port", "node_port", *_BALANCER_KEYS, "backends", "affinity")


@dataclass(frozen=True)
class Chosen:
    """What one trial uses.

    `servers` are all endpoints that could be chosen to answer, `server_node` is None as long as several could,
    `service` is None on the direct paths, `machines` are all physical machines that the trial may touch.
    """

    client: Endpoint
    target_address: str
    target_port: int
    servers: tuple[Endpoint, ...]
    client_node: str
    server_node: str | None
    service: Service | None
    machines: frozenset[str]


def clusters_from_vars(
    clusters: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Cluster], dict[str, Endpoint]]:
    """The clusters (in the order given) and the external endpoints.

    `clusters` is the variable `netbench_clusters`, `hosts` maps every host of the group `netbench_endpoints` to its
    variables. Raises NetbenchError for an unknown cluster, role or node, for a missing address, and for backends that
    are no server endpoints of their cluster.
    """
    fields.mapping(clusters, "netbench_clusters")
    endpoints = [_endpoint(str(name), variables, clusters) for name, variables in hosts.items()]
    external = {e.name: e for e in endpoints if e.role == "external"}
    found = {str(name): _cluster(str(name), body, endpoints) for name, body in clusters.items()}
    return found, external


def client_and_servers(
    cluster: Cluster, externals: Mapping[str, Endpoint], scenario: Scenario, ingress_node: str | None = None
) -> Chosen:
    """The endpoints that `scenario` uses in `cluster`.

    - node_to_node: the client pod's node → the node of the first server pod on another node
    - pod_to_pod: the client pod → the first server pod on another node; pod_to_pod_same_node: on the same node
    - pod_to_service and external_to_load_balancer with `forwarding`: a service with a single backend, whose pod runs on
      another node than the ingress node (forwarded) or on that node (local). The ingress node of pod_to_service is the
      client's; that of external_to_load_balancer has to be found out and passed as `ingress_node`.
    - the same without `forwarding`: the service with client affinity that has most backends

    Raises NetbenchError when the cluster lacks what the scenario needs.
    """
    if scenario.path == "external_to_load_balancer":
        client = _external(externals, scenario)
        if scenario.forwarding and ingress_node is None:
            raise NetbenchError(
                f"scenario {scenario.name} is {scenario.forwarding}, which cannot be arranged before the ingress node "
                f"of cluster {cluster.name} is known"
            )
        return _through_service(cluster, scenario, client, ingress_node)
    client = _client_pod(cluster, scenario)
    if scenario.path == "pod_to_service":
        return _through_service(cluster, scenario, client, client.node)
    server = _server_pod(cluster, scenario, client.node)
    if scenario.path == "node_to_node":
        client, server = _node(cluster, scenario, client.node), _node(cluster, scenario, server.node)
    return Chosen(
        client=client,
        target_address=_address(server, scenario),
        target_port=TARGET_PORT,
        servers=(server,),
        client_node=client.node,
        server_node=server.node,
        service=None,
        machines=_machines(cluster, (client, server)),
    )


def machines(cluster: Cluster, externals: Mapping[str, Endpoint], scenario: Scenario) -> frozenset[str]:
    """All physical machines that a trial may touch, whichever ingress node it meets; raises as client_and_servers."""
    if scenario.path == "external_to_load_balancer":
        return _machines(cluster, (_external(externals, scenario), *_behind_load_balancer(cluster)))
    return client_and_servers(cluster, externals, scenario).machines


def check(cluster: Cluster, externals: Mapping[str, Endpoint], scenario: Scenario) -> None:
    """Raise NetbenchError if `cluster` cannot carry `scenario`, for any ingress node where that is not known yet."""
    if scenario.path != "external_to_load_balancer" or scenario.forwarding is None:
        client_and_servers(cluster, externals, scenario)
        return
    nodes = sorted({e.node for e in _behind_load_balancer(cluster)})
    errors = []
    for node in nodes:
        try:
            client_and_servers(cluster, externals, scenario, node)
        except NetbenchError as error:
            errors.append(error)
    if len(errors) == len(nodes):
        raise errors[0] if errors else NetbenchError(f"cluster {cluster.name} has no nodes and no server pods")


def sticky_service(cluster: Cluster) -> Service:
    """The service with most backends that keeps a client with one of them, as iperf3's two connections need it."""
    sticky = [s for s in cluster.services if s.affinity and s.backends]
    if not sticky:
        raise NetbenchError(f"cluster {cluster.name} has no service with client affinity, which iperf3 needs")
    return max(sticky, key=lambda service: len(service.backends))


def spread_service(cluster: Cluster) -> Service:
    """The service whose client may land on any of several backends, for the flow share probe."""
    spread = [s for s in cluster.services if not s.affinity and len(s.backends) > 1 and s.load_balancer_address]
    if not spread:
        raise NetbenchError(
            f"the flow share probe needs a service of cluster {cluster.name} with a load balancer, several backends "
            "and no client affinity"
        )
    return max(spread, key=lambda service: len(service.backends))


def _endpoint(name: str, variables: Mapping[str, Any], clusters: Mapping[str, Any]) -> Endpoint:
    def optional(key: str) -> str | None:
        return fields.optional_text(variables.get(key), f"{key} of host {name}")

    role: EndpointRole = fields.choice(
        variables.get("netbench_role"), f"netbench_role of host {name}", get_args(EndpointRole)
    )
    cluster = optional("netbench_cluster")
    if role == "external":
        cluster = None
    elif cluster is None or cluster not in clusters:
        raise NetbenchError(
            f"netbench_cluster of host {name} is {fields.shown(cluster)}; {fields.nearest(cluster or '', clusters)}"
        )
    node = optional("netbench_node") or (name if role in ("node", "external") else None)
    if node is None:
        raise NetbenchError(f"host {name} has no netbench_node; name the inventory host of the node that it runs on")
    address = optional("netbench_address")
    if address is None:
        raise NetbenchError(f"host {name} has no netbench_address; set the address that others reach it at")
    address6 = optional("netbench_address6")
    if address6 is not None and _family(address6) != 6:
        raise NetbenchError(f"netbench_address6 of host {name} is {address6!r}; it must be an IPv6 address")
    sources = variables.get("netbench_source_addresses")
    cpus = fields.items(variables.get("netbench_cpus"), f"netbench_cpus of host {name}")
    return Endpoint(
        name=name,
        role=role,
        cluster=cluster,
        node=node,
        machine=optional("netbench_machine") or node,
        address=address,
        address6=address6,
        source_addresses=fields.texts(sources, f"netbench_source_addresses of host {name}"),
        cpus=tuple(fields.integer(cpu, f"netbench_cpus of host {name}", 0, 65535) for cpu in cpus),
        netns=optional("netbench_netns"),
    )


def _cluster(name: str, body: Any, endpoints: Iterable[Endpoint]) -> Cluster:
    where = f"netbench_clusters.{name}"
    data = fields.mapping(body, where, _CLUSTER_KEYS)
    own = tuple(e for e in endpoints if e.cluster == name)
    nodes = {e.name for e in own if e.role == "node"}
    for endpoint in own:
        if nodes and endpoint.node not in nodes:
            raise NetbenchError(
                f"netbench_node of host {endpoint.name} is {endpoint.node!r}, which is no node of cluster {name}; "
                f"{fields.nearest(endpoint.node, sorted(nodes))}"
            )
    servers = {e.name for e in own if e.role == "server"}
    services = fields.items(data.get("services"), f"{where}.services")
    rate = data.get("line_rate_bits_per_second")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate <= 0):
        raise NetbenchError(f"{where}.line_rate_bits_per_second is {fields.shown(rate)}; it must be a number above 0")
    facts = fields.mapping(fields.plain(data.get("facts"), f"{where}.facts"), f"{where}.facts")
    if data.get("datapath") is not None:
        facts["datapath"] = fields.text(data["datapath"], f"{where}.datapath")
    return Cluster(
        name=name,
        cni=fields.text(data.get("cni"), f"{where}.cni"),
        endpoints=own,
        services=tuple(_service(item, f"{where}.services[{i}]", servers) for i, item in enumerate(services)),
        line_rate_bits_per_second=None if rate is None else float(rate),
        line_rate_shared=fields.boolean(data.get("line_rate_shared", False), f"{where}.line_rate_shared"),
        pod_mtu=fields.optional_integer(data.get("pod_mtu"), f"{where}.pod_mtu", 576, 65536),
        node_mtu=fields.optional_integer(data.get("node_mtu"), f"{where}.node_mtu", 576, 65536),
        pod_nic=fields.optional_text(data.get("pod_nic"), f"{where}.pod_nic"),
        facts=facts,
    )


def _service(item: Any, where: str, servers: set[str]) -> Service:
    data = fields.mapping(item, where, _SERVICE_KEYS)
    backends = fields.texts(data.get("backends"), f"{where}.backends")
    for backend in backends:
        if backend not in servers:
            raise NetbenchError(
                f"{where}.backends names {backend!r}, which is no server endpoint of that cluster; "
                f"{fields.nearest(backend, sorted(servers))}"
            )
    return Service(
        name=fields.text(data.get("name"), f"{where}.name"),
        cluster_ip=fields.text(data.get("cluster_ip"), f"{where}.cluster_ip"),
        port=fields.integer(data.get("port"), f"{where}.port", 1, 65535),
        backends=backends,
        affinity=fields.boolean(data.get("affinity", False), f"{where}.affinity"),
        node_port=fields.optional_integer(data.get("node_port"), f"{where}.node_port", 1, 65535),
        load_balancer_address=fields.optional_text(data.get("load_balancer_address"), f"{where}.load_balancer_address"),
        load_balancer_name=fields.optional_text(data.get("load_balancer_name"), f"{where}.load_balancer_name"),
    )


def _through_service(cluster: Cluster, scenario: Scenario, client: Endpoint, ingress_node: str | None) -> Chosen:
    service = _service_for(cluster, scenario, ingress_node)
    external = scenario.path == "external_to_load_balancer"
    address = service.load_balancer_address if external else service.cluster_ip
    if not address or _family(address) != scenario.traffic.family:
        kind = "load balancer" if external else "cluster"
        raise NetbenchError(
            f"scenario {scenario.name} needs an IPv{scenario.traffic.family} {kind} address of service {service.name} "
            f"in cluster {cluster.name}, which has {address or 'none'}"
        )
    by_name = {e.name: e for e in cluster.endpoints}
    servers = tuple(by_name[name] for name in service.backends)
    touched = (client, *servers, *(_behind_load_balancer(cluster) if external else ()))
    return Chosen(
        client=client,
        target_address=address,
        target_port=service.port,
        servers=servers,
        client_node=client.node,
        server_node=servers[0].node if len(servers) == 1 else None,
        service=service,
        machines=_machines(cluster, touched),
    )


def _service_for(cluster: Cluster, scenario: Scenario, ingress_node: str | None) -> Service:
    if scenario.forwarding is None:
        return sticky_service(cluster)
    node_of = {e.name: e.node for e in cluster.endpoints}
    local = scenario.forwarding == "local"
    single = [s for s in cluster.services if len(s.backends) == 1]
    for service in single:
        if (node_of[service.backends[0]] == ingress_node) == local:
            return service
    raise NetbenchError(
        f"scenario {scenario.name} needs a service with one server pod {'on' if local else 'on another node than'} "
        f"{ingress_node}, but cluster {cluster.name} has {_listed(f'{s.name} of {s.backends[0]}' for s in single)}"
    )


def _behind_load_balancer(cluster: Cluster) -> tuple[Endpoint, ...]:
    """Every endpoint on whose machine a load balancer's traffic may come in or end."""
    return (*cluster.of_role("node"), *cluster.of_role("server"))


def _external(externals: Mapping[str, Endpoint], scenario: Scenario) -> Endpoint:
    for endpoint in externals.values():
        return endpoint
    raise NetbenchError(f"scenario {scenario.name} needs an endpoint with netbench_role external, and there is none")


def _client_pod(cluster: Cluster, scenario: Scenario) -> Endpoint:
    clients = cluster.of_role("client")
    if not clients:
        raise NetbenchError(f"scenario {scenario.name} needs a client pod, but cluster {cluster.name} has none")
    return clients[0]


def _server_pod(cluster: Cluster, scenario: Scenario, client_node: str) -> Endpoint:
    same = scenario.path == "pod_to_pod_same_node"
    servers = cluster.of_role("server")
    for server in servers:
        if (server.node == client_node) == same:
            return server
    raise NetbenchError(
        f"scenario {scenario.name} needs a server pod {'on' if same else 'on another node than'} {client_node}, but "
        f"cluster {cluster.name} has {_listed(f'{s.name} on {s.node}' for s in servers)}"
    )


def _node(cluster: Cluster, scenario: Scenario, name: str) -> Endpoint:
    for node in cluster.of_role("node"):
        if node.name == name:
            return node
    raise NetbenchError(
        f"scenario {scenario.name} needs the node {name} of cluster {cluster.name} as an endpoint of its own, with "
        "netbench_role node"
    )


def _listed(names: Iterable[str]) -> str:
    found = ", ".join(names)
    return f"only {found}" if found else "none"


def _address(endpoint: Endpoint, scenario: Scenario) -> str:
    family = scenario.traffic.family
    for address in (endpoint.address, endpoint.address6):
        if address and _family(address) == family:
            return address
    raise NetbenchError(f"scenario {scenario.name} needs an IPv{family} address of {endpoint.name}, which has none")


def _family(address: str) -> Literal[4, 6]:
    """A host name counts as IPv4: it is what such names resolve to in the clusters we know."""
    try:
        return 6 if ipaddress.ip_address(address).version == 6 else 4
    except ValueError:
        return 4


def _machines(cluster: Cluster, touched: Iterable[Endpoint]) -> frozenset[str]:
    machine_of_node = {node.name: node.machine for node in cluster.of_role("node")}
    return frozenset(machine for e in touched for machine in (e.machine, machine_of_node.get(e.node, e.machine)))
