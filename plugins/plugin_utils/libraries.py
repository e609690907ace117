# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python libraries that the controller needs beyond ansible-core's own.

Modules import them under `suppress(ImportError)`, so that Ansible can list and document every plugin without them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

REQUIRED = ("jmespath", "matplotlib", "numpy", "prometheus_client", "scipy")


def check() -> None:
    """Raise NetbenchError naming the libraries that are missing; call it before any work is done."""
    missing = [name for name in REQUIRED if find_spec(name) is None]
    if missing:
        raise NetbenchError(
            f"{sys.executable}, which runs Ansible, lacks {', '.join(missing)};"
            " install what the collection's requirements.txt names"
        )
