# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out a NamespacePlan: to be called inside the namespace it is for (see namespaces.call_inside)."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.netlink import change, open_netlink
from ansible_collections.netbench.cni.plugins.module_utils.lab.pinning import bind_receive_queues
from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import Link, NamespacePlan

NTF_PROXY = 0x08
IFA_F_NODAD, IFA_F_NOPREFIXROUTE = 0x02, 0x200
AF_INET, AF_INET6 = 2, 10
PROGRAM_SECONDS = 30
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # an ordinary user's may lack the last two


def run_program(argv: list[str], text: str = "") -> str:
    """Run a program with `text` on standard input; its output. Raises LabError with its complaint."""
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, check=False, timeout=PROGRAM_SECONDS, env=environment
        )
    except FileNotFoundError as error:
        raise LabError(f"The program {argv[0]} is missing on this machine; install it.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)} did not end within {PROGRAM_SECONDS} s.") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed: {' '.join(done.stderr.split())}.")
    return done.stdout


def write_sysctl(path: str, value: str) -> None:
    """Write a setting below /proc/sys/net of this namespace. Raises LabError where the kernel lacks it."""
    try:
        with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError as error:
        raise LabError(f"The kernel lacks net/{path}, which the lab needs; load the module or enable IPv6.") from error


def read_sysctl(path: str) -> str:
    """Read a setting below /proc/sys/net of this namespace."""
    with open(f"/proc/sys/net/{path}", encoding="ascii") as file:
        return file.read().strip()


def apply_plan(plan: NamespacePlan, pids: dict[str, int], alias: str) -> dict[str, str]:
    """Make everything of `plan`; `pids` says where the other ends of veths go, `alias` marks the namespace.

    The result: what could not be had, {topic: why}.
    """
    notes: dict[str, str] = {}
    with open_netlink() as netlink:
        _make_links(netlink, plan, pids)
        for path, value in plan.sysctls.items():
            write_sysctl(path, value)
        for path, value in plan.optional_sysctls.items():
            if os.path.exists(f"/proc/sys/net/{path}"):
                write_sysctl(path, value)
        indexes = _start_links(netlink, plan)
        change(netlink, "link", "set", index=indexes["lo"], ifalias=alias)
        _add_addresses_and_routes(netlink, plan, indexes)
        _add_neighbours(netlink, plan, indexes)
    _run_programs(plan)
    try:
        write_sysctl("ipv4/tcp_congestion_control", plan.congestion_control)
    except OSError as error:
        notes["congestion_control"] = f"the default cannot be set in a namespace here: {error.strerror}"
    if plan.receive_cpus:
        trouble = bind_receive_queues(plan.receive_cpus)
        if trouble:
            notes["cpu_binding"] = trouble
    return notes


def _make_links(netlink: Any, plan: NamespacePlan, pids: dict[str, int]) -> None:
    for link in plan.links:
        if link.kind == "peer":
            continue
        wanted: dict[str, Any] = {"ifname": link.name, "kind": link.kind, "mtu": link.mtu, **link.attributes}
        if link.mac:
            wanted["address"] = link.mac
        if "link" in wanted:
            wanted["vxlan_link"] = _index(netlink, wanted.pop("link"))
        if link.peer:
            device, endpoint = link.peer
            wanted["peer"] = {"ifname": device, "mtu": link.mtu, "net_ns_pid": pids[endpoint]}
        change(netlink, "link", "add", **wanted)


def _start_links(netlink: Any, plan: NamespacePlan) -> dict[str, int]:
    indexes = {link.name: _index(netlink, link.name) for link in plan.links}
    indexes["lo"] = _index(netlink, "lo")
    change(netlink, "link", "set", index=indexes["lo"], state="up")
    for link in plan.links:
        change(netlink, "link", "set", index=indexes[link.name], state="up", **_settings(link, indexes))
        if link.hairpin:
            change(netlink, "brport", "set", index=indexes[link.name], mode=1)
    return indexes


def _settings(link: Link, indexes: dict[str, int]) -> dict[str, Any]:
    settings: dict[str, Any] = {"mtu": link.mtu}
    if link.kind == "peer" and link.mac:
        settings["address"] = link.mac
    if link.bridge:
        settings["master"] = indexes[link.bridge]
    return settings


def _add_addresses_and_routes(netlink: Any, plan: NamespacePlan, indexes: dict[str, int]) -> None:
    for address in plan.addresses:
        flags = IFA_F_NODAD if address.interface.version == 6 else 0
        flags |= 0 if address.prefix_route else IFA_F_NOPREFIXROUTE
        change(
            netlink,
            "addr",
            "add",
            index=indexes[address.device],
            address=str(address.interface.ip),
            prefixlen=address.interface.network.prefixlen,
            flags=flags,
        )
    for route in plan.routes:
        wanted: dict[str, Any] = {"dst": str(route.destination), "oif": indexes[route.device], "table": route.table}
        wanted["family"] = AF_INET if route.destination.version == 4 else AF_INET6
        if route.gateway:
            wanted |= {"gateway": str(route.gateway), "flags": ["onlink"] if route.onlink else []}
        elif route.destination.version == 4:
            wanted["scope"] = "link"
        change(netlink, "route", "add", **wanted)
    for rule in plan.rules:
        for side, network in (("src", rule.source), ("dst", rule.destination)):
            if network:
                wanted = {"family": AF_INET if network.version == 4 else AF_INET6, side: str(network)}
                change(netlink, "rule", "add", priority=rule.priority, table=rule.table, **wanted)


def _add_neighbours(netlink: Any, plan: NamespacePlan, indexes: dict[str, int]) -> None:
    for neighbour in plan.neighbours:
        wanted: dict[str, Any] = {"dst": str(neighbour.address), "ifindex": indexes[neighbour.device]}
        if neighbour.mac:
            change(netlink, "neigh", "add", lladdr=neighbour.mac, state="permanent", **wanted)
        else:
            change(netlink, "neigh", "add", flags=NTF_PROXY, **wanted)
    for forward in plan.forwards:
        change(
            netlink, "fdb", "append", ifindex=indexes[forward.device], lladdr=forward.mac, dst=str(forward.destination)
        )


def _run_programs(plan: NamespacePlan) -> None:
    if plan.iptables:
        run_program(["iptables-restore", "--noflush"], plan.iptables)
    if plan.nft:
        run_program(["nft", "-f", "-"], plan.nft)
    if plan.tc:
        run_program(["tc", "-batch", "-"], "\n".join(plan.tc) + "\n")
    for device, features in plan.offloads.items():
        words = [word for feature, on in features.items() for word in (feature, "on" if on else "off")]
        run_program(["ethtool", "-K", device, *words])


def _index(netlink: Any, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise LabError(f"The device {name} is missing.")
    return int(found[0])
