# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that holds a lab: it makes one idle "pause" process per endpoint and waits.

This file is never imported for its functions: its source, followed by a call of `main`, is given to an interpreter on
standard input, so that the processes outlive the module's temporary files. Standard library only.

A pause owns its network, mount and UTS namespace and dies with the holder (PR_SET_PDEATHSIG), so killing the holder
destroys the lab. Both carry `netbench-lab:<lab>:<endpoint>` and the state directory in their argv.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys

PAUSE = "import signal; signal.sigwait({signal.SIGTERM})"
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x4000000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    result = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
    check(result, f"mount on {target}")


def map_to_root(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def arrange_mounts(hosts: str | None) -> None:
    mount("none", "/", "none", MS_REC | MS_PRIVATE)
    if hosts:
        mount(hosts, "/etc/hosts", "none", MS_BIND)
    mount("tmpfs", "/run", "tmpfs", 0)
    try:
        mount("sysfs", "/sys", "sysfs", 0)
    except OSError:
        # Some containers forbid a fresh sysfs. Only the binding of packet processing to CPUs needs it.
        sys.stderr.write("sysfs cannot be mounted\n")


def become_pause(name: str, identity: list[str], hosts: str | None, report: int) -> None:
    try:
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS), "unshare")
        arrange_mounts(hosts)
        socket.sethostname(name)
        os.chdir("/")
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", PAUSE, *identity])
    except OSError as error:
        os.write(report, str(error).encode())
    finally:
        os._exit(1)


def start_pause(name: str, identity: list[str], hosts: str | None) -> tuple[int, int]:
    """Fork a pause; its pid and a pipe that says nothing if all went well and why otherwise."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_pause(name, identity, hosts, writer)
    os.close(writer)
    return pid, reader


def main(config_text: str) -> None:
    """`config_text` is JSON: lab, state_dir, user_namespace, uid, gid, endpoints {name: path of a hosts file or null}.

    Prints one line of JSON: {"pids": {name: pid}} or {"error": text}; then waits for ever.
    """
    config = json.loads(config_text)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited: the pauses wait for it
    pids: dict[str, int] = {}
    try:
        if config["user_namespace"]:
            check(libc.unshare(CLONE_NEWUSER), "unshare")
            map_to_root(config["uid"], config["gid"])
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS), "unshare")
        mount("none", "/", "none", MS_REC | MS_PRIVATE)
        started = []
        for name, hosts in config["endpoints"].items():
            identity = [f"netbench-lab:{config['lab']}:{name}", config["state_dir"]]
            pids[name], reader = start_pause(name, identity, hosts)
            started.append((name, reader))
        for name, reader in started:
            trouble = os.read(reader, 4096).decode()
            os.close(reader)
            if trouble:
                raise OSError(0, f"{name}: {trouble}")
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # pylint: disable=ansible-bad-function  # a program of its own, not a module
        os._exit(1)
    print(json.dumps({"pids": pids}), flush=True)  # pylint: disable=ansible-bad-function  # a program of its own, not a module
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:  # reaps the pauses that someone kills
        try:
            os.wait()
        except ChildProcessError:
            signal.pause()
