# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An executor for tests that runs commands on this machine, without Ansible."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Completed, DeadlineExceeded


class ProcessExecutor:
    """Commands run as children; `prefix` may lead them into a namespace."""

    def __init__(self, host: str = "here", prefix: Sequence[str] = ()) -> None:
        self.host = host
        self.prefix = list(prefix)

    def run(self, argv: Sequence[str], *, deadline_seconds: float, stdin: bytes | None = None) -> Completed:
        try:
            done = subprocess.run(
                [*self.prefix, *argv], input=stdin, capture_output=True, timeout=deadline_seconds, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise DeadlineExceeded(f"{self.host}: {argv[0]} did not end within {deadline_seconds} s") from exc
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    def put(self, local_path: str, remote_path: str) -> None:
        shutil.copy(local_path, remote_path)

    def close(self) -> None:
        """Nothing is kept open."""
