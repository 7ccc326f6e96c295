"""Ranges of numbers: whole ones, and ones with a fraction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Integral
from random import Random
from typing import Any, final

from search_spaces.choice import Choice
from search_spaces.errors import DimensionError
from search_spaces.scalars import (
    FROM_RANGE,
    check_usual,
    is_number,
    is_whole,
    nothing_left,
    require_bounds,
    require_list,
)

__all__ = ["Float", "Int"]


def _pick(dimension: Int | Float, wanted: object) -> Choice:
    """Give the listed values of a range as a choice, in the order of the range."""
    chosen: set[int | float] = set()
    for value in require_list(dimension, wanted):
        if not dimension.contains(value):
            raise DimensionError(f"value {value!r} does not lie in {dimension!r}")
        # contains() has seen to it that this is a number.
        number: Any = value
        chosen.add(int(number) if isinstance(dimension, Int) else float(number))
    ordered = sorted(chosen)
    return Choice(ordered, usual=min(ordered, key=lambda value: abs(value - dimension.usual)))


def _check_range(dimension: Int | Float) -> None:
    if dimension.low > dimension.high:
        raise DimensionError(
            f"low must not exceed high; got low={dimension.low!r}, high={dimension.high!r}"
        )
    if not isinstance(dimension.log, bool):
        raise DimensionError(f"log must be True or False; got {dimension.log!r}")
    if dimension.log and dimension.low <= 0:
        raise DimensionError(f"a log range must start above 0; got low={dimension.low!r}")


@final
@dataclass(frozen=True)
class Int:
    """An integer from `low` to `high`, both included, in steps.

    Parameters
    ----------
    low, high : int
        The ends; `high` must be reached from `low` in whole steps.
    step : int
        Distance of neighbours, at least 1.
    log : bool
        Whether orders of magnitude matter rather than differences (then `step` is 1).
    usual : int, optional
        The field's usual setting; `low` by default.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False
    usual: int = FROM_RANGE

    def __post_init__(self) -> None:
        if self.usual is None:
            object.__setattr__(self, "usual", self.low)
        for name in ("low", "high", "step", "usual"):
            value = getattr(self, name)
            if not is_whole(value):
                raise DimensionError(f"{name} of an Int must be a whole number; got {value!r}")
            object.__setattr__(self, name, int(value))
        _check_range(self)
        if self.step < 1 or (self.log and self.step != 1):
            raise DimensionError(
                "step must be at least 1, and 1 in a log range; "
                f"got step={self.step!r}, log={self.log!r}"
            )
        if (self.high - self.low) % self.step:
            raise DimensionError(
                "high must lie whole steps above low; "
                f"got low={self.low!r}, high={self.high!r}, step={self.step!r}"
            )
        check_usual(self)

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.low, self.high + 1, self.step))

    def values_list(self) -> list[int]:
        """Give all values, ascending."""
        return list(self)

    def contains(self, value: object) -> bool:
        """Tell whether `value` is a whole number on the grid."""
        if not isinstance(value, Integral) or isinstance(value, bool):
            return False
        number = int(value)
        return self.low <= number <= self.high and (number - self.low) % self.step == 0

    def sample(self, random: Random) -> int:
        """Draw a value, uniformly (in the logarithm, where `log` is set)."""
        if not self.log:
            return random.randrange(self.low, self.high + 1, self.step)
        # Half a unit beyond the ends gives the first and last value their full share.
        drawn = math.exp(random.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def narrow(self, wanted: Sequence[object]) -> Int | Choice:
        """Keep the listed values, or those within a tuple (low, high).

        Raises
        ------
        DimensionError
            If a listed value is not there, or nothing is left.
        """
        if not isinstance(wanted, tuple):
            return _pick(self, wanted)
        bottom, top = require_bounds(self, wanted)
        first = max(0, math.ceil((Fraction(bottom) - self.low) / self.step))
        last = min(self.size - 1, math.floor((Fraction(top) - self.low) / self.step))
        if first > last:
            raise nothing_left(self, wanted)
        low, high = self.low + first * self.step, self.low + last * self.step
        return replace(self, low=low, high=high, usual=min(max(self.usual, low), high))

    def to_dict(self) -> dict[str, object]:
        """Give ``{"int": [low, high], "step": ..., "log": ..., "usual": ...}``."""
        return {
            "int": [self.low, self.high], "step": self.step, "log": self.log, "usual": self.usual
        }  # fmt: skip


def _exact(value: float) -> Fraction:
    # The shortest decimal that reads back as the float: 0.1 means a tenth, so that a grid of
    # tenths holds 0.3 and not 0.30000000000000004.
    return Fraction(repr(value))


@final
@dataclass(frozen=True)
class Float:
    """A number from `low` to `high`, both included; continuous or in steps.

    Parameters
    ----------
    low, high : float
        The ends; with a step, `high` must be reached from `low` in whole steps.
    step : float, optional
        Distance of neighbours; None for a continuous range.
    log : bool
        Whether orders of magnitude matter rather than differences (then `step` is None).
    usual : float, optional
        The field's usual setting; `low` by default.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    usual: float = FROM_RANGE

    def __post_init__(self) -> None:
        if self.usual is None:
            object.__setattr__(self, "usual", self.low)
        for name in ("low", "high", "usual", *(() if self.step is None else ("step",))):
            value = getattr(self, name)
            if not is_number(value):
                raise DimensionError(f"{name} of a Float must be a finite number; got {value!r}")
            object.__setattr__(self, name, float(value))
        _check_range(self)
        self._check_step()
        check_usual(self)

    def _check_step(self) -> None:
        if self.step is None:
            return
        # Below the distance of neighbouring floats two steps of the grid would be one number.
        finest = math.ulp(max(abs(self.low), abs(self.high)))
        if self.log or self.step < finest:
            raise DimensionError(
                f"step must be None in a log range, else a distance that floats resolve "
                f"(at least {finest!r} here); got step={self.step!r}, log={self.log!r}"
            )
        if (_exact(self.high) - _exact(self.low)) % _exact(self.step):
            raise DimensionError(
                "high must lie whole steps above low; "
                f"got low={self.low!r}, high={self.high!r}, step={self.step!r}"
            )

    @property
    def size(self) -> int | float:
        """Number of values; ``math.inf`` for a continuous range, 1 where low equals high."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return math.inf
        return int((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    def __iter__(self) -> Iterator[float]:
        if self.size == math.inf:
            raise DimensionError(f"a continuous range has no list of values; got {self!r}")
        return (self._at(place) for place in range(int(self.size)))

    def values_list(self) -> list[float]:
        """Give all values, ascending.

        Raises
        ------
        DimensionError
            If the range is continuous.
        """
        return list(self)

    def contains(self, value: object) -> bool:
        """Tell whether `value` is a number in the range and, with a step, on the grid."""
        if not is_number(value):
            return False
        number = float(value)  # type: ignore[arg-type]  # a real number
        if not self.low <= number <= self.high:
            return False
        return self.step is None or (_exact(number) - _exact(self.low)) % _exact(self.step) == 0

    def sample(self, random: Random) -> float:
        """Draw a value, uniformly (in the logarithm, where `log` is set)."""
        if self.step is not None:
            return self._at(random.randrange(int(self.size)))
        if not self.log:
            drawn = random.uniform(self.low, self.high)
        else:
            drawn = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # rounding may leave the range by one ulp

    def narrow(self, wanted: Sequence[object]) -> Float | Choice:
        """Keep the listed values, or those within a tuple (low, high).

        Raises
        ------
        DimensionError
            If a listed value is not there, or nothing is left.
        """
        if not isinstance(wanted, tuple):
            return _pick(self, wanted)
        bottom, top = map(float, require_bounds(self, wanted))
        low, high = max(bottom, self.low), min(top, self.high)
        if low > high:
            raise nothing_left(self, wanted)
        if self.step is not None:
            base, step = _exact(self.low), _exact(self.step)
            first = math.ceil((_exact(low) - base) / step)
            last = math.floor((_exact(high) - base) / step)
            if first > last:
                raise nothing_left(self, wanted)
            low, high = self._at(first), self._at(last)
        return replace(self, low=low, high=high, usual=min(max(self.usual, low), high))

    def to_dict(self) -> dict[str, object]:
        """Give ``{"float": [low, high], "step": ..., "log": ..., "usual": ...}``."""
        return {
            "float": [self.low, self.high], "step": self.step, "log": self.log, "usual": self.usual
        }  # fmt: skip

    def _at(self, place: int) -> float:
        return float(_exact(self.low) + place * _exact(self.step or 0.0))
