# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the calibration; the transfer itself is tried with real traffic in tests/lab."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.module_utils.lab import calibration
from ansible_collections.netbench.cni.plugins.module_utils.lab.calibration import (
    calibrate,
    choose_transfer,
    own_cores,
    two_digits,
)
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import parse
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import Layout, lay_out

BOTH = [{"name": "native", "datapath": "routed"}, {"name": "flannel", "datapath": "vxlan"}]


def layout(clusters: list[dict[str, Any]], cpus: tuple[int, ...] = (0, 1)) -> Layout:
    return lay_out(parse({"clusters": clusters}, frozenset({0, 1, 2, 3})), cpus)


@given(st.floats(min_value=0, max_value=1e13))
def test_the_rate_has_two_digits_and_stays_within_its_bounds(rate: float) -> None:
    rounded = two_digits(rate)
    assert 100_000_000 <= rounded <= 10_000_000_000
    assert int(f"{rounded:.1e}"[0]) >= 1
    assert float(f"{rounded:.1e}") == rounded
    if 100_000_000 <= rate <= 9_900_000_000:
        assert rounded == pytest.approx(rate, rel=0.051)


def test_it_sends_over_the_costliest_datapath_between_two_nodes() -> None:
    transfer = choose_transfer(layout(BOTH))
    assert (transfer.client, transfer.server) == ("flannel-client", "flannel-server-1")
    assert (transfer.client_cpus, transfer.server_cpus) == ((0,), (1,))
    assert transfer.datagram == 8192


def test_a_small_mtu_shortens_the_datagram_and_one_worker_is_reached_from_outside() -> None:
    assert choose_transfer(layout([{"name": "a", "datapath": "vxlan", "mtu": 1500}])).datagram == 1500 - 50 - 28
    transfer = choose_transfer(layout([{"name": "a", "datapath": "vxlan", "workers": 1}]))
    assert (transfer.client, transfer.server, transfer.target, transfer.port) == (
        "test-vm",
        "a-server-0",
        "10.0.20.10",
        5210,
    )


@pytest.mark.parametrize(
    ("busy", "background", "iperf3", "own"),
    [
        (1.0, 0.2, 0.6, 0.8),  # a quiet machine: the difference
        (2.0, 2.0, 0.5, 0.6),  # a machine full of other work: what iperf3 used, and a bit
        (2.0, 0.1, 0.5, 0.8),  # other work came meanwhile
    ],
)
def test_other_work_on_the_machine_is_not_taken_for_the_transfers(
    busy: float, background: float, iperf3: float, own: float
) -> None:
    measured = {"busy_cores": busy, "background_cores": background, "iperf3_cores": iperf3}
    assert own_cores(measured) == pytest.approx(own)


def test_it_ends_at_the_rate_that_costs_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(_transfer: object, _pids: object, rate: float, _cpus: object) -> dict[str, float]:
        received = min(rate, 3e9)
        cores = received * 0.5e-9
        return {
            "received_bits_per_second": received,
            "background_cores": 0.1,
            "busy_cores": 0.1 + cores,
            "iperf3_cores": cores / 1.3,
        }

    monkeypatch.setattr(calibration, "_measure", measure)
    evidence = calibrate(layout(BOTH), {}, (0, 1))
    assert evidence["line_rate_bits_per_second"] == 2_200_000_000  # 0.55 of two cores at half a core a gigabit
    assert len(evidence["rounds"]) == 3
    assert evidence["cpus"] == [0, 1]
