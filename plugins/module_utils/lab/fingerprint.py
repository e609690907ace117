# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a namespace holds now, as one digest per section, so that a later run sees what changed.

To be called inside the namespace (see namespaces.call_inside).
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.devices import NTF_PROXY, run_program
from ansible_collections.netbench.cni.plugins.module_utils.lab.netlink import open_netlink
from ansible_collections.netbench.cni.plugins.module_utils.lab.pinning import receive_queues

NUD_PERMANENT = 0x80
IFF_UP = 0x1
LOCAL_TABLE = 255
LINK_LOCAL6, MULTICAST6 = "fe80:", "ff00:"
AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7


def digests(with_firewall: bool) -> dict[str, str]:
    """Section (links, addresses, routes, rules, neighbours, queueing, receive_cpus, firewall) → SHA-256."""
    with open_netlink() as netlink:
        names = {link["index"]: link.get("ifname") for link in netlink.get_links()}
        sections: dict[str, Any] = {
            "links": _links(netlink, names),
            "addresses": _addresses(netlink, names),
            "routes": _routes(netlink, names),
            "rules": _rules(netlink),
            "neighbours": _neighbours(netlink, names),
        }
    sections["queueing"] = re.sub(r"direct_packets_stat \d+", "", run_program(["tc", "qdisc", "show"]))
    sections["receive_cpus"] = [Path(path).read_text(encoding="ascii") for path in receive_queues()]
    if with_firewall:
        sections["firewall"] = _firewall()
    return {name: sha256(json.dumps(content).encode()).hexdigest() for name, content in sections.items()}


def _links(netlink: Any, names: dict[int, str]) -> list[Any]:
    return sorted(
        [
            link.get("ifname"),
            link.get("mtu"),
            link.get("address"),
            link["flags"] & IFF_UP,
            names.get(link.get("master") or 0, ""),
        ]
        for link in netlink.get_links()
    )


def _addresses(netlink: Any, names: dict[int, str]) -> list[Any]:
    return sorted(
        [names[entry["index"]], entry.get("address"), entry["prefixlen"]]
        for entry in netlink.get_addr()
        if not entry.get("address").startswith(LINK_LOCAL6)
    )


def _routes(netlink: Any, names: dict[int, str]) -> list[Any]:
    """Those of the tables that hold somebody's intentions; the kernel fills its local table at its leisure."""
    found = []
    for family in (AF_INET, AF_INET6):
        for route in netlink.get_routes(family=family):
            if route.get("table") == LOCAL_TABLE or str(route.get("dst")).startswith((LINK_LOCAL6, MULTICAST6)):
                continue
            device = names.get(route.get("oif") or 0, "")
            found.append(
                [family, str(route.get("dst")), route["dst_len"], str(route.get("gateway")), device, route.get("table")]
            )
    return sorted(found)


def _rules(netlink: Any) -> list[Any]:
    return sorted(
        [family, rule.get("priority") or 0, rule.get("table"), str(rule.get("src")), str(rule.get("dst"))]
        for family in (AF_INET, AF_INET6)
        for rule in netlink.get_rules(family=family)
    )


def _neighbours(netlink: Any, names: dict[int, str]) -> list[Any]:
    """Permanent neighbours, proxied addresses and the VXLAN devices' forwarding entries."""
    found = [entry for entry in netlink.get_neighbours(family=AF_BRIDGE) if entry.get("dst")]
    for family in (AF_INET, AF_INET6):
        found += [entry for entry in netlink.get_neighbours(family=family) if entry["state"] & NUD_PERMANENT]
        found += netlink.neigh("dump", family=family, flags=NTF_PROXY)
    return sorted(
        [entry["family"], names[entry["ifindex"]], str(entry.get("dst")), str(entry.get("lladdr"))] for entry in found
    )


def _firewall() -> list[str]:
    """iptables' nat rules and nftables' own tables, without counters and without comments (they hold the date)."""
    iptables = run_program(["iptables-save", "-t", "nat"])
    rules = [line.partition(" [")[0] for line in iptables.splitlines() if not line.startswith("#")]
    return [*rules, *run_program(["nft", "--stateless", "list", "ruleset"]).splitlines()]
