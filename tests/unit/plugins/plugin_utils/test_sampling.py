# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils import sampling
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit.spools import BOOT, HELLO, entry, every, net_dev, spool_lines, stat

TIMES = every(0.2, 100.0, 110.0)
LOAD = {
    0: {
        "user": 0.05,
        "nice": 0.05,
        "system": 0.2,
        "idle": 0.4,
        "iowait": 0.1,
        "softirq": 0.1,
        "irq": 0.05,
        "steal": 0.05,
    },
    1: {"idle": 1.0},
}


def steady(time: float) -> dict[str, Any]:
    """100 Mbyte/s in and 1 Mbyte/s out at ens3, one CPU busy for 0.45 of the time."""
    nics = {"lo": {}, "ens3": {"rx_bytes": 100e6 * time, "tx_bytes": 1e6 * time, "rx_packets": 1e4 * time}}
    return {"stat": stat(LOAD, time), "net": {"": net_dev(nics)}}


STEADY = sampling.parse_spool(spool_lines(TIMES, steady))


def spool_of(make: Any) -> sampling.Spool:
    return sampling.parse_spool(spool_lines(TIMES, make))


def at(seconds: float) -> float:
    return BOOT + seconds


def test_a_spool_is_read_in_order_with_its_probes_and_its_own_cost() -> None:
    probe = {"m": 100.1, "r": at(100.1), "probe_seconds": 0.005, "wall_seconds": 0.0051}
    lines = spool_lines([100.0, 100.2])
    lines.insert(2, json.dumps(probe) + "\n")
    lines += ['{"gap": 3, "m": 100.3, "r": 1}\n', '{"bye": 1, "cpu_seconds": 0.25, "seconds": 9.0}\n']
    spool = sampling.parse_spool(lines)
    assert [sample.monotonic for sample in spool.samples] == [100.0, 100.2]
    assert spool.probes == [sampling.SpeedProbe(100.1, at(100.1), 0.005, 0.0051)]
    assert (spool.clock_ticks, spool.cpu_seconds) == (100, 0.25)


def test_a_slice_without_first_line_has_linuxs_usual_ticks() -> None:
    assert sampling.parse_spool(spool_lines([1.0])[1:]).clock_ticks == 100


@given(st.integers(min_value=1))
def test_a_last_line_that_is_still_being_written_is_ignored(cut: int) -> None:
    *whole, last = spool_lines([100.0, 100.2])
    spool = sampling.parse_spool([*whole, last[: cut % (len(last) - 1)]])
    assert len(spool.samples) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        "not json",
        "{}",
        "[]",
        "null",
        "1",
        '{"stat": 1}',
        json.dumps(entry(1.0, mem={"MemTotal": 1})),
        json.dumps(entry(1.0, m="yesterday")),
        json.dumps(entry(1.0, m=float("nan"))),
        json.dumps(entry(1.0, net=["lo"])),
        '{"hello": 1, "clock_ticks": "many"}',
        '{"probe_seconds": 1}',
    ],
)
def test_garbage_is_refused_naming_the_line(garbage: str) -> None:
    with pytest.raises(NetbenchError, match="line 2 "):
        sampling.parse_spool([HELLO, garbage, json.dumps(entry(2.0))])


@pytest.mark.parametrize("times", [[2.0, 1.0], [2.0, 2.0]])
def test_samples_that_go_back_in_time_are_refused(times: list[float]) -> None:
    with pytest.raises(NetbenchError, match="back in time"):
        sampling.parse_spool(spool_lines(times))


@given(
    st.lists(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
)
def test_any_text_gives_a_spool_or_one_sentence(lines: list[str]) -> None:
    with suppress(NetbenchError):
        sampling.parse_spool(lines)


# Kernel text of any kind: either figures come of it or one sentence.
WORDS = st.lists(
    st.sampled_from(["cpu0", "cpu1", "ens3:", ":", "Udp:", "RcvbufErrors", "1", "2 3 4 5 6 7 8 9 0", "\n", "x"])
)
TEXT = st.text() | WORDS.map(" ".join) | WORDS.map("\n".join)


@given(TEXT, TEXT, TEXT, TEXT)
def test_any_kernel_text_gives_figures_or_one_sentence(cpu: str, net: str, snmp: str, softnet: str) -> None:
    other = {"stat": cpu, "net": {"": net}, "snmp": {"": snmp}, "softnet": softnet}
    spool = sampling.parse_spool(spool_lines([1.0, 1.2], lambda time: other if time > 1 else {}))
    for figure in (
        lambda: sampling.cpu_use(spool, at(1.0), at(1.2), None),
        lambda: sampling.nic_rates(spool, at(1.0), at(1.2), ""),
        lambda: sampling.drops(spool, at(1.0), at(1.2), [""]),
    ):
        with suppress(NetbenchError):
            figure()


@given(st.floats(100.0, 108.9), st.floats(0.5, 1.0))
def test_cpu_use_of_a_steady_load_is_the_load_wherever_the_window_lies(start: float, length: float) -> None:
    use = sampling.cpu_use(STEADY, at(start), at(start + length), None)
    tick = 2 * 0.01 / length  # both bounds lie between ticks
    assert use.busy == pytest.approx(0.45, abs=2 * 3 * tick)
    assert use.user == pytest.approx(0.10, abs=2 * tick)
    assert use.system == pytest.approx(0.20, abs=tick)
    assert use.softirq == pytest.approx(0.10, abs=tick)
    assert use.irq == pytest.approx(0.05, abs=tick)
    assert use.steal == pytest.approx(0.05, abs=tick)
    assert use.iowait == pytest.approx(0.10, abs=tick)
    assert use.cpus == 2


def test_busy_is_wall_without_idle_even_where_the_kinds_do_not_add_up() -> None:
    # Tick accounting missed most of what the CPU did: 0.1 core by kinds, 0.5 by idle.
    spool = spool_of(lambda time: {"stat": stat({0: {"system": 0.1, "idle": 0.5}}, time)})
    assert sampling.cpu_use(spool, at(101.0), at(105.0), [0]).busy == pytest.approx(0.5, abs=0.01)


def test_cpus_are_told_apart() -> None:
    first, second = (sampling.cpu_use(STEADY, at(101.0), at(109.0), [cpu]) for cpu in (0, 1))
    assert (first.busy, second.busy) == (pytest.approx(0.45, abs=0.01), pytest.approx(0.0, abs=0.01))
    assert first.cpus == second.cpus == 1


@pytest.mark.parametrize("cpus", [[2], [0, 7], [], [-1]])
def test_a_cpu_that_is_not_there_is_refused(cpus: list[int]) -> None:
    with pytest.raises(NetbenchError, match="0, 1"):
        sampling.cpu_use(STEADY, at(101.0), at(102.0), cpus)


def test_a_cpu_that_went_offline_is_refused() -> None:
    spool = spool_of(lambda time: {"stat": stat(LOAD if time < 105 else {0: LOAD[0]}, time)})
    with pytest.raises(NetbenchError, match=r"all the time are 0$"):
        sampling.cpu_use(spool, at(104.0), at(106.0), None)


def test_the_bounds_divide_an_interval_in_proportion_to_time() -> None:
    # Bytes come only between the samples at 101.0 and 101.2.
    spool = spool_of(lambda time: {"net": {"": net_dev({"ens3": {"rx_bytes": 1000 * (time > 101.1)}})}})
    rate = sampling.nic_rates(spool, at(100.0), at(101.05), "")["ens3"]
    assert rate.rx_bytes == pytest.approx(250)
    assert rate.rx_bits_per_second == pytest.approx(250 * 8 / 1.05)
    inside = sampling.nic_rates(spool, at(101.05), at(101.15), "")["ens3"]
    assert inside.rx_bytes == pytest.approx(500)


@given(st.floats(100.0, 103.0), st.floats(0.1, 3.0), st.floats(0.1, 3.0))
def test_neighbouring_windows_add_up(start: float, first: float, second: float) -> None:
    def received(begin: float, end: float) -> float:
        return sampling.nic_rates(STEADY, at(begin), at(end), "")["ens3"].rx_bytes

    middle, end = start + first, start + first + second
    assert received(start, middle) + received(middle, end) == pytest.approx(received(start, end))
    assert received(start, end) == pytest.approx(100e6 * (end - start), rel=1e-5)


def test_counters_are_cut_by_the_monotonic_clock_when_the_realtime_clock_is_stepped() -> None:
    # Set forward by an hour at 105: what ran before is found at its old realtime, what ran after at its new one.
    lines = spool_lines(TIMES, lambda time: steady(time) | {"r": at(time + (3600 if time > 105 else 0))})
    spool = sampling.parse_spool(lines)
    before = sampling.nic_rates(spool, at(101.0), at(103.0), "")["ens3"]
    after = sampling.nic_rates(spool, at(3600 + 106.0), at(3600 + 108.0), "")["ens3"]
    assert before.rx_bytes == after.rx_bytes == pytest.approx(200e6, rel=1e-5)


def test_a_window_over_which_the_clock_was_set_back_is_refused() -> None:
    spool = spool_of(lambda time: {"r": at(time - (50 if time > 105 else 0))})
    with pytest.raises(NetbenchError, match="set back"):
        sampling.cpu_use(spool, at(56.0), at(104.0), None)


@pytest.mark.parametrize(("start", "end"), [(99.9, 101.0), (109.0, 110.3), (90.0, 91.0), (120.0, 121.0), (99.0, 120.0)])
def test_a_window_beyond_the_samples_is_refused_as_not_covered(start: float, end: float) -> None:
    with pytest.raises(sampling.WindowNotCovered, match="covered"):
        sampling.cpu_use(STEADY, at(start), at(end), None)


def test_samples_at_the_very_bounds_cover_the_window() -> None:
    assert sampling.nic_rates(STEADY, at(100.0), at(110.0), "")["ens3"] == sampling.NicRate(
        rx_bits_per_second=pytest.approx(800e6),
        tx_bits_per_second=pytest.approx(8e6),
        rx_bytes=pytest.approx(1e9),
        tx_bytes=pytest.approx(10e6),
        rx_packets=pytest.approx(1e5),
        tx_packets=0,
        rx_dropped=0,
        tx_dropped=0,
    )


def test_a_spool_without_samples_covers_nothing() -> None:
    with pytest.raises(sampling.WindowNotCovered):
        sampling.memory_used_bytes(sampling.parse_spool([HELLO]), 1.0, 2.0)


def test_a_hole_at_a_bound_is_refused_but_not_as_something_to_wait_for() -> None:
    spool = sampling.parse_spool(spool_lines([100.0, 103.0, 103.2, 104.0]))
    with pytest.raises(NetbenchError, match=r"3\.0 s apart") as refused:
        sampling.cpu_use(spool, at(102.0), at(103.1), None)
    assert not isinstance(refused.value, sampling.WindowNotCovered)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(NetbenchError, match="not after its start"):
        sampling.cpu_use(STEADY, at(101.0), at(101.0), None)


def test_a_counter_that_wraps_at_32_bits_goes_on() -> None:
    spool = spool_of(
        lambda time: {"net": {"": net_dev({"eth0": {"rx_bytes": (2**32 - 3e9 + 1e9 * (time - 100)) % 2**32}})}}
    )
    assert sampling.nic_rates(spool, at(100.0), at(105.0), "")["eth0"].rx_bytes == pytest.approx(5e9)


def test_a_nic_that_appears_counts_from_zero_and_one_that_goes_keeps_what_it_had() -> None:
    def make(time: float) -> dict[str, Any]:
        nics: dict[str, Any] = {"old": {"tx_bytes": 1e6 * time}} if time < 105 else {}
        if time > 103:
            nics["new"] = {"rx_bytes": 1e6 * (time - 103)}
        return {"net": {"": net_dev(nics)}}

    rates = sampling.nic_rates(spool_of(make), at(100.0), at(110.0), "")
    assert rates["new"].rx_bytes == pytest.approx(7e6)
    assert rates["old"].tx_bytes == pytest.approx(4.8e6)


def test_a_nic_that_was_made_anew_counts_from_zero() -> None:
    spool = spool_of(
        lambda time: {"net": {"": net_dev({"veth0": {"rx_bytes": 1e12 + time if time < 105 else 1e6 * (time - 105)}})}}
    )
    assert sampling.nic_rates(spool, at(100.0), at(110.0), "")["veth0"].rx_bytes == pytest.approx(5e6, rel=1e-3)


def test_an_unknown_namespace_is_refused_naming_those_there_are() -> None:
    with pytest.raises(NetbenchError, match="'w9' was not sampled"):
        sampling.nic_rates(STEADY, at(101.0), at(102.0), "w9")


def test_steal_is_a_share_of_all_cpus() -> None:
    assert sampling.steal_ratio(STEADY, at(101.0), at(109.0)) == pytest.approx(0.025, abs=0.002)


def test_memory_is_the_mean_of_the_window() -> None:
    spool = spool_of(lambda time: {"mem": {"MemTotal": 1000, "MemAvailable": 900 if time < 105 else 500}})
    assert sampling.memory_used_bytes(spool, at(101.0), at(104.0)) == 100 * 1024
    assert sampling.memory_used_bytes(spool, at(106.0), at(109.0)) == 500 * 1024
    assert sampling.memory_used_bytes(spool, at(101.05), at(101.1)) == 100 * 1024


def test_losses_are_told_by_place() -> None:
    def make(time: float) -> dict[str, Any]:
        lost = int(10 * (time - 100))
        nics = {"ens3": {"rx_dropped": lost}, "ens5": {"rx_dropped": lost, "tx_dropped": 2 * lost}}
        udp = f"Udp: InDatagrams RcvbufErrors\nUdp: 5 {3 * lost}\nUdp6RcvbufErrors {lost}"
        return {
            "net": {"w0": net_dev(nics), "w1": net_dev({"ens3": {"rx_dropped": lost}}), "w2": net_dev(nics)},
            "snmp": {"w0": udp, "w1": udp, "w2": udp},
            "softnet": f"00000001 {lost:08x} 0\n00000001 00000001 0\n",
            "qdisc": {"w0": {"2": lost} if lost else {}, "w1": {}, "w2": {"7": 1000 * lost}},
        }

    lost = sampling.drops(spool_of(make), at(100.0), at(110.0), ["w0", "w1"])
    assert lost == {"nic_rx": 300, "nic_tx": 200, "socket_buffer": 800, "backlog": 100, "qdisc": 100}


def test_losses_in_queueing_disciplines_are_absent_where_they_were_not_read() -> None:
    lost = sampling.drops(spool_of(lambda _time: {"qdisc": {}}), at(101.0), at(102.0), [""])
    assert lost == {"nic_rx": 0, "nic_tx": 0, "socket_buffer": 0, "backlog": 0}


@pytest.mark.parametrize(
    ("start", "seconds"), [(103.0, 0.002), (105.5, 0.003), (100.0, 0.001), (99.5, 0.001), (98.0, None)]
)
def test_speed_is_that_of_the_probe_before_the_window(start: float, seconds: float | None) -> None:
    probes = [(100.5, 0.001), (102.5, 0.002), (105.1, 0.003)]
    lines = [json.dumps({"m": when, "r": at(when), "probe_seconds": cpu, "wall_seconds": 1.0}) for when, cpu in probes]
    assert sampling.speed(sampling.parse_spool(lines), at(start), at(start + 1.7)) == seconds
