# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.module_utils import flow_probe

# As the engine runs it: from its text, for nothing is to be left on the endpoint.
PROGRAM = [sys.executable, "-c", Path(flow_probe.__file__ or "").read_text()]


def probe(*options: str) -> dict[str, Any]:
    done = subprocess.run([*PROGRAM, *options], capture_output=True, text=True, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Listener:
    """Accepts connections on loopback and notes where they come from."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._socket.getsockname()[1]
        self.peers: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, (host, _port) = self._socket.accept()
            received = connection.recv(1)
            connection.close()
            if received:
                return
            self.peers[host] += 1

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"x")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_every_flow_is_opened_from_the_addresses_in_turn(listener: Listener) -> None:
    sources = ["--source", "127.0.0.1", "--source", "127.0.0.2", "--source", "127.0.0.3"]
    answer = probe("--connect", f"127.0.0.1:{listener.port}", "--flows", "240", *sources)
    assert answer == {"opened": 240, "failed": 0, "reasons": {}}
    deadline = time.monotonic() + 5
    while listener.peers.total() < 240 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.peers == {"127.0.0.1": 80, "127.0.0.2": 80, "127.0.0.3": 80}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_flows_that_are_refused_are_counted_with_the_reason() -> None:
    answer = probe("--connect", f"127.0.0.1:{free_port()}", "--flows", "5")
    assert answer == {"opened": 0, "failed": 5, "reasons": {"Connection refused": 5}}


def test_a_source_address_that_is_not_ours_is_counted_with_the_reason(listener: Listener) -> None:
    target = f"127.0.0.1:{listener.port}"
    answer = probe("--connect", target, "--flows", "4", "--source", "127.0.0.1", "--source", "192.0.2.1")
    assert (answer["opened"], answer["failed"]) == (2, 2)
    assert answer["reasons"] == {"Cannot assign requested address": 2}


@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.1:http", ":5201"])
def test_a_target_without_host_or_port_is_refused(target: str) -> None:
    done = subprocess.run([*PROGRAM, "--connect", target, "--flows", "1"], capture_output=True, check=False, timeout=30)
    assert done.returncode == 2
    assert b"HOST:PORT" in done.stderr


def test_iperf3_survives_being_probed() -> None:
    port = str(free_port())
    server = subprocess.Popen(["iperf3", "-s", "-B", "127.0.0.1", "-p", port], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not listens(port) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert probe("--connect", f"127.0.0.1:{port}", "--flows", "240") == {"opened": 240, "failed": 0, "reasons": {}}
        client = ["iperf3", "-c", "127.0.0.1", "-p", port, "-n", "1M"]
        served = 1
        while served and time.monotonic() < deadline:  # it still has to refuse all that left
            served = subprocess.run(client, capture_output=True, check=False, timeout=30).returncode
        assert served == 0
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def listens(port: str) -> bool:
    """Whether the port is in the kernel's table of listening sockets: asking it by a connection would use it up."""
    address = f"0100007F:{int(port):04X}"
    return any(line.split()[1:4:2] == [address, "0A"] for line in Path("/proc/net/tcp").read_text().splitlines())
