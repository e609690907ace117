# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.netbench.cni.plugins.filter import human, iftop_flows, iperf3_metrics, trials
from ansible_collections.netbench.cni.tests.unit import synthetic
from tests.unit import play

FILTERS = Path(human.__file__).parent
FIXTURES = Path(__file__).parents[2] / "fixtures"
ALL: dict[str, Callable[..., Any]] = {
    name: function
    for module in (human, iftop_flows, iperf3_metrics, trials)
    for name, function in module.FilterModule().filters().items()
}
SPEC = synthetic.Spec(
    scenarios=("pod_to_pod_tcp",), effects={("flannel", "pod_to_pod_tcp", "throughput_bits_per_second"): 0.9}
)
TRIALS = synthetic.trials(SPEC)


def output(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def documented(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FILTERS / f"{name}.yml").read_text(encoding="utf-8"))
    return loaded


def test_every_filter_is_documented_and_nothing_else() -> None:
    assert {path.stem for path in FILTERS.glob("*.yml")} == set(ALL)
    assert {documented(name)["DOCUMENTATION"]["name"] for name in ALL} == set(ALL)


def test_iperf3_metrics() -> None:
    client, server = output("iperf3/3.12-udp.client.json"), output("iperf3/3.12-udp.server.json")
    whole = ALL["iperf3_metrics"](client)
    assert whole["loss_ratio"] == pytest.approx(11 / 6101)
    cut = ALL["iperf3_metrics"](json.loads(client), server, start="500ms", end=1.5)
    assert cut["throughput_bits_per_second"] == pytest.approx(2e8, rel=0.01)


def test_iftop_flows() -> None:
    flows = ALL["iftop_flows"](output("iftop/addresses.txt"))
    assert [flow["source"] for flow in flows] == ["10.99.0.1", "fd99::1"]
    assert all(isinstance(value, (str, float)) for flow in flows for value in flow.values())


def test_two_runs_are_compared_without_pairs() -> None:
    slower = synthetic.Spec(
        scenarios=("pod_to_pod_tcp",), effects={("native", "pod_to_pod_tcp", "throughput_bits_per_second"): 0.9}, seed=7
    )
    before, after = (
        {
            "schema": "netbench.cni/results/v1",
            "run": synthetic.manifest(spec),
            "trials": synthetic.trials(spec),
            "scenarios": [synthetic.scenario("pod_to_pod_tcp")],
        }
        for spec in (synthetic.Spec(scenarios=("pod_to_pod_tcp",)), slower)
    )
    compared = ALL["compare_runs"](before, after)
    assert compared["caveat"].startswith("not interleaved")
    assert any("native (after) is 9" in each or "native (after) is 10" in each for each in compared["sentences"])
    with pytest.raises(AnsibleFilterError, match=r"the input is not the content of a results\.json"):
        ALL["compare_runs"]({}, after)


def test_human_numbers() -> None:
    assert ALL["human_rate"](7.92e9) == "7.92 Gbit/s"
    assert ALL["human_cores"](0.2, 4) == ALL["human_cores"](0.2, node_cpus=4) == "0.2 cores (5 % of 4 vCPUs, 0.1 OCPU)"
    assert ALL["human_ratio"](None) == "–"


def test_summaries() -> None:
    summaries = {(s["cluster"], s["metric"]): s for s in ALL["summarize"](TRIALS)}
    native = summaries["native", "throughput_bits_per_second"]
    values = [
        t["metrics"]["throughput_bits_per_second"] for t in TRIALS if t["cluster"] == "native" and t["status"] == "ok"
    ]
    assert (native["n"], native["mean"]) == (len(values), pytest.approx(sum(values) / len(values)))
    assert native["ci_low"] < native["mean"] < native["ci_high"]


def test_comparisons() -> None:
    found = ALL["compare"](
        TRIALS,
        "native",
        primaries={"pod_to_pod_tcp": "throughput_bits_per_second"},
        candidates=["flannel"],
        margin="2%",
    )
    first = found[0]
    assert (first["candidate"], first["metric"], first["primary"]) == ("flannel", "throughput_bits_per_second", True)
    assert (first["verdict"], first["margin"]) == ("lower", 0.02)
    assert first["ci_low"] < -0.05 < 0


@pytest.mark.parametrize(
    ("name", "arguments", "options", "sentence"),
    [
        ("iperf3_metrics", ("",), {}, "iperf3's output is empty; it must be the whole document"),
        ("iperf3_metrics", ("{}",), {"start": "soon"}, "start is 'soon'; it must be a time in seconds"),
        ("iftop_flows", (7,), {}, "iftop's output is of the type int; it must be text"),
        ("human_rate", ("2G",), {}, "the input is '2G'; it must be a number, or null"),
        ("human_seconds", (True,), {}, "the input is True; it must be a number, or null"),
        ("human_cores", (1,), {"node_cpus": "4"}, "the input is '4'; it must be a number, or null"),
        ("summarize", ({},), {}, "the input is a mapping; it must be a list"),
        (
            "summarize",
            ([{"id": "a"}],),
            {},
            "trial 0 lacks block, cluster, scenario, status, metrics; it must be an entry",
        ),
        ("summarize", ([TRIALS[0], 3],), {}, "trial 1 is 3; it must be a mapping"),
        ("summarize", ([TRIALS[0] | {"metrics": {"x": "1"}}],), {}, "trial 0.metrics.x is '1'; it must be a number"),
        ("compare", (TRIALS, "calico"), {}, "baseline calico was not measured"),
        ("compare", (TRIALS, "native"), {"margin": 0}, "margin is 0; it must be above zero"),
        ("compare", (TRIALS, "native"), {"margin": "2 apples"}, "margin is '2 apples'; it must be a percentage"),
        ("compare", (TRIALS, "native"), {"candidates": "flannel"}, "candidates is 'flannel'; it must be a list"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        ALL[name](*arguments, **options)
    assert str(caught.value).startswith(f"netbench.cni.{name}: {sentence}")


def test_the_examples_run(tmp_path: Path) -> None:
    """The last task of each filter's examples, in a playbook, on what the tasks before it would have got."""
    tasks = [
        {**task, "name": name}
        for name in sorted(ALL)
        for task in yaml.safe_load(documented(name)["EXAMPLES"])
        if "ansible.builtin.debug" in task
    ]
    assert len(tasks) == len(ALL)
    client = json.loads(output("iperf3/3.12-tcp.client.json"))
    client["server_output_json"] = json.loads(output("iperf3/3.12-tcp.server.json"))
    given = {"client": {"stdout": json.dumps(client)}, "iftop": {"stdout": output("iftop/addresses.txt")}}
    results = {
        "schema": "netbench.cni/results/v1",
        "run": synthetic.manifest(SPEC),
        "trials": TRIALS,
        "scenarios": [synthetic.scenario("pod_to_pod_tcp")],
    }
    environ = play.prepare(
        tmp_path,
        play_yml=yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks}]),
    )
    for run in ("latest", "before", "after"):
        (tmp_path / "results" / run).mkdir(parents=True)
        (tmp_path / "results" / run / "results.json").write_text(json.dumps(results), encoding="utf-8")
    ran = play.run(tmp_path, environ, "ansible-playbook", "-i", "localhost,", "play.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for said in (
        "10.99.0.1 sends 100 Mbit/s to 10.99.0.2",
        "0.2 cores (5 % of 4 vCPUs, 0.1 OCPU)",
        "7.92 Gbit/s",
        "2 MiB",
        "24 µs",
        "0.51 %",
        "500 Mbit/s",
        "native, pod_to_pod_tcp: ",
        "flannel: throughput_bits_per_second of pod_to_pod_tcp is lower",
        "pod_to_pod_tcp: throughput_bits_per_second of native (after) is equivalent to native (before)'s",
    ):
        assert said in ran.stdout
