#!/usr/bin/env bash
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/lint.sh [name …]: every linter, or those named; goes on after a failure and names all that failed.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

readonly ALL=(ruff format mypy yamllint ansible-lint docs changelog sanity)

lint() {
    local here=collections/ansible_collections/netbench/cni/plugins
    case $1 in
        ruff) ruff check --output-format=concise . ;;
        format) ruff format --check --output-format=concise . ;;
        mypy) mypy "$here/plugin_utils" "$here/module_utils" ;;
        yamllint) yamllint --strict . ;;
        ansible-lint) ansible-lint --offline --profile production ;;
        docs) lint_docs ;;
        changelog) antsibull-changelog lint ;;
        sanity) tools/sanity.sh ;;
        *) echo "There is no linter '$1'; there are: ${ALL[*]}." >&2 && return 1 ;;
    esac
}

lint_docs() (
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    tools/collection_copy.sh "$directory"
    antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self --skip-rstcheck \
        "$directory/ansible_collections/netbench/cni"
)

(($#)) || set -- "${ALL[@]}"
failed=()
for name in "$@"; do
    echo "== lint: $name"
    lint "$name" || failed+=("$name")
done
if ((${#failed[@]})); then
    echo "Linters that found something: ${failed[*]}." >&2
    exit 1
fi
