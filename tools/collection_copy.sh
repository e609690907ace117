#!/usr/bin/env bash
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/collection_copy.sh DIRECTORY: copies what git tracks, or would track, to DIRECTORY/ansible_collections/netbench/cni,
# for tools that take neither a checkout of another name nor a symbolic link to it.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$1/ansible_collections/netbench/cni
mkdir -p "$copy"
# A checkout that belongs to another user (a CI's volume) is safe to list.
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        [[ ! -e $file && ! -L $file ]] || printf '%s\0' "$file"
    done |
    tar --null --files-from=- -cf - | tar -xf - -C "$copy"
