# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of a machine's sampler: started once a run, read in slices."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.clock import ClockOffset
from ansible_collections.netbench.cni.plugins.plugin_utils.clock import measure as measure_clock
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Executor
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

_KEPT_SECONDS = 7200.0
_CONTROL_DEADLINE = 20.0


@dataclass(frozen=True)
class _Line:
    realtime: float
    text: str


class MachineWatch:
    """One machine's sampler and what it has written so far.

    `netns` maps the label of each watched node to the path of its network namespace; empty means that the machine has
    one node, whose counters carry the label `""`. May be used from several threads at once: the external endpoint's
    machine is looked at by the trials of every lane.
    """

    def __init__(
        self,
        machine: str,
        executor: Executor,
        *,
        directory: str,
        python: str,
        netns: Mapping[str, str],
        interval_seconds: float,
    ) -> None:
        self.machine = machine
        self.clock = ClockOffset(0.0, 0.0)
        self._executor = executor
        self._directory = directory
        self._python = python
        self._netns = dict(netns)
        self._interval = interval_seconds
        self._hello = ""
        self._lines: deque[_Line] = deque()
        self._reading = threading.Lock()
        self._offset = 0
        self._partial = ""
        self._failure = ""
        self._thread: threading.Thread | None = None
        self._arguments = ("", 0.0)
        self._changing = threading.Lock()
        self._over = False

    @property
    def host(self) -> str:
        """The endpoint through which the machine is reached."""
        return self._executor.host

    def label_of(self, node: str) -> str:
        """The label under which this machine's samples carry the counters of `node`."""
        return node if node in self._netns else ""

    @property
    def _spool(self) -> str:
        return f"{self._directory}/samples.jsonl"

    @property
    def _control(self) -> str:
        return f"{self._directory}/control"

    def start(self, sampler_source: str, *, max_seconds: float) -> None:
        """Copies the sampler there, starts it, waits for its first line and compares the machine's clock with ours.

        What a killed engine left in its directory is removed first. Raises NetbenchError when it does not come up (no
        Python on the machine, no permission for a namespace), and after `stop`.
        """
        with self._changing:
            if self._over:
                raise NetbenchError(f"machine {self.machine}: its sampler was not started because the run ends")
            self._arguments = sampler_source, max_seconds
            self._start(sampler_source, max_seconds)

    def revive(self) -> None:
        """Starts the sampler again if it has ended, as it does when it is killed; raises as `start`."""
        with self._changing:
            if self._failure and not self._over:
                with self._reading:
                    self._hello = self._partial = self._failure = ""
                    self._offset = 0
                    self._lines.clear()
                self._start(*self._arguments)

    @property
    def failure(self) -> str:
        """Why the sampler has ended; empty while it runs."""
        return self._failure

    def _start(self, sampler_source: str, max_seconds: float) -> None:
        target = f"{self._directory}/sampler.py"
        prepare = f"umask 077 && rm -rf {self._directory} && mkdir {self._directory} && mkfifo {self._control}"
        made = self._executor.run(["sh", "-c", prepare], deadline_seconds=_CONTROL_DEADLINE)
        if made.rc:
            raise NetbenchError(f"machine {self.machine}: cannot prepare its sampler: {made.stderr.strip()}")
        self._executor.put(sampler_source, target)
        argv = [self._python, target, "--spool", self._spool, "--control", self._control]
        argv += ["--interval", str(self._interval), "--max-seconds", str(int(max_seconds))]
        for label, path in self._netns.items():
            argv += ["--netns", f"{label}={path}"]
        self._thread = threading.Thread(target=self._keep_running, args=(argv, max_seconds), daemon=True)
        self._thread.start()
        self._wait_for_hello()
        self.clock = measure_clock(self._executor)

    def _keep_running(self, argv: list[str], max_seconds: float) -> None:
        try:
            ended = self._executor.run(argv, deadline_seconds=max_seconds + 60)
        except NetbenchError as exc:
            self._failure = str(exc)
        else:
            self._failure = ended.stderr.strip() or f"it ended with code {ended.rc}"

    def _wait_for_hello(self) -> None:
        deadline = time.monotonic() + _CONTROL_DEADLINE
        while time.monotonic() < deadline:
            self.refresh()
            if self._hello and self._lines:
                return
            if self._failure:
                break
            time.sleep(0.02)
        reason = self._failure or f"no sample within {_CONTROL_DEADLINE:.0f} s"
        raise NetbenchError(f"machine {self.machine}: its sampler did not start: {reason}")

    def refresh(self) -> None:
        """Fetches what the sampler wrote since the last time."""
        with self._reading:
            self._refresh()

    def _refresh(self) -> None:
        answer = self._executor.run(
            ["tail", "-c", f"+{self._offset + 1}", self._spool], deadline_seconds=_CONTROL_DEADLINE
        )
        if answer.rc:
            return
        self._offset += len(answer.stdout.encode())
        *complete, self._partial = (self._partial + answer.stdout).split("\n")
        for text in complete:
            record = json.loads(text)
            if "hello" in record:
                self._hello = text
            elif "r" in record:
                self._lines.append(_Line(float(record["r"]), text))
        while self._lines and self._lines[0].realtime < self._lines[-1].realtime - _KEPT_SECONDS:
            self._lines.popleft()

    def lines(self, start: float, end: float) -> list[str]:
        """The sampler's lines of the machine's realtime from start to end, one line more on either side."""
        with self._reading:
            lines = list(self._lines)
        times = [line.realtime for line in lines]
        first = max((i for i, t in enumerate(times) if t <= start), default=0)
        last = min((i for i, t in enumerate(times) if t >= end), default=len(times) - 1)
        return [self._hello, *(line.text for line in lines[first : last + 1])]

    def probe(self) -> None:
        """Has the machine time its fixed workload once, now."""
        self._tell("probe")

    def stop(self) -> dict[str, float]:
        """Ends the sampler, removes its files and gives its own CPU time: {"cpu_seconds", "seconds"}; for good."""
        with self._changing:
            self._over = True
            return self._stop()

    def _stop(self) -> dict[str, float]:
        usage: dict[str, float] = {}
        try:
            self._tell("stop")
            if self._thread is not None:
                self._thread.join(timeout=5)
            tail = self._executor.run(["tail", "-n", "1", self._spool], deadline_seconds=_CONTROL_DEADLINE).stdout
            record = json.loads(tail or "{}")
            usage = {key: float(record[key]) for key in ("cpu_seconds", "seconds") if key in record}
        finally:
            self._executor.run(["rm", "-rf", self._directory], deadline_seconds=_CONTROL_DEADLINE)
        return usage

    def _tell(self, word: str) -> None:
        # Opened for reading and writing, so that a sampler that died does not block the writer.
        self._executor.run(["sh", "-c", f'printf "{word}\\n" 1<>{self._control}'], deadline_seconds=_CONTROL_DEADLINE)
