# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: lab
short_description: The endpoints of a lab that is up
version_added: 1.0.0
author: The netbench.cni authors (@netbench)
description:
  - Lists the pods, nodes, VM, load balancers and fabric of a lab that the role P(netbench.cni.lab#role) made on this
    machine.
  - The groups are C(netbench_endpoints), C(netbench_nodes), C(netbench_external), one for each cluster, and
    C(netbench_lab_hosts), which also has the load balancers and the fabric.
  - Where there is no lab, or it is not up, the inventory is empty; that is no error.
  - The source is a file whose name ends in C(netbench_lab.yml).
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [netbench.cni.lab]
  lab:
    description:
      - Name of the lab.
      - The extra variable C(netbench_lab) takes precedence.
    type: str
    default: lab
    env:
      - name: NETBENCH_LAB
  state_dir:
    description:
      - Directory where labs keep their state.
      - The extra variable C(netbench_lab_state_dir) takes precedence.
      - By default C(/run/netbench) for root, else C($XDG_RUNTIME_DIR/netbench) or C(/tmp/netbench-<uid>).
    type: path
    env:
      - name: NETBENCH_LAB_STATE_DIR
"""

EXAMPLES = r"""
# endpoints.netbench_lab.yml
plugin: netbench.cni.lab
---
# second.netbench_lab.yml: another lab beside the first one
plugin: netbench.cni.lab
lab: second
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import load_extra_vars

from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import (
    LabStateError,
    common_vars,
    groups,
    host_vars,
    is_up,
    read_state,
)

if TYPE_CHECKING:
    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

# mypy: disallow-untyped-calls=False
# (ansible-core has no type information for most of what is called here)


class InventoryModule(BaseInventoryPlugin):
    """Reads the lab's state file."""

    NAME = "netbench.cni.lab"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("netbench_lab.yml", "netbench_lab.yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        extra: dict[str, Any] = load_extra_vars(loader)
        lab = extra.get("netbench_lab") or self.get_option("lab")
        state_dir = extra.get("netbench_lab_state_dir") or self.get_option("state_dir")
        try:
            state = read_state(state_dir, lab)
        except LabStateError as exc:
            raise AnsibleParserError(str(exc)) from exc
        if state is None or not is_up(state):
            return
        for group in groups(state):
            inventory.add_group(group)
        # Several labs in one inventory: the clusters of all of them can be measured.
        known = inventory.groups["all"].get_vars().get("netbench_clusters", {})
        for name, value in common_vars(state).items():
            inventory.set_variable("all", name, {**known, **value} if name == "netbench_clusters" else value)
        for host, variables in host_vars(state, state_dir).items():
            inventory.add_host(host)
            for name, value in variables.items():
                inventory.set_variable(host, name, value)
        for group, hosts in groups(state).items():
            for host in hosts:
                inventory.add_child(group, host)
