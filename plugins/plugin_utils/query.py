# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath expressions that people wrote, for selections and limits (https://jmespath.org/specification.html)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

with suppress(ImportError):
    import jmespath

# The library raises its own JMESPathError, which is a ValueError, but lets Python's errors through where an expression
# compares a text with a number, slices by 0 or is nested too deeply.
_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def check(expression: str, field: str) -> None:
    """Raise NetbenchError if `expression` is no JMESPath."""
    try:
        jmespath.compile(expression)
    except _ERRORS as error:
        raise NetbenchError(f"{field} is no valid JMESPath expression: {_reason(error)}") from error


def search(expression: str, data: Any, field: str) -> Any:
    """What `expression` finds in `data`, plain JSON-like data; raises NetbenchError where it fails on them."""
    check(expression, field)
    try:
        return jmespath.search(expression, data)
    except _ERRORS as error:
        raise NetbenchError(f"{field} fails on the data: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
