# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a Service reaches its pods: kube-proxy's iptables rules on the nodes and the load balancer's nftables rules.

The chains are those of kube-proxy's iptables mode (kubernetes/pkg/proxy/iptables/proxier.go), TCP and UDP, with
externalTrafficPolicy Cluster: traffic through a NodePort is masqueraded, so the pod sees the ingress node.
"""

from __future__ import annotations

from hashlib import sha256

from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import (
    IPERF_PORT,
    NODE_SUBNET,
    POD_NETWORK,
    SPREAD_PORT,
    ClusterLayout,
    Pod,
    Service,
    Worker,
)

PROTOCOLS = ("tcp", "udp")
MASQUERADE_MARK = "0x4000"
AFFINITY_SECONDS = 10800  # Kubernetes' default for sessionAffinity ClientIP
HASH_SEED = "0x20230818"  # fixed, so that a rebuilt lab sends a client to the same node


def _chain(kind: str, service: Service, protocol: str, pod: Pod | None = None) -> str:
    """KUBE-SVC-…, KUBE-EXT-… or KUBE-SEP-… with a digest as kube-proxy makes it: iptables allows 28 letters."""
    key = f"{service.name}:{protocol}:{pod.name if pod else ''}"
    return f"KUBE-{kind}-{sha256(key.encode()).hexdigest()[:16].upper()}"


def kube_proxy_rules(cluster: ClusterLayout, worker: Worker) -> str:
    """Input for iptables-restore: the nat table of one node."""
    pods = NODE_SUBNET if cluster.spec.datapath == "routed" else POD_NETWORK
    chains = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]
    rules = [
        "-A PREROUTING -j KUBE-SERVICES",
        "-A OUTPUT -j KUBE-SERVICES",
        "-A POSTROUTING -j KUBE-POSTROUTING",
        f"-A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE_MARK}",
        f"-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j RETURN",
        f"-A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE_MARK}",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ]
    for service in cluster.services:
        for protocol in PROTOCOLS:
            own_chains, own_rules = _service_rules(cluster, service, protocol, str(pods))
            chains += own_chains
            rules += own_rules
    rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
    if worker.pod_cidrs:
        chains.append("FLANNEL-POSTRTG")
        rules.append("-A POSTROUTING -j FLANNEL-POSTRTG")
        rules.append(f"-A FLANNEL-POSTRTG -s {worker.pod_cidrs[0]} ! -d {POD_NETWORK} -j MASQUERADE --random-fully")
    return "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])


def _service_rules(cluster: ClusterLayout, service: Service, protocol: str, pods: str) -> tuple[list[str], list[str]]:
    svc, ext = _chain("SVC", service, protocol), _chain("EXT", service, protocol)
    to_service = f"-p {protocol} --dport {service.port}"
    rules = [
        f"-A KUBE-SERVICES -d {service.cluster_ip}/32 {to_service} -j {svc}",
        f"-A KUBE-SERVICES -d {cluster.balancer_address}/32 {to_service} -j {ext}",
        f"-A KUBE-NODEPORTS -p {protocol} --dport {service.node_port} -j {ext}",
        f"-A {ext} -j KUBE-MARK-MASQ",
        f"-A {ext} -j {svc}",
        f"-A {svc} ! -s {pods} -d {service.cluster_ip}/32 {to_service} -j KUBE-MARK-MASQ",
    ]
    endpoints = [_chain("SEP", service, protocol, pod) for pod in service.backends]
    sticky = service.affinity and len(endpoints) > 1
    if sticky:
        recent = f"--rcheck --seconds {AFFINITY_SECONDS} --reap --rsource"
        rules += [f"-A {svc} -m recent --name {sep} {recent} -j {sep}" for sep in endpoints]
    for number, sep in enumerate(endpoints):
        left = len(endpoints) - number
        pick = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        rules.append(f"-A {svc} {pick}-j {sep}")
    for sep, pod in zip(endpoints, service.backends, strict=True):
        remember = f"-m recent --name {sep} --set --rsource " if sticky else ""
        rules.append(f"-A {sep} -s {pod.address}/32 -j KUBE-MARK-MASQ")
        rules.append(f"-A {sep} -p {protocol} {remember}-j DNAT --to-destination {pod.address}:{IPERF_PORT}")
    return [svc, ext, *endpoints], rules


def balancer_rules(cluster: ClusterLayout) -> str:
    """Input for nft: the node is picked by a hash of source and destination address (an NLB's TWO_TUPLE policy).

    The spread service hashes the ports as well (FIVE_TUPLE, the default of a real one), so that each new connection of
    one client may meet another node.
    """
    count = len(cluster.workers)
    nodes = ", ".join(f"{number} : {worker.address}" for number, worker in enumerate(cluster.workers))
    address = cluster.balancer_address
    rules = []
    for service in cluster.services:
        for protocol in PROTOCOLS:
            key = "ip saddr . ip daddr"
            if service.port == SPREAD_PORT:
                key = f"ip saddr . {protocol} sport . ip daddr . {protocol} dport"
            rules.append(
                f"    ip daddr {address} {protocol} dport {service.port} dnat to "
                f"jhash {key} mod {count} seed {HASH_SEED} map {{ {nodes} }}:{service.node_port}"
            )
    return "\n".join(
        [
            "table ip balancer {",
            "  chain pick {",
            "    type nat hook prerouting priority dstnat;",
            *rules,
            "  }",
            "  chain answer_here {",
            "    type nat hook postrouting priority srcnat;",
            "    ct status dnat masquerade",
            "  }",
            "}",
            "",
        ]
    )
