# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for people."""

from __future__ import annotations

import math

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.report import numbers
from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts

EN, ZH = numbers.Numbers(Texts("en")), numbers.Numbers(Texts("zh"))
SHORT = numbers.Numbers(Texts("en"), short=True)


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace(numbers.MINUS, "-")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.98437e9, "bits_per_second", "1.984 Gbit/s"),
        (989.14e6, "bits_per_second", "989.1 Mbit/s"),
        (0.0, "bits_per_second", "0 Gbit/s"),
        (2.4e-5, "seconds", "24.00 µs"),
        (0.0011, "seconds", "1.100 ms"),
        (16e9, "bytes", "16.00 GB"),
        (30_500.0, "packets_per_second", "30.50 kpps"),
        (0.41237, "cores", "0.4124"),
        (3.0, "count", "3.000"),
        (0.0031, "ratio", "0.31 %"),
        (None, "ratio", "–"),
        (math.nan, "seconds", "–"),
    ],
)
def test_quantities(value: float | None, unit: str, expected: str) -> None:
    assert plain(EN.quantity(value, unit)) == expected


def test_what_was_set_is_as_short_as_it_can_be_said() -> None:
    assert plain(EN.setting(2e9, "bits_per_second")) == "2 Gbit/s"
    assert plain(EN.setting(1.85e9, "bits_per_second")) == "1.85 Gbit/s"
    assert plain(EN.setting(0.02, "relative")) == "2 %"
    assert plain(EN.setting(0.001, "ratio")) == "0.1 percentage points"


def test_both_ends_of_an_interval_have_the_same_decimals() -> None:
    assert plain(EN.interval(-0.0072, -0.0041, "relative")) == "-0.72 … -0.41 %"
    assert plain(EN.interval(-0.0009, 0.123, "relative")) == "-0.1 … +12.3 %"
    assert plain(ZH.interval(-0.0072, -0.0041, "relative")) == "-0.72 … -0.41%"
    assert plain(SHORT.interval(-0.000003, 0.0013, "ratio")) == "0.00 … +0.13 pp"
    assert EN.interval(None, 0.1, "relative") == "–"


def test_no_sign_on_a_zero() -> None:
    assert plain(EN.percent(-0.00001, decimals=1)) == "0.0 %"
    assert plain(EN.signed(-0.0001)) == "0.000"
    assert plain(EN.signed(-0.5)) == "-0.500"


def test_a_difference_in_the_metrics_own_unit() -> None:
    assert plain(EN.change(-3.2, "count")) == "-3.2"
    assert plain(EN.change(0.05, "cores")) == "+0.050"
    assert plain(EN.change(0.0031, "ratio", signed=False)) == "0.31 percentage points"


def test_the_absurd_is_cut_off() -> None:
    assert plain(EN.percent(141_422.07, signed=False)) == "> 1000 %"
    assert plain(EN.interval(-0.81, 1e9, "relative")) == "-81 … > +1000 %"
    assert plain(EN.change(-11.0, "relative")) == "< -1000 %"


def test_p_values() -> None:
    assert [EN.p_value(p) for p in (0.00004, 0.0131, 0.51, None)] == ["p < 0.001", "p = 0.013", "p = 0.51", "–"]


def test_values_that_share_a_unit() -> None:
    assert plain(EN.together([1.979e9, 9.84e8], "bits_per_second", " → ")) == "1.979 → 0.9840 Gbit/s"
    assert plain(EN.together([0.0005, None], "ratio", " → ")) == "0.050 → – %"
    assert EN.together([None, None], "ratio", " → ") == "–"


def test_the_share_of_a_node() -> None:
    assert plain(EN.share_of_cpus(0.2, 4)) == "5.0 %"
    assert EN.share_of_cpus(0.2, 0) == EN.share_of_cpus(None, 4) == "–"
