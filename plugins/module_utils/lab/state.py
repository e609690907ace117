# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab's state is kept: `<state_dir>/<lab>/lab.json`, and the lock against two builders of one lab."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError


class StateDir:
    """The files of one lab."""

    def __init__(self, root: str, lab: str) -> None:
        self.root = Path(os.path.abspath(root))
        self.lab = lab
        self.path = self.root / lab
        self.hosts = self.path / "hosts"
        self._lock = self.root / f"{lab}.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and be the only one who changes this lab. Raises LabError if another process is."""
        descriptor = self._acquire()
        try:
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            os.close(descriptor)
            with suppress(OSError):  # other labs live here
                self.root.rmdir()

    def _make_root(self) -> None:
        try:
            self.root.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            found = self.root.lstat()
        except OSError as error:
            raise LabError(f"state_dir {self.root} cannot be made: {error.strerror}; name another one.") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise LabError(f"state_dir {self.root} must be a directory of the user who builds the lab.")

    def _acquire(self) -> int:
        while True:
            self._make_root()
            try:
                descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:  # the last lab of the directory has just ended
                continue
            try:
                # A record lock, not flock: forked helpers do not inherit it, so it ends with this process.
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                os.close(descriptor)
                raise LabError(f"Another process is changing the lab {self.lab} now; wait for it to end.") from error
            # The previous owner may have removed the file between our open and our lock.
            if self._lock.exists() and os.path.samestat(os.fstat(descriptor), os.stat(self._lock)):
                return descriptor
            os.close(descriptor)

    def write_hosts(self, text: str) -> None:
        """Make the lab's directory and the test VM's /etc/hosts in it."""
        self.path.mkdir(mode=0o755, exist_ok=True)
        self.hosts.write_text(text, encoding="utf-8")

    def save(self, state: dict[str, Any]) -> None:
        """Write lab.json so that a reader sees all of it or nothing."""
        target = self.path / "lab.json"
        temporary = target.with_suffix(".json.new")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)

    def remove(self) -> bool:
        """Remove the lab's files; whether there were any."""
        existed = self.path.exists()
        shutil.rmtree(self.path, ignore_errors=True)
        return existed
