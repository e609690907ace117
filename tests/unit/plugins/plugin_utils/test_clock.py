# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils import clock
from ansible_collections.netbench.cni.plugins.plugin_utils.executor import Completed
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from tests.unit.process_executor import ProcessExecutor


def test_our_own_clock_is_not_off() -> None:
    offset = clock.measure(ProcessExecutor())
    assert abs(offset.offset_seconds) <= offset.uncertainty_seconds + 0.001
    assert 0 < offset.uncertainty_seconds < 0.5


def test_a_clock_that_is_ahead_is_found() -> None:
    class Ahead(ProcessExecutor):
        def run(self, argv, **options):
            here = super().run(argv, **options)
            return Completed(here.rc, str(float(here.stdout) + 90), here.stderr)

    assert clock.measure(Ahead()).offset_seconds == pytest.approx(90, abs=0.5)


def test_a_date_without_fractions_is_refused() -> None:
    class Busybox(ProcessExecutor):
        def run(self, argv, **options):
            return Completed(0, "1700000000.%N\n", "")

    with pytest.raises(NetbenchError, match=r"host here: .*seconds with a fraction"):
        clock.measure(Busybox())
