# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal of 1,000, 10,000 and 100,000 trials → results.json: time, memory, and whether both grow linearly.

Each size is a process of its own, timed from its start to its end, imports included; the ratios are of the best of
three and take the imports out, so that a busy machine weighs the same on both sides.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.netbench.cni.tests.unit import synthetic

REPEATS = 3
PER_BLOCK = 2 * len(synthetic.SCENARIOS)
SECONDS_BOUND, MEGABYTES_BOUND, RATIO_BOUND = 3.0, 200.0, 12.0


@dataclass(frozen=True)
class Cost:
    """`wall` is that of the whole process, `work` and `cpu` are without imports; seconds and megabytes."""

    wall: float
    work: float
    cpu: float
    megabytes: float


def child(run_dir: str) -> None:
    """Build and write the results of one run; print seconds of work, CPU seconds of work, peak memory."""
    from ansible_collections.netbench.cni.plugins.plugin_utils import results

    start, cpu = time.perf_counter(), time.process_time()
    results.write(run_dir, results.build(run_dir))
    work, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(work, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measured(run_dir: Path) -> Cost:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, str(run_dir)], check=True, capture_output=True, text=True)
    wall = time.perf_counter() - start
    return Cost(wall, *(float(number) for number in done.stdout.split()))


def cost(directory: Path, size: int) -> tuple[int, Cost]:
    """The size that whole blocks give, and the least of each cost over the repeats."""
    spec = synthetic.Spec(blocks=round(size / PER_BLOCK))
    run_dir = synthetic.write_run(directory / str(size), spec, series=False)
    found = [measured(run_dir) for _repeat in range(REPEATS)]
    return spec.blocks * PER_BLOCK, Cost(
        *(min(column) for column in zip(*(vars(each).values() for each in found), strict=True))
    )


def line(name: str, value: float, unit: str, bound: float | None = None) -> None:
    verdict = "-" if bound is None else "holds" if value <= bound else "MISSES"
    print(f"{name} {value:.2f} {unit} {'-' if bound is None else f'<={bound:g}'} {verdict}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        costs = {size: cost(Path(directory), size) for size in (1_000, 10_000, 100_000)}
    for size, (exact, each) in costs.items():
        aim = size == 10_000
        line(f"results_{exact}_trials_whole_process", each.wall, "s", SECONDS_BOUND if aim else None)
        line(f"results_{exact}_trials_without_imports", each.work, "s")
        line(f"results_{exact}_trials_peak_memory", each.megabytes, "MB", MEGABYTES_BOUND if aim else None)
    for small, large in ((1_000, 10_000), (10_000, 100_000)):
        growth = costs[large][1].cpu / costs[small][1].cpu
        line(f"results_time_ratio_{large}_to_{small}_trials", growth, "x", RATIO_BOUND)


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
