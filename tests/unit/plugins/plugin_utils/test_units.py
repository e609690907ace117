# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils import units
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

NO_NUMBERS = [True, False, None, "", " ", "fast", "-1", -1, "nan", math.nan, "inf", math.inf, "1e999", "1 2", [1], {}]


@pytest.mark.parametrize(
    ("text", "bits_per_second"),
    [
        ("2 Gbit/s", 2e9),
        ("2G", 2e9),
        ("950Mbit", 950e6),
        ("7.4 gbits/sec", 7.4e9),
        ("100kb/s", 100e3),
        ("10 Mbps", 10e6),
        (2e9, 2e9),
        (1500, 1500),
        ("2e9", 2e9),
        ("1T", 1e12),
        (0, 0),
    ],
)
def test_rates_are_powers_of_1000(text: object, bits_per_second: float) -> None:
    assert units.parse_rate(text, "rate") == pytest.approx(bits_per_second)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "92.5%", "2 GB/s", "2GB", "3 MBps", "5 bytes/s", "2 Gibit"])
def test_what_is_no_rate_is_refused_by_name(text: object) -> None:
    with pytest.raises(NetbenchError, match=r"^rate of scenario a is .*; it must be a rate in bits per second"):
        units.parse_rate(text, "rate of scenario a")


@pytest.mark.parametrize(
    ("text", "size"),
    [("2M", 2 * 2**20), ("8192", 8192), (8192, 8192), ("256 kB", 256 * 2**10), ("1.5KiB", 1536), ("1 gb", 2**30)],
)
def test_sizes_are_powers_of_1024(text: object, size: int) -> None:
    assert units.parse_size(text, "length") == size


@pytest.mark.parametrize("text", [*NO_NUMBERS, 1.5, "0.3", "2Mbit", "5%"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(NetbenchError, match=r"^length is .*; it must be a whole number of bytes"):
        units.parse_size(text, "length")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("500ms", 0.5), ("30 s", 30), ("5min", 300), ("2 h", 7200), (1.7, 1.7), ("0.25", 0.25), ("40µs", 4e-5)],
)
def test_durations(text: object, seconds: float) -> None:
    assert units.parse_duration(text, "window") == pytest.approx(seconds)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "5 days", "1:30", "5%"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(NetbenchError, match=r"^window is .*; it must be a time in seconds"):
        units.parse_duration(text, "window")


@pytest.mark.parametrize(
    ("text", "share"), [("92.5%", 0.925), ("-5 %", -0.05), (0.02, 0.02), ("0.5", 0.5), ("150%", 1.5), (1, 1), (0, 0)]
)
def test_shares(text: object, share: float) -> None:
    assert units.parse_share(text, "margin") == pytest.approx(share)


@pytest.mark.parametrize("text", [95, "95", -2, True, None, "", "abc%", "nan%", "%", math.inf, math.nan])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(NetbenchError, match=r"^margin is .*; it must be a percentage such as 5%"):
        units.parse_share(text, "margin")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(), st.lists(st.text())))
def test_the_parsers_raise_nothing_but_a_sentence(value: object) -> None:
    for parse in (units.parse_rate, units.parse_size, units.parse_duration, units.parse_share):
        try:
            number = parse(value, "field")
        except NetbenchError as exc:
            assert str(exc).startswith("field is ")  # noqa: PT017 - what it says is half of the property
        else:
            assert math.isfinite(number)


@given(st.floats(min_value=1, max_value=1e14))
def test_what_is_shown_can_be_read_again(rate: float) -> None:
    assert units.parse_rate(units.human_rate(rate), "rate") == pytest.approx(rate, rel=0.006)


@given(st.integers(min_value=1, max_value=2**44))
def test_a_size_that_is_shown_keeps_three_digits(size: int) -> None:
    number, unit = units.human_bytes(size).split()
    exponent = ("B", "KiB", "MiB", "GiB", "TiB").index(unit)
    assert float(number) * 1024**exponent == pytest.approx(size, rel=0.006)
    assert float(number) < 1024


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (7.92e9, "7.92 Gbit/s"),
        (8e9, "8 Gbit/s"),
        (999.9e6, "1 Gbit/s"),
        (12, "12 bit/s"),
        (0, "0 bit/s"),
        (-2.5e6, "-2.5 Mbit/s"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_human_rate(rate: float | None, text: str) -> None:
    assert units.human_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000024, "24 µs"),
        (0.0125, "12.5 ms"),
        (1.7, "1.7 s"),
        (59.96, "1 min 0 s"),
        (312, "5 min 12 s"),
        (4000, "1 h 7 min"),
        (7199, "2 h 0 min"),
        (0, "0 µs"),
        (None, "–"),
    ],
)
def test_human_seconds(seconds: float | None, text: str) -> None:
    assert units.human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0051, "0.51 %"), (-0.0056, "-0.56 %"), (0.05, "5 %"), (1.0, "100 %"), (1.2e-7, "0.000012 %"), (None, "–")],
)
def test_human_ratio(ratio: float | None, text: str) -> None:
    assert units.human_ratio(ratio) == text


def test_cores_are_shown_in_the_three_units_of_the_reference() -> None:
    assert units.human_cores(0.2, 4) == "0.2 cores (5 % of 4 vCPUs, 0.1 OCPU)"
    assert units.human_cores(0.2) == "0.2 cores (0.1 OCPU)"
    assert units.human_cores(None, 4) == "–"


def test_human_bytes() -> None:
    assert [units.human_bytes(size) for size in (0, 1023, 2**21, 15 * 2**30)] == ["0 B", "1023 B", "2 MiB", "15 GiB"]
