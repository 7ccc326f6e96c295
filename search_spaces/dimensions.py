"""The range of one setting: a choice of values, an integer range, or a float range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from search_spaces.choice import Choice
from search_spaces.errors import DimensionError
from search_spaces.ranges import Float, Int
from search_spaces.scalars import Scalar, is_number

__all__ = ["Choice", "Dimension", "Float", "Int", "Scalar", "dimension_from_dict", "union"]

Dimension: TypeAlias = Choice | Int | Float

# A list of more values is a range that was written the wrong way.
_LONGEST_CHOICE: Final = 10_000


def dimension_from_dict(plain_dict: Mapping[str, object]) -> Dimension:
    """Read what `to_dict` of a dimension gave.

    Raises
    ------
    DimensionError
        If the dict has no or several kinds, unknown entries, or values that cannot be.
    """
    kinds = {
        "choice": {"usual"},
        "int": {"step", "log", "usual"},
        "float": {"step", "log", "usual"},
    }
    given = [kind for kind in kinds if kind in plain_dict]
    if len(given) != 1 or set(plain_dict) - kinds[given[0]] - {given[0]}:
        raise DimensionError(
            "a dimension must be {choice: [...]}, {int: [low, high]} or {float: [low, high]}, "
            f"with usual and, for ranges, step and log beside it; got {dict(plain_dict)!r}"
        )
    kind = given[0]
    main: Any = plain_dict[kind]
    rest: dict[str, Any] = {name: value for name, value in plain_dict.items() if name != kind}
    if kind == "choice":
        return Choice(main, **rest)
    if not isinstance(main, Sequence) or isinstance(main, str) or len(main) != 2:
        raise DimensionError(f"the ends of a range must be [low, high]; got {main!r}")
    return Int(*main, **rest) if kind == "int" else Float(*main, **rest)


def union(left: Dimension, right: Dimension) -> Dimension:
    """Give one dimension that holds exactly the values of both; `left` says what is usual.

    Raises
    ------
    DimensionError
        If no single dimension does, as for two continuous ranges with a gap between them.
    """
    merged = _joined(left, right)
    if merged is not None:
        return merged
    if left.size + right.size <= _LONGEST_CHOICE:
        mine = Choice(list(left))  # to a choice 0 and 0.0 are one value, to an Int they are not
        values: list[Any] = [*left, *(value for value in right if not mine.contains(value))]
        if _ascending(left) and _ascending(right):
            values.sort()
        return Choice(values, usual=left.usual)
    raise DimensionError(
        "two dimensions extend to one only where one unbroken range or a choice of at most "
        f"{_LONGEST_CHOICE:,} values holds both; "
        f"got {left!r} and {right!r}"
    )


def _joined(left: Dimension, right: Dimension) -> Dimension | None:
    """Give the union as a range, where it is one."""
    if isinstance(left, Choice) and isinstance(right, Choice):
        return None
    if isinstance(right, Choice):
        return left if all(map(left.contains, right)) else None
    if isinstance(left, Choice):
        return _with(right, usual=left.usual) if all(map(right.contains, left)) else None
    if type(left) is not type(right) or (left.step, left.log) != (right.step, right.log):
        return None
    lower, upper = sorted((left, right), key=lambda dimension: dimension.low)
    # On one grid the upper range starts on a value of the lower one, or one step above its end.
    if not lower.contains(upper.low) and not _follows(lower, upper):
        return None
    return _with(left, low=lower.low, high=max(left.high, right.high))


def _follows(lower: Int | Float, upper: Int | Float) -> bool:
    if lower.step is None or upper.low <= lower.high:
        return False
    try:
        # Asking the range itself keeps the arithmetic of float grids in one place.
        return _with(lower, low=lower.high, high=upper.low, usual=lower.high).size == 2
    except DimensionError:
        return False


def _with(dimension: Int | Float, **changes: Any) -> Int | Float:
    return replace(dimension, **changes)


def _ascending(dimension: Dimension) -> bool:
    values: list[Any] = list(dimension)
    return all(map(is_number, values)) and values == sorted(values)
