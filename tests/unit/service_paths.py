# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference's two clusters and what each kind of evidence shows of a flow that takes a given way through them."""

from __future__ import annotations

from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow, Tuple
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, Endpoint, Service

NODES = ("w0", "w1", "w2")
BYTES = 1e9
LOAD_BALANCER = "10.0.20.5"
NODE_PORT = 31001
TEST_VM = Endpoint("test-vm", "external", None, "test-vm", "vm", "10.0.10.250", source_addresses=("10.0.10.251",))


def cluster(name: str) -> Cluster:
    """Three workers with one server pod each and a client pod on w0; `native` or `flannel`."""
    endpoints = [Endpoint("client", "client", name, "w0", "w0", pod_address(name, 0, 3))]
    addresses = {}
    for number, node in enumerate(NODES):
        endpoints.append(Endpoint(node, "node", name, node, node, f"10.0.10.{10 + number}"))
        endpoints.append(Endpoint(f"server-{number}", "server", name, node, node, pod_address(name, number, 2)))
        inner = [f"10.244.{number}.0/32", f"10.244.{number}.1/24"] if name == "flannel" else [f"10.0.10.{20 + number}"]
        addresses[node] = [f"10.0.10.{10 + number}/24", *inner, "127.0.0.1/8", "169.254.1.1"]
    service = Service(
        name="iperf",
        cluster_ip="10.96.0.1",
        port=5201,
        backends=("server-0", "server-1", "server-2"),
        affinity=True,
        node_port=NODE_PORT,
        load_balancer_address=LOAD_BALANCER,
        load_balancer_name=f"nlb-{name}",
    )
    return Cluster(name, name, tuple(endpoints), (service,), facts={"node_addresses": addresses})


def pod_address(name: str, number: int, last: int) -> str:
    return f"10.244.{number}.{last}" if name == "flannel" else f"10.0.10.{100 + 10 * number + last}"


def peer(name: str, ingress: int, serving: int) -> str:
    """Whom the serving pod sees when the ingress node masquerades."""
    if name == "native":
        return f"10.0.10.{20 + ingress}" if ingress == serving else f"10.0.10.{10 + ingress}"
    return f"10.244.{ingress}.1" if ingress == serving else f"10.244.{ingress}.0"


def tables(name: str, ingress: int, serving: int, **changes: Any) -> dict[str, list[Flow] | None]:
    """All nodes' connection tracking: the ingress node translates, the serving one only sees the result."""
    pod, seen = pod_address(name, serving, 2), peer(name, ingress, serving)
    port = changes.pop("sport", 40000)
    translated = Flow(
        "tcp",
        Tuple(LOAD_BALANCER, f"10.0.10.{10 + ingress}", port, NODE_PORT),
        Tuple(pod, seen, 5201, 21345),
        **{"state": "ESTABLISHED", "timeout_seconds": 431999, **changes},
    )
    plain = Flow("tcp", Tuple(seen, pod, 21345, 5201), Tuple(pod, seen, 5201, 21345), "ESTABLISHED")
    found: dict[str, list[Flow] | None] = {node: [] for node in NODES}
    found[f"w{ingress}"] = [translated]
    if ingress != serving:
        found[f"w{serving}"] = [plain]
    return found


def nic_bytes(name: str, ingress: int, serving: int) -> dict[str, dict[str, tuple[float, float]]]:
    """What the NICs count: bulk one way, a hundredth of it in acknowledgements the other way."""
    counted: dict[str, dict[str, tuple[float, float]]] = {
        node: {"lo": (9e9, 9e9), "ens3": (5e4, 5e4), "ens5": (0.0, 0.0), "veth1": (BYTES, BYTES)} for node in NODES
    }
    if ingress == serving:
        counted[f"w{ingress}"]["ens3"] = (1.01 * BYTES, BYTES / 100)
    else:
        counted[f"w{ingress}"]["ens3"] = (1.01 * BYTES, 1.02 * BYTES)
        counted[f"w{serving}"]["ens3" if name == "flannel" else "ens5"] = (1.02 * BYTES, BYTES / 100)
    return counted


def evidence(name: str, ingress: int, serving: int) -> dict[str, Any]:
    """All that `trace` takes, for a flow from the test VM through the load balancer."""
    system = cluster(name)
    return {
        "cluster": system,
        "client": TEST_VM,
        "service": system.services[0],
        "path": "external_to_load_balancer",
        "server_peers": {f"server-{serving}": [peer(name, ingress, serving)]},
        "conntrack": tables(name, ingress, serving),
        "nic_bytes": nic_bytes(name, ingress, serving),
        "traffic_bytes": BYTES,
    }
