# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ansible-playbook site.yml` takes beyond the trials' warm-ups and windows on a prepared machine (its lab is up).

That has a fixed part (Ansible, the lab's check, preparation, evidence, report) and one for each trial: iperf3's tail
after the window (0.2 s), and the trial's own overhead. Both are measured with two blocks of the default matrix, all of
its scenarios and evidence, and put together for its eight blocks; `--full` runs all eight instead (six minutes).
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.model import TAIL_SECONDS
from ansible_collections.netbench.cni.plugins.plugin_utils.scenarios import parse_scenarios
from ansible_collections.netbench.cni.tests.benchmarks import _lab

LINE_RATE = "1Gbit"
BLOCKS, ALL_BLOCKS = 2, 8
BOUND = 30.0


def run_site(site: _lab.Site, blocks: int) -> float:
    """Wall clock seconds of the site playbook."""
    variables = {
        "lab_name": site.lab,
        "lab_state_dir": str(site.state_dir),
        "lab_line_rate": LINE_RATE,
        "netbench_results_dir": str(site.results),
        "measurement_matrix": {"blocks": blocks, "void": _lab.NEVER_VOID},
    }
    start = time.monotonic()
    done = site.ansible(str(_lab.CHECKOUT / "site.yml"), "--extra-vars", json.dumps(variables))
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(done.stdout)
    return seconds


def seconds_of_trials(trials: list[dict[str, Any]]) -> float:
    """From the first trial's start to the last one's end."""
    starts = [datetime.fromisoformat(trial["started"]).timestamp() for trial in trials]
    return max(start + trial["elapsed_seconds"] for start, trial in zip(starts, trials, strict=True)) - min(starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="run all eight blocks")
    full = parser.parse_args().full
    with _lab.site("site", lab_line_rate=LINE_RATE) as site:
        wall = run_site(site, ALL_BLOCKS if full else BLOCKS)
        trials, manifest = _lab.read_run(site.results / "latest")
    scenarios = [each.scenario for each in parse_scenarios({"scenarios": manifest["matrix"]["scenarios"]}, [])]
    scored = {scenario.name: scenario.warmup_seconds + scenario.window_seconds for scenario in scenarios}
    windows = sum(scored[trial["scenario"]] for trial in trials)
    under_way = seconds_of_trials(trials)
    fixed, each = wall - under_way, (under_way - windows) / len(trials)
    _lab.line("site_trials", len(trials), "trials")
    _lab.line("site_wall_clock", wall, "s")
    _lab.line("site_warmups_and_windows", windows, "s")
    _lab.line("site_beyond_them_fixed", fixed, "s")
    _lab.line("site_beyond_them_each_trial", each, "s")
    _lab.line("site_beyond_them_each_trial_without_tail", each - TAIL_SECONDS, "s")
    if full:
        _lab.line("site_beyond_them", wall - windows, "s", BOUND)
    else:
        _lab.line(
            "site_beyond_them_extrapolated_to_default_run", fixed + each * len(trials) / BLOCKS * ALL_BLOCKS, "s", BOUND
        )


if __name__ == "__main__":
    main()
