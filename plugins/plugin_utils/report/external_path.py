# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path from outside the cluster: what was crossed, how often it leaves the ingress node, and iftop's view of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.netbench.cni.plugins.plugin_utils.report.measured import Measured, Record
from ansible_collections.netbench.cni.plugins.plugin_utils.report.numbers import NONE
from ansible_collections.netbench.cni.plugins.plugin_utils.report.tables import Table, columns
from ansible_collections.netbench.cni.plugins.plugin_utils.report.titles import path_title

_RATES = ("sent_bits_per_second", "received_bits_per_second")


@dataclass(frozen=True)
class Stop:
    """One thing that the packets cross: its kind, its name and the NICs used there as (name, in or out)."""

    kind: str
    name: str
    nics: tuple[tuple[str, str], ...] = ()
    pod: str | None = None


@dataclass(frozen=True)
class Route:
    """The commonest path of one cluster's trials of a scenario; `cni_hop` is the stop before the CNI's hop."""

    cluster: str
    title: str
    stops: tuple[Stop, ...]
    cni_hop: int | None
    count: int
    total: int
    rates: str


def routes(measured: Measured) -> list[Route]:
    """One route for each traced scenario and cluster."""
    found = []
    for scenario in measured.scenarios:
        for cluster in measured.clusters:
            trials = _traced(measured, scenario["name"], cluster["name"])
            if not trials:
                continue
            kinds = Counter(_stops_key(trial["path_trace"]) for trial in trials)
            key, count = kinds.most_common(1)[0]
            example = next(trial for trial in trials if _stops_key(trial["path_trace"]) == key)
            stops, hop = _stops(example)
            title = path_title(scenario, measured.texts)
            rates = _rates_told(measured, cluster["name"], scenario["name"])
            found.append(Route(cluster["name"], title, stops, hop, count, len(trials), rates))
    return found


def _rates_told(measured: Measured, cluster: str, scenario: str) -> str:
    """What arrived and what the ingress node carried for it: the reference's 4 = 8 in + out."""
    metrics = ("throughput_bits_per_second", "ingress_node_rx_bits_per_second", "ingress_node_tx_bits_per_second")
    means = [measured.mean(cluster, scenario, metric) for metric in metrics]
    if None in means:
        return ""
    rate, rx, tx = (measured.numbers.quantity(mean, "bits_per_second", 3) for mean in means)
    return measured.texts("drawing.rates", rate=rate, rx=rx, tx=tx)


def _traced(measured: Measured, scenario: str, cluster: str) -> list[Record]:
    return [t for t in measured.trials_of(scenario, cluster, "ok") if t.get("path_trace")]


def _stops_key(trace: Record) -> str:
    nics = [(hop["node"], hop["nic"], hop["direction"]) for hop in trace.get("hops", [])]
    keys = ("load_balancer", "ingress_node", "serving_node", "serving_pod")
    return json.dumps([[trace.get(key) for key in keys], nics])


def _stops(trial: Record) -> tuple[tuple[Stop, ...], int | None]:
    trace = trial["path_trace"]

    def nics(node: str) -> tuple[tuple[str, str], ...]:
        return tuple((hop["nic"], hop["direction"]) for hop in trace.get("hops", []) if hop["node"] == node)

    client = str(trial["endpoints"].get("client") or NONE)
    stops = [Stop("client", client)]
    if trace.get("load_balancer"):
        stops.append(Stop("load_balancer", trace["load_balancer"]))
    ingress, serving = trace.get("ingress_node"), str(trace["serving_node"])
    if ingress and ingress != serving:
        stops.append(Stop("ingress_node", ingress, nics(ingress)))
    kind = "ingress_and_serving_node" if ingress == serving else "serving_node"
    stops.append(Stop(kind, serving, nics(serving), str(trace["serving_pod"])))
    return tuple(stops), len(stops) - 2 if trace.get("cni_crossed") else None


def trace_table(measured: Measured) -> Table:
    """What each path trace found and which evidence agreed."""
    texts = measured.texts
    rows = []
    for scenario in measured.scenarios:
        for cluster in measured.clusters:
            trials = _traced(measured, scenario["name"], cluster["name"])
            if not trials:
                continue
            traces = [trial["path_trace"] for trial in trials]
            crossed = sum(bool(trace.get("cni_crossed")) for trace in traces)
            agreed = Counter(kind for trace in traces for kind in trace.get("agreed") or [])
            evidence = (
                f"{texts.known(f'evidence.{kind}', kind)} {n}/{len(traces)}" for kind, n in agreed.most_common()
            )
            rows.append(
                (
                    measured.title(scenario["name"]),
                    cluster["name"],
                    _counted(trace.get("ingress_node") for trace in traces),
                    _counted(trace.get("serving_pod") for trace in traces),
                    f"{crossed} / {len(traces)}",
                    texts("list.comma").join(evidence) or NONE,
                )
            )
    heads = columns(texts, "scenario", "cluster", "ingress_node", "serving_pod", "cni_crossed", "evidence")
    return Table(texts("table.traces"), heads, tuple(rows))


def _counted(values: Iterable[str | None]) -> str:
    counted = Counter(value if value is not None else NONE for value in values)
    return ", ".join(f"{name} ×{n}" if len(counted) > 1 else name for name, n in counted.most_common())


def share_table(measured: Measured) -> Table | None:
    """How many flows of the unscored probe were forwarded to another node."""
    texts, numbers = measured.texts, measured.numbers
    rows = []
    for cluster in measured.clusters:
        share = (measured.run.get("flow_share") or {}).get(cluster["name"])
        if not share or not share["flows"]:
            continue
        pods = len(share["by_serving_pod"])
        rows.append(
            (
                cluster["name"],
                str(share["flows"]),
                f"{share['forwarded']} ({numbers.percent(share['forwarded'] / share['flows'], signed=False)})",
                f"{share['local']} ({numbers.percent(share['local'] / share['flows'], signed=False)})",
                numbers.percent((pods - 1) / pods, signed=False),
                _tally(share["by_ingress_node"]),
                _tally(share["by_serving_pod"]),
            )
        )
    names = ("cluster", "flows", "forwarded", "local", "by_chance", "by_ingress_node", "by_serving_pod")
    return Table(texts("table.share"), columns(texts, *names), tuple(rows)) if rows else None


def _tally(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def share_sentences(measured: Measured) -> list[str]:
    """The reference's arithmetic with this run's figures: share × rate = expected mean."""
    texts, numbers = measured.texts, measured.numbers
    return [
        texts(
            "share.arithmetic",
            cluster=row["cluster"],
            local_share=numbers.percent(1 - row["forwarded_share"], signed=False),
            forwarded_share=numbers.percent(row["forwarded_share"], signed=False),
            low=numbers.percent(row["forwarded_share_ci_low"], signed=False),
            high=numbers.percent(row["forwarded_share_ci_high"], signed=False),
            local=numbers.quantity(row["local_bits_per_second"], "bits_per_second", 3),
            forwarded=numbers.quantity(row["forwarded_bits_per_second"], "bits_per_second", 3),
            mean=numbers.quantity(row["expected_bits_per_second"], "bits_per_second", 3),
        )
        for row in measured.results.get("expected_means", [])
    ]


def iftop_tables(measured: Measured) -> list[Table]:
    """iftop's view of every NIC, one table for each cluster and scenario; a NIC without flows is shown as idle."""
    texts = measured.texts
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for seen in (measured.run.get("evidence") or {}).get("iftop") or []:
        rows.setdefault((seen["scenario"], seen["cluster"]), []).extend(_iftop_rows(measured, seen))
    heads = columns(texts, "node", "nic", "source", "destination", "sent", "received")
    return [
        Table(texts("table.iftop", cluster=cluster, scenario=measured.title(scenario)), heads, tuple(found))
        for (scenario, cluster), found in rows.items()
    ]


def _iftop_rows(measured: Measured, seen: Record) -> list[tuple[str, ...]]:
    def rates(of: Record, prefix: str = "") -> tuple[str, ...]:
        return tuple(measured.numbers.quantity(of.get(prefix + key), "bits_per_second", 3) for key in _RATES)

    flows = seen.get("flows") or []
    if not flows:
        return [(seen["node"], seen["nic"], measured.texts("iftop.idle"), "", *rates(seen, "total_"))]
    return [(seen["node"], seen["nic"], flow["source"], flow["destination"], *rates(flow)) for flow in flows]
