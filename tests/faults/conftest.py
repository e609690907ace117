# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scene import Scene, scene


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Scene]:
    """A lab for one test that breaks it or what runs in it."""
    with scene(tmp_path, "faults") as made:
        yield made


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A lab for tests that undo what they do to it."""
    with scene(tmp_path_factory.mktemp("shared"), "faults-shared") as made:
        yield made
