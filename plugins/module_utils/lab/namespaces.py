# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes and namespaces of a lab: starting the holder, doing something inside an endpoint, ending it all."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn, cast

from ansible_collections.netbench.cni.plugins.module_utils.lab import holder
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.netlink import open_netlink
from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import process_start

NAMESPACES = (
    ("user", holder.CLONE_NEWUSER),
    ("mnt", holder.CLONE_NEWNS),
    ("net", holder.CLONE_NEWNET),
    ("uts", holder.CLONE_NEWUTS),
)
KILL_SECONDS = 10.0


def needs_user_namespace() -> bool:
    """Whether only a user namespace gives the rights to make a lab.

    Raises LabError, saying what is missing, where not even that is allowed.
    """
    if _may_unshare(holder.CLONE_NEWNET | holder.CLONE_NEWNS):
        return False
    if _may_unshare(holder.CLONE_NEWUSER | holder.CLONE_NEWNET | holder.CLONE_NEWNS):
        return True
    raise LabError(
        "The lab needs network namespaces, and this user may make none: run as root or let the kernel allow "
        "unprivileged user namespaces (sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns)."
    )


def _may_unshare(flags: int) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if holder.libc.unshare(flags) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def start_holder(lab: str, state_dir: str, endpoints: dict[str, str | None], user_namespace: bool) -> dict[str, int]:
    """Start a lab's processes; `endpoints` maps names to a hosts file or None.

    The result maps names, and "" for the holder itself, to pids. Raises LabError.
    """
    config = {
        "lab": lab,
        "state_dir": state_dir,
        "user_namespace": user_namespace,
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "endpoints": endpoints,
    }
    source = f"{inspect.getsource(holder)}\nmain({json.dumps(config)!r})\n"
    argv = [sys.executable, "-I", "-S", "-", f"netbench-lab:{lab}:", state_dir]
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kept
    ) as process:
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)  # pipes, as asked for
        stdin.write(source.encode())
        stdin.close()
        answer = stdout.readline()
        stdout.close()
        process.returncode = 0  # it stays: do not wait for it
    try:
        report = json.loads(answer)
    except ValueError as error:
        raise LabError("The process that holds the lab ended before it said anything.") from error
    if "error" in report:
        raise LabError(f"The lab's namespaces cannot be made: {report['error']}.")
    return {"": process.pid, **report["pids"]}


def enter(pid: int) -> None:
    """Move this (single-threaded) process into the user, mount, network and UTS namespace of `pid`."""
    descriptors = []
    for name, flag in NAMESPACES:
        own, other = os.stat(f"/proc/self/ns/{name}"), os.stat(f"/proc/{pid}/ns/{name}")
        if own.st_ino != other.st_ino:
            descriptors.append((os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag))
    for descriptor, flag in descriptors:
        holder.check(holder.libc.setns(descriptor, flag), f"setns to process {pid}")
        os.close(descriptor)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which forked it, ends."""
    holder.check(holder.libc.prctl(holder.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def call_inside(pid: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function` in the namespaces of `pid`, in a child of its own, and return its JSON-able result.

    Raises LabError with the message of whatever went wrong there.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _answer_and_exit(writer, parent, pid, function, arguments)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise LabError(f"The helper process inside the namespaces of process {pid} died.") from error
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["result"]


def _answer_and_exit(
    writer: int, parent: int, pid: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> NoReturn:
    try:
        die_with(parent)
        enter(pid)
        answer = {"result": function(*arguments)}
    except LabError as error:
        answer = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        place = traceback.extract_tb(error.__traceback__)[-1]
        answer = {"error": f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"}
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def start_program(pid: int, argv: list[str], cpus: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """Start a program in the namespaces of `pid`, bound to `cpus` if any are named; it dies with this process."""
    parent = os.getpid()

    def prepare() -> None:
        die_with(parent)
        enter(pid)
        if cpus:
            os.sched_setaffinity(0, cpus)

    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509 - this process has no threads
    )


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def network_namespace(pid: int) -> tuple[int, int] | None:
    """Device and inode of a process's network namespace, or None if it is gone or not ours to see."""
    try:
        stat = os.stat(f"/proc/{pid}/ns/net")
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def find_processes(lab: str, state_dir: str) -> list[int]:
    """The pids of the holder and pauses of a lab, by their argv, wherever their pids are recorded."""
    found = []
    for pid in _processes():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                argv = os.fsdecode(file.read()).split("\0")
        except OSError:
            continue
        pause = len(argv) > 6 and argv[1:5] == ["-I", "-S", "-c", holder.PAUSE] and argv[5:7]
        holding = len(argv) > 5 and argv[1:4] == ["-I", "-S", "-"] and argv[4:6]
        identity = pause or holding
        if identity and identity[0].startswith(f"netbench-lab:{lab}:") and identity[1] == state_dir:
            found.append(pid)
    return found


def kill_lab(lab: str, state_dir: str, recorded: set[int]) -> None:
    """Kill the lab's processes and every process inside its network namespaces.

    `recorded` are the inodes of the namespaces it had when it was built: whoever still runs in one of them after its
    pause died is found by that. The namespaces are kept open meanwhile, so that no new one can get their inode. Raises
    LabError if some survive.
    """
    doomed: dict[tuple[int, int], int] = {}
    deadline = time.monotonic() + KILL_SECONDS
    try:
        while found := _find_doomed(lab, state_dir, recorded, doomed):
            if time.monotonic() > deadline:
                raise LabError(f"Processes {sorted(found)} of the lab {lab} do not die; end them and try again.")
            for pid in found:
                _kill(pid)
            time.sleep(0.02)
    finally:
        for descriptor in doomed.values():
            os.close(descriptor)


def _find_doomed(lab: str, state_dir: str, recorded: set[int], doomed: dict[tuple[int, int], int]) -> set[int]:
    """The processes to kill now; adds the namespaces they are in to `doomed`."""
    own = network_namespace(os.getpid())
    found = set(find_processes(lab, state_dir))
    members = {pid: namespace for pid in _processes() if (namespace := network_namespace(pid)) not in (None, own)}
    for pid, namespace in members.items():
        if namespace is None or namespace in doomed:
            continue
        if pid in found or (namespace[1] in recorded and _is_of_lab(pid, lab, state_dir)):
            try:
                doomed[namespace] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # it has just ended
                continue
    return found | {pid for pid, namespace in members.items() if namespace in doomed and process_start(pid)}


def _is_of_lab(pid: int, lab: str, state_dir: str) -> bool:
    try:
        return bool(call_inside(pid, read_label) == label(lab, state_dir))
    except LabError:
        return False


def label(lab: str, state_dir: str) -> str:
    """What the loopback device of each of the lab's namespaces has as its alias."""
    return f"netbench-lab:{lab}:{state_dir}"


def read_label() -> str | None:
    """The alias of this namespace's loopback device."""
    with open_netlink() as netlink:
        alias = netlink.link("get", ifname="lo")[0].get("ifalias")
    return str(alias) if alias else None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
