# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run directory → results.json (docs/results.schema.json), results.csv and the facts that a play keeps."""

from __future__ import annotations

import csv
import gc
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.netbench.cni.plugins.plugin_utils import comparison, flow_share, journal, physics, statistics
from ansible_collections.netbench.cni.plugins.plugin_utils.fields import nearest
from ansible_collections.netbench.cni.plugins.plugin_utils.limits import evaluate, parse_limits
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import metric
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.plugins.plugin_utils.scenarios import parse_scenarios

SCHEMA = "netbench.cni/results/v1"
RUN_SCHEMA = "netbench.cni/run/v1"

_COLUMNS = ("run", "trial", "block", "order", "cluster", "scenario", "status", "reason", "metric", "value", "unit")
_POD_PATHS = ("pod_to_pod", "pod_to_pod_same_node", "pod_to_service")
_WHY: Mapping[comparison.Reason, str] = {
    "no_pairs": "no block has a trial of both that counts",
    "one_pair": "a single one says nothing of the scatter",
    "no_interval": "too few pairs, all alike",
    "not_after_correction": "not significant after correcting for the number of comparisons",
    "no_margin": "the interval holds zero, and this metric has no margin of equivalence",
    "too_wide": "the interval holds zero and reaches beyond the margin",
}


def build(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of results.json from run.json and trials.jsonl; nothing is written.

    Raises NetbenchError when either is missing, damaged or of another matrix than the other, and when the baseline has
    no trial.
    """
    directory = Path(run_dir)
    run = _manifest(directory / "run.json")
    matrix = run["matrix"]
    with _collector_paused():
        _header, finished = journal.read(directory / "trials.jsonl", run["matrix_digest"])
    trials = [vars(trial) for trial in finished]
    described = [each.scenario for each in parse_scenarios({"scenarios": matrix["scenarios"]}, [])]
    selected = matrix.get("select") or [scenario.name for scenario in described]
    scenarios = [asdict(scenario) for scenario in described if scenario.name in selected]
    summaries = [asdict(summary) for summary in statistics.summarize(trials)]
    compared = comparison.compare(
        trials,
        baseline=run["baseline"],
        primaries={scenario["name"]: scenario["primary"] for scenario in scenarios},
        candidates=run["candidates"],
        margin=matrix["margin"],
    )
    to_host = comparison.host_cost(trials, _hosts(scenarios), margin=matrix["margin"])
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run,
        "clusters": run["clusters"],
        "scenarios": scenarios,
        "trials": trials,
        "summaries": summaries,
        "comparisons": [asdict(each) for each in compared],
        "comparisons_to_host": [asdict(each) for each in to_host],
        "predictions": _predictions(run, scenarios),
        "expected_means": _expected_means(run, scenarios, summaries),
    }
    limits = parse_limits(matrix["limits"], described, [run["baseline"], *run["candidates"]])
    results["limits"] = evaluate(limits, results)
    return results


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A results.json, such as one to compare with. Raises NetbenchError if it is none."""
    return _document(Path(path), SCHEMA)


def write(run_dir: str | os.PathLike[str], results: Mapping[str, Any]) -> Path:
    """Write results.json whole or not at all, one element of every list a line; returns its path."""
    path = Path(run_dir) / "results.json"
    with _replacing(path) as handle:
        for place, (key, value) in enumerate(results.items()):
            handle.write(("{\n" if place == 0 else ",\n") + json.dumps(key) + ": ")
            if isinstance(value, list):
                _write_lines(handle, value)
            else:
                handle.write(_json(value))
        handle.write("\n}\n")
    return path


def write_csv(run_dir: str | os.PathLike[str], results: Mapping[str, Any]) -> Path:
    """Write results.csv whole or not at all; returns its path.

    One row for each metric of each trial; a trial without metrics has one row that says why.
    """
    path = Path(run_dir) / "results.csv"
    run = results["run"]["id"]
    with _replacing(path) as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for trial in results["trials"]:
            start = (run, *(trial[key] for key in ("id", "block", "order", "cluster", "scenario", "status", "reason")))
            for name, value in trial["metrics"].items():
                rows.writerow((*start, name, value, metric(name).unit))
            if not trial["metrics"]:
                rows.writerow((*start, "", "", ""))
    return path


def facts(results: Mapping[str, Any], run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """What a play keeps of a run: primaries, verdicts and limits, no trials and no samples."""
    run = results["run"]
    primaries = {scenario["name"]: scenario["primary"] for scenario in results["scenarios"]}
    compared = [each for each in results["comparisons"] if each["primary"]]
    counts = Counter(trial["status"] for trial in results["trials"])
    return {
        "schema": "netbench.cni/facts/v1",
        "run": run["id"],
        "directory": os.fspath(run_dir),
        **{
            key: run[key]
            for key in ("started", "finished", "provider", "shared_machine", "where", "baseline", "candidates")
        },
        "trials": {status: counts[status] for status in ("ok", "failed", "void")},
        "summaries": [each for each in results["summaries"] if primaries.get(each["scenario"]) == each["metric"]],
        "comparisons": compared,
        "verdicts": [sentence(each) for each in compared],
        "limits": results["limits"],
    }


def run_sentence(found: Mapping[str, Any]) -> str:
    """A comparison of two runs in one English sentence."""
    cluster, n = found["cluster"], min(found["n_before"], found["n_after"])
    named = {**found, "candidate": f"{cluster} (after)", "baseline": f"{cluster} (before)", "n": n}
    return sentence(named, counted="trials each")


def sentence(found: Mapping[str, Any], counted: str = "pairs") -> str:
    """A comparison in one English sentence, with the names and numbers of results.json."""
    unit = metric(found["metric"]).unit
    in_percent = found["relative"] is not None
    effect = found["relative"] if in_percent else found["difference"]
    subject = f"{found['scenario']}: {found['metric']} of {found['candidate']}"

    def shown(value: float, *, signed: bool = True) -> str:
        sign = "+" if signed else ""
        return f"{value:{sign}.2%}" if in_percent else f"{value:{sign}.3g} {unit}"

    if found["ci_low"] is None or found["ci_high"] is None:
        known = f"{found['n']} {counted}"
    else:
        known = f"95 % interval {shown(found['ci_low'])} to {shown(found['ci_high'])}, {found['n']} {counted}"
    reason = comparison.why_inconclusive(found)
    if reason is not None:
        detectable = found["minimum_detectable"]
        could = "" if detectable is None else f"; from {shown(detectable, signed=False)} on it would have been found"
        return f"{subject} against {found['baseline']} is inconclusive ({known}): {_WHY[reason]}{could}"
    if found["verdict"] == "equivalent":
        within = shown(found["margin"] or 0.0, signed=False)
        return f"{subject} is equivalent to {found['baseline']}'s within {within} ({known})"
    return f"{subject} is {shown(abs(effect), signed=False)} {found['verdict']} than {found['baseline']}'s ({known})"


def _manifest(path: Path) -> dict[str, Any]:
    run = _document(path, RUN_SCHEMA)
    names = [cluster["name"] for cluster in run["clusters"]]
    for name in (run["baseline"], *run["candidates"]):
        if name not in names:
            raise NetbenchError(f"{path} does not describe cluster {name}; {nearest(name, names)}")
    return run


def _document(path: Path, schema: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise NetbenchError(f"{path} cannot be read: {error.strerror}; name a directory that holds a run") from error
    except ValueError as error:
        raise NetbenchError(f"{path} is no JSON ({error}); restore it, or measure again") from error
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise NetbenchError(f"{path} has another schema than {schema}; name a file that this version wrote")
    return content


def _hosts(scenarios: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Pod scenario → the node-to-node scenario with the same traffic."""
    hosts = [scenario for scenario in scenarios if scenario["path"] == "node_to_node"]
    return {
        pod["name"]: host["name"]
        for pod in scenarios
        if pod["path"] in _POD_PATHS
        for host in hosts
        if host["traffic"] == pod["traffic"]
    }


def _predictions(run: Mapping[str, Any], scenarios: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    clusters = {cluster["name"]: cluster for cluster in run["clusters"]}
    return [
        row
        for scenario in scenarios
        for candidate in run["candidates"]
        for row in physics.predict(scenario, clusters[run["baseline"]], clusters[candidate])
    ]


def _expected_means(
    run: Mapping[str, Any], scenarios: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The reference's arithmetic: what many clients get on average, by how often flows are forwarded."""
    mean = {
        (each["cluster"], each["scenario"]): each["mean"]
        for each in summaries
        if each["metric"] == "throughput_bits_per_second"
    }
    rows = []
    for cluster, share in run.get("flow_share", {}).items():
        on_path = [scenario for scenario in scenarios if scenario["path"] == share["path"]]
        for far in (scenario for scenario in on_path if scenario["forwarding"] == "forwarded"):
            for near in (scenario for scenario in on_path if scenario["forwarding"] == "local"):
                local, forwarded = mean.get((cluster, near["name"])), mean.get((cluster, far["name"]))
                if far["traffic"] != near["traffic"] or local is None or forwarded is None or not share["flows"]:
                    continue
                low, high = statistics.proportion_interval(share["forwarded"], share["flows"])
                rows.append(
                    {
                        "cluster": cluster,
                        "forwarded_scenario": far["name"],
                        "local_scenario": near["name"],
                        "flows": share["flows"],
                        "forwarded_share": share["forwarded"] / share["flows"],
                        "forwarded_share_ci_low": low,
                        "forwarded_share_ci_high": high,
                        "forwarded_bits_per_second": forwarded,
                        "local_bits_per_second": local,
                        "expected_bits_per_second": flow_share.expected_mean(share, local, forwarded),
                    }
                )
    return rows


def _write_lines(handle: TextIO, items: Sequence[Any]) -> None:
    handle.writelines(("[\n" if place == 0 else ",\n") + _json(item) for place, item in enumerate(items))
    handle.write("\n]" if items else "[]")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nothing that is read is garbage, and looking for some among 100,000 trials takes as long as reading them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when it is complete and on disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    except OSError as error:
        raise NetbenchError(
            f"{path} cannot be written: {error.strerror}; free or mend the disk and render again"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
