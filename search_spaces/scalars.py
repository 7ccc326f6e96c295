"""What a setting can be, and the questions that every dimension asks of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Final, Protocol, TypeAlias

from search_spaces.errors import DimensionError

__all__ = ["Scalar", "plain"]

Scalar: TypeAlias = str | int | float | bool
"""What a setting can be: a string, a finite number or a truth value."""

# Stands for "not given" where the default depends on the other fields; every instance holds a
# real value after __post_init__, so that readers of `usual` need not think of None.
FROM_RANGE: Final[Any] = None


class HasUsual(Protocol):
    """What every dimension offers to `check_usual`."""

    @property
    def usual(self) -> Scalar:
        """The field's usual setting."""

    def contains(self, value: object) -> bool:
        """Tell whether `value` lies inside."""


def plain(value: object) -> Scalar:
    """Give `value` as a built-in scalar.

    NumPy's scalars become Python's, so that a point reads and hashes the same everywhere.

    Raises
    ------
    DimensionError
        If `value` is no string, finite number or truth value.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    raise DimensionError(f"a value must be a string, a finite number or a bool; got {value!r}")


def same(left: Scalar, right: Scalar) -> bool:
    """Tell whether two settings are one; 4 is 4.0, but 1 is not True."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def is_whole(value: object) -> bool:
    """Tell whether `value` is an integer and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether `value` is a number that a float can hold, and no truth value."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def require_list(dimension: object, wanted: object) -> Sequence[object]:
    """Give `wanted` if it is a non-empty list of values, else raise DimensionError."""
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Sequence) or not wanted:
        raise DimensionError(
            "narrow takes a non-empty list of values or a tuple (low, high); "
            f"got {wanted!r} for {dimension!r}"
        )
    return wanted


def require_bounds(dimension: object, wanted: tuple[object, ...]) -> tuple[Any, Any]:
    """Give `wanted` if it is a pair of numbers, else raise DimensionError."""
    if len(wanted) != 2 or not all(map(is_number, wanted)):
        raise DimensionError(
            "a tuple means a range and must be (low, high), two finite numbers; write a list for "
            f"single values; got {wanted!r} for {dimension!r}"
        )
    return plain(wanted[0]), plain(wanted[1])


def nothing_left(dimension: object, wanted: object) -> DimensionError:
    """Give the error of a narrowing to nothing."""
    return DimensionError(f"narrowing must leave a value; {wanted!r} leaves none of {dimension!r}")


def check_usual(dimension: HasUsual) -> None:
    """Raise DimensionError unless the usual setting lies inside."""
    if not dimension.contains(dimension.usual):
        raise DimensionError(
            f"usual must lie inside; got usual={dimension.usual!r} for {dimension!r}"
        )
