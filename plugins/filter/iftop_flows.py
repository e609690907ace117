# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter netbench.cni.iftop_flows; its documentation is iftop_flows.yml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.netbench.cni.plugins.plugin_utils import iftop
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError


def iftop_flows(output: str) -> list[dict[str, Any]]:
    try:
        return [asdict(flow) for flow in iftop.parse(output).flows]
    except NetbenchError as exc:
        raise AnsibleFilterError(f"netbench.cni.iftop_flows: {exc}") from exc


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"iftop_flows": iftop_flows}
