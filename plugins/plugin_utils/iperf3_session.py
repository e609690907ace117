# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs iperf3 between endpoints: servers that listen before the client starts, and nothing left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ansible_collections.netbench.cni.plugins.plugin_utils.endpoints import TARGET_PORT
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import (
    Completed,
    DeadlineExceeded,
    Executor,
    ExecutorError,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import Endpoint, NetbenchError

_LISTEN_SECONDS = 10.0
_STEP_SECONDS = 10.0
_GRACE_SECONDS = 15.0
# A server ends as soon as its one test did; what it prints then arrives within this time or never.
_SERVER_END_SECONDS = 3.0
_STAMPED = (
    's=$(date +%s.%N); "$@"; rc=$?; e=$(date +%s.%N); printf "@netbench %s %s %s\\n" "$s" "$e" "$rc" >&2; exit $rc'
)
_STAMP = re.compile(r"^@netbench (\S+) (\S+) (\d+)$", re.MULTILINE)


class Broken(NetbenchError):
    """A trial that broke in a way that another attempt may mend: a busy server, a dropped connection."""


@dataclass(frozen=True)
class ClientRun:
    """What the client printed, with its start and end on the client machine's own clock (realtime seconds)."""

    stdout: str
    stderr: str
    rc: int
    started: float
    ended: float


def listening_test(port: int) -> str:
    """A shell condition that holds when somebody listens on the TCP port of this network namespace.

    It reads the kernel's table (state 0A is TCP_LISTEN, include/net/tcp_states.h): a test connection would be taken for
    the one client that `iperf3 -1` serves.
    """
    return f"grep -qs ':{port:04X} [0-9A-F]*:0000 0A ' /proc/net/tcp /proc/net/tcp6"


class Servers:
    """iperf3 servers on all given endpoints for the length of a `with` block; each serves one test.

    Entering waits until all of them listen. Raises Broken when one does not.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        executors: Mapping[str, Executor],
        pool: ThreadPoolExecutor,
        *,
        argv: Callable[[Endpoint], Sequence[str]],
        seconds: float,
        port: int = TARGET_PORT,
    ) -> None:
        self._endpoints = endpoints
        self._executors = executors
        self._pool = pool
        self._argv = argv
        self._deadline = seconds + _LISTEN_SECONDS + _GRACE_SECONDS
        self._port = port
        self._running: dict[str, Future[Completed]] = {}

    def __enter__(self) -> Self:
        for endpoint in self._endpoints:
            self._running[endpoint.name] = self._pool.submit(
                self._executors[endpoint.name].run, self._argv(endpoint), deadline_seconds=self._deadline
            )
        try:
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_until_listening(self) -> None:
        servers = {future: name for name, future in self._running.items()}
        waiting = {self._pool.submit(self._listens, name): name for name in self._running}
        while waiting:
            either: list[Future[Any]] = [*waiting, *servers]
            for future in wait(either, return_when=FIRST_COMPLETED).done:
                if future in servers:
                    if isinstance(future.exception(), ExecutorError):
                        raise Broken(str(future.exception()))
                    raise Broken(f"iperf3 server on {servers[future]} ended before its test: {_said(future)}")
                name = waiting.pop(future)
                if not future.result():
                    raise Broken(f"iperf3 server on {name} does not listen on port {self._port}")

    def _listens(self, name: str) -> bool:
        """Waits on the endpoint itself, a second at a time so that a wait given up ends soon."""
        script = f"i=0; until {listening_test(self._port)}; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.005; done"
        deadline = time.monotonic() + _LISTEN_SECONDS
        while time.monotonic() < deadline and not self._running[name].done():
            if self._executors[name].run(["sh", "-c", script], deadline_seconds=_STEP_SECONDS).rc == 0:
                return True
        return False

    def finished(self) -> dict[str, Completed]:
        """What the servers that served a test printed; call it after the client ended.

        Raises Broken when no server ended within a few seconds of the client.
        """
        done, _rest = wait(self._running.values(), timeout=_SERVER_END_SECONDS, return_when=FIRST_COMPLETED)
        if not done:
            raise Broken(f"no iperf3 server ended with its client ({', '.join(self._running)})")
        return {name: future.result() for name, future in self._running.items() if future in done}

    def _stop(self) -> None:
        left = [name for name, future in self._running.items() if not future.done()]
        kills = [self._pool.submit(stop_server, self._executors[name], self._port) for name in left]
        ending: list[Future[Any]] = [*kills, *self._running.values()]
        wait(ending, timeout=_STEP_SECONDS)


def stop_server(executor: Executor, port: int = TARGET_PORT) -> None:
    """Ends the server that an earlier run of ours may have left on this endpoint; none is fine."""
    # Namespaces may share a file system and process ids, so neither a pidfile nor a name tells whose server it is.
    script = f"""
here=$(readlink /proc/self/ns/net)
for comm in $(grep -lx iperf3 /proc/[0-9]*/comm 2>/dev/null); do
    process=${{comm%/comm}}
    [ "$(readlink "$process/ns/net")" = "$here" ] || continue
    case "$(tr '\\0' ' ' < "$process/cmdline")" in
        *" --server "*"--port {port} --json "*) kill "${{process#/proc/}}" 2>/dev/null ;;
    esac
done
exit 0
"""
    executor.run(["sh", "-c", script], deadline_seconds=_STEP_SECONDS)


def run_client(
    executor: Executor, argv: Sequence[str], *, seconds: float, grace_seconds: float = _GRACE_SECONDS
) -> ClientRun:
    """Runs an iperf3 client that sends for `seconds`, stamped with its own machine's clock; it is killed when it takes
    `grace_seconds` more.

    Raises Broken when the connection to the endpoint breaks or the deadline passes.
    """
    try:
        done = executor.run(["sh", "-c", _STAMPED, "netbench", *argv], deadline_seconds=seconds + grace_seconds)
    except DeadlineExceeded as exc:
        limit = seconds + grace_seconds
        raise Broken(
            f"iperf3 client on {executor.host} stalled: its test of {seconds:g} s did not end within {limit:g} s"
        ) from exc
    except ExecutorError as exc:
        raise Broken(str(exc)) from exc
    stamp = _STAMP.search(done.stderr)
    if stamp is None:
        raise Broken(f"iperf3 client on {executor.host} was cut off: {done.stderr.strip() or f'exit code {done.rc}'}")
    stderr = _STAMP.sub("", done.stderr).strip()
    return ClientRun(done.stdout, stderr, done.rc, float(stamp[1]), float(stamp[2]))


def _said(future: Future[Completed]) -> str:
    error = future.exception()
    if error is not None:
        return str(error)
    ended = future.result()
    told = re.search(r'"error":\s*"([^"]*)"', ended.stdout)
    return told[1] if told else ended.stderr.strip() or f"exit code {ended.rc}"
