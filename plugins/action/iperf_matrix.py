# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the matrix on the controller; the arguments are those of the module of the same name."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from ansible import release
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.netbench.cni.plugins.plugin_utils import (
    endpoints,
    engine,
    libraries,
    manifest,
    matrix,
    plan,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import executors
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.progress import Progress

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGINT, signal.SIGTERM)
_TARGET_SIDE = Path(__file__).resolve().parent.parent / "module_utils"


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; not an Exception, so that nothing on the way takes it for a failed trial."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}; what was measured is kept, go on with resume: true")
        self.number = number


class ActionModule(ActionBase):
    """See the documentation of the module netbench.cni.iperf_matrix."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    ARGUMENTS: Mapping[str, Any] = {
        "matrix": {"type": "dict", "required": True},
        "clusters": {"type": "dict", "required": True},
        "endpoints": {"type": "str", "default": "netbench_endpoints"},
        "results_dir": {"type": "path", "default": "results"},
        "run_id": {"type": "str"},
        "resume": {"type": "bool", "default": False},
        "provider": {"type": "str", "default": "inventory"},
        "shared_machine": {"type": "bool", "default": False},
        "conditions": {"type": "dict", "default": {}},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(self.ARGUMENTS)
        try:
            libraries.check()
            with _orderly_end():
                return self._run(args, task_vars or {})
        except NetbenchError as exc:
            raise AnsibleActionFail(str(exc)) from None  # Ansible would append the text of every cause
        except Interrupted as exc:
            raise AnsibleActionFail(str(exc)) from None

    def _run(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        hosts = _hosts(task_vars, args["endpoints"])
        clusters, externals = endpoints.clusters_from_vars(args["clusters"], hosts)
        run_dir = _run_dir(args)
        earlier = manifest.read(run_dir) if args["resume"] and (run_dir / "run.json").exists() else None
        parsed = matrix.parse(args["matrix"], clusters, externals, seed=earlier["seed"] if earlier else None)
        reached = {} if self._task.check_mode else executors(list(hosts), self, task_vars)
        request = engine.Request(
            matrix=parsed,
            clusters=clusters,
            externals=externals,
            executors=reached,
            run_dir=run_dir,
            resume=args["resume"],
            pythons={host: _python(variables) for host, variables in hosts.items()},
            sampler_source=_TARGET_SIDE / "sampler.py",
            probe_source=_TARGET_SIDE / "flow_probe.py",
        )
        trials = plan.plan(parsed)
        planned = round(engine.planned_seconds(parsed, trials, engine.machines_of(request)), 1)
        result: dict[str, Any] = {"run_id": run_dir.name, "run_dir": str(run_dir), "planned_seconds": planned}
        if self._task.check_mode:
            return result | {"changed": True, "trials": {"planned": len(trials)}}
        content = earlier or manifest.describe(
            parsed,
            clusters,
            externals,
            run_id=run_dir.name,
            provider=args["provider"],
            shared_machine=args["shared_machine"],
            conditions=args["conditions"],
            versions={"ansible": release.__version__, "netbench.cni": _own_version()},
        )
        record = manifest.Manifest(run_dir, content)
        before = time.monotonic()
        progress = Progress(Display().display)
        try:
            finished = engine.execute(request, record, progress)
        except Interrupted as exc:
            progress.note(str(exc))  # the play is ending: it takes no result any more
            raise
        record.finish()
        return result | {
            "changed": True,
            "trials": engine.counts(finished),
            "not_ok": [{"id": t.id, "status": t.status, "reason": t.reason} for t in finished if t.status != "ok"],
            "elapsed_seconds": round(time.monotonic() - before, 1),
        }


def _hosts(task_vars: Mapping[str, Any], pattern: str) -> dict[str, Mapping[str, Any]]:
    names = task_vars["groups"].get(pattern, [])
    if not names:
        raise NetbenchError(
            f"endpoints is '{pattern}', but the inventory has no such group or it is empty; provision the clusters"
            " first, or name another group"
        )
    return {name: task_vars["hostvars"][name] for name in names}


def _run_dir(args: Mapping[str, Any]) -> Path:
    """results_dir/run_id; a resumed run without an id is the latest one."""
    results = Path(args["results_dir"]).resolve()
    if args["run_id"]:
        if Path(args["run_id"]).name != args["run_id"] or args["run_id"] in ("latest", "..", "."):
            raise NetbenchError(f"run_id is '{args['run_id']}'; it must be a plain directory name other than 'latest'")
        return results / args["run_id"]
    if args["resume"]:
        if not (results / "latest").exists():
            raise NetbenchError(f"resume is set, but there is no earlier run in {results}; name one with run_id")
        return (results / "latest").resolve()
    return results / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _python(variables: Mapping[str, Any]) -> str:
    interpreter = str(variables.get("ansible_python_interpreter", "auto"))
    return "python3" if interpreter.startswith("auto") else interpreter


def _own_version() -> str:
    for name in ("MANIFEST.json", "galaxy.yml"):
        path = Path(__file__).resolve().parents[2] / name
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                key, _colon, value = line.strip().partition(":")
                if key.strip('"') == "version":
                    return value.strip(' ",')
    return "unknown"


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Turns SIGINT, SIGTERM and the play's own death into an exception, so that nothing of ours outlives the play.

    Ansible's workers lead sessions of their own: without the kernel's word of the parent's death a killed play would
    leave a worker that goes on measuring. Once all is in order the signal has its usual effect: Ansible ends the worker
    without a result, which nobody would read and which, in a pipe that is full, would keep it for ever.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:  # a second one must not disturb what the first one set off
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    stopped: Interrupted | None = None
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        play = multiprocessing.parent_process()
        if play is not None and play.pid != os.getppid():  # it died before the kernel knew that we want to know
            raise Interrupted(signal.SIGTERM)
        yield
    except Interrupted as exc:
        stopped = exc
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        signal.raise_signal(stopped.number)
        raise stopped
