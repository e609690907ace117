# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for human eyes. A value that is not there is shown as an en dash, never as a zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ansible_collections.netbench.cni.plugins.plugin_utils.report.language import Texts

NONE = "–"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
_RATES = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
VCPUS_PER_OCPU = 2
# Larger ratios, as two pairs of trials may give them, are only said to be larger.
_MOST = 10.0


def significant(value: float, digits: int) -> int:
    """Decimal places that show `digits` significant digits of a value, at least none."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def plain(value: float | None, digits: int = 4) -> str:
    """A bare number with a real minus sign."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{min(significant(value, digits), 6)}f}"
    return text.replace("-", MINUS)


def scale(value: float, unit: str) -> tuple[float, str]:
    """The factor and the name of the unit that suits a value: 2e9 bits_per_second → (1e9, "Gbit/s")."""
    steps = {"bits_per_second": _RATES, "seconds": _TIMES, "bytes": _SIZES}.get(unit, ((1.0, ""),))
    if unit == "ratio":
        return 0.01, "%"
    if unit == "packets_per_second":
        return (1e3, "kpps") if abs(value) >= 1e3 else (1.0, "pps")
    return next((step for step in steps if abs(value) >= step[0]), steps[-1] if value else steps[0])


def decimals_of(low: float | None, high: float | None) -> int | None:
    """Decimal places of a ratio in per cent, by the larger end of its interval; None where there is none."""
    if low is None or high is None:
        return None
    widest = 100 * max(abs(low), abs(high))
    return 0 if widest >= 100 else min(max(significant(widest, 2), 1), 4)


class Numbers:
    """Numbers with their units in the language of the texts; `short` units are those of tables."""

    def __init__(self, texts: Texts, *, short: bool = False) -> None:
        self._texts = texts
        self._points = "unit.points_short" if short else "unit.points"

    def quantity(self, value: float | None, unit: str, digits: int = 4) -> str:
        """A value with its unit: 1.984 Gbit/s, 24 µs, 0.31 %; cores are bare numbers."""
        if value is None or not math.isfinite(value):
            return NONE
        if unit == "ratio":
            return self.percent(value, signed=False)
        if unit in ("cores", "cores_per_gbit"):
            return plain(value, digits)
        factor, name = scale(value, unit)
        number = plain(value / factor, digits if value / factor < 1e3 else 1)
        return f"{number}{SPACE}{name}" if name else number

    def setting(self, value: float | None, unit: str) -> str:
        """A value that was set, not measured: as short as it can be said, 2 Gbit/s and not 2.000 Gbit/s."""
        if value is None:
            return NONE
        if unit == "relative":
            return self._texts("unit.percent", value=f"{100 * value:.3g}")
        if unit == "ratio":
            return self._texts(self._points, value=f"{100 * value:.3g}")
        factor, name = scale(value, unit)
        return f"{value / factor:.4g}{SPACE}{name}" if name else f"{value:.4g}"

    def percent(self, value: float | None, *, signed: bool = True, decimals: int | None = None) -> str:
        """A ratio as per cent with two significant digits: −0.0056 → −0.56 %."""
        if value is None or not math.isfinite(value):
            return NONE
        return self._texts("unit.percent", value=_percent(value, signed, decimals))

    def together(self, values: Sequence[float | None], unit: str, between: str) -> str:
        """Values that share one unit, written once: 1.979 → 1.964 Gbit/s."""
        known = [abs(value) for value in values if value is not None]
        if not known:
            return NONE
        if unit == "ratio":
            numbers = (NONE if value is None else _percent(value, False, None) for value in values)
            return self._texts("unit.percent", value=between.join(numbers))
        factor, name = scale(max(known), unit)
        numbers = (plain(value / factor if value is not None else None) for value in values)
        return between.join(numbers) + (f"{SPACE}{name}" if name else "")

    def change(self, value: float | None, scale: str, *, signed: bool = True, decimals: int | None = None) -> str:
        """A difference on its scale: `relative` in per cent, `ratio` in percentage points, others in their unit."""
        if value is None or not math.isfinite(value):
            return NONE
        if scale == "relative":
            return self.percent(value, signed=signed, decimals=decimals)
        if scale == "ratio":
            return self._texts(self._points, value=_percent(value, signed, decimals))
        sign = ("+" if value > 0 else MINUS if value < 0 else "") if signed else ""
        return sign + self.quantity(abs(value), scale, 2)

    def interval(self, low: float | None, high: float | None, scale: str) -> str:
        """An interval of a difference, both ends with the same number of decimals: −0.72 … −0.41 %."""
        if low is None or high is None:
            return NONE
        if scale not in ("relative", "ratio"):
            return f"{self.change(low, scale)} … {self.change(high, scale)}"
        decimals = decimals_of(low, high)
        return f"{_percent(low, True, decimals)} … {self.change(high, scale, decimals=decimals)}"

    def p_value(self, value: float | None) -> str:
        """p = 0.013, or p < 0.001."""
        if value is None:
            return NONE
        return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"

    def share_of_cpus(self, cores: float | None, cpus: int) -> str:
        return self.percent(cores / cpus, signed=False) if cores is not None and cpus else NONE

    def signed(self, value: float | None) -> str:
        """A difference in cores or OCPU with three decimals."""
        if value is None:
            return NONE
        return _signed(f"{value:+.3f}")


def _percent(value: float, signed: bool, decimals: int | None) -> str:
    if abs(value) > _MOST:
        bound = _signed(f"{math.copysign(100 * _MOST, value):{'+' if signed else ''}.0f}")
        return f"{'>' if value > 0 else '<'}{SPACE}{bound}"
    decimals = min(significant(100 * value, 2), 4) if decimals is None else decimals
    return _signed(f"{100 * value:{'+' if signed else ''}.{decimals}f}")


def _signed(text: str) -> str:
    """With a real minus sign, and none on a zero."""
    return text.replace("-", MINUS) if float(text) else text.lstrip("+-")
