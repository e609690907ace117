# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/results.schema.json: real results fit it, and it is strict enough to notice what is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ansible_collections.netbench.cni.plugins.plugin_utils import results
from ansible_collections.netbench.cni.plugins.plugin_utils.metrics import METRICS
from ansible_collections.netbench.cni.tests.unit import synthetic

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "results.schema.json").read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    spec = synthetic.Spec(failed=1, void=1)
    return results.build(synthetic.write_run(tmp_path_factory.mktemp("schema") / "run", spec, series=False))


def errors(document: Any) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_the_metrics_of_the_registry() -> None:
    assert SCHEMA["$defs"]["metric"]["enum"] == list(METRICS)


@pytest.mark.parametrize(
    "spec",
    [
        synthetic.Spec(failed=3, void=3),
        synthetic.Spec(blocks=1),
        synthetic.Spec(datapaths={"native": "routed"}, limits=()),
        synthetic.Spec(datapaths={"native": "routed", "flannel": "vxlan", "hostgw": "host_gateway"}, blocks=2),
        synthetic.Spec(scenarios=("pod_to_pod_tcp",), blocks=3, failed=6),
    ],
)
def test_results_fit(tmp_path: Path, spec: synthetic.Spec) -> None:
    run_dir = synthetic.write_run(tmp_path / "run", spec, series=False)
    path = results.write(run_dir, results.build(run_dir))
    assert errors(json.loads(path.read_text())) == []


def _without(*keys: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[0] if key == "0" else document[key]
        del document[keys[-1]]

    return change


def _with(value: Any, *keys: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[0] if key == "0" else document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_without("limits"), "$"),
        (_with([], "extra"), "$"),
        (_with("netbench.cni/results/v2", "schema"), "$.schema"),
        (_with(1, "run", "extra"), "$.run"),
        (_without("run", "shared_machine"), "$.run"),
        (_with("today", "run", "started"), "$.run.started"),
        (_with("done", "trials", "0", "status"), "$.trials[0].status"),
        (_with(1.0, "trials", "0", "metrics", "speed"), "$.trials[0].metrics"),
        (
            _with(None, "trials", "0", "metrics", "throughput_bits_per_second"),
            "$.trials[0].metrics.throughput_bits_per_second",
        ),
        (_with({}, "trials", "0", "metrics"), "$.trials[0].metrics"),
        (_with({}, "trials", "0", "window"), "$.trials[0].window"),
        (_with("failed", "trials", "0", "status"), "$.trials[0].reason"),
        (_with({"hops": []}, "trials", "0", "path_trace"), "$.trials[0].path_trace"),
        (_without("summaries", "0", "cv"), "$.summaries[0]"),
        (_with(0, "summaries", "0", "n"), "$.summaries[0].n"),
        (_with("better", "comparisons", "0", "verdict"), "$.comparisons[0].verdict"),
        (_with("it is", "comparisons", "0", "reason"), "$.comparisons[0]"),
        (_with(None, "comparisons", "0", "ci_low"), "$.comparisons[0].ci_low"),
        (_with(1.5, "comparisons", "0", "p_value"), "$.comparisons[0].p_value"),
        (_with(False, "comparisons_to_host", "0", "exploratory"), "$.comparisons_to_host[0].exploratory"),
        (_without("predictions", "0", "formula"), "$.predictions[0]"),
        (_with("pod_to_node", "scenarios", "0", "path"), "$.scenarios[0].path"),
        (_with("unknown", "limits", "0", "state"), "$.limits[0].state"),
    ],
)
def test_what_is_wrong_is_found(built: dict[str, Any], change: Callable[[Any], None], where: str) -> None:
    document = copy.deepcopy(built)
    document["comparisons"].sort(key=lambda each: each["verdict"] == "inconclusive")
    document["trials"].sort(key=lambda each: each["status"] != "ok")
    assert errors(document) == []
    change(document)
    assert where in errors(document)
