# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils import plan, scenarios
from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import (
    Evidence,
    Matrix,
    VoidRules,
    as_plain,
    digest,
    parse,
)
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit.topology import topology

PROFILES = Path(__file__).parents[4] / "roles" / "measurement" / "vars" / "profiles"
TCP = {"name": "tcp", "path": "pod_to_pod", "protocol": "tcp"}
UDP = {"name": "udp", "path": "pod_to_pod", "protocol": "udp", "rate": "50%"}
CLUSTERS, EXTERNALS = topology()


def profile(name: str) -> dict[str, Any]:
    matrix = yaml.safe_load((PROFILES / f"{name}.yml").read_text())["measurement_profile_matrix"]
    # What its templates give in a lab on this machine.
    templates = {"baseline": "native"}
    if name == "default":
        templates["defaults"] = {**matrix["defaults"], "socket_buffer": "2M"}
    return {**matrix, **templates}


def read(*rows: dict[str, Any], **keys: Any) -> Matrix:
    return parse({"scenarios": list(rows or [TCP]), "seed": 1, **keys}, CLUSTERS, EXTERNALS)


def one(**keys: Any) -> scenarios.Scenario:
    return read({**TCP, **keys}).scenarios[0]


def test_the_default_profile() -> None:
    matrix = parse(profile("default"), CLUSTERS, EXTERNALS)
    assert matrix.clusters == ("native", "flannel")
    assert (matrix.baseline, matrix.candidates) == ("native", ("flannel",))
    assert matrix.void == VoidRules(0.98, 0.05, 0.70)
    assert matrix.evidence == Evidence(("pod_to_pod_tcp", "external_tcp_forwarded"), 2.0, 240)
    primaries = {each.name: each.primary for each in matrix.scenarios}
    assert primaries == {
        "node_to_node_tcp": "throughput_bits_per_second",
        "pod_to_pod_tcp": "throughput_bits_per_second",
        "pod_to_pod_tcp_fixed": "cpu_cores_per_gbit",
        "pod_to_pod_udp_over": "throughput_bits_per_second",
        "pod_to_pod_udp_sustainable": "loss_ratio",
        "external_tcp_forwarded": "throughput_bits_per_second",
        "external_tcp_local": "throughput_bits_per_second",
    }
    rates = {each.name: each.traffic.rate_bits_per_second for each in matrix.scenarios}
    assert rates["pod_to_pod_udp_over"] == 2e9
    assert rates["pod_to_pod_udp_sustainable"] == pytest.approx(1.85e9)
    tcp, udp = matrix.scenario("pod_to_pod_tcp").traffic, matrix.scenario("pod_to_pod_udp_over").traffic
    assert (tcp.socket_buffer_bytes, tcp.congestion_control) == (2 * 2**20, "cubic")
    assert (udp.socket_buffer_bytes, udp.congestion_control, udp.length_bytes) == (2 * 2**20, None, 8192)
    assert plan.seconds(plan.plan(matrix)) < 6 * 60


def test_the_full_profile() -> None:
    matrix = parse(profile("full"), CLUSTERS, EXTERNALS)
    assert all(each.traffic_seconds >= 30 for each in matrix.scenarios)
    assert {each.path for each in matrix.scenarios} == set(scenarios.PATHS)
    names = {each.name for each in matrix.scenarios}
    assert {f"pod_to_pod_tcp_streams_{n}" for n in (1, 4, 8)} <= names
    assert {"pod_to_pod_tcp_reverse", "pod_to_pod_tcp_bidirectional", "pod_to_pod_udp_small_length_64"} <= names
    assert not names & matrix.watch
    watched = parse({**profile("full"), "select": ["watch_pod_to_pod_tcp"]}, CLUSTERS, EXTERNALS)
    assert [each.traffic_seconds for each in watched.scenarios] == [3600]
    assert watched.intervals["watch_pod_to_pod_tcp"] == 10
    assert len(plan.plan(watched)) == 2


def test_defaults_of_the_matrix() -> None:
    matrix = read()
    assert (matrix.blocks, matrix.retries, matrix.margin, matrix.seed) == (8, 2, 0.02, 1)
    assert matrix.clusters == ("flannel", "native")
    assert matrix.void == VoidRules()
    assert matrix.evidence == Evidence()
    scenario = matrix.scenarios[0]
    assert (scenario.warmup_seconds, scenario.window_seconds) == (1.0, 1.8)
    assert matrix.intervals == {"tcp": 0.1}


def test_the_baseline_comes_first() -> None:
    assert read(baseline="native").clusters == ("native", "flannel")
    assert read(clusters=["native", "flannel"]).baseline == "native"
    assert read(clusters=["native"]).candidates == ()


def test_a_seed_is_drawn_where_none_is_given() -> None:
    rows = {"scenarios": [TCP]}
    assert len({parse(rows, CLUSTERS, EXTERNALS).seed for _time in range(5)}) > 1
    assert parse(rows, CLUSTERS, EXTERNALS, seed=77).seed == 77
    assert parse({**rows, "seed": 5}, CLUSTERS, EXTERNALS, seed=77).seed == 5


def test_shares_are_of_the_smallest_line_rate_measured() -> None:
    clusters, externals = topology("a", "b")
    slow, _externals = topology("slow", line_rate=1e9)
    every = {**clusters, **slow}
    data = {"scenarios": [UDP]}
    assert parse(data, every, externals).scenarios[0].traffic.rate_bits_per_second == 0.5e9
    without = parse({**data, "clusters": ["a", "b"]}, every, externals)
    assert without.scenarios[0].traffic.rate_bits_per_second == 1e9


def test_a_share_needs_every_line_rate() -> None:
    clusters, externals = topology("a", line_rate=None)
    with pytest.raises(NetbenchError, match="rate of scenario udp is '50%', but cluster a has no line_rate_bits_per"):
        parse({"scenarios": [UDP]}, clusters, externals)
    matrix = parse({"scenarios": [{**UDP, "rate": "900M"}]}, clusters, externals)
    assert matrix.scenarios[0].traffic.rate_bits_per_second == 9e8
    assert matrix.scenarios[0].primary == "loss_ratio"


def test_units() -> None:
    scenario = one(rate="1.5 Gbit/s", length="128K", socket_buffer="1M", mss=1400, warmup="1500ms", window="1min")
    assert scenario.traffic.rate_bits_per_second == 1.5e9
    assert scenario.traffic.length_bytes == 131072
    assert scenario.traffic.socket_buffer_bytes == 2**20
    assert (scenario.warmup_seconds, scenario.window_seconds) == (1.5, 60)


def test_datagrams_have_a_length_even_where_none_is_given() -> None:
    assert read(UDP).scenarios[0].traffic.length_bytes == scenarios.DATAGRAM_BYTES


def test_defaults_reach_the_scenarios_they_fit() -> None:
    rows = [TCP, {**UDP, "streams": 4}, {**TCP, "name": "own", "congestion_control": "bbr", "socket_buffer": None}]
    tcp, udp, own = read(
        *rows, defaults={"congestion_control": "cubic", "mss": 1400, "socket_buffer": "1M", "streams": 2}
    ).scenarios
    assert (tcp.traffic.congestion_control, tcp.traffic.mss_bytes, tcp.traffic.streams) == ("cubic", 1400, 2)
    assert (udp.traffic.congestion_control, udp.traffic.mss_bytes, udp.traffic.streams) == (None, None, 4)
    assert (own.traffic.congestion_control, own.traffic.socket_buffer_bytes) == ("bbr", None)
    assert read({**TCP, "protocol": None, "rate": 1e6, "name": "u"}, defaults={"protocol": "udp"}).scenarios


def test_lists_expand() -> None:
    matrix = read({**TCP, "streams": [1, 8], "direction": ["forward", "reverse"], "length": ["128K"]})
    assert [each.name for each in matrix.scenarios] == [
        "tcp_streams_1_forward_length_131072",
        "tcp_streams_1_reverse_length_131072",
        "tcp_streams_8_forward_length_131072",
        "tcp_streams_8_reverse_length_131072",
    ]
    assert matrix.scenarios[3].traffic.streams == 8
    assert matrix.scenarios[3].traffic.direction == "reverse"


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (None, ["tcp", "udp"]),
        (["udp"], ["udp"]),
        (["watch", "tcp"], ["tcp", "watch"]),
        ("[?protocol=='udp']", ["udp"]),
        ("[?protocol=='tcp'].name", ["tcp"]),
        ("[0]", ["tcp"]),
    ],
)
def test_select(select: Any, names: list[str]) -> None:
    matrix = read(TCP, UDP, {**TCP, "name": "watch", "watch": True}, select=select)
    assert [each.name for each in matrix.scenarios] == names
    assert {each.name for each in matrix.left_out} == {"tcp", "udp", "watch"} - set(names)


def test_selection_narrows_the_evidence() -> None:
    matrix = read(TCP, UDP, evidence={"iftop": {"scenarios": ["tcp", "udp"]}}, select=["udp"])
    assert matrix.evidence.iftop_scenarios == ("udp",)


def test_only_what_is_selected_needs_endpoints() -> None:
    external = {"name": "ext", "path": "external_to_load_balancer", "forwarding": "local"}
    rows = {"scenarios": [TCP, external]}
    with pytest.raises(NetbenchError, match="scenario ext needs an endpoint with netbench_role external"):
        parse(rows, CLUSTERS, {})
    assert parse({**rows, "select": ["tcp"]}, CLUSTERS, {}).scenarios


@pytest.mark.parametrize("name", ["default", "full"])
def test_the_plain_form_reads_as_the_same_matrix(name: str) -> None:
    limits = [
        {"name": "a", "scenario": "node_to_node_tcp", "not_lower_than": "-5%"},
        {"name": "b", "cluster": "native", "scenario": "node_to_node_tcp", "at_least": "900M"},
        {"name": "c", "jmespath": "`true`", "message": "never"},
        {"name": "d", "scenario": "pod_to_pod_tcp_fixed", "candidate": "flannel", "not_higher_than": "150%"},
    ]
    for select in (None, ["node_to_node_tcp"]):
        matrix = parse({**profile(name), "limits": limits, "select": select}, CLUSTERS, EXTERNALS)
        plain = as_plain(matrix)
        again = parse(json.loads(json.dumps(plain)), CLUSTERS, EXTERNALS)
        assert again == matrix
        assert digest(again) == digest(matrix)


def test_the_digest_is_of_what_decides_the_trials() -> None:
    data = {**profile("default"), "seed": 1}
    before = digest(parse(data, CLUSTERS, EXTERNALS))
    assert len(before) == 64
    for indifferent in ({"margin": "3%"}, {"evidence": None}, {"limits": [{"name": "x", "jmespath": "`true`"}]}):
        assert digest(parse({**data, **indifferent}, CLUSTERS, EXTERNALS)) == before
    changed = [{"seed": 2}, {"blocks": 4}, {"window": "2.8s"}, {"baseline": "flannel"}, {"interval": "0.2s"}]
    changed += [{"void": {"steal_above": "1%"}}, {"select": ["pod_to_pod_tcp"]}, {"defaults": None}]
    digests = {digest(parse({**data, **change}, CLUSTERS, EXTERNALS)) for change in changed}
    assert len(digests | {before}) == len(changed) + 1


def test_a_known_digest_stays_as_it_is() -> None:
    """A journal of an earlier version must still be resumable: the digest's content may not change unnoticed."""
    assert digest(read({**TCP, "warmup": "1s", "window": "2s", "interval": "100ms"})) == (
        "6bec31f2091d8d71f04ff9f4869232bbdb5458ca347338433017b01db446e91a"
    )


def test_the_plain_form_has_built_in_types_only() -> None:
    def tagged(value: Any) -> Any:
        if isinstance(value, dict):
            return {trust_as_template(key): tagged(item) for key, item in value.items()}
        if isinstance(value, list):
            return [tagged(item) for item in value]
        return trust_as_template(value) if isinstance(value, str) else value

    def walk(value: Any) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None))
        for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
            walk(item)

    given_tagged = tagged({**profile("full"), "limits": [{"name": "x", "jmespath": "`true`"}]})
    assert type(given_tagged["baseline"]) is not str  # pylint: disable=unidiomatic-typecheck  # tagged ones are a subclass
    walk(as_plain(parse(given_tagged, CLUSTERS, EXTERNALS)))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["50%", "1G", "5s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_written_gives_a_matrix_or_one_sentence(data: st.DataObject) -> None:
    matrix: dict[str, Any] = copy.deepcopy(profile("default"))
    matrix["limits"] = [{"name": "x", "scenario": "pod_to_pod_tcp", "not_lower_than": "-5%"}]
    target = data.draw(st.sampled_from([matrix, matrix["scenarios"][3], matrix["evidence"], matrix["limits"][0]]))
    keys = sorted({*target, "limits", "select", "rate", "length", "mss", "seed", "at_least", "cluster", "jmespath"})
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3)):
        target[key] = data.draw(values)
    try:
        found = parse(matrix, CLUSTERS, EXTERNALS)
    except NetbenchError:
        return
    assert parse(as_plain(found), CLUSTERS, EXTERNALS) == found
