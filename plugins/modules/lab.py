#!/usr/bin/python
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lab
short_description: Clusters in network namespaces of one machine
version_added: 1.0.0
author: netbench.cni contributors (@netbench)
description:
  - Makes and removes a lab with the topology of two OKE clusters in one virtual cloud network, made of network
    namespaces of the machine the module runs on. There is a fabric with a node subnet and a load balancer subnet, and
    in it a test VM and any number of clusters with worker nodes, pods, kube-proxy's rules and a load balancer.
  - All packets, encapsulation and address translation are the kernel's own. The addresses, routes and firewall of the
    host are never touched.
  - Every endpoint has an idle process that owns its network, mount and UTS namespaces. They end with the process that
    holds the lab.
  - Works as root, and as an ordinary user where the kernel allows unprivileged user namespaces.
requirements:
  - pyroute2
  - The programs C(tc), C(iptables), C(nft), C(ethtool) and C(iperf3).
options:
  state:
    description:
      - V(present) makes the lab what the other options say. A lab that is so already is left alone. One that differs or
        is damaged is made anew, since a half-changed lab could not be trusted with a measurement.
      - V(absent) ends every process in the lab's namespaces and removes its files, also those that a crash left.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - Name of the lab. Labs of different names live side by side.
      - The endpoints of a lab that is not named V(lab) get its name and a dash as prefix.
    type: str
    default: lab
  state_dir:
    description:
      - Directory below which the lab keeps its state. The file C(lab.json) in it is read by the connection plugin
        P(netbench.cni.lab#connection) and the inventory plugin P(netbench.cni.lab#inventory).
      - By default C(/run/netbench) for root, else C($XDG_RUNTIME_DIR/netbench) or C(/tmp/netbench-UID).
    type: path
  clusters:
    description: The clusters. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the cluster.
        type: str
        required: true
      datapath:
        description:
          - How nodes reach the pods of one another.
          - V(vxlan) is flannel's VXLAN backend.
          - V(routed) gives pods addresses of the node subnet behind a second NIC, as a VCN-native network does.
          - V(host_gateway) is flannel's host-gw backend.
        type: str
        choices: [vxlan, routed, host_gateway]
        required: true
      cni:
        description: What reports call the pod network. By default it follows from O(clusters[].datapath).
        type: str
      workers:
        description: Number of worker nodes, each with a server pod; the first one has the client pod too.
        type: int
        default: 3
      line_rate:
        description: Line rate of this cluster's workers, such as V(2Gbit), or a share of O(line_rate) such as V(98%).
        type: str
        default: 100%
      mtu:
        description: MTU of the nodes' NICs. Pods of a V(vxlan) cluster have 50 bytes less.
        type: int
        default: 9000
      offloads:
        description: Offloads of the nodes' and pods' NICs.
        type: dict
        suboptions:
          tso:
            description: TCP segmentation offload.
            type: bool
            default: true
          gso:
            description: Generic segmentation offload.
            type: bool
            default: true
          gro:
            description: Generic receive offload. Virtual NICs have it off, since they carry large segments unsplit.
            type: bool
            default: false
      cpus:
        description:
          - CPUs to which the workers are bound in turn, one each. By default all that the module may use.
          - Clusters whose CPUs are disjoint count as different machines, so that they can be measured at the same time.
        type: list
        elements: int
        default: []
  line_rate:
    description:
      - Line rate of every worker, such as V(2Gbit), in bits per second. The test VM has twice as much, the load
        balancers and the fabric have no limit.
      - V(auto) measures once, when the lab is made, at which rate a UDP transfer over the costliest datapath keeps the
        machine as busy as O(calibration_target), rounds that to two digits and keeps it for the life of the lab.
    type: str
    default: auto
  line_rate_shared:
    description: Whether the two directions share the line rate. The reference's nodes behaved so.
    type: bool
    default: true
  calibration_target:
    description: How busy O(line_rate=auto) shall keep the CPUs of sender and receiver.
    type: str
    default: 55%
  burst_bytes:
    description: Size of the token bucket that makes the line rate. Larger than a segment before its segmentation.
    type: int
    default: 262144
  queue_milliseconds:
    description: How long a packet may wait for the line at most.
    type: int
    default: 25
  external_source_addresses:
    description: Number of further addresses the test VM can send from, so that load balancers pick different nodes.
    type: int
    default: 8
  congestion_control:
    description:
      - Default TCP congestion control of every endpoint. Some kernels let a namespace choose only what the host uses
        already; what is in force is returned in RV(lab.settings).
    type: str
    default: cubic
  bind_cpus:
    description: Whether every worker's processes and packet processing are bound to one CPU. It takes real root.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and says what it would change without changing anything.
  diff_mode:
    support: full
    description: Returns the lab as it is and as it is wanted when in diff mode.
  idempotent:
    support: full
    description: A lab that is as wanted, and whole, is left alone.
seealso:
  - plugin: netbench.cni.lab
    plugin_type: connection
  - plugin: netbench.cni.lab
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Two clusters of three workers
  netbench.cni.lab:
    clusters:
      - {name: native, datapath: routed}
      - {name: flannel, datapath: vxlan}

- name: A small lab beside it, one of its clusters with a slightly slower line
  netbench.cni.lab:
    name: small
    line_rate: 500Mbit
    clusters:
      - {name: left, datapath: host_gateway, workers: 2}
      - {name: right, datapath: host_gateway, workers: 2, line_rate: 98%}

- name: Remove both
  netbench.cni.lab:
    name: "{{ item }}"
    state: absent
  loop: [lab, small]
"""

RETURN = r"""
lab:
  description: The lab as it is after the task; in check mode as it is before. Empty if there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the lab.
      type: str
      returned: success
      sample: lab
    endpoints:
      description: What an inventory needs of each endpoint.
      type: list
      elements: dict
      returned: success
      contains:
        name: {description: Inventory host., type: str, returned: success, sample: native-w0}
        groups: {description: Groups it belongs to., type: list, elements: str, returned: success}
        vars: {description: Its host variables., type: dict, returned: success}
    clusters:
      description: The clusters as the engine wants them in the variable C(netbench_clusters).
      type: dict
      returned: success
    line_rate_bits_per_second:
      description: Line rate of a worker.
      type: int
      returned: success
      sample: 2000000000
    calibration:
      description: How the line rate was found; none if it was given.
      type: dict
      returned: success
    settings:
      description: Congestion control, queueing, offloads and buffer limits as they were read back.
      type: dict
      returned: success
    cpu_binding:
      description: Whether workers are bound to CPUs and, if not, why.
      type: dict
      returned: success
      sample: {possible: true, why: ""}
    state_dir:
      description: Where its state is kept.
      type: str
      returned: success
damage:
  description: What was broken in a lab that was made anew.
  returned: success
  type: list
  elements: str
  sample: ["native-w0: links changed"]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.netbench.cni.plugins.module_utils.lab import lifecycle, netlink
from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import check_name, parse
from ansible_collections.netbench.cni.plugins.module_utils.lab.state import StateDir
from ansible_collections.netbench.cni.plugins.module_utils.lab_inventory import default_state_dir, groups, host_vars

OFFLOAD = {"type": "bool", "default": True}
CLUSTER = {
    "name": {"type": "str", "required": True},
    "datapath": {"type": "str", "required": True, "choices": ["vxlan", "routed", "host_gateway"]},
    "cni": {"type": "str"},
    "workers": {"type": "int", "default": 3},
    "line_rate": {"type": "str", "default": "100%"},
    "mtu": {"type": "int", "default": 9000},
    "offloads": {
        "type": "dict",
        "options": {"tso": OFFLOAD, "gso": OFFLOAD, "gro": {"type": "bool", "default": False}},
    },
    "cpus": {"type": "list", "elements": "int", "default": []},
}
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "lab"},
    "state_dir": {"type": "path"},
    "clusters": {"type": "list", "elements": "dict", "options": CLUSTER},
    "line_rate": {"type": "str", "default": "auto"},
    "line_rate_shared": {"type": "bool", "default": True},
    "calibration_target": {"type": "str", "default": "55%"},
    "burst_bytes": {"type": "int", "default": 262144},
    "queue_milliseconds": {"type": "int", "default": 25},
    "external_source_addresses": {"type": "int", "default": 8},
    "congestion_control": {"type": "str", "default": "cubic"},
    "bind_cpus": {"type": "bool", "default": True},
}


def describe(state: dict[str, Any] | None, state_dir: StateDir) -> dict[str, Any]:
    """lab.json's content → the module's return value `lab`."""
    if state is None:
        return {}
    members = groups(state)
    endpoints = [
        {"name": name, "groups": [group for group, hosts in members.items() if name in hosts], "vars": variables}
        for name, variables in host_vars(state, str(state_dir.root)).items()
    ]
    kept = ("name", "clusters", "line_rate_bits_per_second", "calibration", "settings", "cpu_binding")
    return {**{key: state[key] for key in kept}, "endpoints": endpoints, "state_dir": str(state_dir.root)}


def main() -> None:
    """Options → one call of the core → result."""
    module = AnsibleModule(ARGUMENTS, required_if=[("state", "present", ["clusters"])], supports_check_mode=True)
    parameters: dict[str, Any] = dict(module.params)
    wanted, root = parameters.pop("state"), parameters.pop("state_dir") or default_state_dir()
    if wanted == "present" and netlink.IMPORT_TRACEBACK:
        module.fail_json(msg=missing_required_lib("pyroute2"), exception=netlink.IMPORT_TRACEBACK)
    try:
        if wanted == "absent":
            state_dir = StateDir(root, check_name(parameters["name"], "name"))
            outcome = lifecycle.absent(state_dir, module.check_mode)
        else:
            spec = parse(parameters, frozenset(os.sched_getaffinity(0)))
            state_dir = StateDir(root, spec.name)
            outcome = lifecycle.present(spec, state_dir, module.check_mode)
    except LabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        lab=describe(outcome.state, state_dir),
        damage=outcome.damage,
        diff={"before": outcome.before, "after": outcome.after},
    )


if __name__ == "__main__":
    main()
