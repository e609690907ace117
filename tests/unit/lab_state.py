# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of one throwaway process, with a state file as the lab module writes it, for tests of what reads that file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import SCHEMA, process_start

ROOT = Path(__file__).resolve().parents[2]
HOST = "native-w0"
# Entering a lab without a user namespace of its own takes root.
MODES = ("user_namespace", "root") if os.geteuid() == 0 else ("user_namespace",)

connection_loader.add_directory(str(ROOT / "plugins" / "connection"))


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Whether the condition comes true in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def pause(user_namespace: bool) -> Iterator[int]:
    """The id of an idle process with network, mount and UTS namespaces of its own."""
    flags = ["--user", "--map-root-user"] if user_namespace else []
    with subprocess.Popen(["unshare", *flags, "-m", "-n", "-u", "sleep", "600"]) as process:
        try:
            name = Path(f"/proc/{process.pid}/comm")
            assert eventually(lambda: name.read_text() == "sleep\n")
            yield process.pid
        finally:
            process.kill()


def write_state(state_dir: Path, pid: int, *, user_namespace: bool, lab: str = "lab", **changes: Any) -> dict[str, Any]:
    """Write lab.json for a node, a test VM and a load balancer that are one and the same process."""
    node = {
        "pid": pid,
        "role": "node",
        "cluster": "native",
        "node": HOST,
        "machine": "here",
        "address": "10.0.10.2",
        "address6": "fd00::2",
        "source_addresses": [],
        "cpus": [0],
        "netns": f"/proc/{pid}/ns/net",
    }
    external = {**node, "role": "external", "cluster": None, "node": "test-vm", "address6": None, "cpus": []}
    balancer = {"pid": pid, "role": "load_balancer", "cluster": "native", "address": "10.0.20.2"}
    state = {
        "schema": SCHEMA,
        "name": lab,
        "user_namespace": user_namespace,
        "holder_pid": pid,
        "holder_start": process_start(pid),
        "endpoints": {HOST: node, "test-vm": external, "nlb-native": balancer},
        "clusters": {"native": {"cni": "vcn-native", "datapath": "routed"}},
        "settings": {"qdisc": "tbf"},
        "cpu_binding": {"possible": True, "why": ""},
        **changes,
    }
    (state_dir / lab).mkdir(exist_ok=True)
    (state_dir / lab / "lab.json").write_text(json.dumps(state), encoding="utf-8")
    return state


def connection(state_dir: Path, endpoint: str = HOST, **variables: Any) -> Any:
    """An unconnected connection object to an endpoint."""
    made = connection_loader.get("lab", PlayContext(), new_stdin=None)
    options = {"netbench_lab_state_dir": str(state_dir), "inventory_hostname": endpoint, **variables}
    made.set_options(var_options=options)
    return made


@contextmanager
def marker() -> Iterator[str]:
    """A word for command lines by which processes are found again; their process groups end with it."""
    word = f"marker-{uuid.uuid4()}"
    try:
        yield word
    finally:
        for pid in processes_with(word):
            with suppress(ProcessLookupError):
                group = os.getpgid(pid)
                if group != os.getpgrp():
                    os.killpg(group, signal.SIGKILL)


def processes_with(word: str) -> list[int]:
    """The ids of all processes whose command line contains the word, this one's own excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found
