#!/usr/bin/env bash
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/bench.sh [file …]: every benchmark of tests/benchmarks, or those named. Each prints lines of
# "name value unit bound holds|MISSES"; the exit code tells whether all ran and all bounds hold.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH PYTHONPATH=$PWD/collections

(($#)) || set -- tests/benchmarks/[!_]*.py
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
for file in "$@"; do
    echo "== bench: $file" >&2
    .venv/bin/python "$file" | tee "$log" || failed+=("$file")
    ! grep -qw MISSES "$log" || failed+=("$file")
done
if ((${#failed[@]})); then
    printf 'Benchmarks that failed or missed a bound: %s\n' "$(printf '%s\n' "${failed[@]}" | sort -u | paste -sd ' ')" >&2
    exit 1
fi
