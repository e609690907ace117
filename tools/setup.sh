#!/usr/bin/env bash
# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prepares a checkout; every step is quick when there is nothing to do.
#   tools/setup.sh environment run|test    .venv with the pinned requirements, and the collection's place in collections/
#   tools/setup.sh packages run|test       what bindep.txt lists and this machine lacks
#   tools/setup.sh namespaces              may this user make network namespaces?
# PYTHON=… names the interpreter to build .venv with; without it the newest suitable one is taken.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

readonly PIP_VERSION=26.3

stop() {
    printf '%s\n' "$*" >&2
    exit 1
}

# --- environment ---

# A name on the PATH is not enough: version managers leave shims that fail, distributions leave ensurepip out.
is_suitable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

choose_python() {
    local candidate
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

version_of() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

requirements_of() {
    echo requirements.txt
    [[ $1 == run ]] || echo requirements-dev.txt
}

# What .venv was made from: when this changes, pip has work to do.
stamp_of() {
    local files
    mapfile -t files < <(requirements_of "$1")
    { printf '%s\n' "$PWD" "$PIP_VERSION"; cat "${files[@]}"; } | sha256sum
}

is_made_here() {
    [[ -x .venv/bin/python && -f .venv/netbench-place && $(<.venv/netbench-place) == "$PWD" ]] || return 1
    local version
    version=$(version_of .venv/bin/python) || return 1
    [[ -z ${PYTHON:-} || $(version_of "$PYTHON") == "$version" ]]
}

environment() {
    mkdir -p collections/ansible_collections/netbench
    ln -sfn ../../.. collections/ansible_collections/netbench/cni

    if is_made_here; then
        if [[ -f .venv/netbench-$1 && $(<".venv/netbench-$1") == $(stamp_of "$1") ]]; then
            return
        fi
    else
        make_environment
    fi
    local files
    mapfile -t files < <(requirements_of "$1")
    echo "Installing the pinned ${files[*]} into .venv."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "pip==$PIP_VERSION"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${files[@]/#/--requirement=}"
    stamp_of run >.venv/netbench-run
    stamp_of "$1" >".venv/netbench-$1"
}

make_environment() {
    local python
    if ! python=$(choose_python); then
        [[ -z ${PYTHON:-} ]] || stop "PYTHON=$PYTHON is not a Python of at least 3.11 with the modules venv and ensurepip."
        if [[ $(package_manager) == apt-get ]]; then install_packages python3 python3-venv; else install_packages python3; fi
        python=$(choose_python) || stop "No Python of at least 3.11 is here; name one: make setup PYTHON=/path/to/python3."
    fi
    echo "Making .venv with Python $(version_of "$python")."
    rm -rf .venv
    "$python" -m venv .venv
    printf '%s\n' "$PWD" >.venv/netbench-place
}

# --- packages ---

package_manager() {
    local manager
    for manager in apt-get dnf apk; do
        if command -v "$manager" >/dev/null; then
            printf '%s\n' "$manager"
            return
        fi
    done
    return 1
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_be_root() {
    [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null
}

install_command() {
    case $1 in
        apt-get) echo "apt-get install --yes --quiet --quiet --no-install-recommends --option=Dpkg::Use-Pty=0" ;;
        dnf) echo "dnf install --assumeyes" ;;
        apk) echo "apk add" ;;
    esac
}

install_packages() {
    local manager install
    manager=$(package_manager) || stop "Missing on this machine: $*; it has none of apt-get, dnf and apk, so install them by hand."
    install=$(install_command "$manager")
    may_be_root || stop "Missing on this machine: $*; install them with 'sudo $install $*' and try again."
    echo "Installing system packages with $manager: $*."
    [[ $manager != apt-get ]] || as_root apt-get update --quiet --quiet
    # shellcheck disable=SC2086 # the command is several words
    as_root env DEBIAN_FRONTEND=noninteractive $install "$@" </dev/null >&2 ||
        stop "The installation of $* failed; what $manager said stands above."
}

has_one_of() {
    local name
    for name in ${1//|/ }; do
        ! command -v "$name" >/dev/null || return 0
    done
    return 1
}

# Prints the packages of bindep.txt that apply to a profile and bring a command that is missing.
missing_packages() {
    local profile=$1 platform line package selectors name
    case $(package_manager || echo none) in
        dnf) platform=rpm ;;
        apk) platform=apk ;;
        *) platform=dpkg ;;
    esac
    while read -r line; do
        [[ -n $line && $line != \#* ]] || continue
        package=${line%% *}
        selectors=""
        [[ $line != *\[* ]] || { selectors=${line#*\[} && selectors=${selectors%%\]*}; }
        [[ $selectors != *platform:* || $selectors == *platform:$platform* ]] || continue
        [[ $profile == test || " $selectors " != *" test "* ]] || continue
        for name in ${line#*\#}; do
            has_one_of "$name" || { echo "$package" && break; }
        done
    done <bindep.txt | sort -u
}

packages() {
    local missing
    mapfile -t missing < <(missing_packages "$1")
    ((${#missing[@]})) || return 0
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$1")
    ((${#missing[@]} == 0)) || stop "Still missing after the installation: ${missing[*]}."
}

# --- namespaces ---

setting() {
    cat "/proc/sys/$1" 2>/dev/null || echo unknown
}

namespaces() {
    # Bringing a link up needs the capabilities too, which some kernels withhold inside a user namespace.
    if unshare --net ip link set lo up 2>/dev/null || unshare --user --map-root-user --net ip link set lo up 2>/dev/null; then
        return
    fi
    local remedy="give this container the capabilities SYS_ADMIN and NET_ADMIN"
    if [[ $(setting kernel/apparmor_restrict_unprivileged_userns) == 1 ]]; then
        remedy="allow them with 'sysctl kernel.apparmor_restrict_unprivileged_userns=0'"
    elif [[ $(setting kernel/unprivileged_userns_clone) == 0 ]]; then
        remedy="allow them with 'sysctl kernel.unprivileged_userns_clone=1'"
    elif [[ $(setting user/max_user_namespaces) == 0 ]]; then
        remedy="allow them with 'sysctl user.max_user_namespaces=10000'"
    elif [[ $(id -u) != 0 ]]; then
        remedy="run make as root"
    fi
    stop "The lab needs root or unprivileged user namespaces to make its network, and neither works here: $remedy."
}

case ${1:-}:${2:-} in
    environment:run | environment:test | packages:run | packages:test) "$1" "$2" ;;
    namespaces:) namespaces ;;
    *) stop "Usage: tools/setup.sh environment run|test, packages run|test, or namespaces." ;;
esac
