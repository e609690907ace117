# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Human units ↔ bits per second, bytes, seconds and fractions.

As for iperf3 itself, the prefixes of a rate are powers of 1000 and those of a size are powers of 1024, however they are
spelled.
"""

from __future__ import annotations

import math
import re
from typing import Any

from ansible_collections.netbench.cni.plugins.plugin_utils import fields
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

NONE = "–"
VCPUS_PER_OCPU = 2

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
_RATE = re.compile(_NUMBER + r"\s*([kmgt]?)(?:bits?(?:/s|/sec)?|b/s|bps)?", re.IGNORECASE)
_BYTE_RATE = re.compile(r".*(?:B|B/s|Bps|bytes?(?:/s|/sec)?)")
_SIZE = re.compile(_NUMBER + r"\s*([kmgt]?)(?:i?b|bytes?)?", re.IGNORECASE)
_DURATION = re.compile(_NUMBER + r"\s*([a-zµμ]*)", re.IGNORECASE)
_SHARE = re.compile(_NUMBER + r"\s*(%?)")
_EXPONENT = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {
    **dict.fromkeys(("us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}


def parse_rate(value: Any, field: str) -> float:
    """`2 Gbit/s`, `950M` or 2e9 in bits per second; raises NetbenchError for anything else."""
    right = "a rate in bits per second that is not negative, such as 2 Gbit/s, 950M or 2e9"
    text = _text(value, field, right)
    match = _RATE.fullmatch(text)
    if match is None or _BYTE_RATE.fullmatch(text):
        raise _wrong(value, field, right)
    return _not_negative(float(match[1]) * 1000.0 ** _EXPONENT[match[2].lower()], value, field, right)


def parse_size(value: Any, field: str) -> int:
    """`2M`, `256 kB` or 8192 in bytes, K, M and G being powers of 1024; raises NetbenchError for anything else."""
    right = "a whole number of bytes that is not negative, such as 8192, 256K or 2M"
    match = _SIZE.fullmatch(_text(value, field, right))
    if match is None:
        raise _wrong(value, field, right)
    size = _not_negative(float(match[1]) * 1024.0 ** _EXPONENT[match[2].lower()], value, field, right)
    if not size.is_integer():
        raise _wrong(value, field, right)
    return int(size)


def parse_duration(value: Any, field: str) -> float:
    """`500ms`, `30 s`, `5min`, `1h` or 1.7 in seconds; raises NetbenchError for anything else."""
    right = "a time in seconds that is not negative, such as 1.7, 500ms, 30 s or 5min"
    match = _DURATION.fullmatch(_text(value, field, right))
    scale = _SECONDS.get(match[2].lower()) if match else None
    if match is None or scale is None:
        raise _wrong(value, field, right)
    return _not_negative(float(match[1]) * scale, value, field, right)


def parse_share(value: Any, field: str) -> float:
    """`92.5%`, `-5 %` or 0.925 as a fraction; raises NetbenchError for anything else.

    A number beyond ±1 without a per cent sign is refused: 95 may be meant as 95 % and would be 9500 %.
    """
    right = "a percentage such as 5%, or a fraction from -1 to 1"
    match = _SHARE.fullmatch(_text(value, field, right))
    share = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    if match is None or not math.isfinite(share) or (not match[2] and abs(share) > 1):
        raise _wrong(value, field, right)
    return share


def human_rate(bits_per_second: float | None) -> str:
    """2.5e6 → `2.5 Mbit/s`; None, which is what was not measured, → `–`."""
    return _scaled(bits_per_second, 1000, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"))


def human_bytes(size: float | None) -> str:
    """2097152 → `2 MiB`."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def human_seconds(seconds: float | None) -> str:
    """0.000024 → `24 µs`, 312 → `5 min 12 s`, 4000 → `1 h 7 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if abs(seconds) < 59.95:
        return _scaled(seconds * 1e6, 1000, ("µs", "ms", "s"))
    sign, whole = "-" if seconds < 0 else "", round(abs(seconds))
    if whole < 3600:
        return f"{sign}{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{sign}{minutes // 60} h {minutes % 60} min"


def human_ratio(ratio: float | None) -> str:
    """0.0051 → `0.51 %`."""
    return NONE if ratio is None or not math.isfinite(ratio) else f"{_digits(100 * ratio)} %"


def human_cores(cores: float | None, node_cpus: int | None = None) -> str:
    """0.2 → `0.2 cores (0.1 OCPU)`; with a node of 4 CPUs `0.2 cores (5 % of 4 vCPUs, 0.1 OCPU)`.

    An OCPU is one physical core of two vCPUs (Oracle's definition for x86 shapes).
    """
    if cores is None or not math.isfinite(cores):
        return NONE
    ocpu = f"{_digits(cores / VCPUS_PER_OCPU)} OCPU"
    share = f"{human_ratio(cores / node_cpus)} of {node_cpus} vCPUs, " if node_cpus else ""
    return f"{_digits(cores)} cores ({share}{ocpu})"


def _text(value: Any, field: str, right: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong(value, field, right)
    return value.strip() if isinstance(value, str) else repr(value + 0)


def _wrong(value: Any, field: str, right: str) -> NetbenchError:
    return NetbenchError(f"{field} is {fields.shown(value)[:100]}; it must be {right}")


def _not_negative(number: float, value: Any, field: str, right: str) -> float:
    if not math.isfinite(number) or number < 0:
        raise _wrong(value, field, right)
    return number


def _scaled(value: float | None, base: int, names: tuple[str, ...]) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    step = 0
    while step + 1 < len(names) and abs(float(_digits(value / base**step))) >= base:
        step += 1
    return f"{_digits(value / base**step)} {names[step]}"


def _digits(value: float) -> str:
    """Three significant digits, more where the integer part has more, without trailing zeros."""
    decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
