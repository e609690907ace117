#!/usr/bin/python
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iperf_matrix
short_description: Measure pod networks with a matrix of iperf3 trials
version_added: 1.0.0
author:
  - The netbench.cni authors (@netbench)
description:
  - Expands clusters × scenarios × blocks into randomised, counterbalanced trials and runs them, with every node
    watched and the path of the packets traced.
  - Every finished trial is appended to a journal at once; a run that was broken off is carried on with O(resume=true).
  - Runs on the controller as an action plugin and reaches every endpoint through the connection plugin that the
    inventory gives it. The play should have one host, such as V(localhost).
attributes:
  check_mode:
    support: full
    description: Validates everything and says how many trials it would run and how long they would take.
  diff_mode:
    support: none
    description: A measurement has no earlier state to compare with.
  idempotent:
    support: none
    description: Every run measures anew, unless O(resume=true).
options:
  matrix:
    description: What is measured; every key is explained in the collection's C(docs/matrix.md).
    type: dict
    required: true
  clusters:
    description: The clusters under test by name, as the roles that provide them set them in C(netbench_clusters).
    type: dict
    required: true
  endpoints:
    description: The inventory group whose hosts are the endpoints.
    type: str
    default: netbench_endpoints
  results_dir:
    description: The directory in which every run has a directory of its own; C(latest) in it links to the newest.
    type: path
    default: results
  run_id:
    description: The name of the run's directory. Without it the time is used, or with O(resume=true) the latest run.
    type: str
  resume:
    description: Carry on an earlier run with the same matrix; only what its journal lacks is measured.
    type: bool
    default: false
  provider:
    description: Where the clusters come from, for the report.
    type: str
    default: inventory
  shared_machine:
    description: Whether the nodes share one physical machine, as in a lab; every file of the run then says so.
    type: bool
    default: false
  conditions:
    description: Conditions of the measurement to be recorded, such as congestion control and offloads.
    type: dict
    default: {}
seealso:
  - module: netbench.cni.report
"""

EXAMPLES = r"""
- name: Compare two pod networks by TCP throughput
  netbench.cni.iperf_matrix:
    clusters: "{{ netbench_clusters }}"
    matrix:
      baseline: native
      blocks: 8
      scenarios:
        - name: pod_to_pod_tcp
          path: pod_to_pod
          protocol: tcp
  register: measured

- name: Carry on the latest run after it was broken off
  netbench.cni.iperf_matrix:
    clusters: "{{ netbench_clusters }}"
    matrix: "{{ netbench_matrix }}"
    resume: true
"""

RETURN = r"""
run_id:
  description: The name of the run.
  type: str
  returned: success
run_dir:
  description: The run's directory, absolute.
  type: str
  returned: success
planned_seconds:
  description: How long the trials and the evidence were expected to take.
  type: float
  returned: success
elapsed_seconds:
  description: How long they took.
  type: float
  returned: when not in check mode
trials:
  description: How many trials ended how.
  type: dict
  returned: success
  sample: {"ok": 112, "failed": 0, "void": 0}
not_ok:
  description: The trials that failed or are void, each with its reason.
  type: list
  elements: dict
  returned: when not in check mode
"""
