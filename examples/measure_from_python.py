#!/usr/bin/env python3
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the site playbook with ansible-runner, follows it by events and prints what the facts say.

python examples/measure_from_python.py --work-dir /var/lib/netbench --matrix '{"blocks": 2}'
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ansible_runner


def follow(event: dict[str, Any]) -> bool:
    """Prints a line when a task ends; returning True keeps the event in ansible-runner's artifacts."""
    data = event.get("event_data", {})
    if event["event"] in ("runner_on_ok", "runner_on_failed"):
        print(f"{event['event'][10:]:>7}  {data['duration']:7.1f} s  {data['task']}", flush=True)
    if event["event"] == "runner_on_failed":
        print(f"         {data['res'].get('msg', '')}", flush=True)
    return True


def measure(work_dir: Path, inventory: str, variables: dict[str, Any], collections: str | None) -> dict[str, Any]:
    """Runs netbench.cni.site and returns the facts that it left; raises RuntimeError when the play failed.

    They come with the event of the task that set them. ansible-runner's `get_fact_cache` would do up to ansible-core
    2.18; it does not know the format of later fact caches.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {}

    def take_facts(event: dict[str, Any]) -> bool:
        facts.update((event.get("event_data", {}).get("res") or {}).get("ansible_facts", {}))
        return follow(event)

    run = ansible_runner.run(
        private_data_dir=str(work_dir),
        playbook="netbench.cni.site",
        inventory=inventory,
        extravars={"netbench_results_dir": str(work_dir / "results"), **variables},
        envvars={"ANSIBLE_COLLECTIONS_PATH": collections} if collections else None,
        event_handler=take_facts,
        quiet=True,
    )
    if run.rc:
        raise RuntimeError(f"the play ended with status {run.status} (code {run.rc})")
    found: dict[str, Any] = facts["netbench"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="ansible-runner's private data directory")
    parser.add_argument("--inventory", default="localhost,", help="inventory file, directory or host list")
    parser.add_argument("--collections", help="where the collection is installed, if not in a default place")
    parser.add_argument("--matrix", type=json.loads, default={}, help="keys of the matrix to replace, as JSON")
    parser.add_argument("--extra", type=json.loads, default={}, help="further variables, as JSON")
    args = parser.parse_args()
    variables = {"measurement_matrix": args.matrix, **args.extra}
    facts = measure(args.work_dir.resolve(), args.inventory, variables, args.collections)
    for verdict in facts["verdicts"]:
        print(f"- {verdict}")
    print(f"report: {facts['directory']}/report.html")


if __name__ == "__main__":
    main()
