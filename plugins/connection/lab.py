# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: lab
short_description: Run in a pod, node or VM of a lab
version_added: 1.0.0
author: The netbench.cni authors (@netbench)
description:
  - Enters the network, mount and UTS namespaces of an endpoint that the role P(netbench.cni.lab#role) made on this
    machine, so that every module and C(ansible -m) command works in it.
  - Commands die with the Ansible process that started them, however that ends.
  - Inside a lab every command already has root's rights over the lab, so C(become) changes nothing.
options:
  lab:
    description: Name of the lab.
    type: str
    default: lab
    vars:
      - name: netbench_lab
  endpoint:
    description: Name of the endpoint within the lab.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: netbench_lab_endpoint
  state_dir:
    description:
      - Directory where labs keep their state.
      - By default C(/run/netbench) for root, else C($XDG_RUNTIME_DIR/netbench) or C(/tmp/netbench-<uid>).
    type: path
    env:
      - name: NETBENCH_LAB_STATE_DIR
    vars:
      - name: netbench_lab_state_dir
extends_documentation_fragment:
  - connection_pipelining
"""

import os
import pwd
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import (
    LabStateError,
    is_alive,
    is_up,
    read_state,
)

# mypy: disallow-untyped-calls=False
# (ansible-core has no type information for most of what is called here)

display = Display()

# Runs in the endpoint with death signal set and waits for the command, which leads a process group: `timeout` makes one
# (`timeout 0` sets no limit). If Ansible died before the signal was set, nobody would tell: look who our parent is. The
# kills are in an order that leaves no moment at which the command can slip through, even while it is being started.
GUARD = """
[ "$PPID" = "$1" ] || exit 143
end() {
  kill -s TERM -- "-$!"; sleep 0.2
  kill -s KILL -- "-$!"; kill -s KILL "$!"; kill -s KILL -- "-$!"
  exit 143
}
trap 'end 2>/dev/null' TERM
exec 3<&0
case $0 in
"exec timeout "*) eval "$0" <&3 3<&- & ;;
*) timeout -k 2 0 /bin/sh -c "$0" <&3 3<&- & ;;
esac
wait "$!"
"""
SECONDS_TO_DIE = 5.0


class Connection(ConnectionBase):
    """One endpoint of a lab; an object runs one command at a time, several objects may be used at once."""

    transport = "netbench.cni.lab"
    has_pipelining = True
    has_tty = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prefix: list[str] = []
        self._pause: tuple[int, int | None] = (0, None)
        self._process: subprocess.Popen[bytes] | None = None
        self.default_user = _user()

    def set_become_plugin(self, plugin: Any) -> None:
        """Ignore `become`: commands have root's rights over the lab already."""

    def _connect(self) -> Connection:
        if self._connected:
            return self
        lab, name = self.get_option("lab"), self.get_option("endpoint")
        try:
            state = read_state(self.get_option("state_dir"), lab)
        except LabStateError as exc:
            raise AnsibleConnectionFailure(str(exc)) from exc
        if state is None or not is_up(state):
            raise AnsibleConnectionFailure(f"lab '{lab}' is not up: run ansible-playbook site.yml")
        endpoint = state["endpoints"].get(name)
        if endpoint is None:
            known = ", ".join(sorted(state["endpoints"]))
            raise AnsibleConnectionFailure(f"lab '{lab}' has no endpoint '{name}': it has {known}")
        self._pause = endpoint["pid"], endpoint.get("start")
        self._prefix = _prefix(endpoint, bool(state["user_namespace"]))
        self._require_pause()
        self._connected = True
        return self

    def _require_pause(self) -> None:
        if not is_alive(*self._pause):
            lab, name = self.get_option("lab"), self.get_option("endpoint")
            raise AnsibleConnectionFailure(
                f"endpoint '{name}' of lab '{lab}' is gone (process {self._pause[0]}): run ansible-playbook site.yml"
            )

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the endpoint; returns (rc, stdout, stderr).

        Raises AnsibleConnectionFailure when the lab or the endpoint is not there (any more).
        """
        display.vvv(f"EXEC {cmd}", host=self._play_context.remote_addr)
        return self._run(cmd, in_data=in_data)

    def _run(
        self,
        cmd: str,
        in_data: bytes | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> tuple[int, bytes, bytes]:
        self._connect()
        self._require_pause()
        argv = [*self._prefix, "/bin/sh", "-c", GUARD, cmd, str(os.getpid())]
        if in_data is not None:
            stdin = subprocess.PIPE
        try:
            process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
        except OSError as exc:
            raise AnsibleConnectionFailure(f"cannot start {argv[0]} ({exc.strerror}): install util-linux") from exc
        self._process = process
        try:
            if not self._connected:  # closed by another thread in the meantime
                _stop(process)
            out, err = process.communicate(in_data)
        except BaseException:  # a task's time limit or an interrupt; what was started must not outlive it
            _stop(process)
            raise
        finally:
            self._process = None
        if process.returncode:
            self._require_pause()
        return process.returncode, out or b"", err

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of this machine into the endpoint, which may have mounts of its own."""
        try:
            with Path(in_path).open("rb") as file:
                rc, _out, err = self._run(f"cat > {shlex.quote(out_path)}", stdin=file)
        except FileNotFoundError as exc:
            raise AnsibleFileNotFound(f"file to copy does not exist: {in_path}") from exc
        if rc:
            raise AnsibleError(f"cannot write {out_path} in the endpoint: {_text(err)}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the endpoint to this machine."""
        with Path(out_path).open("wb") as file:
            rc, _out, err = self._run(f"cat < {shlex.quote(in_path)}", stdout=file)
        if rc:
            Path(out_path).unlink()
            raise AnsibleError(f"cannot read {in_path} in the endpoint: {_text(err)}")

    def reset(self) -> None:
        """Look up the lab again at the next command."""
        self.close()

    def close(self) -> None:
        """End a command that still runs, in whichever thread."""
        self._connected = False
        process = self._process
        if process is not None:
            _stop(process)


def _user() -> str:
    """Return whose home modules are to use: nobody's, which makes it $HOME, if that is another than the user's own."""
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        return ""
    return entry.pw_name if os.environ.get("HOME") == entry.pw_dir else ""


def _prefix(endpoint: dict[str, Any], user_namespace: bool) -> list[str]:
    """Return what enters the endpoint. The death signal comes last: entering a user namespace clears it."""
    users = ["-U", "--preserve-credentials"] if user_namespace else []
    cpus = ["taskset", "-c", ",".join(map(str, endpoint["cpus"]))] if endpoint.get("cpus") else []
    enter = ["nsenter", "-t", str(endpoint["pid"]), *users, "-m", "-n", "-u", "--"]
    return [*enter, *cpus, "setpriv", "--pdeathsig", "TERM", "--"]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the command; its guard knows them."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_DIE)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()
