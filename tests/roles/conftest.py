# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ops team has: a copy of the collection, a directory of its own, and playbooks that name roles in full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.netbench.cni.tests.benchmarks import _lab

CLUSTERS = [
    {"name": "plain", "datapath": "host_gateway", "workers": 2},
    {"name": "overlay", "datapath": "vxlan", "workers": 2},
]


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path with a copy of this checkout."""
    directory = tmp_path_factory.mktemp("collections")
    subprocess.run([_lab.CHECKOUT / "tools" / "collection_copy.sh", directory], check=True, timeout=60)
    return directory


@pytest.fixture(scope="session")
def team(collections: Path, tmp_path_factory: pytest.TempPathFactory) -> _lab.Site:
    """The team's directory; there is no lab yet."""
    directory = tmp_path_factory.mktemp("team")
    return _lab.Site(directory, "team", directory / "labs", collections)


@pytest.fixture(scope="session")
def provisioned(team: _lab.Site) -> Iterator[_lab.Site]:
    """The team's directory with a lab of two small clusters, made by the role."""
    try:
        team.up(lab_line_rate="300Mbit", lab_clusters=CLUSTERS)
        yield team
    finally:
        team.down()
