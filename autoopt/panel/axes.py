"""Axes for people: where they begin and end, which ticks they bear, how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LOG_SPAN: Final = 8.0
"""An axis is logarithmic when its largest value is more than this many times its smallest."""

_PADDING: Final = 0.06
_MOST_LOG_TICKS: Final = 8
_LEAST_LOG: Final = 1e-100
# Below this, steps between ticks would no longer be numbers.
_LEAST_SPAN: Final = 1e-290
_LOG_MANTISSAS: Final = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from values to the unit interval, with its ticks.

    Parameters
    ----------
    low, high
        Ends of the axis, in the objective's unit.
    log
        Whether the scale is logarithmic.
    ticks
        Values that bear a tick, ascending, within the ends.
    """

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def position(self, value: float) -> float:
        """Give the place of a value, 0 at `low` and 1 at `high`; values beyond stop at the end."""
        if self.log:
            if value <= 0:
                return 0.0
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def holds(self, value: float) -> bool:
        """Say whether a value lies between the ends."""
        return self.low <= value <= self.high

    def labels(self) -> tuple[str, ...]:
        """Write the ticks, all with the same number of decimals unless the axis is logarithmic."""
        if self.log:
            return tuple(_plain(tick) for tick in self.ticks)
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else self.high - self.low
        places = max(_decimals(tick, step) for tick in self.ticks) if self.ticks else 0
        return tuple(_compact(tick, places) for tick in self.ticks)


def fit_axis(core: Sequence[float], others: Sequence[float] = (), *, log: bool = False) -> Axis:
    """Fit an axis to values.

    Parameters
    ----------
    core
        Values that must lie on the axis, such as those of the front; all finite.
    others
        Values that may lie beyond a linear axis, where they would squeeze the core: the axis is
        extended for them by at most the core's own span.
    log
        Whether the axis may be logarithmic, which it then is when it spans more than `LOG_SPAN`.

    Returns
    -------
    Axis
        From 0 to 1 if there are no values at all.
    """
    values = [*core, *others]
    if not values:
        return Axis(0.0, 1.0, False, (0.0, 0.25, 0.5, 0.75, 1.0))
    low, high = min(values), max(values)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _LEAST_SPAN):
        pad = abs(high) * 0.02
        pad = pad if pad > _LEAST_SPAN else 0.5
        return Axis(low - pad, high + pad, False, _linear_ticks(low - pad, high + pad))
    if log and low > _LEAST_LOG and high / low > LOG_SPAN:
        pad = (high / low) ** _PADDING
        return Axis(low / pad, high * pad, True, _log_ticks(low / pad, high * pad))
    reach = max(core) - min(core) if core else 0.0
    if reach > _LEAST_SPAN:
        low, high = max(low, min(core) - reach), min(high, max(core) + reach)
    pad = (high - low) * _PADDING
    return Axis(low - pad, high + pad, False, _linear_ticks(low - pad, high + pad))


def format_value(value: float | None, unit: str) -> str:
    """Write a value: three digits and its unit, or four decimals for a score without a unit."""
    if value is None or not math.isfinite(value):
        return "–"
    if not unit and abs(value) < 10:
        return f"{value:.4f}"
    return f"{_three_digits(value)} {unit}".rstrip()


def format_interval(stat: Sequence[float | None], unit: str) -> str:
    """Write the interval of a value with as many decimals as the value has; "" if unknown."""
    value, low, high = (*stat, None, None, None)[:3]
    if value is None or low is None or high is None or low == high:
        return ""
    if not all(map(math.isfinite, (value, low, high))):
        return ""
    places = len(format_value(value, unit).split(" ")[0].partition(".")[2])
    return f"{low:,.{places}f} – {high:,.{places}f}"


def format_duration(seconds: float) -> str:
    """Write a duration as 2:10, or 1:02:10 from an hour on."""
    whole = max(round(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    clock = f"{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
    return f"{hours}:{clock}" if hours else clock


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 8:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 2 - magnitude)}f}"


def _linear_ticks(low: float, high: float) -> tuple[float, ...]:
    rough = (high - low) / 5
    scale = 10.0 ** math.floor(math.log10(rough))
    step = min((m * scale for m in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(s - rough))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: tuple[float, ...] = ()
    for mantissas in _LOG_MANTISSAS:
        every = (mantissa * 10.0**decade for decade in decades for mantissa in mantissas)
        ticks = tuple(tick for tick in every if low <= tick <= high)
        if len(ticks) >= 4:
            break
    return ticks[:: math.ceil(len(ticks) / _MOST_LOG_TICKS)] if ticks else ticks


def _decimals(tick: float, step: float) -> int:
    if abs(tick) >= 10_000:
        return 0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return places if abs(round(tick, places) - tick) < step / 100 else places + 1


def _compact(tick: float, places: int) -> str:
    if abs(tick) >= 10_000:
        return _plain(tick)
    # Rounding turns -0.0 and what floating point left of zero into a plain zero.
    return f"{round(tick, places) + 0.0:,.{places}f}"


def _plain(tick: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(tick) >= size:
            return f"{tick / min(size, 1e3 if suffix == 'k' else size):,.6g}{suffix}"
    return f"{tick:,.6g}"
