# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading variables that people wrote: plain built-in values come out, or one sentence that says what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are: {', '.join(names)}" if names else "there are none"


def plain(value: Any, field: str = "value") -> Any:
    """`value` of built-in types only: ansible-core hands over tagged subclasses of str, int, dict and so on."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item, f"{field}[{index}]") for index, item in enumerate(value)]
    raise NetbenchError(f"{field} is of the type {type(value).__name__}; it must be text, number, list or mapping")


def mapping(value: Any, field: str, known: Iterable[str] | None = None) -> dict[str, Any]:
    """A mapping with no other keys than `known` (None: any); an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise NetbenchError(f"{field} is {shown(value)}; it must be a mapping of keys to values")
    if known is not None:
        keys = list(known)
        for key in value:
            if key not in keys:
                raise NetbenchError(f"{field} has an unknown key {key!s}; {nearest(str(key), keys)}")
    return {str(key): item for key, item in value.items()}


def items(value: Any, field: str) -> list[Any]:
    """A list; an absent one is empty."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise NetbenchError(f"{field} is {shown(value)}; it must be a list")
    return list(value)


def text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise NetbenchError(f"{field} is {shown(value)}; it must be a text that is not empty")
    return str(value)


def optional_text(value: Any, field: str) -> str | None:
    """A text, or None for one that is absent or empty."""
    return None if value is None or value == "" else text(value, field)


def texts(value: Any, field: str) -> tuple[str, ...]:
    return tuple(text(item, f"{field}[{index}]") for index, item in enumerate(items(value, field)))


def choice(value: Any, field: str, known: Sequence[Any]) -> Any:
    """The one of `known` that equals `value`; `true` is not taken for 1."""
    for option in known:
        if not isinstance(value, bool) and value == option:
            return option
    raise NetbenchError(f"{field} is {shown(value)}; it must be one of {', '.join(map(str, known))}")


def optional_integer(value: Any, field: str, low: int, high: int) -> int | None:
    return None if value is None else integer(value, field, low, high)


def integer(value: Any, field: str, low: int, high: int) -> int:
    """A whole number in low … high; digits in a text count, since templating and `-e` make texts of numbers."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise NetbenchError(f"{field} is {shown(value)}; it must be a whole number from {low} to {high}")
    return int(value)


def boolean(value: Any, field: str) -> bool:
    """A boolean; `-e` makes texts of booleans, so "true" and "false" count."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise NetbenchError(f"{field} is {shown(value)}; it must be true or false")
    return value


def shown(value: Any) -> str:
    """A value as an error sentence quotes it."""
    if value is None:
        return "empty"
    if isinstance(value, (str, int, float)):
        return repr(plain(value)) if isinstance(value, str) else str(value)
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) else f"of the type {type(value).__name__}"
