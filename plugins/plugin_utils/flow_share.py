# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a Service's flows leave the node they came in on, counted from the nodes' connection tracking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.conntrack import Flow
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Cluster, NetbenchError, PathName, Service
from ansible_collections.netbench.cni.plugins.plugin_utils.path_trace import translations


def count(
    cluster: Cluster,
    service: Service,
    conntrack: Mapping[str, Sequence[Flow] | None],
    *,
    path: PathName = "external_to_load_balancer",
) -> dict[str, Any]:
    """Count the flows to `service` in all nodes' tables (None: that node's could not be read).

    Returns {"path", "flows", "forwarded", "local", "by_ingress_node": {host: n}, "by_serving_pod": {host: n}}; a flow
    that a table lists twice counts once. Forwarded flows are those whose pod is on another node than they came in on.
    """
    seen = translations(cluster, service, path, conntrack)
    flows = {(each.node, each.protocol, each.original): each.serving_pod for each in seen}
    node_of = {endpoint.name: endpoint.node for endpoint in cluster.endpoints}
    local = sum(1 for (node, _protocol, _original), pod in flows.items() if node_of[pod] == node)
    return {
        "path": path,
        "flows": len(flows),
        "forwarded": len(flows) - local,
        "local": local,
        "by_ingress_node": dict(sorted(Counter(node for node, _protocol, _original in flows).items())),
        "by_serving_pod": dict(sorted(Counter(flows.values()).items())),
    }


def expected_mean(share: Mapping[str, Any], rate_local: float, rate_forwarded: float) -> float:
    """The mean rate of many flows, in the unit of the rates: the shares of a `count` weigh the two rates.

    The reference's arithmetic: a third local at 8 Gbit/s and two thirds forwarded at 4 Gbit/s give 5.3 Gbit/s.
    Raises NetbenchError when no flow was counted.
    """
    if not share["flows"]:
        raise NetbenchError("flow_share.flows is 0; the probe must have opened at least one flow to give a share")
    return float(share["local"] * rate_local + share["forwarded"] * rate_forwarded) / float(share["flows"])
