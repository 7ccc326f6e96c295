"""A choice of values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import final

from search_spaces.errors import DimensionError
from search_spaces.scalars import (
    FROM_RANGE,
    Scalar,
    check_usual,
    is_number,
    nothing_left,
    plain,
    require_bounds,
    require_list,
    same,
)

__all__ = ["Choice"]


@final
@dataclass(frozen=True)
class Choice:
    """One of several values, in the given order.

    Parameters
    ----------
    values : sequence of str, int, float or bool
        At least one; all different.
    usual : optional
        The field's usual setting, one of `values`; the first by default.
    """

    values: Sequence[Scalar]
    usual: Scalar = FROM_RANGE

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not isinstance(self.values, Sequence):
            raise DimensionError(f"the values of a choice must be a list; got {self.values!r}")
        values = tuple(plain(value) for value in self.values)
        if not values:
            raise DimensionError("a choice must have at least one value; got []")
        if len(set(values)) < len(values):
            raise DimensionError(f"the values of a choice must differ; got {list(values)!r}")
        object.__setattr__(self, "values", values)
        if self.usual is None:
            object.__setattr__(self, "usual", values[0])
        check_usual(self)
        object.__setattr__(self, "usual", self._own(self.usual))

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def __iter__(self) -> Iterator[Scalar]:
        return iter(self.values)

    def values_list(self) -> list[Scalar]:
        """Give all values in order."""
        return list(self.values)

    def contains(self, value: object) -> bool:
        """Tell whether `value` is one of the values (4 is 4.0, but 1 is not True)."""
        return self._find(value) is not None

    def sample(self, random: Random) -> Scalar:
        """Draw a value, all equally likely."""
        return random.choice(self.values)

    def narrow(self, wanted: Sequence[object]) -> Choice:
        """Keep the listed values, or those within a tuple (low, high).

        Raises
        ------
        DimensionError
            If a listed value is not there, or nothing is left.
        """
        if isinstance(wanted, tuple):
            low, high = require_bounds(self, wanted)
            kept = [v for v in self.values if not isinstance(v, str | bool) and low <= v <= high]
            if not kept:
                raise nothing_left(self, wanted)
            return self._keep(kept)
        listed = [self._own(value) for value in require_list(self, wanted)]
        return self._keep([value for value in self.values if value in listed])

    def to_dict(self) -> dict[str, object]:
        """Give ``{"choice": [...], "usual": ...}``."""
        return {"choice": list(self.values), "usual": self.usual}

    def _keep(self, values: Sequence[Scalar]) -> Choice:
        if self.usual in values:
            return Choice(values, usual=self.usual)
        if not all(map(is_number, [*values, self.usual])):
            return Choice(values)
        return Choice(values, usual=min(values, key=lambda value: abs(value - self.usual)))  # type: ignore[operator]  # all are numbers

    def _find(self, value: object) -> int | None:
        try:
            wanted = plain(value)
        except DimensionError:
            return None
        found = (place for place, own in enumerate(self.values) if same(own, wanted))
        return next(found, None)

    def _own(self, value: object) -> Scalar:
        place = self._find(value)
        if place is None:
            known = ", ".join(map(repr, self.values))
            raise DimensionError(f"unknown value {value!r}; known: {known}")
        return self.values[place]
