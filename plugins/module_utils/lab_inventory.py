# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab's state file says of its endpoints, as an inventory understands it.

The state file is `<state_dir>/<lab>/lab.json`, schema `netbench.cni/lab/v1`. The lab module writes it; the connection
plugin, the inventory plugin and the lab module's return value read it through the functions below.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

SCHEMA = "netbench.cni/lab/v1"
ENDPOINT_ROLES = ("client", "server", "node", "external")


class LabStateError(Exception):
    """The state file cannot be used; one sentence says why and what to do."""


def default_state_dir() -> str:
    """Return where this user's labs keep their state: root's does not depend on a login session."""
    if os.geteuid() == 0:
        return "/run/netbench"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/netbench" if runtime else f"/tmp/netbench-{os.geteuid()}"


def read_state(state_dir: str | None, lab: str) -> dict[str, Any] | None:
    """Return the state of a lab, None when there is no such lab.

    Raises LabStateError when the file is damaged, of another schema or not this user's: whoever writes it decides
    which processes' namespaces are entered.
    """
    path = Path(state_dir or default_state_dir()) / lab / "lab.json"
    try:
        with path.open(encoding="utf-8") as file:
            owner = os.fstat(file.fileno()).st_uid
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise LabStateError(f"The lab's state file {path} cannot be read: {exc}.") from exc
    if owner not in (0, os.geteuid()):
        raise LabStateError(f"The lab's state file {path} belongs to uid {owner}: run as the user who made the lab.")
    try:
        state = json.loads(text)
    except ValueError as exc:
        raise LabStateError(
            f"The lab's state file {path} is not JSON ({exc}): tear the lab down, then up again."
        ) from exc
    found = state.get("schema") if isinstance(state, dict) else None
    if not isinstance(state, dict) or found != SCHEMA or not isinstance(state.get("endpoints"), dict):
        raise LabStateError(
            f"The lab's state file {path} has schema {found!r}, not {SCHEMA!r}: tear the lab down, then up again."
        )
    return state


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, start: int | None) -> bool:
    """Tell whether the process still is the recorded one (`start` None: whether there is one at all)."""
    now = process_start(pid)
    return now is not None and start in (None, now)


def is_up(state: dict[str, Any]) -> bool:
    """Tell whether the process that holds the lab together is the recorded one."""
    return is_alive(state["holder_pid"], state.get("holder_start"))


def host_vars(state: dict[str, Any], state_dir: str | None = None) -> dict[str, dict[str, Any]]:
    """Return inventory host → variables: how to reach it and, for an endpoint, what the engine wants to know of it.

    Load balancers and the fabric can be reached as well, but are no endpoints and have no `netbench_role`.
    """
    return {host: _variables(state, endpoint, state_dir) for host, endpoint in state["endpoints"].items()}


def _variables(state: dict[str, Any], endpoint: dict[str, Any], state_dir: str | None) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "ansible_connection": "netbench.cni.lab",
        "ansible_python_interpreter": sys.executable,
        "netbench_lab": state["name"],
    }
    if state_dir is not None:
        variables["netbench_lab_state_dir"] = state_dir
    if endpoint.get("role") not in ENDPOINT_ROLES:
        return variables
    for key in ("role", "cluster", "node", "machine", "address", "address6", "source_addresses", "cpus", "netns"):
        value = endpoint.get(key)
        if value is not None:
            variables[f"netbench_{key}"] = value
    variables.setdefault("netbench_cpus", [])
    return variables


def groups(state: dict[str, Any]) -> dict[str, list[str]]:
    """Return group → hosts: all of the lab, endpoints, nodes, external ones, and a group for each cluster."""
    result: dict[str, list[str]] = {
        "netbench_lab_hosts": sorted(state["endpoints"]),
        "netbench_endpoints": [],
        "netbench_nodes": [],
        "netbench_external": [],
    }
    for host, endpoint in sorted(state["endpoints"].items()):
        role, cluster = endpoint.get("role"), endpoint.get("cluster")
        if role not in ENDPOINT_ROLES:
            continue
        result["netbench_endpoints"].append(host)
        if role == "node":
            result["netbench_nodes"].append(host)
        if role == "external":
            result["netbench_external"].append(host)
        elif cluster:
            result.setdefault(group_name(cluster), []).append(host)
    return result


def common_vars(state: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of all hosts: what there is to measure and under which conditions.

    The role `lab` sets the same as facts, for plays whose inventory was read before the lab was made.
    """
    return {
        "netbench_provider": "lab",
        "netbench_shared_machine": True,
        "netbench_clusters": state["clusters"],
        "netbench_conditions": {
            **state["settings"],
            "cpu_binding": state["cpu_binding"],
            "line_rate_calibration": state.get("calibration") or {},
        },
    }


def group_name(cluster: str) -> str:
    """Return a cluster's name as a valid group name."""
    name = re.sub(r"\W", "_", cluster, flags=re.ASCII)
    return f"_{name}" if name[0].isdigit() else name
