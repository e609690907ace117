# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file that knows whether pyroute2 is there."""

from __future__ import annotations

import traceback
from typing import Any

from ansible_collections.netbench.cni.plugins.module_utils.lab.errors import LabError

try:
    import pyroute2
except ImportError:
    _library: Any = None
    IMPORT_TRACEBACK: str | None = traceback.format_exc()
else:
    _library = pyroute2
    IMPORT_TRACEBACK = None


def open_netlink() -> Any:
    """A pyroute2.IPRoute of this network namespace, to be used as a context manager."""
    return _library.IPRoute()


def change(netlink: Any, subject: str, verb: str, /, **wanted: Any) -> None:
    """Call `netlink.<subject>(verb, **wanted)`; raises LabError naming both where the kernel refuses it."""
    try:
        getattr(netlink, subject)(verb, **wanted)
    except _library.NetlinkError as error:
        what = ", ".join(f"{key}={value}" for key, value in wanted.items())
        raise LabError(f"The kernel refused to {verb} the {subject} {what}: {error}.") from error
