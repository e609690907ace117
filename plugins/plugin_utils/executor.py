# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on other hosts, through the connection plugin that the inventory gives each of them.

The only file of the core that touches Ansible. How a connection is made follows what ansible-core 2.19's TaskExecutor
does for a task; that is private API, so it stays here, under tests.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import signal
import threading
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ansible import constants
from ansible.errors import AnsibleError, AnsibleValueOmittedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import become_loader, connection_loader

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# mypy: disallow-untyped-calls=False
# (ansible-core has no type information for most of what is called here)

# How much longer than a command's own limit we wait: to connect (ssh gives up after 10 s), and for `timeout -k 1`.
GRACE_SECONDS = 15.0
COPY_SECONDS = 60.0
TIMED_OUT, KILLED, NOT_FOUND = 124, 137, 127

_loading = threading.Lock()  # Ansible's plugin loaders and configuration are not made for threads
T = TypeVar("T")


class ExecutorError(NetbenchError):
    """A command could not be brought to its end: the host cannot be reached or the connection broke."""


class DeadlineExceeded(ExecutorError):
    """A command did not end in the time it was given, and was killed."""


@dataclass(frozen=True)
class Completed:
    """How a command ended. Bytes that are not UTF-8 show as U+FFFD."""

    rc: int
    stdout: str
    stderr: str


class Executor(Protocol):
    """Runs commands on one host; may be used from several threads at once."""

    @property
    def host(self) -> str: ...

    def run(self, argv: Sequence[str], *, deadline_seconds: float, stdin: bytes | None = None) -> Completed: ...

    def put(self, local_path: str, remote_path: str) -> None: ...

    def close(self) -> None: ...


class ConnectionExecutor:
    """Runs commands through connections that `connect` makes: as many as commands run at once, kept for reuse."""

    def __init__(self, host: str, connect: Callable[[], Any]) -> None:
        self.host = host
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._busy: list[Any] = []
        self._closed = False

    def run(self, argv: Sequence[str], *, deadline_seconds: float, stdin: bytes | None = None) -> Completed:
        """Run a command and wait for it.

        The target itself ends the command after `deadline_seconds` (rounded up to whole seconds, for every
        implementation of `timeout`), so that nothing outlives a broken connection for long.
        Raises DeadlineExceeded, or ExecutorError when the host cannot be reached or has no `timeout`.
        """
        limit = max(1, math.ceil(deadline_seconds))
        line = f"timeout -k 1 {limit} {shlex.join(argv)}"
        began = time.monotonic()
        try:
            rc, out, err = self._call(argv[0], limit + GRACE_SECONDS, lambda c: _execute(c, line, stdin))
        except ExecutorError as exc:
            if isinstance(exc, DeadlineExceeded) or time.monotonic() - began < limit:
                raise
            rc, out, err = KILLED, b"", b""  # ssh takes the end of a killed command for a broken connection
        if rc in (TIMED_OUT, KILLED, -signal.SIGKILL) and time.monotonic() - began >= limit:
            raise DeadlineExceeded(f"{self.host}: {argv[0]} did not end within {limit} s and was killed.")
        stderr = err.decode("utf-8", "replace")
        if rc == NOT_FOUND and re.search("timeout: (command )?not found", stderr):
            raise ExecutorError(f"{self.host}: there is no command `timeout`; install coreutils (or busybox) there.")
        return Completed(rc, out.decode("utf-8", "replace"), stderr)

    def put(self, local_path: str, remote_path: str) -> None:
        """Copy a file of the controller to the host. Raises ExecutorError."""
        self._call(f"the copy to {remote_path}", COPY_SECONDS, lambda c: c.put_file(local_path, remote_path))

    def close(self) -> None:
        """Close all connections, also those in use; for good."""
        with self._lock:
            self._closed = True
            connections = self._idle + self._busy
            self._idle = []
        for connection in connections:
            _close(connection)

    def _call(self, what: str, limit: float, work: Callable[[Any], T]) -> T:
        """Do the work on a connection of its own, in a thread that is abandoned when it takes longer than `limit`."""
        future: Future[T] = Future()
        connection = self._take()
        sound = False
        try:
            threading.Thread(target=_fulfil, args=(future, work, connection), daemon=True).start()
            if not wait([future], limit).done:
                raise DeadlineExceeded(f"{self.host}: {what} did not end within {limit:.0f} s; connection dropped.")
            result = future.result()
            sound = True
            return result
        except NetbenchError:
            raise
        except Exception as exc:  # a plugin may raise whatever it likes
            raise ExecutorError(
                f"{self.host}: {what} failed because the connection did ({_one_line(exc)}); "
                f"try `ansible {self.host} -m ping`."
            ) from exc
        finally:
            self._give_back(connection, sound)

    def _take(self) -> Any:
        with self._lock:
            if self._closed:
                raise ExecutorError(f"{self.host}: the connection was closed because the run ends.")
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy.append(connection)
            return connection

    def _give_back(self, connection: Any, sound: bool) -> None:
        with self._lock:
            self._busy.remove(connection)
            keep = sound and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            _close(connection)


def executors(hosts: Iterable[str], action: Any, task_vars: Mapping[str, Any]) -> dict[str, ConnectionExecutor]:
    """Return an executor for each inventory host; nothing is connected yet.

    `action` is the action plugin at work, `task_vars` what its `run` was given. What reaches a host (connection, user,
    keys, `ansible_become`, …) is read from the host's own variables, not from the play that measures.
    Raises ExecutorError naming a host that the inventory lacks or whose connection plugin cannot be loaded.
    """
    return {host: _executor(host, action, task_vars["hostvars"]) for host in hosts}


def _executor(host: str, action: Any, hostvars: Mapping[str, Any]) -> ConnectionExecutor:
    if host not in hostvars:
        raise ExecutorError(f"{host}: there is no such host in the inventory; add it or correct the name.")
    variables = hostvars[host]
    try:
        connect = _connector(host, action, variables)
        connect()  # tells now, in the caller's thread, if the plugin or an option is wrong
    except Exception as exc:  # a plugin may raise whatever it likes
        raise ExecutorError(f"{host}: its connection cannot be set up ({_one_line(exc)}).") from exc
    return ConnectionExecutor(host, connect)


def _connector(host: str, action: Any, variables: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes one more connection object to the host; all templating is done here, once."""
    context = action._play_context.copy()
    context.remote_addr, context.become = host, False
    for attribute, names in constants.MAGIC_VARIABLE_MAPPING.items():
        value = next((variables[name] for name in names if name in variables), None)
        if value is not None:
            setattr(context, attribute, value)
    name = context.connection or constants.config.get_config_value("DEFAULT_TRANSPORT")
    become = _become_method(variables)

    def connect() -> Any:
        with _loading:
            connection = connection_loader.get(
                name, context, new_stdin=None, task_uuid=action._task._uuid, ansible_playbook_pid=str(os.getppid())
            )
            if connection is None:
                raise AnsibleError(f"there is no connection plugin '{name}'")
            # a terminal, which ssh would ask for with sudo, mangles the output
            connection.set_options(var_options={**options(connection), "ansible_ssh_use_tty": False})
            if become:
                plugin = become_loader.get(become)
                if plugin is None:
                    raise AnsibleError(f"there is no become plugin '{become}'")
                plugin.set_options(
                    task_keys={"become_pass": context.become_pass},
                    var_options=_options("become", plugin, variables),
                )
                connection.set_become_plugin(plugin)
            return connection

    resolved: dict[str, Any] = {}

    def options(connection: Any) -> dict[str, Any]:
        if not resolved:
            resolved.update(_options("connection", connection, variables))
        return resolved

    return connect


def _become_method(variables: Mapping[str, Any]) -> str | None:
    if not boolean(variables.get("ansible_become", False)):
        return None
    return str(variables.get("ansible_become_method") or constants.config.get_config_value("DEFAULT_BECOME_METHOD"))


def _options(kind: str, plugin: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the host's variables that are options of the plugin."""
    values: dict[str, Any] = {}
    for name in constants.config.get_plugin_vars(kind, plugin._load_name):
        if name in variables:
            with suppress(AnsibleValueOmittedError):
                values[name] = variables[name]
    return values


def _execute(connection: Any, line: str, stdin: bytes | None) -> tuple[int, bytes, bytes]:
    if connection.transport == "local" and shutil.which("setpriv"):
        line = f"setpriv --pdeathsig TERM -- {line}"  # else it would outlive a killed play
    command = f"exec {line}"
    if connection.become:
        command = connection.become.build_become_command(command, connection._shell)
    rc, out, err = connection.exec_command(command, in_data=stdin, sudoable=bool(connection.become))
    return rc, out, err


def _fulfil(future: Future[T], work: Callable[[Any], T], connection: Any) -> None:
    try:
        future.set_result(work(connection))
    except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
        future.set_exception(exc)


def _close(connection: Any) -> None:
    with suppress(Exception):  # it is given up anyway
        connection.close()


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split()).rstrip(".")
