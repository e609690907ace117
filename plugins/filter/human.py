# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters netbench.cni.human_*; their documentation is human_*.yml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.netbench.cni.plugins.plugin_utils import units


def _human(name: str, show: Callable[..., str], *numbers: Any, **options: Any) -> str:
    for number in (*numbers, *options.values()):
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
            raise AnsibleFilterError(f"netbench.cni.{name}: the input is {number!r}; it must be a number, or null")
    return show(*numbers, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        shows = (units.human_rate, units.human_bytes, units.human_seconds, units.human_ratio, units.human_cores)
        return {show.__name__: partial(_human, show.__name__, show) for show in shows}
