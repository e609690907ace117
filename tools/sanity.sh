#!/usr/bin/env bash
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/sanity.sh [ansible-test's arguments]: ansible-test sanity on a copy of the collection, with the Python of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
tools/collection_copy.sh "$directory"

# ansible-test bootstraps its own environments with a script that it downloads, unless its cache has one.
cache=$HOME/.ansible/test/cache
version=$(.venv/bin/python - <<'PYTHON'
import platform
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

print(get_venv_packages(SimpleNamespace(version=platform.python_version().rpartition(".")[0]))["pip"])
PYTHON
)
script=$cache/get_pip_${version//./_}.py
if [[ ! -f $script ]]; then
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$cache" "pip==$version"
    cp tools/get_pip_offline.py "$script"
fi

cd "$directory/ansible_collections/netbench/cni"
"$OLDPWD/.venv/bin/ansible-test" sanity --local --python "$("$OLDPWD/.venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
