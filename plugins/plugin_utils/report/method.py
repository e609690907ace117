# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How it was measured: the run, its design, its conditions, versions, clocks and what the sampling cost."""

from __future__ import annotations

from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Table, columns
from ansible_collections.netbench.cni.plugins.plugin_utils.report.topology import flat, shown

Rows = list[tuple[str, str]]


def method_tables(measured: Measured) -> list[Table]:
    tables = [_run(measured), _design(measured), _conditions(measured), _versions(measured), _clocks(measured)]
    return [table for table in tables if table.rows]


def paragraphs(measured: Measured) -> list[str]:
    """The rules that hold for every number, in words."""
    names = ["windows", "cpu", "udp", "pairs", "verdicts", "physics"]
    if measured.shared_machine:
        names.append("lab")
    return [measured.texts(f"method.{name}") for name in names]


def moment(stamp: str | None) -> str:
    """2026-01-05T09:00:00.1+00:00 → 2026-01-05 09:00:00 UTC; any other form stays as it is."""
    if not stamp:
        return NONE
    day, _letter, time = stamp.partition("T")
    if time.endswith(("+00:00", "Z")):
        return f"{day} {time[:8]} UTC"
    return stamp


def _run(measured: Measured) -> Table:
    run, texts = measured.run, measured.texts
    rows = [
        (texts("method.id"), run["id"]),
        (texts("method.started"), moment(run.get("started"))),
        (texts("method.finished"), moment(run.get("finished"))),
        (texts("method.provider"), shown(run.get("provider"))),
        (texts("method.where"), shown(run.get("where"))),
        (texts("method.digest"), shown(run.get("matrix_digest"))[:16]),
    ]
    return _two_columns(measured, "table.run", rows)


def _design(measured: Measured) -> Table:
    matrix, texts, numbers = measured.run.get("matrix") or {}, measured.texts, measured.numbers
    windows = {(s["warmup_seconds"], s["window_seconds"]) for s in measured.scenarios}
    times = [
        texts("method.window_of", warmup=numbers.setting(warmup, "seconds"), window=numbers.setting(window, "seconds"))
        for warmup, window in sorted(windows)
    ]
    rows = [
        (texts("method.blocks"), shown(matrix.get("blocks"))),
        (texts("method.window"), texts("list.comma").join(times) or NONE),
        (texts("method.seed"), shown(measured.run.get("seed"))),
        (texts("method.margin"), numbers.setting(matrix.get("margin"), "relative")),
        (texts("method.retries"), shown(matrix.get("retries"))),
    ]
    for name, value in (matrix.get("void") or {}).items():
        share = numbers.setting(value, "relative") if isinstance(value, (int, float)) else shown(value)
        rows.append((texts.known(f"method.{name}", name), share))
    return _two_columns(measured, "table.design", [row for row in rows if row[1] != NONE])


def _conditions(measured: Measured) -> Table:
    return _two_columns(measured, "table.conditions", list(flat(measured.run.get("conditions") or {})))


def _versions(measured: Measured) -> Table:
    rows: Rows = []
    for tool, version in (measured.run.get("versions") or {}).items():
        rows.append((tool, _by_host(measured, version) if isinstance(version, dict) else shown(version)))
    return _two_columns(measured, "table.versions", rows)


def _by_host(measured: Measured, versions: dict[str, Any]) -> str:
    """One version if all hosts have the same, else which host has which."""
    hosts: dict[str, list[str]] = {}
    for host, version in versions.items():
        hosts.setdefault(shown(version), []).append(host)
    if len(hosts) == 1:
        return measured.texts("method.everywhere", version=next(iter(hosts)), n=len(versions))
    return "; ".join(f"{version}: {', '.join(names)}" for version, names in hosts.items())


def _clocks(measured: Measured) -> Table:
    texts, numbers = measured.texts, measured.numbers
    offsets, samplers = measured.run.get("clock_offsets") or {}, measured.run.get("sampler") or {}
    rows = []
    for machine in dict.fromkeys([*offsets, *samplers]):
        clock, sampler = offsets.get(machine) or {}, samplers.get(machine) or {}
        seconds = sampler.get("seconds")
        share = sampler["cpu_seconds"] / seconds if seconds else None
        rows.append(
            (
                machine,
                numbers.quantity(clock.get("offset_seconds"), "seconds", 3),
                numbers.quantity(clock.get("uncertainty_seconds"), "seconds", 3),
                numbers.quantity(sampler.get("cpu_seconds"), "seconds", 3),
                numbers.percent(share, signed=False),
            )
        )
    heads = columns(texts, "machine", "offset", "uncertainty", "sampler_cpu", "sampler_share")
    return Table(texts("table.clocks"), heads, tuple(rows))


def _two_columns(measured: Measured, caption: str, rows: Rows) -> Table:
    return Table(measured.texts(caption), columns(measured.texts, "what", "value"), tuple(rows))
