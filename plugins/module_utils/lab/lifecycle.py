# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab from nothing to torn down: compare with what is there, build, verify, remove."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.calibration import HIGHEST, calibrate
from ansible_collections.netbench.cni.plugins.module_utils.lab.description import (
    describe_cluster,
    describe_endpoints,
    read_settings,
)
from ansible_collections.netbench.cni.plugins.module_utils.lab.devices import SEARCH_PATH, apply_plan, run_program
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.fabric import EXTERNAL_RATE, hosts_file, plan_lab
from ansible_collections.netbench.cni.plugins.module_utils.lab.fingerprint import digests
from ansible_collections.netbench.cni.plugins.module_utils.lab.namespaces import (
    call_inside,
    find_processes,
    kill_lab,
    label,
    needs_user_namespace,
    start_holder,
)
from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import NamespacePlan
from ansible_collections.netbench.cni.plugins.module_utils.lab.shaping import line_devices, rate_command
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import LabSpec
from ansible_collections.netbench.cni.plugins.module_utils.lab.state import StateDir
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import Layout, lay_out
from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import (
    SCHEMA,
    LabStateError,
    is_alive,
    process_start,
    read_state,
)

PROGRAMS = {
    "tc": "iproute2",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "nft": "nftables",
    "ethtool": "ethtool",
    "iperf3": "iperf3",
}


@dataclass
class Outcome:
    """What happened to a lab: `state` is lab.json's content, None if there is no lab now; `damage` what was broken."""

    changed: bool
    state: dict[str, Any] | None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def check_programs() -> None:
    """Raise LabError naming the programs that are missing."""
    absent_ones = [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]
    missing = [f"{name} (package {PROGRAMS[name]})" for name in absent_ones]
    if missing:
        raise LabError(f"The lab needs programs that are missing on this machine; install {', '.join(missing)}.")


def present(spec: LabSpec, state_dir: StateDir, check_mode: bool) -> Outcome:
    """Make the lab what `spec` says; with `check_mode` only say what would be done. Raises LabError."""
    check_programs()
    user_namespace = needs_user_namespace()
    cpus = machine_cpus()
    layout = lay_out(spec, cpus if spec.bind_cpus and not user_namespace else ())
    if check_mode:
        return _compare(spec, state_dir)
    with state_dir.locked():
        outcome = _compare(spec, state_dir)
        if outcome.changed:
            keep = None
            if outcome.state and outcome.state.get("spec") == spec.as_dict():
                keep = outcome.state.get("calibration")
            destroy(state_dir)
            try:
                outcome.state = build(layout, state_dir, user_namespace, cpus, keep)
            except BaseException:
                destroy(state_dir)
                raise
    return outcome


def absent(state_dir: StateDir, check_mode: bool) -> Outcome:
    """Remove the lab, or what is left of one. Raises LabError."""
    anything = state_dir.path.exists() or bool(find_processes(state_dir.lab, str(state_dir.root)))
    before = {"state": "present"} if anything else {"state": "absent"}
    if anything and not check_mode:
        with state_dir.locked():
            destroy(state_dir)
    return Outcome(anything, None, before, {"state": "absent"})


def destroy(state_dir: StateDir) -> None:
    """End every process of the lab and remove its files; the lock must be held."""
    state = load(state_dir)
    endpoints = state["endpoints"].values() if state else []
    recorded = {endpoint["netns_inode"] for endpoint in endpoints if "netns_inode" in endpoint}
    kill_lab(state_dir.lab, str(state_dir.root), recorded)
    state_dir.remove()


def machine_cpus() -> tuple[int, ...]:
    """The CPUs this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def load(state_dir: StateDir) -> dict[str, Any] | None:
    """lab.json's content, or None where there is none or an unusable one (which a build replaces)."""
    try:
        return read_state(str(state_dir.root), state_dir.lab)
    except LabStateError:
        return None


def _compare(spec: LabSpec, state_dir: StateDir) -> Outcome:
    wanted = {"state": "present", "damage": [], **spec.as_dict()}
    state = load(state_dir)
    if state is None:
        return Outcome(True, None, {"state": "absent"}, wanted)
    try:
        damage = find_damage(state)
        before = {"state": "present", "damage": damage, **state["spec"]}
    except (KeyError, TypeError):
        damage = ["lab.json was written by another version"]
        before = {"state": "present", "damage": damage}
    return Outcome(before != wanted, state, before, wanted, damage)


def find_damage(state: dict[str, Any]) -> list[str]:
    """What is not as the builder left it: dead processes, else namespaces whose contents changed."""
    processes = {"holder": (state["holder_pid"], state["holder_start"])}
    processes |= {name: (endpoint["pid"], endpoint["start"]) for name, endpoint in state["endpoints"].items()}
    damage = [f"{name}: its process is gone" for name, (pid, start) in processes.items() if not is_alive(pid, start)]
    if damage:
        return damage
    for name, endpoint in state["endpoints"].items():
        now = call_inside(endpoint["pid"], digests, endpoint["has_firewall"])
        damage += [f"{name}: {section} changed" for section in now if now[section] != endpoint["digests"][section]]
    return damage


def build(
    layout: Layout,
    state_dir: StateDir,
    user_namespace: bool,
    cpus: tuple[int, ...],
    calibration: dict[str, Any] | None,
) -> dict[str, Any]:
    """Make all of the lab and write lab.json, its content being the result; the lock must be held."""
    spec = layout.spec
    state_dir.write_hosts(hosts_file(layout))
    endpoints: dict[str, str | None] = dict.fromkeys(layout.names())
    endpoints[layout.external.name] = str(state_dir.hosts)
    pids = start_holder(spec.name, str(state_dir.root), endpoints, user_namespace)
    calibrated = (calibration or {}).get("line_rate_bits_per_second")
    line_rate = spec.line_rate_bits_per_second or calibrated or HIGHEST
    plans = plan_lab(layout, line_rate)
    alias = label(spec.name, str(state_dir.root))
    notes: dict[str, str] = {}
    for plan in plans:
        notes |= call_inside(pids[plan.endpoint], apply_plan, plan, pids, alias)
    if not spec.line_rate_bits_per_second and not calibration:
        calibration = calibrate(layout, pids, cpus)
        line_rate = calibration["line_rate_bits_per_second"]
        _set_line_rate(layout, pids, line_rate)
    if notes.get("cpu_binding"):
        layout = _without_cpus(layout)
    state = _describe(layout, pids, user_namespace, line_rate, notes)
    state["calibration"] = calibration
    _add_fingerprints(state, plans)
    state_dir.save(state)
    return state


def _set_line_rate(layout: Layout, pids: dict[str, int], line_rate: int) -> None:
    rates = {layout.external.name: EXTERNAL_RATE * line_rate}
    for cluster in layout.clusters:
        rates |= {worker.name: cluster.spec.line_rate(line_rate) for worker in cluster.workers}
    spec = layout.spec
    for name, rate in rates.items():
        devices = dict.fromkeys(line_devices(spec.line_rate_shared))
        lines = [rate_command(device, rate, spec.burst_bytes, spec.queue_seconds) for device in devices]
        call_inside(pids[name], run_program, ["tc", "-batch", "-"], "\n".join(lines) + "\n")


def _without_cpus(layout: Layout) -> Layout:
    clusters = tuple(
        replace(cluster, workers=tuple(replace(worker, cpus=()) for worker in cluster.workers))
        for cluster in layout.clusters
    )
    return replace(layout, clusters=clusters)


def _describe(
    layout: Layout, pids: dict[str, int], user_namespace: bool, line_rate: int, notes: dict[str, str]
) -> dict[str, Any]:
    spec = layout.spec
    settings = read_settings(layout, pids)
    settings["congestion_control_note"] = notes.get("congestion_control")
    why = notes.get("cpu_binding", "")
    if not spec.bind_cpus:
        why = "it was switched off (bind_cpus)"
    elif user_namespace:
        why = "only real root may steer packet processing to CPUs (rps_cpus)"
    return {
        "schema": SCHEMA,
        "name": spec.name,
        "spec": spec.as_dict(),
        "user_namespace": user_namespace,
        "holder_pid": pids[""],
        "holder_start": process_start(pids[""]),
        "shared_machine": True,
        "line_rate_bits_per_second": line_rate,
        "settings": settings,
        "cpu_binding": {"possible": not why, "why": why},
        "endpoints": describe_endpoints(layout, pids),
        "clusters": {
            cluster.spec.name: describe_cluster(cluster, line_rate, spec.line_rate_shared, settings)
            for cluster in layout.clusters
        },
    }


def _add_fingerprints(state: dict[str, Any], plans: list[NamespacePlan]) -> None:
    for plan in plans:
        endpoint = state["endpoints"][plan.endpoint]
        endpoint["start"] = process_start(endpoint["pid"])
        endpoint["has_firewall"] = bool(plan.iptables or plan.nft)
        endpoint["digests"] = call_inside(endpoint["pid"], digests, endpoint["has_firewall"])
