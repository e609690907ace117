# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for: units, defaults, and one sentence for every mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import LabSpec, parse, parse_rate, parse_share

CPUS = frozenset({0, 1})
NATIVE = {"name": "native", "datapath": "routed"}
FLANNEL = {"name": "flannel", "datapath": "vxlan"}


def spec(**given: Any) -> LabSpec:
    return parse({"clusters": [NATIVE, FLANNEL], **given}, CPUS)


def test_the_default_lab_is_the_references() -> None:
    lab = spec()
    assert [(c.name, c.datapath, c.workers, c.mtu) for c in lab.clusters] == [
        ("native", "routed", 3, 9000),
        ("flannel", "vxlan", 3, 9000),
    ]
    assert lab.name == "lab"
    assert lab.line_rate_bits_per_second is None
    assert lab.line_rate_shared
    assert lab.burst_bytes >= 256 * 1024


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2Gbit", 2_000_000_000),
        ("500 Mbit/s", 500_000_000),
        ("1.5gbit", 1_500_000_000),
        ("64000kbps", None),
        ("64000kbitps", 64_000_000),
        (3_000_000, 3_000_000),
    ],
)
def test_rates_are_in_bits(text: object, rate: int | None) -> None:
    if rate is None:
        with pytest.raises(LabError, match="must be a rate such as"):
            parse_rate(text, "line_rate")
    else:
        assert parse_rate(text, "line_rate") == rate


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_any_text_is_a_rate_within_bounds_or_refused_in_one_sentence(text: object) -> None:
    try:
        rate, complaint = parse_rate(text, "line_rate"), None
    except LabError as error:
        rate, complaint = None, str(error)
    if complaint is None:
        assert rate is not None
        assert 1_000_000 <= rate <= 100_000_000_000
    else:
        assert complaint.startswith(f"line_rate is {text!r}, but it must ")


def test_a_cluster_may_have_its_own_rate_or_a_share_of_the_labs() -> None:
    lab = spec(clusters=[{**NATIVE, "line_rate": "98%"}, {**FLANNEL, "line_rate": "3Gbit"}], line_rate="2Gbit")
    assert [cluster.line_rate(2_000_000_000) for cluster in lab.clusters] == [1_960_000_000, 3_000_000_000]
    assert parse_share("98%", "x", 0.01, 10) == 0.98


def test_the_normal_form_is_equal_for_equal_labs_and_plain() -> None:
    explicit = spec(name="lab", line_rate="auto", clusters=[{**NATIVE, "workers": 3, "line_rate": "100%"}, FLANNEL])
    assert explicit.as_dict() == spec().as_dict()
    assert spec(clusters=[{**NATIVE, "cpus": [1]}]).as_dict()["clusters"][0]["cpus"] == [1]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"clusters": []}, "clusters is [], but it must be a list with at least one cluster."),
        ({"clusters": [NATIVE, NATIVE]}, "clusters names 'native' twice"),
        ({"clusters": [{"name": "Bad_Name", "datapath": "vxlan"}]}, "clusters[].name is 'Bad_Name'"),
        ({"clusters": [{"name": "all", "datapath": "vxlan"}]}, "clusters[].name is 'all'"),
        ({"clusters": [{"name": "x", "datapath": "geneve"}]}, "clusters[x].datapath is 'geneve'"),
        ({"clusters": [{"name": "x"}]}, "clusters[x].datapath is None"),
        ({"clusters": [{**NATIVE, "workers": 0}]}, "clusters[native].workers is 0, but"),
        ({"clusters": [{**NATIVE, "workers": True}]}, "clusters[native].workers is True, but"),
        ({"clusters": [{**NATIVE, "wrokers": 2}]}, "clusters[native] has the unknown key 'wrokers'"),
        ({"clusters": [{**NATIVE, "mtu": 9001}]}, "clusters[native].mtu is 9001, but"),
        (
            {"clusters": [{**NATIVE, "cpus": [7]}]},
            "clusters[native].cpus names the CPU 7, but this machine offers [0, 1]",
        ),
        (
            {"clusters": [{**NATIVE, "cpus": [1, 1]}]},
            "clusters[native].cpus is [1, 1], but it must name each CPU once.",
        ),
        ({"clusters": [{**NATIVE, "offloads": {"lro": True}}]}, "clusters[native].offloads has the unknown key 'lro'"),
        ({"clusters": [{**NATIVE, "offloads": {"tso": "on"}}]}, "clusters[native].offloads.tso is 'on', but"),
        ({"clusters": [{**NATIVE, "line_rate": "2000%"}]}, "clusters[native].line_rate is '2000%', but"),
        ({"line_rate": "fast"}, "line_rate is 'fast', but"),
        ({"line_rate": "1kbit"}, "line_rate is '1kbit', but it must lie between"),
        ({"line_rate_shared": "maybe"}, "line_rate_shared is 'maybe', but"),
        ({"calibration_target": "0.55"}, "calibration_target is '0.55', but"),
        ({"burst_bytes": 1500}, "burst_bytes is 1500, but"),
        ({"queue_milliseconds": 0}, "queue_milliseconds is 0, but"),
        ({"external_source_addresses": 300}, "external_source_addresses is 300, but"),
        ({"congestion_control": "../x"}, "congestion_control is '../x', but"),
        ({"name": "-"}, "name is '-', but"),
        ({"speed": 1}, "The lab has the unknown key 'speed'; it knows "),
    ],
)
def test_a_mistake_is_one_sentence_with_field_and_value(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError) as caught:
        spec(**wrong)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith(".")
