#!/usr/bin/python
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Render the report of a run
version_added: 1.0.0
author:
  - The netbench.cni authors (@netbench)
description:
  - Builds C(results.json) and C(results.csv) from a run's manifest and journal, and the report from them.
  - C(report.html) is one file that opens offline and says the verdicts in words before anything else; C(report.md)
    says the same for a pull request, C(metrics.prom) for Prometheus.
  - The same run gives the same bytes, so that rendering again changes nothing. Every file is written whole or not at
    all.
  - Runs on the controller as an action plugin and needs no connection.
attributes:
  check_mode:
    support: full
    description: Renders and says which files would change, and writes nothing.
  diff_mode:
    support: none
    description: A report is drawn anew, not edited.
  idempotent:
    support: full
    description: Rendering again gives the same files and reports no change.
options:
  run_dir:
    description: The run directory, such as C(results/latest).
    type: path
    required: true
  language:
    description: The language of C(report.html), C(report.md) and the table.
    type: str
    default: en
    choices: [en, zh]
  formats:
    description: What is written besides C(results.json) and C(results.csv).
    type: list
    elements: str
    default: [html, markdown, openmetrics]
    choices: [html, markdown, openmetrics]
  show:
    description: Print the table and the paths of the files as plain lines.
    type: bool
    default: false
seealso:
  - module: netbench.cni.iperf_matrix
"""

EXAMPLES = r"""
- name: Render the newest run
  netbench.cni.report:
    run_dir: results/latest
    show: true

- name: Render only the page, in Chinese
  netbench.cni.report:
    run_dir: results/20260105T090000Z
    language: zh
    formats: [html]
"""

RETURN = r"""
paths:
  description: The files by name, absolute.
  type: dict
  returned: success
  sample: {"report.html": "/srv/results/20260105T090000Z/report.html"}
changed_files:
  description: The names of those that were written because they were absent or not as they should be.
  type: list
  elements: str
  returned: when there is a run
table:
  description: The comparison as a plain text table of at most 100 columns.
  type: str
  returned: when there is a run
limits:
  description: The limits of the matrix, each with name, state (V(held), V(broken) or V(undecided)) and message.
  type: list
  elements: dict
  returned: when there is a run
ansible_facts:
  description: Facts to add to the host of the task.
  returned: when there is a run
  type: dict
  contains:
    netbench:
      description: Primary summaries, comparisons, verdicts and limits of the run; no trials and no samples.
      type: dict
msg:
  description: Why nothing was rendered.
  type: str
  returned: in check mode, before the run was measured
"""
