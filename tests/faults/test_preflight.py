# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is said in one sentence before anything is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.scene import Scene

SERVER, CLIENT = "faults-shared-flannel-server-1", "faults-shared-native-client"
REAL_BIN = "/run/bin"  # an endpoint has a /run of its own
WITHOUT_IPERF3 = f"""
    mkdir {REAL_BIN}
    mount --bind /usr/bin {REAL_BIN}
    mount -t tmpfs none /usr/bin
    {REAL_BIN}/ln -s {REAL_BIN}/* /usr/bin/
    {REAL_BIN}/rm /usr/bin/iperf3
"""
IPERF3_AGAIN = f"""
    {REAL_BIN}/umount --lazy /usr/bin
    umount --lazy {REAL_BIN}
    rmdir {REAL_BIN}
"""


@pytest.fixture
def run(request: pytest.FixtureRequest) -> str:
    """The name of a run directory of the test's own."""
    return "faults-" + request.node.name.removeprefix("test_").replace("_", "-")


def test_iperf3_is_missing(shared_lab: Scene, run: str) -> None:
    with inside(shared_lab, "flannel-server-1", WITHOUT_IPERF3, IPERF3_AGAIN):
        assert shared_lab.refusal(run) == f"endpoint {SERVER} has no iperf3; install it there"


def test_iperf3_does_not_work(shared_lab: Scene, run: str) -> None:
    with iperf3_replaced(shared_lab, "native-client", "echo libiperf.so.0: cannot open shared object file >&2; exit 3"):
        assert shared_lab.refusal(run) == (
            f"endpoint {CLIENT} has no working iperf3 (libiperf.so.0: cannot open shared object file); install it there"
        )


def test_iperf3_of_two_versions(shared_lab: Scene, run: str) -> None:
    other = shared_lab.inside("native-server-1", "iperf3 --version").split()[1]
    with iperf3_replaced(shared_lab, "native-client", "echo iperf 3.9"):
        assert shared_lab.refusal(run) == (
            f"the two ends of a trial have different versions of iperf3 ({CLIENT} has 3.9, "
            f"faults-shared-native-server-1 has {other}); install the same on both, or set allow_version_mismatch: true"
        )


def test_iperf3_is_too_old(shared_lab: Scene, run: str) -> None:
    with iperf3_replaced(shared_lab, "native-client", "echo iperf 3.0.11"):
        assert shared_lab.refusal(run) == f"iperf3 of endpoint {CLIENT} is 3.0.11; it must be 3.1 or newer"


def test_port_is_taken(shared_lab: Scene, run: str) -> None:
    with listener(shared_lab, "flannel-server-1"):
        assert shared_lab.refusal(run) == (
            f"port 5201 of endpoint {SERVER} is taken by another program; stop it, every trial starts its own iperf3 "
            "server there"
        )


def test_path_swallows_large_packets(shared_lab: Scene, run: str) -> None:
    """Something on the way drops what is larger than 1400 bytes, and says nothing."""
    with fabric_drops(shared_lab, "meta length > 1400"):
        assert shared_lab.refusal(run) == (
            f"{first_path(shared_lab)}: small packets get through and large ones do not; lower the MTU of the "
            "interfaces to that of the path, or let ICMP 'fragmentation needed' through"
        )


def test_path_is_cut(shared_lab: Scene, run: str) -> None:
    with fabric_drops(shared_lab, "ip protocol { tcp, udp }"):
        assert shared_lab.refusal(run) == (
            f"{first_path(shared_lab)}: nothing gets through within 5 s; look for a missing route or a firewall"
        )


@pytest.mark.parametrize("group", ["no_such_group", "empty_group"])
def test_group_without_endpoints(shared_lab: Scene, run: str, group: str) -> None:
    (shared_lab.directory / "empty.yml").write_text("all: {children: {empty_group: {}}}\n", encoding="utf-8")
    assert shared_lab.refusal(run, measurement_endpoints=group, inventory="empty.yml") == (
        f"endpoints is '{group}', but the inventory has no such group or it is empty; provision the clusters first, or "
        "name another group"
    )


def test_results_dir_is_below_a_file(shared_lab: Scene, run: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    results = tmp_path / "file" / "results"
    assert shared_lab.refusal(run, measurement_results_dir=str(results)) == (
        f"the run directory {results / run} cannot be written (Not a directory); choose another, or mend that"
    )


def test_results_dir_is_read_only(shared_lab: Scene, run: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], check=True)
    try:
        complaint = shared_lab.refusal(run, measurement_results_dir=str(tmp_path))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert complaint == (
        f"the run directory {tmp_path / run} cannot be written (Read-only file system); choose another, or mend that"
    )


def test_nothing_to_resume(shared_lab: Scene, tmp_path: Path) -> None:
    assert shared_lab.refusal("", resume=True, measurement_results_dir=str(tmp_path)) == (
        f"resume is set, but there is no earlier run in {tmp_path}; name one with run_id"
    )


def first_path(lab: Scene) -> str:
    """The path that is checked first, as users read of it."""
    return f"path pod_to_pod of cluster native ({CLIENT} → {lab.endpoint('native-server-1')['address']}:5201)"


@contextmanager
def inside(lab: Scene, endpoint: str, script: str, undo: str) -> Iterator[None]:
    lab.inside(endpoint, script)
    try:
        yield
    finally:
        lab.inside(endpoint, undo)


@contextmanager
def iperf3_replaced(lab: Scene, endpoint: str, script: str) -> Iterator[None]:
    """The endpoint's iperf3 is a shell script."""
    put = f"echo '#!/bin/sh\n{script}' > /run/iperf3; chmod +x /run/iperf3; mount --bind /run/iperf3 $(which iperf3)"
    with inside(lab, endpoint, put, "umount $(which iperf3)"):
        yield


@contextmanager
def fabric_drops(lab: Scene, match: str) -> Iterator[None]:
    """The fabric's switch drops frames that match."""
    chain = "add chain bridge fault forward { type filter hook forward priority 0; }"
    rules = f"add table bridge fault; {chain}; add rule bridge fault forward {match} drop"
    with inside(lab, "fabric", f"nft '{rules}'", "nft delete table bridge fault"):
        yield


@contextmanager
def listener(lab: Scene, endpoint: str) -> Iterator[None]:
    """Another program on iperf3's port."""
    enter = ["nsenter", "-t", str(lab.endpoint(endpoint)["pid"]), "-n"]
    program = "import socket; s = socket.create_server(('', 5201)); print(flush=True); s.accept()"
    with subprocess.Popen([*enter, sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline()
            yield
        finally:
            process.kill()
