# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished trials ↔ trials.jsonl: durable, resumable, one writer.

The first line is a header with the digest of the matrix, every further line one finished trial. A line counts once its
newline is on disk; a last line without newline is what a crash left of an unfinished write, and is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial, NetbenchError, Status

SCHEMA = "netbench.cni/journal/v1"
_LOCK_STEP_SECONDS = 0.1

_FIELDS = tuple(field.name for field in fields(FinishedTrial))
_STATUSES = frozenset(get_args(Status))
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(_FIELDS, dict),
    **dict.fromkeys(("id", "cluster", "scenario", "status", "reason", "started"), str),
    **dict.fromkeys(("block", "order", "attempts"), int),
    "elapsed_seconds": (int, float),
}


class Journal:
    """The journal of one run directory, open for appending; it holds the directory's lock until it is closed.

    `trials` are those found when it was opened and those appended since, in their order; `dropped_bytes` is the length
    of an unfinished last line that was cut off when it was opened (0: none).
    """

    def __init__(self, path: Path, lock: int, handle: int, end: int, trials: list[FinishedTrial], dropped: int) -> None:
        """Use `Journal.open`."""
        self.path = path
        self.trials = trials
        self.dropped_bytes = dropped
        self._ids = {trial.id for trial in trials}
        self._lock = lock
        self._handle = handle
        self._end = end

    @classmethod
    def open(cls, path: str | os.PathLike[str], digest: str, resume: bool, lock_wait_seconds: float = 0.0) -> Journal:
        """Open the journal `path` of the matrix with `digest`; its directory is made if need be.

        With `resume` an existing journal is carried on, without it there must be none that has trials. An engine that
        was just stopped may need `lock_wait_seconds` to let go of the run directory. Raises NetbenchError if another
        process has it for longer, if there are trials and `resume` is not set, or they are of another matrix or
        damaged, and if the journal cannot be written.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _locked(path.parent / ".lock", lock_wait_seconds)
        except OSError as error:
            raise NetbenchError(
                f"the run directory {path.parent} cannot be written ({error.strerror}); choose another, or mend that"
            ) from error
        try:
            return cls._opened(path, digest, resume, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _opened(cls, path: Path, digest: str, resume: bool, lock: int) -> Journal:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            size = os.fstat(handle).st_size
            end, found, trials = _recovered(path)
            if trials and not resume:
                raise NetbenchError(f"{path} holds an earlier run; resume it, or choose another run directory")
            if trials:
                _require_digest(path, found, digest)
            dropped = size - end
            if found != digest:  # of an earlier start that measured nothing
                end = 0
            journal = cls(path, lock, handle, end, trials, dropped)
            if end == 0:
                journal._write({"schema": SCHEMA, "matrix_digest": digest})
                _sync_directory(path.parent)
            elif size > end:
                os.ftruncate(handle, end)
                os.fsync(handle)
        except OSError as error:
            os.close(handle)
            raise _unwritable(path, error) from error
        except BaseException:
            os.close(handle)
            raise
        return journal

    @property
    def done(self) -> frozenset[str]:
        """The ids of all trials in the journal, whatever their status."""
        return frozenset(self._ids)

    def append(self, trial: FinishedTrial) -> None:
        """Add one line; when this returns it is on disk.

        Raises NetbenchError for a trial that is there already and when the disk refuses; what was written of the line
        is then cut off again, and a later append is safe.
        """
        if trial.id in self._ids:
            raise NetbenchError(f"trial {trial.id} is in {self.path} already; a trial is journalled once")
        self._write({name: getattr(trial, name) for name in _FIELDS})
        self._ids.add(trial.id)
        self.trials.append(trial)

    def close(self) -> None:
        """Close the file and let go of the run directory; closing twice is harmless."""
        for handle in (self._handle, self._lock):
            if handle >= 0:
                os.close(handle)
        self._handle = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, content: dict[str, Any]) -> None:
        try:
            line = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        except (ValueError, TypeError) as error:
            raise NetbenchError(f"trial {content.get('id')} cannot be journalled as JSON: {error}") from error
        try:
            os.ftruncate(self._handle, self._end)  # what an append that failed may have left
            written = os.pwrite(self._handle, line, self._end)
            if written != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(self._handle)
        except OSError as error:
            self._cut()
            raise _unwritable(self.path, error) from error
        self._end += len(line)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._handle, self._end)
        except OSError:
            return  # the next append tries again, and a reader drops the unfinished line


def read(path: str | os.PathLike[str], digest: str | None = None) -> tuple[dict[str, Any], list[FinishedTrial]]:
    """The header and all finished trials of a journal, without an unfinished last line.

    Raises NetbenchError if there is no journal, if `digest` is given and not the header's, and, with the line's number,
    for any other damage.
    """
    path = Path(path)
    with _reading(path) as handle:
        header = _header(path, handle.readline(), digest)
        return header, list(_trials(path, handle))


def stream(path: str | os.PathLike[str]) -> Iterator[FinishedTrial]:
    """The finished trials one by one, for journals too large to hold; raises as `read`."""
    path = Path(path)
    with _reading(path) as handle:
        _header(path, handle.readline(), None)
        yield from _trials(path, handle)


def _reading(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise NetbenchError(f"{path} cannot be read ({error.strerror}); name a directory that holds a run") from error


def _recovered(path: Path) -> tuple[int, str, list[FinishedTrial]]:
    """Where the last whole line ends, the matrix's digest and the trials up to there; 0 without a whole header."""
    with _reading(path) as handle:
        first = handle.readline()
        if not first.endswith(b"\n"):
            return 0, "", []
        digest = str(_header(path, first, None)["matrix_digest"])
        trials = []
        end = len(first)
        for line, trial in _lines(path, handle):
            trials.append(trial)
            end += len(line)
        return end, digest, trials


def _header(path: Path, line: bytes, digest: str | None) -> dict[str, Any]:
    header = _parsed(path, 1, line) if line.endswith(b"\n") else None
    if header is None or header.get("schema") != SCHEMA or not isinstance(header.get("matrix_digest"), str):
        raise NetbenchError(f"{path} does not begin with the header of a journal ({SCHEMA}); it is no journal of ours")
    if digest is not None:
        _require_digest(path, header["matrix_digest"], digest)
    return header


def _require_digest(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise NetbenchError(
            f"{path} belongs to another matrix ({found[:12]}, not {wanted[:12]}); resume with the matrix it was begun "
            "with, or choose another run directory"
        )


def _trials(path: Path, handle: BinaryIO) -> Iterator[FinishedTrial]:
    return (trial for _line, trial in _lines(path, handle))


def _lines(path: Path, handle: BinaryIO) -> Iterator[tuple[bytes, FinishedTrial]]:
    seen: set[str] = set()
    for number, line in enumerate(handle, start=2):
        if not line.endswith(b"\n"):
            return
        trial = _trial(path, number, _parsed(path, number, line))
        if trial.id in seen:
            raise _damaged(path, number, f"it repeats trial {trial.id}")
        seen.add(trial.id)
        yield line, trial


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number, "it is no JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, number, "it is no JSON object")
    return content


def _trial(path: Path, number: int, content: dict[str, Any]) -> FinishedTrial:
    try:
        trial = FinishedTrial(**content)
    except TypeError as error:
        raise _damaged(path, number, "its fields are not those of a finished trial") from error
    right = all(isinstance(value, _TYPES[name]) for name, value in content.items())
    if not right or trial.status not in _STATUSES:
        raise _damaged(path, number, "a field of it has the wrong type or status")
    return trial


def _damaged(path: Path, number: int, why: str) -> NetbenchError:
    return NetbenchError(f"{path} is damaged in line {number}: {why}; restore it, or choose another run directory")


def _unwritable(path: Path, error: OSError) -> NetbenchError:
    return NetbenchError(
        f"the journal {path} cannot be written ({error.strerror}); free or mend the disk, then resume: "
        "what was journalled before is safe"
    )


def _locked(path: Path, wait_seconds: float) -> int:
    """A handle on `path` that holds the run directory; a lock ends with its last holder, so none is ever stale."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_seconds
    while not _lock(handle):
        if time.monotonic() >= deadline:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise NetbenchError(
                f"the run directory {path.parent} is in use by process {holder}; wait for it, or choose another one"
            )
        time.sleep(_LOCK_STEP_SECONDS)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(handle)
        raise
    return handle


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
